"""Progress and cancelling: what long work tells the person who waits, and how that person stops it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ProgressEvent:
    """One sign of life.

    Attributes:
        stage: what is being done, for people ("Sampling").
        step: parts done, 0..total.
        total: how many parts there are, or None where that is unknown.
        eta_s: seconds that the stage will still take, or None.
        preview: (H, W, 3) uint8 RGB, or None.
    """

    stage: str
    step: int
    total: int | None = None
    eta_s: float | None = None
    preview: npt.NDArray[np.uint8] | None = None


Report = Callable[[ProgressEvent], None]


def silent(event: ProgressEvent) -> None:
    """A report that nobody reads."""


class Cancelled(Exception):
    """The person asked for the work to stop; nothing is wrong."""

    exit_code = 130


class CancelToken:
    """Asks work in another thread to stop at its next safe place."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask for a stop; asking twice does no harm."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set()

    def raise_if_cancelled(self) -> None:
        """Raises:
        Cancelled: a stop was asked for.
        """
        if self._event.is_set():
            raise Cancelled("The work was cancelled.")


class Stage:
    """Reports a stage of ``total`` equal parts, with the time left estimated from the parts done so far."""

    def __init__(self, report: Report, name: str, total: int | None) -> None:
        self.report, self.name, self.total, self.step = report, name, total, 0
        self._start = time.monotonic()
        report(ProgressEvent(name, 0, total))

    def advance(self, parts: int = 1, preview: npt.NDArray[np.uint8] | None = None) -> None:
        """Report that ``parts`` more parts are done."""
        self.step += parts
        left = None if self.total is None else max(0, self.total - self.step)
        spent = time.monotonic() - self._start
        eta = None if left is None or self.step == 0 else spent / self.step * left
        self.report(ProgressEvent(self.name, self.step, self.total, eta, preview))


class TerminalProgress:
    """Shows events as bars with the time left on standard error; shows nothing where that is not a terminal.

    A context manager and a :data:`Report`::

        with TerminalProgress() as report:
            stage = Stage(report, "Sampling", 8)
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        if not self._enabled:
            return self
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
            )
            self._bars = Progress(*columns, console=console)
            self._bars.start()
        return self

    def __call__(self, event: ProgressEvent) -> None:
        if self._bars is None:
            return
        left = "" if event.eta_s is None or event.step == event.total else f"{duration(event.eta_s)} left"
        if event.stage not in self._tasks:
            self._tasks[event.stage] = self._bars.add_task(event.stage, total=event.total, left=left)
        self._bars.update(self._tasks[event.stage], completed=event.step, total=event.total, left=left)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
            self._tasks = {}


def counted(number: int, what: str) -> str:
    """A number with its noun, such as ``1 step`` and ``4 steps``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds for people: ``8 s``, ``2 min 05 s``, ``3 h 10 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
