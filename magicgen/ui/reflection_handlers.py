"""What the parts of the tab that removes reflections call. Every handler finds its visitor by gradio's session."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from magicgen.errors import MagicGenError
from magicgen.media import read_image
from magicgen.progress import Cancelled, CancelToken, ProgressEvent
from magicgen.ui.photos import Photo, inside, shrunk
from magicgen.ui.reflection_desk import ReflectionDesk, read_json_file, read_marks, shown_before_after
from magicgen.ui.told import in_words, note, progress_bar, told, where
from magicgen.ui.visitors import Cleaned, Visitor, Visitors
from magicgen.ui.work import Done

LIVE_SIDE = 640
RESULTS = 7
"""How many components show a result: :func:`_shown`."""
LEGEND = "Orange is taken for reflection, blue for the scene; of what is grey, nothing was said."
NO_MARKS: dict[str, Any] = {"version": 1, "marks": []}


class ReflectionHandlers:
    """Handlers of one page.

    Args:
        desk: does the work.
        visitors: whose work it is.
        uploads: the only folder in which a path that a browser names is opened.
        examples: photos, in the order of the gallery.
    """

    def __init__(self, desk: ReflectionDesk, visitors: Visitors, uploads: Path, examples: Sequence[Path]) -> None:
        self.desk, self.visitors, self.uploads, self.examples = desk, visitors, uploads, examples

    def choose_photo(self, path: str, request: gr.Request) -> Any:
        """An uploaded photo -> the canvas, without marks."""
        return self._start(request, Path(path))

    def drop_photo(self, event: gr.EventData, request: gr.Request) -> Any:
        """The same for a photo that was dropped: its path came from the browser."""
        with told():
            path = inside(str(event._data.get("path", "")), self.uploads)
        return self._start(request, path)

    def show_example(self, event: gr.SelectData, request: gr.Request) -> Any:
        """A click in the gallery of examples -> the canvas."""
        return self._start(request, self.examples[int(event.index)])

    def import_marks(self, path: str) -> Any:
        """A file of marks -> the canvas."""
        with told():
            document = read_json_file(Path(path))
            read_marks(document)
        return gr.update(value=document)

    def restore(self, path: str, request: gr.Request) -> tuple[Any, ...]:
        """The ``.json`` of a result -> canvas, strength, octaves, mirrored, adapter, progress."""
        with told():
            restored = self.desk.restore(self._visitor(request), Path(path))
        settings = restored.settings
        said = ["Photo, marks and settings are back. Remove the reflection when they suit you."]
        if restored.missing is not None:
            said.append(
                f"The adapter {restored.missing} is not offered here; {Path(settings.adapter).name} is used now."
            )
        shown = (settings.strength, settings.octaves, settings.mirrored, settings.adapter)
        return _on_canvas(restored.photo, restored.marks), *shown, note(*said)

    def check(
        self,
        request: gr.Request,
        marks: dict[str, Any] | None,
        strength: float,
        octaves: float,
        mirrored: bool,
        adapter: str | None = None,
    ) -> tuple[Any, ...]:
        """Before anything is queued -> progress, the two buttons."""
        visitor = self._visitor(request)
        with told():
            if visitor.removal is not None:
                raise MagicGenError("A reflection is being removed; wait for it, or stop it.")
            values: dict[str, Any] = {"strength": float(strength), "octaves": int(octaves), "mirrored": bool(mirrored)}
            values |= {"adapter": adapter} if adapter else {}
            visitor.cleaning = self.desk.prepare(visitor, marks, self.desk.settings(values))
        visitor.removal = CancelToken()
        return note("Waiting for the model ..."), gr.update(interactive=False), gr.update(interactive=True)

    def run(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """The removal that was checked -> progress, the answer so far, what shows a result, history."""
        visitor = self._visitor(request)
        waiting, token = visitor.cleaning, visitor.removal
        visitor.cleaning = None
        hidden, kept = gr.update(visible=False), (gr.skip(),) * (RESULTS + 1)
        if waiting is None or token is None or token.cancelled:
            visitor.removal = None
            yield note("Stopped before it began."), hidden, *kept
            return
        last = ProgressEvent("Starting", 0)
        try:
            for event in self.desk.run(waiting, token):
                if isinstance(event, Done):
                    visitor.cleaned.insert(0, event.value)
                    history = [(str(each.poster), each.caption) for each in visitor.cleaned]
                    yield note("Done."), hidden, *_shown(event.value), history
                else:
                    last = event
                    seen = event.preview
                    live = gr.skip() if seen is None else gr.update(value=shrunk(seen, LIVE_SIDE), visible=True)
                    yield progress_bar(event), live, *kept
        except Cancelled:
            yield note(f"Stopped: {where(last)}."), hidden, *kept
        except MagicGenError as error:
            yield note(in_words(error), kind="wrong"), hidden, *kept
        finally:
            visitor.removal = None
            self.visitors.ended(visitor)

    def stop(self, request: gr.Request) -> str:
        """The Stop button -> progress."""
        return note("Stopping ..." if self._visitor(request).stop_removal() else "Nothing is running.")

    def open(self, event: gr.SelectData, request: gr.Request) -> tuple[Any, ...]:
        """A click in the history -> what shows a result."""
        return _shown(self._visitor(request).cleaned[int(event.index)])

    def _start(self, request: gr.Request, path: Path) -> Any:
        with told():
            photo = self.desk.take(self._visitor(request), path)
        return _on_canvas(photo, NO_MARKS)

    def _visitor(self, request: gr.Request) -> Visitor:
        return self.visitors.of(request.session_hash)


def _on_canvas(photo: Photo, marks: dict[str, Any]) -> Any:
    return gr.update(picture=photo.as_property(), value=marks)


def _shown(made: Cleaned) -> tuple[Any, ...]:
    """Slider, layer, facts, files; what the marks were taken to mean: its place, picture, words."""
    layer = gr.update(visible=False)
    if made.reflection is not None:
        layer = gr.update(value=shrunk(read_image(made.reflection)), visible=True)
    guide = None if made.guide is None else read_image(made.guide)
    meant = gr.update(visible=guide is not None), guide, note(made.followed, LEGEND)
    return shown_before_after(made), layer, note(*made.facts), [str(path) for path in made.files], *meant
