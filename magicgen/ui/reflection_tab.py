"""The tab that removes reflections: automatic result first, then marks, then the photo at its full size."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from magicgen.control.guide import Prompt, RemovalGuide, SegmentRegion
from magicgen.control.guide_file import guide_from_json
from magicgen.errors import ConfigError, GuideError, MagicGenError, MediaError
from magicgen.jobs.dereflect import (
    DereflectSettings,
    PreparedRemoval,
    RemovalResult,
    load_removal,
    prepare_removal,
    removal_key,
    remove_reflection,
)
from magicgen.media import read_image
from magicgen.progress import Cancelled, CancelToken, ProgressEvent, Report, duration
from magicgen.segmentation.protocol import Bools
from magicgen.ui.canvas import make_canvas
from magicgen.ui.outlines import Outline
from magicgen.ui.photos import inside, shrunk, take_photo
from magicgen.ui.shelf import Shelf
from magicgen.ui.told import in_words, note, progress_bar, told, where
from magicgen.ui.visitors import Visitor, Visitors
from magicgen.ui.wiring import AT_ONCE, MODEL_QUEUE, PICTURES, QUIET, SURE
from magicgen.ui.work import Done, watch


@dataclass(frozen=True)
class ReflectionTab:
    """Builds the tab; :meth:`build` is called inside its ``gr.Tab``.

    Attributes:
        shelf: where the model is kept.
        visitors: whose work it is; their photo here is another than in other tabs.
        uploads: the only folder in which a path that a browser names is opened.
        outline: finds what a click means.
        settings: model and adapter.
    """

    shelf: Shelf
    visitors: Visitors
    uploads: Path
    outline: Outline | None
    settings: DereflectSettings
    name: str = "Remove reflection"

    def build(self) -> None:
        """Make all components and connect them."""
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                with gr.Row():
                    photo = gr.UploadButton(
                        "Choose a photo", file_types=PICTURES, variant="primary", elem_id="reflection-photo"
                    )
                    guide = gr.UploadButton("Import marks", file_types=[".json"], elem_id="reflection-import")
                canvas = make_canvas("guide", elem_id="reflection-canvas")
            with gr.Column(scale=2, min_width=320):
                strength = gr.Slider(0.0, 1.0, value=1.0, step=0.05, label="Strength", elem_id="strength")
                with gr.Row():
                    start = gr.Button("Remove the reflection", variant="primary", elem_id="reflection-generate")
                    stop = gr.Button("Stop", variant="stop", elem_id="reflection-stop")
                hint = "Choose a photo: the automatic result comes at once. Then mark what is left."
                progress = gr.HTML(note(hint), elem_id="reflection-progress", min_height=70)
                slider = gr.ImageSlider(label="Before and after", interactive=False, elem_id="before-after")
                layer = gr.Image(label="The reflection that was taken away", interactive=False, visible=False)
                files = gr.File(
                    label="Photo at full size, layers, settings",
                    file_count="multiple",
                    interactive=False,
                    elem_id="reflection-files",
                )
        outputs = [progress, slider, layer, files]
        heavy = {"concurrency_id": MODEL_QUEUE, "concurrency_limit": 1, "api_visibility": "private"}
        shown: dict[str, Any] = {"show_progress": "full", "show_progress_on": progress}
        taken = [photo.upload(self._take, photo, canvas, **QUIET), canvas.photo(self._drop, None, canvas, **QUIET)]
        for event in taken:
            event.success(self._remove, [canvas, strength], outputs, **heavy, **shown)
        start.click(self._check, [canvas, strength], progress, **AT_ONCE).success(
            self._remove, [canvas, strength], outputs, **heavy, **shown
        )
        guide.upload(self._import, guide, canvas, **QUIET)
        stop.click(self._stop, None, progress, **SURE)

    def _take(self, path: str, request: gr.Request) -> Any:
        return self._start(self._visitor(request), Path(path))

    def _drop(self, event: gr.EventData, request: gr.Request) -> Any:
        with told():
            path = inside(str(event._data.get("path", "")), self.uploads)
        return self._start(self._visitor(request), path)

    def _start(self, visitor: Visitor, path: Path) -> Any:
        with told():
            folder = visitor.folder / "reflection"
            folder.mkdir(exist_ok=True)
            visitor.mirror = take_photo(path, folder)
        return gr.update(picture=visitor.mirror.as_property(), value={"version": 1, "marks": []})

    def _import(self, path: str) -> Any:
        with told():
            document = _json_file(Path(path))
            read_marks(document)
        return gr.update(value=document)

    def _check(self, request: gr.Request, marks: dict[str, Any] | None, strength: float) -> str:
        with told():
            self._prepare(self._visitor(request), marks, strength)
        return note("Waiting for the model ...")

    def _remove(
        self, request: gr.Request, marks: dict[str, Any] | None, strength: float
    ) -> Iterator[tuple[Any, Any, Any, Any]]:
        visitor = self._visitor(request)
        token = visitor.removal = CancelToken()
        last = ProgressEvent("Starting", 0)
        try:
            prepared = self._prepare(visitor, marks, strength)
            for event in watch(lambda report: self._work(visitor, prepared, report, token), token):
                if isinstance(event, Done):
                    yield self._finished(visitor, event.value)
                else:
                    last = event
                    yield progress_bar(event), gr.skip(), gr.skip(), gr.skip()
        except Cancelled:
            yield note(f"Stopped: {where(last)}."), gr.skip(), gr.skip(), gr.skip()
        except MagicGenError as error:
            yield note(in_words(error), kind="wrong"), gr.skip(), gr.skip(), gr.skip()
        finally:
            visitor.removal = None

    def _prepare(self, visitor: Visitor, marks: dict[str, Any] | None, strength: float) -> PreparedRemoval:
        if visitor.mirror is None:
            raise MediaError("There is no photo yet. Choose one, or drop one onto the drawing area.")
        guide = RemovalGuide() if not marks else read_marks(marks)
        suffix = (
            visitor.mirror.path.suffix if visitor.mirror.path.suffix in (".jpg", ".jpeg", ".tif", ".tiff") else ".png"
        )
        settings = self.settings.model_copy(update={"strength": float(strength), "layers": True})
        return prepare_removal(visitor.mirror.path, guide, visitor.place(suffix), settings)

    def _work(self, visitor: Visitor, prepared: PreparedRemoval, report: Report, token: CancelToken) -> RemovalResult:
        report(ProgressEvent("Loading the model", 0))
        pipeline, load_s = self.shelf.get("dereflect", removal_key(prepared), lambda: load_removal(prepared))
        return remove_reflection(
            prepared, pipeline, segment=self._segment(visitor), load_s=load_s, report=report, cancel=token
        )

    def _segment(self, visitor: Visitor) -> SegmentRegion | None:
        outline = self.outline
        if visitor.mirror is None or outline is None:
            return None
        picture = visitor.mirror.shown

        def ask(prompt: Prompt) -> Bools:
            return outline(picture, prompt.box, list(prompt.points))

        return ask

    def _finished(self, visitor: Visitor, result: RemovalResult) -> tuple[Any, Any, Any, Any]:
        assert visitor.mirror is not None
        after = shrunk(read_image(result.image))
        share = 100 * float(result.measured.get("changed_share", 0))
        text = f"Done in {duration(result.timings['solve_s'])}; {share:.0f} % of the pixels changed."
        files = [str(path) for path in (result.image, result.reflection, result.mask, result.sidecar) if path]
        layer = gr.update(visible=False)
        if result.reflection is not None:
            layer = gr.update(value=shrunk(read_image(result.reflection)), visible=True)
        return note(text), (visitor.mirror.shown, after), layer, files

    def _stop(self, request: gr.Request) -> str:
        return note("Stopping ..." if self._visitor(request).stop_removal() else "Nothing is running.")

    def _visitor(self, request: gr.Request) -> Visitor:
        return self.visitors.of(request.session_hash)


def read_marks(document: Any) -> RemovalGuide:
    """Marks from a browser, which hold their masks: a path in them would be one on the server.

    Raises:
        GuideError: a path, or anything that no guide holds.
    """
    marks = document.get("marks") if isinstance(document, dict) else None
    if isinstance(marks, list) and any(isinstance(mark, dict) and isinstance(mark.get("mask"), str) for mark in marks):
        raise GuideError("A mark names a mask file; here a mask must be in the marks themselves (a COCO RLE).")
    return guide_from_json(document, "marks", Path())


def _json_file(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path.name} cannot be read as JSON ({str(error)[:100]}).") from None
