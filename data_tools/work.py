"""What a worker does with one item: run the stages, keep the outcome on disk, say how it went.

An item's outcome lies in one file with a name that follows from its content, written whole or not at all. Doing an item
twice leaves the same files, so a killed build loses nothing and makes nothing double.
"""

import errno
import json
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, assert_never

from data_tools.frames import LastClip
from data_tools.layout import Layout
from data_tools.records import ClipFacts, ClipRecord, Stage, VideoFacts, VideoFile
from data_tools.settings import BuildSettings
from data_tools.store import to_row, write_rows
from magicgen.errors import DatasetError, MagicGenError, MediaError
from magicgen.media import write_json


@dataclass(frozen=True)
class IdentifyFile:
    """Find the content hash of an input."""

    path: Path


@dataclass(frozen=True)
class IngestVideo:
    """Turn a video into stored clips."""

    video: VideoFile


@dataclass(frozen=True)
class AnnotateClip:
    """Turn a stored clip into a row."""

    facts: ClipFacts


Task = IdentifyFile | IngestVideo | AnnotateClip


@dataclass(frozen=True)
class Done:
    """An item that went well: its hash, its clips, or nothing more to say."""

    task: Task
    sha256: str = ""
    clips: tuple[ClipFacts, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Failed:
    """An item that did not; ``fatal`` where every other item would fail too (a full disk)."""

    task: Task
    reason: str
    fatal: bool = False


Outcome = Done | Failed
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


class Work:
    """The stages of one process over one dataset's folder."""

    def __init__(self, settings: BuildSettings, root: Path) -> None:
        self.layout = Layout(root)
        self.settings = settings
        from data_tools.stages.annotate import Annotate
        from data_tools.stages.ingest import Ingest
        from data_tools.stages.measure import Measure
        from data_tools.stages.text import Describe

        clips = LastClip()
        self.ingest = Ingest(settings, self.layout)
        self.stages: tuple[Stage[ClipRecord, ClipRecord], ...] = (
            Describe(settings.text, self.layout),
            Annotate(settings, self.layout, clips),
            Measure(settings.model_scores, self.layout, clips),
        )

    def setup(self) -> None:
        """Load what the stages need; once in a process.

        Raises:
            WeightsError: weights that the settings name are missing.
        """
        for stage in self.stages:
            stage.setup()

    def __call__(self, task: Task) -> Outcome:
        """Do an item. Every failure becomes an outcome: an exception that escapes would take other items with it."""
        try:
            return self._do(task)
        except MagicGenError as error:
            return Failed(task, str(error), fatal=_is_output_failure(error, self.layout.root))
        except MemoryError:
            return Failed(task, "it needs more memory than a worker may use (run.memory_mb)")
        except Exception as error:  # a stage may meet anything in files of strangers
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            return Failed(task, f"{type(error).__name__} at {where}: {_first_line(error)}")

    def _do(self, task: Task) -> Done:
        match task:
            case IdentifyFile(path=path):
                from data_tools.stages.ingest import file_digest

                return Done(task, sha256=file_digest(path))
            case IngestVideo(video=video):
                clips = tuple(self.ingest(video))
                write_video_state(self.layout, video, "done" if clips else "skipped", _too_short(clips), clips)
                return Done(task, clips=clips)
            case AnnotateClip(facts=facts):
                write_rows(self.layout.row(facts.clip_id), [to_row(self.annotate(facts))], decided=False)
                return Done(task)
            case _:
                assert_never(task)

    def annotate(self, facts: ClipFacts) -> ClipRecord:
        """A stored clip through all stages."""
        records: Sequence[ClipRecord] = [ClipRecord(facts)]
        versions = {self.ingest.name: str(self.ingest.version)}
        for stage in self.stages:
            records = stage(records[0])
            versions[stage.name] = str(stage.version)
        record = records[0]
        return ClipRecord(**{**vars(record), "stages": versions})


def write_video_state(
    layout: Layout, video: VideoFile, status: str, reason: str, clips: Sequence[ClipFacts] = ()
) -> None:
    """Record a video's outcome: 'done', 'skipped' (nothing in it is long enough) or 'quarantined'."""
    layout.video(video.sha256).parent.mkdir(parents=True, exist_ok=True)
    value = {"sha256": video.sha256, "status": status, "reason": reason, "clips": [asdict(clip) for clip in clips]}
    write_json(layout.video(video.sha256), value)


@dataclass(frozen=True)
class VideoState:
    """A recorded outcome of a video."""

    sha256: str
    status: str
    reason: str
    clips: tuple[ClipFacts, ...]


def read_video_state(path: Path) -> VideoState:
    """Raises:
    DatasetError: the file is damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        clips = tuple(facts_from_json(clip) for clip in value["clips"])
        return VideoState(value["sha256"], value["status"], value["reason"], clips)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is damaged ({error}). Remove it and build again.") from error


def facts_from_json(value: dict[str, Any]) -> ClipFacts:
    """A :class:`ClipFacts` from plain data."""
    return ClipFacts(**{**value, "source": VideoFacts(**value["source"])})


def record_failure(layout: Layout, failed: Failed) -> None:
    """Keep a failure on disk, so that the next run does not try again."""
    match failed.task:
        case IdentifyFile():
            return  # stands in the list of inputs
        case IngestVideo(video=video):
            write_video_state(layout, video, "quarantined", failed.reason)
        case AnnotateClip(facts=facts):
            layout.failure(facts.clip_id).parent.mkdir(parents=True, exist_ok=True)
            value = {"clip_id": facts.clip_id, "source_uri": facts.source_uri, "reason": failed.reason}
            write_json(layout.failure(facts.clip_id), value)
        case _:
            assert_never(failed.task)


def _is_output_failure(error: BaseException, root: Path) -> bool:
    """Whether the dataset's own disk is the trouble: then no item can go well."""
    cause = error.__cause__
    return (
        isinstance(error, MediaError)
        and isinstance(cause, OSError)
        and cause.errno in _NO_SPACE
        and str(root) in str(error)
    )


def _too_short(clips: Sequence[ClipFacts]) -> str:
    return "" if clips else "no shot is as long as the shortest clip"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
