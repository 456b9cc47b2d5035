"""The model in memory: one at a time, the first one loaded in the background while the page is already open."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from magicgen.errors import MagicGenError
from magicgen.jobs.animate import Prepared, load, load_key


class Shelf:
    """Keeps the pipeline that was used last. Only one thread at a time gets it, which the app's queue sees to."""

    def __init__(self, load: Callable[[Prepared], Any] = load) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._key: tuple[object, ...] | None = None
        self._pipeline: Any = None
        self.state = "The model will be loaded for the first video."

    def get(self, prepared: Prepared) -> tuple[Any, float]:
        """The pipeline for a run, and the seconds it took to load.

        Raises:
            MagicGenError: it cannot be loaded.
        """
        with self._lock:
            key, started = load_key(prepared), time.perf_counter()
            if key != self._key:
                self._key = self._pipeline = None  # let go of the old model before the new one comes
                self.state = f"Loading the model {prepared.settings.model} ..."
                try:
                    self._pipeline = self._load(prepared)
                except MagicGenError as error:
                    self.state = f"The model {prepared.settings.model} could not be loaded: {error}"
                    raise
                self._key = key
                self.state = f"The model {prepared.settings.model} is loaded."
            return self._pipeline, time.perf_counter() - started

    def warm(self, prepared: Prepared) -> threading.Thread:
        """Load in the background; what goes wrong is told when somebody asks for the model."""

        def body() -> None:
            with suppress(MagicGenError):  # the state says why
                self.get(prepared)

        thread = threading.Thread(target=body, name="magicgen-load", daemon=True)
        thread.start()
        return thread
