"""Errors in words: what a person can mend becomes a message on the page, without a traceback in the log."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from magicgen.errors import MagicGenError

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


def in_words(error: BaseException) -> str:
    """The message of an error for a page: options of the command line become names of settings."""
    return _OPTION.sub(lambda found: " ".join(part for part in found.groups() if part), str(error))
