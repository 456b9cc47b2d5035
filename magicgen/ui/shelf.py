"""Models in memory: one of each kind, the first one loaded in the background while the page is already open."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from magicgen.errors import MagicGenError

# Waits for the moment to begin.
Turn = Callable[[], object]


class Shelf:
    """Keeps the pipeline of each kind that was used last. The app's queue gives it to one job at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[tuple[object, ...], Any]] = {}

    def get(self, kind: str, key: tuple[object, ...], load: Callable[[], Any]) -> tuple[Any, float]:
        """A pipeline, and the seconds that it took to load.

        Args:
            kind: of two pipelines of one kind only the later is kept.
            key: pipelines with equal keys are the same.
            load: makes it.

        Raises:
            MagicGenError: it cannot be loaded.
        """
        with self._lock:
            started = time.perf_counter()
            if kind not in self._kept or self._kept[kind][0] != key:
                self._kept.pop(kind, None)  # let go of the old model before the new one comes
                self._kept[kind] = (key, load())
            return self._kept[kind][1], time.perf_counter() - started

    def has(self, kind: str) -> bool:
        """Whether a pipeline of this kind is loaded."""
        return kind in self._kept

    def warm(self, kind: str, key: tuple[object, ...], load: Callable[[], Any], after: Turn) -> threading.Thread:
        """Load in the background once ``after`` returns; what goes wrong is told to whoever asks for it later."""

        def body() -> None:
            after()
            with suppress(MagicGenError):
                self.get(kind, key, load)

        thread = threading.Thread(target=body, name="magicgen-load", daemon=True)
        thread.start()
        return thread
