"""What the parts of the Animate tab call. Every handler finds its visitor by gradio's session."""

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from magicgen.control.camera import CameraMove, Pan, Rotate, Zoom
from magicgen.errors import MagicGenError
from magicgen.progress import Cancelled, CancelToken, ProgressEvent
from magicgen.ui.animate_desk import AnimateDesk
from magicgen.ui.examples import Example
from magicgen.ui.form import Form
from magicgen.ui.photos import Photo, inside, take_photo
from magicgen.ui.told import in_words, note, progress_bar, told, where
from magicgen.ui.visitors import Made, Visitor, Visitors
from magicgen.ui.work import Done

SEEDS = 2**31


class AnimateHandlers:
    """Handlers of one page.

    Args:
        desk: does the work.
        visitors: whose work it is.
        uploads: the only folder in which a path that a browser names is opened.
        examples: in the order of the gallery.
        form: the settings.
    """

    def __init__(
        self, desk: AnimateDesk, visitors: Visitors, uploads: Path, examples: Sequence[Example], form: Form
    ) -> None:
        self.desk, self.visitors, self.uploads, self.examples, self.form = desk, visitors, uploads, examples, form

    def choose_photo(self, path: str, request: gr.Request) -> Any:
        """An uploaded photo -> the canvas, empty."""
        return self._start(self._visitor(request), Path(path))

    def drop_photo(self, event: gr.EventData, request: gr.Request) -> Any:
        """The same for a photo that was dropped: its path came from the browser."""
        with told():
            path = inside(str(event._data.get("path", "")), self.uploads)
        return self._start(self._visitor(request), path)

    def find_object(self, event: gr.EventData, request: gr.Request) -> Any:
        """An object that wants its outline -> the canvas."""
        return gr.update(answer=self.desk.find_object(self._visitor(request), event._data))

    def import_file(self, path: str, request: gr.Request) -> tuple[Any, int]:
        """A trajectory file -> canvas, frames."""
        with told():
            drawing = self.desk.import_file(Path(path))
        return gr.update(value=drawing), drawing["frames"]

    def show_example(self, event: gr.SelectData, request: gr.Request) -> tuple[Any, int, str]:
        """A click in the gallery of examples -> canvas, frames, level."""
        visitor, example = self._visitor(request), self.examples[int(event.index)]
        with told():
            visitor.photo = take_photo(example.photo, visitor.folder)
            drawing = self.desk.import_file(example.trajectory)
        return _on_canvas(visitor.photo, drawing), drawing["frames"], "auto"

    def restore(self, path: str, request: gr.Request) -> list[Any]:
        """A sidecar -> canvas, lock, all settings."""
        visitor = self._visitor(request)
        with told():
            restored = self.desk.restore(visitor, Path(path))
            self.form.choices.check(restored.settings)
        visitor.photo = restored.photo
        canvas = _on_canvas(restored.photo, restored.drawing)
        return [canvas, True, *self.form.values(restored.settings)]

    def move_camera(
        self,
        drawing: dict[str, Any] | None,
        frames: float,
        zoom: float,
        right: float,
        down: float,
        turn: float,
        request: gr.Request,
    ) -> Any:
        """The drawing as a moving camera sees it -> canvas."""
        moves: list[CameraMove] = []
        with told():
            moves += [Zoom(zoom)] if zoom != 1 else []
            moves += [Pan(right, down)] if right or down else []
            moves += [Rotate(turn)] if turn else []
            return gr.update(value=self.desk.with_camera(self._visitor(request), drawing, int(frames), moves))

    def preview(self, request: gr.Request, drawing: dict[str, Any] | None, *values: Any) -> tuple[Any, str]:
        """Drawing and settings -> the overlay video, what it will cost; while nothing is drawn, a hint."""
        visitor = self._visitor(request)
        if visitor.photo is None or not drawing or not drawing.get("objects"):
            return None, note("Draw something to see what the model will be told.")
        try:
            prepared = self.desk.prepare(visitor, drawing, self.form.settings(values))
            said = (self.desk.describe(prepared), *(in_words(warning) for warning in prepared.warnings))
            return str(self.desk.preview(prepared)), note(*said)
        except MagicGenError as error:
            return gr.skip(), note(in_words(error), kind="wrong")

    def check(self, request: gr.Request, drawing: dict[str, Any] | None, lock: bool, *values: Any) -> tuple[Any, ...]:
        """Before anything is queued -> progress, seed, the two buttons."""
        visitor = self._visitor(request)
        with told():
            settings = self.form.settings(values)
            if not lock:
                settings = settings.model_copy(update={"seed": secrets.randbelow(SEEDS)})
            visitor.waiting = self.desk.prepare(visitor, drawing, settings)
        visitor.token = CancelToken()
        waits = note("Waiting for the model ...")
        return waits, settings.seed, gr.update(interactive=False), gr.update(interactive=True)

    def generate(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """The run that was checked -> progress, live picture, video, facts, files, history, toggle."""
        visitor = self._visitor(request)
        prepared, token = visitor.waiting, visitor.token
        visitor.waiting = None
        kept = (gr.skip(),) * 5
        if prepared is None or token is None or token.cancelled:
            visitor.token = None
            yield note("Stopped before it began."), gr.update(visible=False), *kept
            return
        last = ProgressEvent("Starting", 0)
        try:
            for event in self.desk.run(prepared, token):
                if isinstance(event, Done):
                    yield self._finished(visitor, event.value)
                else:
                    last = event
                    live = gr.skip() if event.preview is None else gr.update(value=event.preview, visible=True)
                    yield progress_bar(event), live, *kept
        except Cancelled:
            yield note(f"Stopped: {where(last)}."), gr.update(visible=False), *kept
        except MagicGenError as error:
            yield note(in_words(error), kind="wrong"), gr.update(visible=False), *kept
        finally:
            visitor.token = None
            self.visitors.ended(visitor)

    def stop(self, request: gr.Request) -> str:
        """The Stop button -> progress."""
        return note("Stopping ..." if self._visitor(request).stop() else "Nothing is running.")

    def toggle(self, seen: bool, request: gr.Request) -> Any:
        """The shown video with or without its trajectory."""
        made = self._visitor(request).shown
        return gr.skip() if made is None else str(made.seen if seen else made.video)

    def open(self, event: gr.SelectData, request: gr.Request) -> tuple[Any, ...]:
        """A click in the history -> video, facts, files, toggle."""
        visitor = self._visitor(request)
        made = visitor.history[int(event.index)]
        visitor.shown = made
        return _shown(made)

    def export(self, request: gr.Request, drawing: dict[str, Any] | None, *values: Any) -> Any:
        """``trajectory.json`` and the map video of the drawing."""
        visitor = self._visitor(request)
        with told():
            prepared = self.desk.prepare(visitor, drawing, self.form.settings(values))
            paths = self.desk.export(visitor, prepared, drawing or {})
        return gr.update(value=[str(path) for path in paths], visible=True)

    def _visitor(self, request: gr.Request) -> Visitor:
        return self.visitors.of(request.session_hash)

    def _start(self, visitor: Visitor, path: Path) -> Any:
        with told():
            visitor.photo = take_photo(path, visitor.folder)
        return _on_canvas(visitor.photo, None)

    def _finished(self, visitor: Visitor, made: Made) -> tuple[Any, ...]:
        visitor.history.insert(0, made)
        visitor.shown = made
        video, facts, files, toggle = _shown(made)
        history = [(str(each.poster), each.caption) for each in visitor.history]
        return note("Done."), gr.update(visible=False), video, facts, files, history, toggle


def _on_canvas(photo: Photo, drawing: dict[str, Any] | None) -> Any:
    if drawing is None:
        return gr.update(picture=photo.as_property(), answer=None, value={"version": 1, "objects": []})
    return gr.update(picture=photo.as_property(), answer=None, value=drawing)


def _shown(made: Made) -> tuple[Any, ...]:
    files = [str(path) for path in (made.video, made.overlay, made.sidecar)]
    return str(made.video), note(*made.facts), files, False
