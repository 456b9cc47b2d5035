"""``magicgen story``: a short tale as a picture book."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magicgen.commands.output import as_json, note, results, table, warn

if TYPE_CHECKING:
    from magicgen.jobs.story import PreparedStory

Story = Annotated[
    list[Path],
    typer.Argument(help="A tale (text file), several of them, or a story file (.yaml, .json).", show_default=False),
]
Out = Annotated[
    Path, typer.Option(help="Folder of the book; of several tales each gets one inside.", show_default=False)
]
Characters = Annotated[Path | None, typer.Option(help="Folder with pictures and descriptions of characters.")]
PlannerName = Annotated[str, typer.Option("--planner", help="offline (rules) or openai (a language model).")]
PlannerModel = Annotated[str | None, typer.Option(help="Name of the language model; or OPENAI_MODEL.")]
PlannerUrl = Annotated[str | None, typer.Option(help="Its endpoint: http://localhost:11434/v1; or OPENAI_BASE_URL.")]
Temperature = Annotated[float, typer.Option(help="Of the language model.")]
PlannerTimeout = Annotated[float, typer.Option(help="Seconds that one answer of it may take.")]
Layout = Annotated[Path | None, typer.Option(help="A story file to use instead of planning (an edited plan.yaml).")]
PanelNumber = Annotated[int | None, typer.Option("--panel", help="Make this panel again, and no other.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the book; with --panel of that panel. -1 draws one.")]
StopAfter = Annotated[str, typer.Option(help="plan, boxes, conditions, panels or pages.")]
MaxPanels = Annotated[int, typer.Option(help="At most so many panels.")]
MaxSubjects = Annotated[int | None, typer.Option(help="Subjects in a panel; by default what the model can tell apart.")]
Style = Annotated[str, typer.Option(help="Words for the style of the whole book.")]
ModelName = Annotated[str, typer.Option(help="tiny or a folder.")]
Adapter = Annotated[
    list[str] | None,
    typer.Option(help="Folder of a character's adapter (LoRA), or NAME=FOLDER; may be given again.", metavar="FOLDER"),
]
Height = Annotated[int | None, typer.Option(help="Pixels of a panel.")]
Width = Annotated[int | None, typer.Option(help="Pixels of a panel.")]
Steps = Annotated[int | None, typer.Option(help="Sampling steps.")]
Sketches = Annotated[bool, typer.Option("--sketches/--no-sketches", help="Draw each subject alone first.")]
Condition = Annotated[str, typer.Option(help="What panels are drawn after: sketch (lines) or keypoints (joints).")]
Plates = Annotated[bool, typer.Option("--plates/--no-plates", help="Draw each place once, empty.")]
Columns = Annotated[int | None, typer.Option(help="Panels side by side on a page.")]
Font = Annotated[Path | None, typer.Option(help="Font file for captions and balloons.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda ...; by default the GPU where there is one.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check, plan and draw the boxes; load no model.")]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON.")]


def story(
    context: typer.Context,
    story: Story,
    out: Out,
    characters: Characters = None,
    planner: PlannerName = "offline",
    planner_model: PlannerModel = None,
    planner_url: PlannerUrl = None,
    temperature: Temperature = 0.2,
    planner_timeout: PlannerTimeout = 60.0,
    layout: Layout = None,
    panel: PanelNumber = None,
    seed: Seed = None,
    stop_after: StopAfter = "pages",
    max_panels: MaxPanels = 8,
    max_subjects: MaxSubjects = None,
    style: Style = "",
    model: ModelName = "tiny",
    adapter: Adapter = None,
    height: Height = None,
    width: Width = None,
    steps: Steps = None,
    sketches: Sketches = True,
    condition: Condition = "sketch",
    plates: Plates = True,
    columns: Columns = None,
    font: Font = None,
    device: Device = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Turn a short tale into a picture book with the same characters throughout.

    OUT gets plan.yaml (edit it), layout/, sheets/, backgrounds/, conditions/, panels/, pages/, book.pdf and book.cbz.
    Run the command again: what you edited is kept, what follows from it is made again, nothing else.
    """
    from magicgen.config import check_config
    from magicgen.errors import StoryError
    from magicgen.jobs.story import StorySettings

    if len(story) > 1 and (layout is not None or panel is not None):
        raise StoryError("--layout and --panel belong to one tale; give one.")
    if len({tale.stem for tale in story}) < len(story):
        raise StoryError("Two tales have the same name, and would be one book; rename one.")
    drawn = _drawn_seed(seed)
    values = {
        "model": model,
        "planner": planner,
        "planner_model": planner_model,
        "planner_url": planner_url,
        "temperature": temperature,
        "planner_timeout": planner_timeout,
        "style": style,
        "max_panels": max_panels,
        "max_subjects": max_subjects,
        "height": height,
        "width": width,
        "steps": steps,
        "seed": drawn or 0,
        "sketches": sketches,
        "condition": condition,
        "plates": plates,
        "columns": columns,
        "font": None if font is None else str(font),
        "device": device,
        "adapters": list(adapter or []),
        "stop_after": "boxes" if dry_run and stop_after != "plan" else stop_after,
    }
    if panel is not None:
        values = _as_before(out, values, context)
    settings = check_config(values, StorySettings, source="command line")
    panel_seed = _panel_seed(drawn) if panel is not None else None
    given = {"layout": layout, "characters": characters, "panel": panel, "panel_seed": panel_seed}
    _run_all(story, out, settings, given, dry_run, json)


