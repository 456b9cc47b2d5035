"""``magicgen batch``: many jobs from one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magicgen.commands.output import as_json, note, results, warn

if TYPE_CHECKING:
    from magicgen.jobs.batch import BatchItem, Outcome
    from magicgen.jobs.inputs import SegmentPicture

Jobs = Annotated[
    Path,
    typer.Argument(
        help="A .csv (MagicMotion's columns too), .jsonl or .yaml file; or a folder of photos, whose reflections go.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option(help="Folder for the results; made where it does not exist.", show_default=False)]
SegmenterName = Annotated[
    str, typer.Option("--segmenter", help="Who cuts out objects drawn as a box: grabcut, sam:CHECKPOINT.pth or none.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Skip jobs that are finished.")]
ModelName = Annotated[str | None, typer.Option(help="Model of the jobs that name none (tiny).")]
Steps = Annotated[int | None, typer.Option(help="Steps of the jobs that name none.")]
Frames = Annotated[int | None, typer.Option(help="Frames of the jobs that name none; trajectories are resampled.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check every job and write its overlay; load nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON.")]


def batch(
    jobs: Jobs,
    out: Out,
    resume: Resume = False,
    model: ModelName = None,
    steps: Steps = None,
    frames: Frames = None,
    segmenter: SegmenterName = "grabcut",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Run many jobs. A broken one is recorded and skipped; the exit code is 1 if there was any.

    OUT/batch.json says what became of every job.
    """
    from magicgen.jobs.batch import read_batch, run_batch
    from magicgen.progress import TerminalProgress
    from magicgen.segmentation.choose import picture_segmenter

    defaults = {"model": model, "steps": steps, "frames": frames}
    items = read_batch(jobs, {name: value for name, value in defaults.items() if value is not None})
    _make_folder(out)
    segment = picture_segmenter(segmenter)
    if dry_run:
        failed = _check_all(items, jobs, out, segment)
        raise typer.Exit(1 if failed else 0)

    def told(outcome: "Outcome") -> None:
        if outcome.status == "failed":
            warn(f"job {outcome.number} of {len(items)} failed: {outcome.error}")
        else:
            note(f"job {outcome.number} of {len(items)} {outcome.status}")
            if not json:
                results([Path(str(outcome.out))])

    with TerminalProgress() as report:
        outcomes = run_batch(items, jobs, out, resume=resume, segment=segment, report=report, told=told)
    if json:
        as_json([vars(outcome) for outcome in outcomes])
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _check_all(items: list["BatchItem"], jobs: Path, out: Path, segment: "SegmentPicture | None") -> int:
    from magicgen.errors import MagicGenError
    from magicgen.jobs.animate import Prepared, write_overlay
    from magicgen.jobs.batch import prepare_item

    failed = 0
    for item in items:
        try:
            prepared = prepare_item(item, jobs, out, segment)
            if isinstance(prepared, Prepared):
                for text in prepared.warnings:
                    warn(f"job {item.number}: {text}")
                results([write_overlay(prepared)])
        except MagicGenError as error:
            failed += 1
            warn(f"job {item.number} of {len(items)}: {error}")
    return failed


def _make_folder(out: Path) -> None:
    from magicgen.errors import MediaError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"The folder {out} cannot be made ({error.strerror}). Choose another one.") from None
