"""Many jobs from one file: csv, jsonl or yaml. A broken job is recorded and skipped, a finished one can be skipped."""

import csv
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal, assert_never

from magicgen.config import check_config, read_yaml
from magicgen.control.guide import RemovalGuide
from magicgen.control.guide_file import read_guide
from magicgen.errors import ConfigError, MagicGenError
from magicgen.jobs.animate import AnimateSettings, Prepared, Result, load, load_key, prepare, run
from magicgen.jobs.dereflect import (
    DereflectSettings,
    PreparedRemoval,
    load_removal,
    photos_in,
    prepare_removal,
    removal_key,
    remove_reflection,
)
from magicgen.jobs.inputs import SegmentPicture
from magicgen.jobs.story import (
    PreparedStory,
    StorySettings,
    load_story_painter,
    needs_painter,
    prepare_story,
    run_story,
    story_key,
)
from magicgen.media import write_json
from magicgen.progress import Cancelled, CancelToken, Report, silent

# The columns of MagicMotion's demo files, and what they are called here.
MAGICMOTION_COLUMNS = {
    "validation_prompt": "prompt",
    "validation_images": "image",
    "validation_trajectory_maps": "trajectory",
    "output_path": "out",
    "controlnet_weights": "control_weight",
    "seed": "seed",
}
REPORT_NAME = "batch.json"

_log = logging.getLogger(__name__)


class AnimateJob(AnimateSettings):
    """One line of a batch file: paths relative to that file, the output relative to the batch's output folder."""

    kind: Literal["animate"] = "animate"
    image: Path
    trajectory: Path
    out: Path


class DereflectJob(DereflectSettings):
    """One photo whose reflection goes; ``guide`` is a guide file, without it the result is automatic."""

    kind: Literal["dereflect"] = "dereflect"
    image: Path
    guide: Path | None = None
    out: Path


class StoryJob(StorySettings):
    """One tale (or story file) as a book; ``out`` is the book's folder, ``characters`` a folder of characters."""

    kind: Literal["story"] = "story"
    story: Path
    characters: Path | None = None
    out: Path


Job = AnimateJob | DereflectJob | StoryJob
AnyPrepared = Prepared | PreparedRemoval | PreparedStory
_KINDS: dict[object, type[Job]] = {"dereflect": DereflectJob, "story": StoryJob}


@dataclass(frozen=True)
class Outcome:
    """What became of a job: ``done``, ``skipped`` (finished before) or ``failed``, with its file or its error."""

    number: int
    status: Literal["done", "skipped", "failed"]
    out: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class BatchItem:
    """A job of the file, or why it is none. ``number`` counts from 1."""

    number: int
    job: Job | None
    error: str | None = None


def read_batch(path: Path, overrides: dict[str, Any]) -> list[BatchItem]:
    """The jobs of a file, in order; of a folder, one removal of reflections for each photo in it.

    Args:
        path: a folder of photos, or ``.csv`` (MagicMotion's columns, or the names of a job's fields), ``.jsonl`` or
            ``.yaml`` (a list).
        overrides: settings that a job gets where it does not have them itself.

    Raises:
        ConfigError: the file cannot be read, holds no job, or two jobs write to the same output.
    """
    if path.is_dir():
        return _photo_items(path, overrides)
    rows = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".yaml": _yaml_rows, ".yml": _yaml_rows}
    if path.suffix.lower() not in rows:
        raise ConfigError(f"{path}: expected a batch file that ends in .csv, .jsonl or .yaml.")
    items = [_item(number, row, path, overrides) for number, row in enumerate(rows[path.suffix.lower()](path), start=1)]
    if not items:
        raise ConfigError(f"{path} holds no job.")
    seen: dict[Path, int] = {}
    for item in items:
        if item.job is not None and item.job.out in seen:
            raise ConfigError(f"{path}: jobs {seen[item.job.out]} and {item.number} both write {item.job.out}.")
        if item.job is not None:
            seen[item.job.out] = item.number
    return items