def _run_all(tales: list[Path], out: Path, settings: Any, given: dict[str, Any], dry_run: bool, json: bool) -> None:
    """One book after the other; a broken tale among several is told and skipped."""
    from magicgen.errors import MagicGenError

    told: list[dict[str, Any]] = []
    failed = 0
    loaded: list[Any] = []
    for tale in tales:
        folder = out if len(tales) == 1 else out / tale.stem
        try:
            told.append(_run(tale, folder, settings, given, loaded, dry_run, json))
        except MagicGenError as error:
            if len(tales) == 1:
                raise
            failed += 1
            warn(f"{tale}: {error}")
    if json:
        as_json(told[0] if len(tales) == 1 else told)
    if failed:
        raise typer.Exit(1)


def _run(
    tale: Path, out: Path, settings: Any, given: dict[str, Any], loaded: list[Any], dry_run: bool, json: bool
) -> dict[str, Any]:
    import time

    from magicgen.jobs.story import load_story_painter, needs_painter, prepare_story, run_story, story_key
    from magicgen.progress import TerminalProgress

    prepared = prepare_story(tale, out, settings, **given)
    for text in prepared.warnings:
        warn(text)
    if dry_run:
        _show(prepared)
    with TerminalProgress() as report:
        started = time.perf_counter()
        if needs_painter(prepared) and (not loaded or loaded[0] != story_key(prepared)):
            note(f"loading {settings.model} (seed {settings.seed})")
            loaded[:] = [story_key(prepared), load_story_painter(prepared)]
        painter = loaded[1] if needs_painter(prepared) else None
        result = run_story(prepared, painter, load_s=time.perf_counter() - started, report=report)
    for text in result.warnings:
        if text not in prepared.warnings:
            warn(text)
    written = [path for path in (result.pdf, result.cbz) if path is not None]
    if not json:
        results(written or list(result.panels or result.layouts) or [result.plan])
    return {
        **{name: getattr(result, name) for name in ("folder", "plan", "pdf", "cbz", "sidecar", "timings", "warnings")},
        "panels": list(result.panels),
        "pages": list(result.pages),
        "layouts": list(result.layouts),
        "seed": settings.seed,
    }


def _show(prepared: "PreparedStory") -> None:
    """The plan as a table for the person."""
    rows = [("panel", "shot", "subjects", "balloons", "background")]
    for number, panel in enumerate(prepared.page.panels, start=1):
        names = ", ".join(subject.character for subject in panel.subjects) or "-"
        rows.append((str(number), panel.shot, names[:40], str(len(panel.balloons)), panel.background[:40]))
    note(table(rows))
    making = prepared.making
    note(f"{len(prepared.page.panels)} panels of {making.height}x{making.width}, model {prepared.facts.name}")


def _drawn_seed(seed: int | None) -> int | None:
    import secrets

    return secrets.randbelow(2**31) if seed == -1 else seed


def _as_before(out: Path, values: dict[str, Any], context: typer.Context) -> dict[str, Any]:
    """The settings that the book was made with, where the command line does not say otherwise: the other panels were
    made with them. ``--seed`` is the panel's here."""
    import json

    try:
        before = json.loads((out / "story.json").read_text(encoding="utf-8"))["settings"]
        known = {name: before[name] for name in values if name in before and name != "stop_after"}
    except (OSError, ValueError, KeyError, TypeError):
        return values
    options = {name: "adapter" if name == "adapters" else name for name in values}
    told = {
        name for name, option in options.items() if str(context.get_parameter_source(option)).endswith("COMMANDLINE")
    } - {"seed"}
    return {**values, **{name: value for name, value in known.items() if name not in told}}


def _panel_seed(seed: int | None) -> int:
    """The new seed of one panel; drawn where none is given, so that --panel N alone makes another picture."""
    import secrets

    if seed is not None:
        return seed
    drawn = secrets.randbelow(2**31)
    note(f"panel seed {drawn}")
    return drawn
