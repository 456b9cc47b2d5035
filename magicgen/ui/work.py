"""Work in a thread of its own, seen from a generator, whose yields gradio shows."""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from magicgen.progress import CancelToken, ProgressEvent, Report

T = TypeVar("T")


@dataclass(frozen=True)
class Done(Generic[T]):
    """The last thing that :func:`watch` yields: what the work returned."""

    value: T


def watch(work: Callable[[Report], T], token: CancelToken) -> Iterator[ProgressEvent | Done[T]]:
    """Run ``work`` and yield its events; of several of one stage that wait only the newest, with their newest preview.

    However slowly it is read, the last event of every stage is yielded, and a preview of it if there was one.

    The work is asked to stop when ``token`` is set (its next event raises :class:`magicgen.progress.Cancelled`) or when
    nobody reads on.

    Raises:
        Exception: whatever the work raises.
    """
    events: queue.Queue[ProgressEvent | Done[T] | BaseException] = queue.Queue()

    def report(event: ProgressEvent) -> None:
        token.raise_if_cancelled()
        events.put(event)

    def body() -> None:
        try:
            events.put(Done(work(report)))
        except BaseException as error:  # the reader raises it
            events.put(error)

    thread = threading.Thread(target=body, name="magicgen-work", daemon=True)
    thread.start()
    try:
        waiting: ProgressEvent | Done[T] | BaseException | None = None
        while True:
            event = events.get() if waiting is None else waiting
            waiting = None
            while isinstance(event, ProgressEvent) and waiting is None and not events.empty():
                event, waiting = _newest(event, events.get())
            if isinstance(event, BaseException):
                raise event
            yield event
            if isinstance(event, Done):
                return
    finally:
        token.cancel()
        thread.join()


def _newest(event: ProgressEvent, after: Any) -> tuple[ProgressEvent, Any]:
    """Two things in a row -> the event to show, and what must be shown after it (None where the second replaces it)."""
    if not isinstance(after, ProgressEvent) or after.stage != event.stage:
        return event, after
    return (after if after.preview is not None else replace(after, preview=event.preview)), None
