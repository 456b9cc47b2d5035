"""The Story tab: where its parts stand and what calls what."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from magicgen.control.story import FACINGS
from magicgen.jobs.story import StorySettings
from magicgen.jobs.story_painter import StoryFacts
from magicgen.ui.canvas import make_canvas
from magicgen.ui.costs import costs_table
from magicgen.ui.look import heading
from magicgen.ui.story_desk import StoryDesk
from magicgen.ui.story_form import FIELDS, make_story_form
from magicgen.ui.story_handlers import StoryHandlers
from magicgen.ui.story_rows import BALLOON_HEADERS, CAST_HEADERS, PANEL_HEADERS, SUBJECT_HEADERS
from magicgen.ui.story_view import PANEL_PARTS, WHOLE_PARTS
from magicgen.ui.told import note
from magicgen.ui.visitors import Visitors
from magicgen.ui.wiring import AT_ONCE, MODEL_QUEUE, PICTURES, PLAIN, QUIET, SURE

HINT = "Write a tale, or choose an example, and plan its panels."
PANEL_WIDTHS = (6, 48, 24, 11, 11)
SUBJECT_WIDTHS = (5, 13, 27, 10, 9, 9, 9, 9, 9)
JOINTS_HINT = "What the model is shown. Download them, move some in the file and send it back."
DRAWS = {"sketch": "Draw sketches", "keypoints": "Draw joints"}
UNPLANNED = '<p class="mg-unplanned">The plan, its boxes and its sketches will stand here.</p>'


class StoryTab:
    """Builds the tab; :meth:`build` is called inside its ``gr.Tab``.

    Args:
        desk: does the work.
        visitors: whose work it is.
        tales: example tales.
        models: facts of those on offer; the first is the default.
    """

    name = "Story"

    def __init__(
        self, desk: StoryDesk, visitors: Visitors, tales: Sequence[Path], models: Sequence[StoryFacts]
    ) -> None:
        self._on = StoryHandlers(desk, visitors, tales)
        self._models = models
        self._parts: dict[str, gr.components.Component] = {}

    def build(self) -> None:
        """Make all components and connect them."""
        with gr.Row(elem_classes=["mg-desk"]):
            with gr.Column(scale=3, min_width=320):
                self._tale_side()
            with gr.Column(scale=2, min_width=320):
                self._run_side()
        self._the_book()
        self._parts["notes"] = gr.HTML(UNPLANNED, elem_id="story-notes", **PLAIN)
        # Hidden by the page's style until there is a plan: parts that gradio hides forget what they were told.
        with gr.Column(elem_classes=["mg-planned", "mg-card"]):
            gr.HTML(heading("The plan", "Every cell can be changed."), **PLAIN)
            self._whole_plan()
        with gr.Column(elem_classes=["mg-planned", "mg-card"]):
            gr.HTML(heading("One panel", "Move the boxes, then make it again."), **PLAIN)
            self._one_panel()
        self._history = self._gallery("Your books (this visit)", "story-history", height=220, visible=False)
        self._connect_plan()
        self._connect_edits()
        self._connect_sketches()
        self._connect_runs()

    def _tale_side(self) -> None:
        tales = [(_named(path), index) for index, path in enumerate(self._on.tales)]
        gr.HTML(heading("Tell it", "A tale becomes panels: boxes first, then sketches, then pictures."), **PLAIN)
        with gr.Row():
            self._example = gr.Dropdown(tales, value=None, label="Example tales", elem_id="story-example")
            self._load = gr.UploadButton(
                "Load a tale, plan or book", file_types=[".txt", ".md", ".yaml", ".yml", ".json"], elem_id="story-load"
            )
        self._tale = gr.Textbox(
            label="The tale",
            lines=11,
            max_lines=20,
            max_length=40_000,
            placeholder="A red fox named Ruby walked in the forest. ...",
            elem_id="tale",
        )
        self._plan = gr.Button("Plan the panels", variant="primary", elem_id="story-plan")

    def _run_side(self) -> None:
        gr.HTML(heading("Draw it", "Sketches or joints first, or straight to the pictures."), **PLAIN)
        self._form = make_story_form(StorySettings(), self._models)
        self._costs()
        with gr.Row(elem_classes=["mg-actions"]):
            self._sketch = gr.Button("Draw sketches", size="md", elem_id="story-sketch", min_width=140)
            self._make = gr.Button("Make pictures", variant="primary", size="md", elem_id="story-make", min_width=120)
            self._stop = gr.Button(
                "Stop", variant="stop", interactive=False, size="md", elem_id="story-stop", min_width=80
            )
        self._progress = gr.HTML(note(HINT), elem_id="story-progress", min_height=70)
        self._live = gr.Image(
            label="The picture so far", visible=False, interactive=False, height=260, buttons=[], elem_id="story-live"
        )

    def _costs(self) -> None:
        """What the models on offer take, where that was measured."""
        table = costs_table("story", self._on.desk.models)
        if table:
            with gr.Accordion("What the models cost", open=False):
                gr.HTML(table)

    def _the_book(self) -> None:
        parts = self._parts
        with gr.Row(visible=False) as book:
            with gr.Column(scale=3, min_width=320):
                parts["pages"] = gr.Gallery(
                    label="Pages",
                    preview=True,
                    buttons=["download", "fullscreen"],
                    height=520,
                    object_fit="contain",
                    interactive=False,
                    elem_id="story-pages",
                )
            with gr.Column(scale=2, min_width=320):
                parts["facts"] = gr.HTML(elem_id="story-facts")
                parts["files"] = gr.File(
                    label="PDF, CBZ, and story.json to go on later",
                    file_count="multiple",
                    interactive=False,
                    elem_id="story-files",
                )
        self._book = book

    def _whole_plan(self) -> None:
        self._parts["title"] = gr.Textbox(label="Title", max_length=200, elem_id="story-title")
        self._parts["panels"] = _table("Panels", PANEL_HEADERS, ["number", *["str"] * 4], "story-panels", PANEL_WIDTHS)
        with gr.Accordion("Characters", open=False):
            self._parts["cast"] = _table("Characters", CAST_HEADERS, ["str", "str"], "story-cast", (25, 75))
            self._parts["sheets"] = self._gallery(
                "Character sheets: front, side, back", "story-sheets", height=200, late=True
            )
            with gr.Row():
                self._parts["someone"] = gr.Dropdown([], label="Character", elem_id="story-someone")
                self._reference = gr.UploadButton(
                    "Use a picture of this character", file_types=PICTURES, elem_id="story-reference"
                )

    def _one_panel(self) -> None:
        with gr.Row():
            self._parts["choice"] = gr.Radio([], label="Panel", elem_id="story-choice")
            self._add = gr.Button("Add one like it", elem_id="story-add", min_width=120)
            self._delete = gr.Button("Delete it", elem_id="story-delete", min_width=120)
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                self._parts["canvas"] = make_canvas("layout", frames=1, elem_id="story-canvas")
            with gr.Column(scale=2, min_width=320):
                self._parts["picture"] = gr.Image(
                    label="The panel",
                    visible=False,
                    interactive=False,
                    buttons=["download", "fullscreen"],
                    elem_id="story-picture",
                )
                with gr.Row():
                    self._panel_seed = gr.Number(
                        0, label="Seed", info="0 draws one", precision=0, minimum=0, elem_id="story-panel-seed"
                    )
                    self._again = gr.Button("Make this panel again", elem_id="story-again")
        shown = f"Who is seen (faces {', '.join(FACINGS)}; box from 0 to 1)"
        kinds = ["number", *["str"] * 4, *["number"] * 4]
        self._parts["subjects"] = _table(shown, SUBJECT_HEADERS, kinds, "story-subjects", SUBJECT_WIDTHS)
        with gr.Accordion("What is said", open=False):
            self._parts["balloons"] = _table(
                "Balloons: speech or thought", BALLOON_HEADERS, ["str"] * 3, "story-balloons", (20, 60, 20), fixed=0
            )
        with gr.Column(elem_classes=["mg-of-sketch"]):
            self._sketch_tools()
        with gr.Column(elem_classes=["mg-of-joints"]):
            self._joint_tools()

    def _sketch_tools(self) -> None:
        # Never folded away: a drawing area that is set before it was ever shown forgets its tools.
        gr.HTML(heading("Sketches", "What the model is shown. Draw over it to say it better.", level=3), **PLAIN)
        self._parts["sketches"] = self._gallery("What the model is shown", "story-sketches", height=220, late=True)
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                self._parts["pen"] = make_canvas("pen", elem_id="story-pen")
            with gr.Column(scale=2, min_width=320):
                self._parts["who"] = gr.Dropdown([], label="Draw", elem_id="story-who")
                self._draw = gr.Button("Use this drawing", elem_id="story-draw")
                self._upload = gr.UploadButton("Send a drawing", file_types=PICTURES, elem_id="story-upload")
                self._drop = gr.Button("Let the model draw it", elem_id="story-drop")

    def _joint_tools(self) -> None:
        """In the place of the sketches where joints are the dense condition."""
        gr.HTML(heading("Joints", JOINTS_HINT, level=3), **PLAIN)
        self._parts["skeletons"] = self._gallery("What the model is shown", "story-skeletons", height=220, late=True)
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                self._parts["skeleton"] = gr.Image(
                    label="Alone, with a line at every tenth",
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="story-skeleton",
                    elem_classes=["mg-late"],
                )
            with gr.Column(scale=2, min_width=320):
                self._parts["whose"] = gr.Dropdown([], label="Whose joints", elem_id="story-whose")
                self._parts["joints"] = gr.DownloadButton(
                    "Download the joints", interactive=False, elem_id="story-joints"
                )
                self._send = gr.UploadButton("Send joints", file_types=[".json"], elem_id="story-send-joints")
                self._reread = gr.Button("Let the model read them", elem_id="story-read-joints")

    def _connect_plan(self) -> None:
        on = self._on
        self._example.input(on.choose_tale, self._example, self._tale, **QUIET)
        outputs = [self._tale, *self._form, self._progress, *self._view]
        self._load.upload(on.load_file, self._load, outputs, **QUIET)
        self._plan.click(
            on.plan,
            [self._tale, *self._form],
            [self._form[0], self._progress, *self._view],
            api_visibility="private",
            concurrency_limit=2,
            show_progress="full",
            show_progress_on=self._progress,
        )

    def _connect_edits(self) -> None:
        on, parts = self._on, self._parts
        tables = {"panels": on.edit_panels, "cast": on.edit_cast}
        for name, handler in tables.items():
            parts[name].input(handler, parts[name], self._view, **QUIET)
        of_one = {"subjects": on.edit_subjects, "balloons": on.edit_balloons}
        for name, edit in of_one.items():
            parts[name].input(edit, [parts[name], parts["choice"]], self._view, **QUIET)
        parts["title"].blur(on.edit_title, parts["title"], self._view, **QUIET)
        parts["canvas"].input(on.edit_boxes, parts["canvas"], self._view, **QUIET, trigger_mode="always_last")
        parts["choice"].input(on.show_panel, parts["choice"], self._of(PANEL_PARTS), **QUIET)
        self._add.click(on.add_panel, None, self._view, **QUIET)
        self._delete.click(on.delete_panel, None, self._view, **QUIET)

    def _connect_sketches(self) -> None:
        on, parts, view = self._on, self._parts, self._view
        parts["who"].input(on.paper, parts["who"], parts["pen"], **QUIET)
        self._draw.click(on.use_drawing, [parts["who"], parts["pen"]], view, **QUIET)
        self._upload.upload(on.use_picture, [self._upload, parts["who"]], view, **QUIET)
        self._drop.click(on.drop_sketch, parts["who"], view, **QUIET)
        parts["whose"].input(on.skeleton, parts["whose"], self._of(("skeleton", "joints")), **QUIET)
        self._send.upload(on.use_joints, [self._send, parts["whose"]], view, **QUIET)
        self._reread.click(on.drop_joints, parts["whose"], view, **QUIET)
        condition = self._form[FIELDS.index("condition")]
        condition.change(lambda name: gr.update(value=DRAWS[name]), condition, self._sketch, **SURE)
        self._reference.upload(on.use_reference, [self._reference, parts["someone"]], view, **QUIET)

    def _connect_runs(self) -> None:
        on, parts = self._on, self._parts
        buttons = [self._make, self._sketch, self._again, self._stop]
        heard = [self._progress, *buttons]
        results = [self._history, *self._view]
        one = [parts["choice"], self._panel_seed, *self._form]
        for start in (
            self._make.click(on.check_pages, self._form, heard, **AT_ONCE),
            self._sketch.click(on.check_sketches, self._form, heard, **AT_ONCE),
            self._again.click(on.check_panel, one, heard, **AT_ONCE),
        ):
            self._follow(start, results, buttons)
        self._stop.click(on.stop, None, self._progress, **SURE)
        opened = [self._tale, *self._form, self._progress, *self._view]
        self._history.select(on.open, None, opened, **QUIET)

    def _follow(self, start: Any, results: list[Any], buttons: list[gr.Button]) -> None:
        running = start.success(
            self._on.run,
            None,
            [self._progress, self._live, *results],
            api_visibility="private",
            concurrency_id=MODEL_QUEUE,
            concurrency_limit=1,
            show_progress="full",
            show_progress_on=self._progress,
        )
        on, off = gr.update(interactive=True), gr.update(interactive=False)
        running.then(lambda: (on, on, on, off), None, buttons, **SURE)

    @property
    def _view(self) -> list[Any]:
        """In the order of a :class:`~magicgen.ui.story_view.StoryView`, which begins with the row of the book."""
        return [self._book, *self._of((*WHOLE_PARTS[1:], *PANEL_PARTS))]

    def _of(self, names: Sequence[str]) -> list[gr.components.Component]:
        return [self._parts[name] for name in names]

    @staticmethod
    def _gallery(label: str, elem_id: str, height: int, *, visible: bool = True, late: bool = False) -> gr.Gallery:
        return gr.Gallery(
            label=label,
            columns=6,
            height=height,
            object_fit="contain",
            interactive=False,
            allow_preview=False,
            buttons=[],
            visible=visible,
            elem_id=elem_id,
            elem_classes=["mg-strip", *(["mg-late"] if late else [])],
        )


def _named(path: Path) -> str:
    return path.stem.replace("_", " ").capitalize()


def _table(
    label: str, headers: list[str], kinds: list[str], elem_id: str, widths: Sequence[int], *, fixed: int = 1
) -> gr.Dataframe:
    """An editable table with columns of these widths (per cent); the first ``fixed`` only say what a row is about."""
    return gr.Dataframe(
        headers=headers,
        datatype=kinds,
        column_count=len(headers),
        type="array",
        interactive=True,
        wrap=True,
        column_widths=[f"{width}%" for width in widths],
        label=label,
        static_columns=list(range(fixed)),
        elem_id=elem_id,
    )
