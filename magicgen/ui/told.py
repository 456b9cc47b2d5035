"""Words for people on the page: errors that they can mend, notes, progress."""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from magicgen.errors import MagicGenError
from magicgen.progress import ProgressEvent, duration

_OPTION = re.compile(r"--(\w+)(?:-(\w+))?")


@contextmanager
def told() -> Iterator[None]:
    """Turn a :class:`~magicgen.errors.MagicGenError` into the page's message.

    Raises:
        gr.Error: in its place.
    """
    try:
        yield
    except MagicGenError as error:
        raise gr.Error(in_words(error), print_exception=False, duration=12) from None


def in_words(error: BaseException | str) -> str:
    """The message of an error, or a warning, for a page: options of the command line become names of settings."""
    return _OPTION.sub(lambda found: " ".join(part for part in found.groups() if part), str(error))


def note(*lines: str, kind: str = "note") -> str:
    """A few lines of plain text for the page."""
    return "".join(f'<p class="mg-{kind}">{html.escape(line)}</p>' for line in lines if line)


def progress_bar(event: ProgressEvent) -> str:
    """Stage, step and time left."""
    bar = "<progress></progress>"
    if event.total:
        bar = f'<progress value="{event.step}" max="{event.total}"></progress>'
    left = "" if event.eta_s is None or event.step == event.total else f", {duration(event.eta_s)} left"
    return f'<label class="mg-progress">{html.escape(where(event) + left)}{bar}</label>'


def where(event: ProgressEvent) -> str:
    """Stage and step."""
    return event.stage + (f", step {event.step} of {event.total}" if event.total else "")
