"""Worker processes that may hang, crash or be killed without taking the build with them.

Every worker does one item at a time. An item that takes longer than the limit costs its worker its life; an item whose
worker died is tried again, then given up. Tasks and outcomes are small (paths and facts, never frames).
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from data_tools.work import Done, Failed, Outcome, Task
from magicgen.errors import GenerationFailed, MagicGenError

Callback = Callable[[Outcome], Iterable[Task]]


class Workable(Protocol):
    """What a worker process is made of."""

    def setup(self) -> None:
        """Load weights."""
        ...

    def __call__(self, task: Task) -> Outcome:
        """Do an item."""
        ...


@dataclass(frozen=True)
class PoolSettings:
    """How many workers, how long an item may take, how often it is tried, and the memory of a worker."""

    workers: int
    time_limit_s: float
    attempts: int
    memory_mb: int | None = None


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: Task | None = None
    since: float = 0.0
    ready: bool = False


class Pool:
    """Runs tasks in processes; finished tasks may bring further ones, which come first."""

    def __init__(self, make: Callable[[], Workable], settings: PoolSettings) -> None:
        self._make, self._settings = make, settings
        self._context = multiprocessing.get_context("spawn")
        self._waiting: deque[Task] = deque()
        self._tries: dict[Task, int] = {}
        self._workers: list[_Worker] = []

    def run(self, tasks: Iterable[Task], done: Callback) -> None:
        """Do all tasks and those that ``done`` returns; workers stay ready for the next run.

        Raises:
            GenerationFailed: the output cannot be written any more, or workers die before they are ready.
            MagicGenError: a worker could not be set up (missing weights).
        """
        self._waiting.extend(tasks)
        try:
            while self._waiting or any(worker.task for worker in self._workers):
                self._fill()
                self._listen(done)
        except BaseException:
            self.close()
            raise

    def _fill(self) -> None:
        missing = min(self._settings.workers, len(self._waiting) + self._busy()) - len(self._workers)
        for _ in range(missing):
            self._workers.append(self._start())
        for worker in self._workers:
            if worker.ready and worker.task is None and self._waiting:
                worker.task, worker.since = self._waiting.popleft(), time.monotonic()
                try:
                    worker.pipe.send(worker.task)
                except OSError:  # it died while idle; the listening side notices
                    continue

    def _busy(self) -> int:
        return sum(worker.task is not None for worker in self._workers)

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(self._make, theirs, self._settings.memory_mb), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours, since=time.monotonic())

    def _listen(self, done: Callback) -> None:
        now = time.monotonic()
        limit = self._settings.time_limit_s
        left = [worker.since + limit - now for worker in self._workers if worker.task is not None]
        heard = wait([worker.pipe for worker in self._workers], timeout=max(0.0, min([*left, 60.0])))
        for worker in [worker for worker in self._workers if worker.pipe in heard]:
            self._hear(worker, done)
        for worker in list(self._workers):
            if worker.task is not None and time.monotonic() - worker.since > limit:
                self._give_up(worker, f"it took longer than the limit of {limit:g} s (run.time_limit_s)", done)

    def _hear(self, worker: _Worker, done: Callback) -> None:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            self._lost(worker, done)
            return
        match message:
            case "ready":
                worker.ready = True
            case MagicGenError():
                raise message
            case Done() | Failed():
                if isinstance(message, Done):
                    message = replace(message, seconds=time.monotonic() - worker.since)
                worker.task = None
                self._tell(message, done)

    def _lost(self, worker: _Worker, done: Callback) -> None:
        worker.process.join(5)
        code = worker.process.exitcode
        if not worker.ready:
            raise GenerationFailed(f"A worker ended with code {code} before it was ready; see the messages above.")
        name = signal.Signals(-code).name if code is not None and code < 0 else f"code {code}"
        self._give_up(worker, f"its worker process ended with {name}", done)

    def _give_up(self, worker: _Worker, reason: str, done: Callback) -> None:
        task = worker.task
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        if task is None:
            return
        self._tries[task] = self._tries.get(task, 0) + 1
        if self._tries[task] < self._settings.attempts:
            self._waiting.append(task)
        else:
            self._tell(Failed(task, f"{reason}, {self._tries[task]} times"), done)

    def _tell(self, outcome: Outcome, done: Callback) -> None:
        if isinstance(outcome, Failed) and outcome.fatal:
            raise GenerationFailed(f"{outcome.reason} What is finished stays; run the same command again to go on.")
        self._waiting.extendleft(reversed(list(done(outcome))))

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.pipe.close()
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
        self._workers.clear()


def _serve(make: Callable[[], Workable], pipe: Connection, memory_mb: int | None) -> None:
    """The life of a worker: set up, then item after item until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    _follow_parent()
    _one_thread()
    if memory_mb is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 1024**2,) * 2)
    try:
        work = make()
        work.setup()
    except MagicGenError as error:
        pipe.send(error)
        return
    pipe.send("ready")
    with suppress(EOFError, OSError):
        while True:
            pipe.send(work(pipe.recv()))


def _follow_parent() -> None:
    """End with the parent, even when that was killed without a word."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch(sentinel: int) -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


def _one_thread() -> None:
    """One core a worker: parallel workers must not fight for cores, and results must not depend on their number."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import cv2

    cv2.setNumThreads(1)
