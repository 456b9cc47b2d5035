"""Work in a thread of its own, seen from a generator, whose yields gradio shows."""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from magicgen.progress import CancelToken, ProgressEvent, Report

T = TypeVar("T")


@dataclass(frozen=True)
class Done(Generic[T]):
    """The last thing that :func:`watch` yields: what the work returned."""

    value: T


def watch(work: Callable[[Report], T], token: CancelToken) -> Iterator[ProgressEvent | Done[T]]:
    """Run ``work`` and yield its events; of several that wait only the newest, which carries the newest preview.

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
        while True:
            event = events.get()
            preview = None
            while isinstance(event, ProgressEvent) and not events.empty():
                preview = event.preview if event.preview is not None else preview
                event = events.get()
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, ProgressEvent) and event.preview is None and preview is not None:
                event = ProgressEvent(event.stage, event.step, event.total, event.eta_s, preview)
            yield event
            if isinstance(event, Done):
                return
    finally:
        token.cancel()
        thread.join()
