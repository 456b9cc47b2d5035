"""A tale as a book: planned, laid out, drawn and bound; every stage leaves files that can be edited and run again."""

import logging
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from magicgen.config import StrictModel
from magicgen.control.pages import PageFormat, draw_pages, typeface, write_cbz, write_pages, write_pdf
from magicgen.control.story import StoryPage, write_story
from magicgen.errors import GenerationFailed, MediaError, StoryError
from magicgen.jobs.animate import LEAST_FREE_BYTES, LIBRARIES, installed_version
from magicgen.jobs.story_adapters import CharacterAdapter, match_adapters, read_adapter, strange_base
from magicgen.jobs.story_book import Book, digest, digest_file
from magicgen.jobs.story_joints import JointReader, read_joints
from magicgen.jobs.story_painter import StoryFacts, load_painter, story_facts
from magicgen.jobs.story_plan import Planned, draw_layouts, make_plan
from magicgen.jobs.story_stages import Condition, Making, Painter, Studio
from magicgen.media import read_image, write_json
from magicgen.planning.chat import ChatPlanner, ChatSettings
from magicgen.planning.offline import OfflinePlanner
from magicgen.planning.protocol import Planner, PlanOptions
from magicgen.progress import CancelToken, ProgressEvent, Report, silent

VERSION = 1
Upto = Literal["plan", "boxes", "conditions", "panels", "pages"]
STAGES: tuple[Upto, ...] = get_args(Upto)
Positive = Annotated[int, Field(gt=0)]

_log = logging.getLogger(__name__)


