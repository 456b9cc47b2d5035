"""The tab that removes reflections: automatic result first, then marks, then the photo at its full size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from magicgen.ui.canvas import make_canvas
from magicgen.ui.costs import costs_table
from magicgen.ui.look import heading
from magicgen.ui.reflection_desk import ReflectionDesk
from magicgen.ui.reflection_handlers import ReflectionHandlers
from magicgen.ui.told import note
from magicgen.ui.visitors import Visitors
from magicgen.ui.wiring import AT_ONCE, MODEL_QUEUE, PICTURES, PLAIN, QUIET, SURE, history_gallery

HINT = "Choose a photo: the automatic result comes at once. Then mark what is left."


class ReflectionTab:
    """Builds the tab; :meth:`build` is called inside its ``gr.Tab``.

    Args:
        desk: does the work.
        visitors: whose work it is; their photo here is another than in other tabs.
        uploads: the only folder in which a path that a browser names is opened.
        examples: photos taken through glass.
    """

    name = "Remove reflection"

    def __init__(self, desk: ReflectionDesk, visitors: Visitors, uploads: Path, examples: Sequence[Path]) -> None:
        self._desk, self._examples = desk, examples
        self._on = ReflectionHandlers(desk, visitors, uploads, examples)

    def build(self) -> None:
        """Make all components and connect them."""
        with gr.Row(elem_classes=["mg-desk"]):
            with gr.Column(scale=3, min_width=320):
                self._left()
            with gr.Column(scale=2, min_width=320, elem_classes=["mg-right"]):
                self._right()
        self._history = history_gallery("Your photos (this visit)", "reflection-history")
        self._connect()

    def _left(self) -> None:
        gr.HTML(heading("A photo through glass", "The automatic result comes first; marks make it better."), **PLAIN)
        with gr.Row(elem_classes=["mg-actions"]):
            self._photo = gr.UploadButton(
                "Choose a photo", file_types=PICTURES, variant="primary", size="md", elem_id="reflection-photo"
            )
            self._reuse = gr.UploadButton("Load settings", file_types=[".json"], size="md", elem_id="reflection-reuse")
            self._import = gr.UploadButton("Import marks", file_types=[".json"], size="md", elem_id="reflection-import")
        self._canvas = make_canvas("guide", elem_id="reflection-canvas")
        if self._examples:
            gr.HTML(heading("Or start with an example", level=3), **PLAIN)
            self._gallery = gr.Gallery(
                [(str(path), path.stem.replace("_", " ")) for path in self._examples],
                show_label=False,
                container=False,
                columns=len(self._examples),
                height=118,
                object_fit="cover",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_id="reflection-examples",
                elem_classes=["mg-row"],
            )

    def _right(self) -> None:
        defaults = self._desk.defaults
        gr.HTML(heading("Look behind it", "Drag the handle between before and after."), **PLAIN)
        strength = gr.Slider(0.0, 1.0, value=defaults.strength, step=0.05, label="Strength", elem_id="strength")
        with gr.Accordion("Model and quality", open=False):
            offered = [(Path(name).name, name) for name in self._desk.adapters]
            beneath = f"on {Path(defaults.model).name}, with dense attention"
            adapter = gr.Dropdown(offered, value=defaults.adapter, label="Adapter", info=beneath, elem_id="adapter")
            octaves = gr.Slider(
                0, 4, value=defaults.octaves, step=1, label="Refinements", info="each doubles the working size"
            )
            mirrored = gr.Checkbox(defaults.mirrored, label="Average with the mirror image", info="twice the time")
            table = costs_table("dereflect", self._desk.adapters)
            if table:
                gr.HTML(table)
        self._settings = [strength, octaves, mirrored, adapter]
        with gr.Row(elem_classes=["mg-actions"]):
            self._start = gr.Button(
                "Remove the reflection", variant="primary", size="lg", elem_id="reflection-generate"
            )
            self._stop = gr.Button("Stop", variant="stop", size="lg", interactive=False, elem_id="reflection-stop")
        self._progress = gr.HTML(note(HINT), elem_id="reflection-progress", min_height=70)
        self._live = gr.Image(
            label="The answer so far", visible=False, interactive=False, buttons=[], elem_id="reflection-live"
        )
        self._result()

    def _result(self) -> None:
        """Nothing is seen of it before there is a result; and of what marks mean, only where there are marks."""
        with gr.Column(elem_classes=["mg-result"]):
            self._slider = gr.ImageSlider(label="Before and after", interactive=False, elem_id="before-after")
            self._facts = gr.HTML(elem_id="reflection-facts", elem_classes=["mg-facts"])
            self._layer = gr.Image(
                label="The reflection that was taken away",
                interactive=False,
                visible=False,
                buttons=["download", "fullscreen"],
                elem_id="reflection-layer",
            )
            with gr.Accordion(
                "What the marks were taken to mean", visible=False, elem_id="reflection-meant"
            ) as self._meant:
                self._followed = gr.HTML(elem_id="reflection-followed")
                self._guide = gr.Image(
                    show_label=False, interactive=False, buttons=["fullscreen"], elem_id="reflection-guide"
                )
            self._files = gr.File(
                label="Photo at full size, layers, settings",
                file_count="multiple",
                interactive=False,
                elem_id="reflection-files",
            )

    def _connect(self) -> None:
        on, canvas = self._on, self._canvas
        taken = [
            self._photo.upload(on.choose_photo, self._photo, canvas, **QUIET),
            canvas.photo(on.drop_photo, None, canvas, **QUIET),
        ]
        if self._examples:
            taken.append(self._gallery.select(on.show_example, None, canvas, **QUIET))
        buttons = [self._start, self._stop]
        inputs, heard = [canvas, *self._settings], [self._progress, *buttons]
        for event in taken:  # the automatic result
            self._follow(event.success(on.check, inputs, heard, **AT_ONCE), buttons)
        self._follow(self._start.click(on.check, inputs, heard, **AT_ONCE), buttons)
        self._import.upload(on.import_marks, self._import, canvas, **QUIET)
        self._reuse.upload(on.restore, self._reuse, [canvas, *self._settings, self._progress], **QUIET)
        self._stop.click(on.stop, None, self._progress, **SURE)
        self._history.select(on.open, None, self._results, **AT_ONCE)

    def _follow(self, checked: Any, buttons: list[gr.Button]) -> None:
        running = checked.success(
            self._on.run,
            None,
            [self._progress, self._live, *self._results, self._history],
            api_visibility="private",
            concurrency_id=MODEL_QUEUE,
            concurrency_limit=1,
            show_progress="full",
            show_progress_on=self._progress,
        )
        running.then(lambda: (gr.update(interactive=True), gr.update(interactive=False)), None, buttons, **SURE)

    @property
    def _results(self) -> list[Any]:
        return [self._slider, self._layer, self._facts, self._files, self._meant, self._guide, self._followed]