def prepare_item(item: BatchItem, batch: Path, out: Path, segment: SegmentPicture | None) -> AnyPrepared:
    """Check one job.

    Raises:
        MagicGenError: what is wrong with it.
    """
    job = item.job
    if job is None:
        raise ConfigError(item.error or "not a job")
    target = out / job.out
    target.parent.mkdir(parents=True, exist_ok=True)
    match job:
        case AnimateJob():
            settings = AnimateSettings.model_validate(_values(job, AnimateSettings))
            return prepare(batch.parent / job.image, batch.parent / job.trajectory, target, settings, segment)
        case DereflectJob():
            guide = RemovalGuide() if job.guide is None else read_guide(batch.parent / job.guide)
            removal = DereflectSettings.model_validate(_values(job, DereflectSettings))
            return prepare_removal(batch.parent / job.image, guide, target, removal)
        case StoryJob():
            book = StorySettings.model_validate(_values(job, StorySettings))
            characters = None if job.characters is None else batch.parent / job.characters
            return prepare_story(batch.parent / job.story, target, book, characters=characters)
        case _:
            assert_never(job)


def run_batch(
    items: list[BatchItem],
    batch: Path,
    out: Path,
    *,
    resume: bool,
    segment: SegmentPicture | None = None,
    report: Report = silent,
    told: Callable[[Outcome], None] = lambda outcome: None,
    cancel: CancelToken | None = None,
) -> list[Outcome]:
    """Run jobs one after the other; a model is loaded once for neighbours that share it.

    Args:
        items: from :func:`read_batch`.
        batch: that file.
        out: the folder for all results and the report ``batch.json``.
        resume: skip jobs whose video and sidecar are there.
        segment: makes masks of objects that were drawn as boxes.
        told: hears of every outcome at once.
        cancel: stops between and inside jobs.
    """
    outcomes: list[Outcome] = []
    loaded: tuple[tuple[object, ...], Any] | None = None
    for item in items:
        if resume and item.job is not None and _finished(out / item.job.out):
            outcome = Outcome(item.number, "skipped", str(out / item.job.out))
        else:
            try:
                prepared = prepare_item(item, batch, out, segment)
                key = _key(prepared)
                if loaded is None or loaded[0] != key:
                    loaded = None  # let go of the old model before the new one comes
                    loaded = (key, _loaded(prepared))
                written = _run(item.number, prepared, loaded[1], report, cancel)
                outcome = Outcome(item.number, "done", str(written))
            except Cancelled:
                raise
            except MagicGenError as error:
                outcome = Outcome(item.number, "failed", _name(item, out), str(error))
            except Exception as error:  # a fault of magicgen's own must not take the other jobs with it
                _log.exception("job %d failed, and magicgen is to blame; the others go on", item.number)
                outcome = Outcome(item.number, "failed", _name(item, out), f"{type(error).__name__}: {error}")
        outcomes.append(outcome)
        told(outcome)
        write_json(out / REPORT_NAME, {"batch": str(batch), "jobs": [asdict(each) for each in outcomes]})
    return outcomes


def _key(prepared: AnyPrepared) -> tuple[object, ...]:
    match prepared:
        case Prepared():
            return load_key(prepared)
        case PreparedRemoval():
            return removal_key(prepared)
        case PreparedStory():
            return story_key(prepared)
        case _:
            assert_never(prepared)


def _loaded(prepared: AnyPrepared) -> Any:
    match prepared:
        case Prepared():
            return load(prepared)
        case PreparedRemoval():
            return load_removal(prepared)
        case PreparedStory():
            return load_story_painter(prepared) if needs_painter(prepared) else None
        case _:
            assert_never(prepared)


