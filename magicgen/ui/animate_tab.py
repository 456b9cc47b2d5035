"""The Animate tab: where its parts stand and what calls what."""

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from magicgen.jobs.animate import AnimateSettings
from magicgen.ui.animate_desk import AnimateDesk
from magicgen.ui.animate_handlers import AnimateHandlers
from magicgen.ui.canvas import make_canvas, wish_frames
from magicgen.ui.costs import costs_table
from magicgen.ui.examples import Example
from magicgen.ui.form import Choices, Form, make_form
from magicgen.ui.look import heading
from magicgen.ui.told import note
from magicgen.ui.visitors import Visitors
from magicgen.ui.wiring import AT_ONCE, MODEL_QUEUE, PICTURES, PLAIN, QUIET, SURE, history_gallery

# Settings that change what the preview shows or costs.
PREVIEWED = ("level", "frames", "height", "width", "steps", "guidance", "fps", "model", "attention")


class AnimateTab:
    """Builds the tab; :meth:`build` is called inside its ``gr.Tab``."""

    name = "Animate"

    def __init__(
        self,
        desk: AnimateDesk,
        visitors: Visitors,
        uploads: Path,
        examples: Sequence[Example],
        choices: Choices,
        defaults: AnimateSettings,
    ) -> None:
        self._desk, self._visitors, self._uploads, self._examples = desk, visitors, uploads, examples
        self._choices, self._defaults = choices, defaults

    def build(self) -> None:
        """Make all components and connect them."""
        with gr.Row(elem_classes=["mg-desk"]):
            with gr.Column(scale=3, min_width=320):
                canvas, form, lock = self._left()
            with gr.Column(scale=2, min_width=320, elem_classes=["mg-right"]):
                self._right()
        self._canvas, self._form, self._lock = canvas, form, lock
        self._history = history_gallery("Your videos (this visit)", "history")
        self._on = AnimateHandlers(self._desk, self._visitors, self._uploads, self._examples, form)
        self._connect_input()
        self._connect_preview()
        self._connect_runs()

    def _left(self) -> tuple[gr.HTML, Form, gr.Checkbox]:
        frames = self._defaults.frames or 17
        gr.HTML(heading("Draw what moves", "Click on a thing or box it, then draw where it goes."), **PLAIN)
        with gr.Row(elem_classes=["mg-actions"]):
            self._photo = gr.UploadButton(
                "Choose a photo", file_types=PICTURES, variant="primary", size="md", elem_id="photo"
            )
            self._reuse = gr.UploadButton("Load settings", file_types=[".json"], size="md", elem_id="reuse")
        canvas = make_canvas("animate", frames=frames, segments=self._desk.outlines, elem_id="canvas")
        self._show_examples()
        form, lock = make_form(self._choices, self._defaults)
        with gr.Accordion("Move the camera", open=False):
            with gr.Row():
                zoom = gr.Slider(0.5, 2.0, value=1.0, step=0.05, label="Zoom")
                right = gr.Slider(-1.0, 1.0, value=0.0, step=0.05, label="To the right")
                down = gr.Slider(-1.0, 1.0, value=0.0, step=0.05, label="Down")
                turn = gr.Slider(-90, 90, value=0, step=5, label="Turn in degrees")
            self._camera = gr.Button("Add this camera move to the drawing", elem_id="camera")
            self._moves = [zoom, right, down, turn]
        with gr.Accordion("Trajectory files", open=False):
            with gr.Row(elem_classes=["mg-actions"]):
                self._import = gr.UploadButton(
                    "Import a trajectory", file_types=[".json", ".mp4", ".mov", ".webm"], size="md", elem_id="import"
                )
                self._export = gr.Button("Export trajectory.json and map video", size="md", elem_id="export")
            self._exported = gr.File(
                label="Exported", file_count="multiple", interactive=False, visible=False, elem_id="exported"
            )
        return canvas, form, lock

    def _show_examples(self) -> None:
        if not self._examples:
            return
        shown = [(str(example.photo), example.caption) for example in self._examples]
        gr.HTML(heading("Or start with an example", level=3), **PLAIN)
        self._gallery = gr.Gallery(
            shown,
            show_label=False,
            container=False,
            columns=len(shown),
            height=118,
            object_fit="cover",
            allow_preview=False,
            interactive=False,
            buttons=[],
            elem_id="examples",
            elem_classes=["mg-row"],
        )

    def _right(self) -> None:
        gr.HTML(heading("See it, then make it", "The preview is drawn by the code that feeds the model."), **PLAIN)
        self._overlay = gr.Video(
            label="What the model will be told",
            autoplay=True,
            loop=True,
            interactive=False,
            elem_id="overlay",
            elem_classes=["mg-late"],
        )
        self._estimate = gr.HTML(note("Draw something to see what the model will be told."), elem_id="estimate")
        self._costs()
        with gr.Row(elem_classes=["mg-actions"]):
            self._generate = gr.Button("Generate", variant="primary", size="lg", elem_id="generate")
            self._stop = gr.Button("Stop", variant="stop", size="lg", interactive=False, elem_id="stop")
        self._progress = gr.HTML(note("Ready when you are."), elem_id="progress", min_height=70)
        self._live = gr.Image(label="The state so far", visible=False, interactive=False, elem_id="live")
        with gr.Column(elem_classes=["mg-result"]):
            self._video = gr.Video(label="Result", autoplay=True, loop=True, interactive=False, elem_id="result")
            self._toggle = gr.Checkbox(False, label="Show the trajectory over the result", elem_id="toggle")
            self._facts = gr.HTML(elem_id="facts", elem_classes=["mg-facts"])
            self._files = gr.File(
                label="Video, overlay and settings", file_count="multiple", interactive=False, elem_id="files"
            )

    def _costs(self) -> None:
        """What the models on offer take, where that was measured."""
        table = costs_table("animate", self._choices.models)
        if table:
            with gr.Accordion("What models and attention plans cost", open=False):
                gr.HTML(table, elem_id="costs")

    def _connect_input(self) -> None:
        on, canvas, frames = self._on, self._canvas, self._form.parts["frames"]
        self._photo.upload(on.choose_photo, self._photo, canvas, **QUIET)
        canvas.photo(on.drop_photo, None, canvas, **QUIET)
        canvas.outline(on.find_object, None, canvas, **QUIET, concurrency_limit=2)
        self._import.upload(on.import_file, self._import, [canvas, frames], **QUIET)
        self._reuse.upload(on.restore, self._reuse, [canvas, self._lock, *self._form.components], **QUIET)
        frames.input(lambda count: gr.update(wish=wish_frames(count)), frames, canvas, **SURE)
        self._camera.click(on.move_camera, [canvas, frames, *self._moves], canvas, **QUIET)
        if self._examples:
            self._gallery.select(on.show_example, None, [canvas, frames, self._form.parts["level"]], **QUIET)

    def _connect_preview(self) -> None:
        changed = [self._canvas.input, self._canvas.change, *(self._form.parts[name].change for name in PREVIEWED)]
        inputs, outputs = [self._canvas, *self._form.components], [self._overlay, self._estimate]
        gr.on(changed, self._on.preview, inputs, outputs, **QUIET, trigger_mode="always_last", concurrency_limit=2)
        self._export.click(self._on.export, inputs, self._exported, **QUIET)

    def _connect_runs(self) -> None:
        on, buttons = self._on, [self._generate, self._stop]
        checked = self._generate.click(
            on.check,
            [self._canvas, self._lock, *self._form.components],
            [self._progress, self._form.parts["seed"], *buttons],
            **AT_ONCE,
        )
        results = [self._video, self._facts, self._files, self._history, self._toggle]
        running = checked.success(
            on.generate,
            None,
            [self._progress, self._live, *results],
            api_visibility="private",
            concurrency_id=MODEL_QUEUE,
            concurrency_limit=1,
            show_progress="full",
            show_progress_on=self._progress,
        )
        running.then(lambda: (gr.update(interactive=True), gr.update(interactive=False)), None, buttons, **SURE)
        self._stop.click(on.stop, None, self._progress, **SURE)
        self._toggle.input(on.toggle, self._toggle, self._video, **AT_ONCE)
        self._history.select(on.open, None, [*results[:3], self._toggle], **AT_ONCE)