class StorySettings(StrictModel):
    """What decides a book beside its tale. ``None`` means what suits the model.

    ``planner`` reads the tale: ``offline`` with rules, ``openai`` with a language model behind ``planner_url`` (the key
    comes from the environment); ``max_panels`` and ``max_subjects`` bound the plan; ``sketches`` and ``plates`` switch
    the dense conditions and the places that are made once; ``condition`` says what the dense conditions are: lines
    (``sketch``) or skeletons (``keypoints``); ``columns`` of the pages; ``font`` for all text;
    ``adapters`` of characters, each ``FOLDER`` or ``NAME=FOLDER``.
    """

    model: str = "tiny"
    planner: Literal["offline", "openai"] = "offline"
    planner_model: str | None = None
    planner_url: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.2
    planner_timeout: Annotated[float, Field(gt=0, le=3600)] = 60.0
    adapters: Annotated[tuple[str, ...], Field(max_length=8)] = ()
    style: Annotated[str, Field(max_length=200)] = ""
    max_panels: Annotated[int, Field(ge=1, le=48)] = 8
    max_subjects: Annotated[int, Field(ge=1, le=12)] | None = None
    height: Positive | None = None
    width: Positive | None = None
    steps: Annotated[int, Field(gt=0, le=1000)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    sketches: bool = True
    condition: Condition = "sketch"
    plates: bool = True
    columns: Annotated[int, Field(ge=1, le=4)] | None = None
    font: Path | None = None
    device: str | None = None
    stop_after: Upto = "pages"


@dataclass(frozen=True)
class PreparedStory:
    """A book that was checked and planned; drawing can start."""

    book: Book
    planned: Planned
    settings: StorySettings
    facts: StoryFacts
    story: Path
    only: tuple[int, ...]
    warnings: tuple[str, ...]
    plan_s: float
    adapters: tuple[CharacterAdapter, ...] = ()

    @property
    def page(self) -> StoryPage:
        """The story."""
        return self.planned.page

    @property
    def making(self) -> Making:
        """What decides the pictures."""
        settings, facts = self.settings, self.facts
        return Making(
            facts.identity,
            settings.height or facts.height,
            settings.width or facts.width,
            settings.seed,
            settings.steps,
            settings.sketches,
            settings.plates,
            {each.character: each.adapter.identity for each in self.adapters},
            settings.condition,
        )


@dataclass(frozen=True)
class StoryResult:
    """What a run wrote."""

    folder: Path
    plan: Path
    layouts: tuple[Path, ...] = ()
    panels: tuple[Path, ...] = ()
    pages: tuple[Path, ...] = ()
    pdf: Path | None = None
    cbz: Path | None = None
    sidecar: Path | None = None
    timings: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def prepare_story(
    story: Path,
    out: Path,
    settings: StorySettings,
    *,
    layout: Path | None = None,
    characters: Path | None = None,
    panel: int | None = None,
    panel_seed: int | None = None,
) -> PreparedStory:
    """Check everything that can be wrong, and plan; no model of pictures is loaded.

    Args:
        story: a tale (text), or a story file (.yaml, .json).
        out: the book's folder.
        settings: see :class:`StorySettings`.
        layout: a story file to use instead of planning.
        characters: a folder of characters, see :func:`magicgen.jobs.story_plan.read_characters`.
        panel: the only panel to make again, counted from 1.
        panel_seed: its new seed, written into the plan.

    Raises:
        MagicGenError: of the kind that fits; the message says how to mend it.
    """
    facts = story_facts(settings.model)
    _check_size(settings, facts)
    _check_condition(settings, facts)
    learned = [read_adapter(text) for text in settings.adapters]
    making_size = (settings.height or facts.height, settings.width or facts.width)
    options = PlanOptions(
        seed=settings.seed,
        max_panels=settings.max_panels,
        max_subjects=settings.max_subjects or facts.subjects,
        aspect=making_size[1] / making_size[0],
        style=settings.style,
        closed=facts.closed,
    )
    book = Book.open(out)
    if shutil.disk_usage(out).free < LEAST_FREE_BYTES:
        raise MediaError(f"The disk of {out} is full (less than 64 MiB free); make room or choose another folder.")
    started = time.perf_counter()
    planned = make_plan(book, story, layout, characters, _planner(settings, book), options, keep=panel is not None)
    spent = time.perf_counter() - started
    adapters = match_adapters(learned, planned.page)
    _check_joints(book, planned.page, settings)
    planned = _with_panel_seed(book, planned, panel, panel_seed)
    only = () if panel is None else (panel - 1,)
    warnings = (*planned.warnings, *_about_model(planned.page, facts), *strange_base(adapters, facts.folder))
    book.save()
    told = tuple(dict.fromkeys(warnings))
    return PreparedStory(book, planned, settings, facts, story, only, told, spent, adapters)


def load_story_painter(prepared: PreparedStory) -> Painter:
    """The model for a run; serves every run with the same :func:`story_key`.

    Raises:
        WeightsError: it is not there or damaged, or an adapter does not fit it.
    """
    painter = load_painter(prepared.facts, prepared.settings.device)
    for each in prepared.adapters:
        painter.load_character(each.adapter.folder, each.character)
    return painter


def story_key(prepared: PreparedStory) -> tuple[object, ...]:
    """Runs with equal keys can share a loaded model."""
    adapters = tuple((each.character, each.adapter.identity) for each in prepared.adapters)
    return ("story", prepared.facts.identity, prepared.settings.device, needs_painter(prepared), adapters)


def needs_painter(prepared: PreparedStory) -> bool:
    """Whether the run goes beyond plan and boxes."""
    return STAGES.index(prepared.settings.stop_after) > STAGES.index("boxes")


def run_story(
    prepared: PreparedStory,
    painter: Painter | None,
    *,
    load_s: float = 0.0,
    report: Report = silent,
    cancel: CancelToken | None = None,
) -> StoryResult:
    """Run the stages after the plan, each from the files that are there.

    Raises:
        progress.Cancelled: ``cancel`` was set; finished files stay and are used by the next run.
        GenerationFailed: out of memory, or the disk is full.
    """
    settings, book, page, making = prepared.settings, prepared.book, prepared.page, prepared.making
    timings = {"plan_s": prepared.plan_s, "load_s": load_s}
    upto = STAGES.index(settings.stop_after)
    layouts: list[Path] = []
    panels: list[Path] = []
    bound: _Bound = _Bound()
    warnings = list(prepared.warnings)
    try:
        if upto >= STAGES.index("boxes"):
            layouts = draw_layouts(book, page, making.height, making.width)
        if needs_painter(prepared):
            if painter is None:
                raise StoryError("These stages need a model; load one with load_story_painter.")
            studio = Studio(book, page, painter, making, report, cancel)
            panels = _draw(studio, prepared, upto, timings)
            warnings += studio.warnings
        if upto >= STAGES.index("pages"):
            started = time.perf_counter()
            bound = _bind(book, page, settings, report)
            warnings += bound.warnings
            timings["pages_s"] = time.perf_counter() - started
        told = tuple(dict.fromkeys(warnings))
        sidecar = write_json(book.sidecar, _sidecar(prepared, timings, told))
        book.save()
    except MemoryError:
        raise GenerationFailed(f"Out of memory at {making.height}x{making.width}; use a smaller --height.") from None
    except MediaError as error:
        raise GenerationFailed(str(error)) from error
    return StoryResult(
        book.folder, book.plan, tuple(layouts), tuple(panels), bound.pages, bound.pdf, bound.cbz, sidecar, timings, told
    )


@dataclass(frozen=True)
class _Bound:
    pages: tuple[Path, ...] = ()
    pdf: Path | None = None
    cbz: Path | None = None
    warnings: tuple[str, ...] = ()


def _draw(studio: Studio, prepared: PreparedStory, upto: int, timings: dict[str, float]) -> list[Path]:
    """Sheets, places, conditions and panels, with the seconds of each."""
    numbers: Sequence[int] = prepared.only or range(len(prepared.page.panels))
    made: list[Path] = []
    for name, stage in (("sheets", studio.sheets), ("plates", studio.plates), ("conditions", studio.conditions)):
        started = time.perf_counter()
        stage(numbers)
        timings[f"{name}_s"] = time.perf_counter() - started
    if upto >= STAGES.index("panels"):
        started = time.perf_counter()
        made = studio.panels(numbers)
        timings["panels_s"] = time.perf_counter() - started
    return made


def _bind(book: Book, page: StoryPage, settings: StorySettings, report: Report) -> _Bound:
    """Pages, PDF and CBZ of all panels that are there."""
    missing = [number + 1 for number in range(len(page.panels)) if not book.panel(number).is_file()]
    if missing:
        raise StoryError(
            f"The panels {', '.join(map(str, missing))} are not there yet; run once without --panel to make "
            "all of them."
        )
    report(ProgressEvent("Binding", 0, 1))
    pictures = {number: read_image(book.panel(number)) for number in range(len(page.panels))}
    faces = typeface(page, settings.font)
    form = PageFormat(columns=settings.columns)
    pages, warnings = draw_pages(page, pictures, faces, form)
    book.pages.mkdir(parents=True, exist_ok=True)
    for old in book.pages.glob("page-*.png"):
        old.unlink()
    paths = write_pages(book.pages, pages)
    if faces.missing:
        shown = " ".join(faces.missing[:12])
        warnings += (f"no font here can write {shown}; choose one with --font FILE",)
    cbz = write_cbz(book.folder / "book.cbz", paths, page.title)
    pdf: Path | None = None
    try:
        pdf = write_pdf(book.folder / "book.pdf", paths, page.title, form)
    except StoryError as error:
        warnings += (str(error),)
    report(ProgressEvent("Binding", 1, 1))
    return _Bound(tuple(paths), pdf, cbz, warnings)


def _planner(settings: StorySettings, book: Book) -> Planner:
    if settings.planner == "offline":
        return OfflinePlanner()
    return ChatPlanner(
        ChatSettings.from_environment(
            model=settings.planner_model,
            base_url=settings.planner_url,
            temperature=settings.temperature,
            timeout_s=settings.planner_timeout,
        ),
        cache=book.folder / "planning",
    )


def _with_panel_seed(book: Book, planned: Planned, panel: int | None, seed: int | None) -> Planned:
    """The plan with a panel's new seed, written back."""
    if panel is None:
        if seed is not None:
            raise StoryError("A panel's seed needs the panel: --panel N --seed S.")
        return planned
    page = planned.page
    if not 1 <= panel <= len(page.panels):
        raise StoryError(f"--panel {panel}: the story has the panels 1 to {len(page.panels)}.")
    if seed is None:
        return planned
    panels = list(page.panels)
    panels[panel - 1] = panels[panel - 1].model_copy(update={"seed": seed})
    changed = page.model_copy(update={"panels": tuple(panels)})
    source = book.notes.get("plan.yaml", {}).get("from", "")
    edited = book.was_edited(book.plan)
    write_story(book.plan, changed)
    if not edited:
        book.note(book.plan, source)
    book.forget(book.panel(panel - 1))
    return Planned(changed, planned.warnings, planned.record)


def _check_size(settings: StorySettings, facts: StoryFacts) -> None:
    for name, value in (("height", settings.height), ("width", settings.width)):
        if value is not None and (value % facts.size_step or not 64 <= value <= 2048):
            raise StoryError(
                f"--{name} {value}: expected a multiple of {facts.size_step} from 64 to 2048; the model usually draws "
                f"{facts.height}x{facts.width}."
            )


def _check_condition(settings: StorySettings, facts: StoryFacts) -> None:
    """Whether the model can draw after the condition."""
    if settings.condition == "sketch":
        return
    if not settings.sketches:
        raise StoryError(
            "Joints are a dense condition (--condition keypoints), and dense conditions are switched off "
            "(--no-sketches); change one of the two."
        )
    if facts.stock:
        raise StoryError(
            f"The model {facts.name} has no branch that is shown joints; use --condition sketch, or a story model such "
            "as 'tiny'."
        )
    if STAGES.index(settings.stop_after) > STAGES.index("boxes"):
        JointReader().check()


def _check_joints(book: Book, page: StoryPage, settings: StorySettings) -> None:
    """Read the files of joints that are there, so that a wrong one is told before anything is loaded."""
    if settings.condition == "sketch":
        return
    for number, panel in enumerate(page.panels):
        for path in (book.joints(number, index) for index in range(len(panel.subjects))):
            if book.was_edited(path):
                read_joints(path)


def _about_model(page: StoryPage, facts: StoryFacts) -> list[str]:
    """What the model cannot do with this plan."""
    warnings = []
    if facts.stock:
        warnings.append(
            f"the model {facts.name} has no story branch: panels are pasted pictures under partial noise with regional "
            "words; sketches only place the figures, and characters are kept by words and pictures alone"
        )
    unknown: list[str] = []
    for number, panel in enumerate(page.panels, start=1):
        if len(panel.subjects) > facts.subjects:
            warnings.append(
                f"panel {number} has {len(panel.subjects)} subjects; the model {facts.name} knows at most "
                f"{facts.subjects} "
                "apart"
            )
        unknown += facts.unknown_words(panel.prompt)
    if unknown:
        words = ", ".join(f"'{word}'" for word in dict.fromkeys(unknown))
        warnings.append(f"the model {facts.name} does not know {words} and ignores what it does not know")
    return warnings


def _sidecar(prepared: PreparedStory, timings: dict[str, float], warnings: tuple[str, ...]) -> dict[str, Any]:
    settings, book, making = prepared.settings, prepared.book, prepared.making
    values = settings.model_dump(mode="json")
    values |= {"height": making.height, "width": making.width}
    made = {
        f"panels/{book.panel(number).name}": digest_file(book.panel(number))
        for number in range(len(prepared.page.panels))
        if book.panel(number).is_file()
    }
    return {
        "version": VERSION,
        "kind": "story",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "tale": prepared.story.name,
        "settings": values,
        "model": making.identity,
        "adapters": [each.record() for each in prepared.adapters],
        "planner": dict(prepared.planned.record),
        "panels": made,
        "plan": digest(prepared.page.model_dump(mode="json")),
        "warnings": list(warnings),
        "timings": timings,
        "versions": {name: installed_version(name) for name in ("magicgen", "pillow", "img2pdf", *LIBRARIES)},
        "machine": {"python": platform.python_version(), "system": platform.platform()},
    }