def _run(number: int, prepared: AnyPrepared, pipeline: Any, report: Report, cancel: CancelToken | None) -> Path:
    match prepared:
        case Prepared():
            for warning in prepared.warnings:
                _log.warning("job %d: %s", number, warning)
            result: Result = run(prepared, pipeline, report=report, cancel=cancel)
            return result.video
        case PreparedRemoval():
            return remove_reflection(prepared, pipeline, report=report, cancel=cancel).image
        case PreparedStory():
            for warning in prepared.warnings:
                _log.warning("job %d: %s", number, warning)
            return run_story(prepared, pipeline, report=report, cancel=cancel).folder
        case _:
            assert_never(prepared)


def _values(
    job: Job, settings: type[AnimateSettings] | type[DereflectSettings] | type[StorySettings]
) -> dict[str, Any]:
    return {name: getattr(job, name) for name in settings.model_fields}


def _photo_items(folder: Path, overrides: dict[str, Any]) -> list[BatchItem]:
    """A job for each photo of a folder. Settings that only videos have (steps, frames) do not matter here."""
    known = {name: value for name, value in overrides.items() if name in DereflectSettings.model_fields}
    return [
        BatchItem(number, DereflectJob(image=photo.resolve(), out=Path(photo.name), **known))
        for number, photo in enumerate(photos_in(folder), start=1)
    ]


def _item(number: int, row: Any, path: Path, overrides: dict[str, Any]) -> BatchItem:
    if isinstance(row, str):  # why the line could not be read
        return BatchItem(number, None, row)
    try:
        kind = row.get("kind") if isinstance(row, dict) else None
        model = _KINDS.get(kind, AnimateJob) if isinstance(kind, str) else AnimateJob
        fitting = {name: value for name, value in overrides.items() if name in model.model_fields}
        values = {**fitting, **row} if isinstance(row, dict) else row
        job: Job = check_config(values, model, source=f"{path}, job {number}")
        if job.out.is_absolute() or ".." in job.out.parts:
            raise ConfigError(f"{path}, job {number}: out: expected a path inside the output folder; got {job.out}.")
        return BatchItem(number, job)
    except ConfigError as error:
        return BatchItem(number, None, str(error))


def _finished(video: Path) -> bool:
    if (video / "story.json").is_file():
        return (video / "book.cbz").is_file()
    return video.is_file() and video.with_suffix(".json").is_file()


def _name(item: BatchItem, out: Path) -> str | None:
    return None if item.job is None else str(out / item.job.out)


def _csv_rows(path: Path) -> Iterator[dict[str, Any] | str]:
    reader = csv.DictReader(StringIO(_text(path)), strict=True)
    try:
        if not reader.fieldnames:
            return
        for row in reader:
            if None in row or None in row.values():
                yield f"{path}, line {reader.line_num}: expected {len(reader.fieldnames)} columns as in the first."
                continue
            filled = {name.strip(): (value or "").strip() for name, value in row.items()}
            yield {
                MAGICMOTION_COLUMNS.get(name, name): _csv_value(MAGICMOTION_COLUMNS.get(name, name), value)
                for name, value in filled.items()
                if value
            }
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: not valid CSV ({error}).") from None


def _csv_value(name: str, value: str) -> Any:
    """CSV knows text only: numbers and lists of other columns than those of words and paths are read as JSON."""
    if name in (
        "prompt",
        "negative_prompt",
        "image",
        "trajectory",
        "out",
        "model",
        "level",
        "attention",
        "kind",
        "device",
        "guide",
        "adapter",
        "story",
        "characters",
        "planner",
        "planner_model",
        "planner_url",
        "style",
        "stop_after",
        "font",
    ):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _jsonl_rows(path: Path) -> Iterator[dict[str, Any] | str]:
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                yield f"{path}, line {number}: not valid JSON ({error})."


def _yaml_rows(path: Path) -> Iterator[Any]:
    values, _ = read_yaml(path)
    if not isinstance(values, list):
        raise ConfigError(f"{path}: expected a list of jobs.")
    yield from values


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"There is no batch file {path}. Check the path.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}).") from None
