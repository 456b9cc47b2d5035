"""``build``: from raw videos to a dataset, resumed where an earlier run stopped."""

import functools
import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from data_tools.dataset import Index, InputEntry, add_inputs, finish, read_index
from data_tools.inputs import WHOLE, Shard, find_inputs
from data_tools.layout import Layout
from data_tools.lock import locked
from data_tools.pool import Pool, PoolSettings
from data_tools.records import VideoFile
from data_tools.settings import BuildSettings, DataSettings
from data_tools.work import (
    AnnotateClip,
    Done,
    Failed,
    IdentifyFile,
    IngestVideo,
    Outcome,
    Task,
    Work,
    read_video_state,
    record_failure,
)
from magicgen.errors import ConfigError, DatasetError, MediaError
from magicgen.media import write_json
from magicgen.progress import ProgressEvent, Report, Stage, silent

Callback = Callable[[Outcome], Iterable[Task]]
_LEAST_FREE_BYTES = 64 * 1024**2


class Engine(Protocol):
    """Runs tasks; finished ones may bring further ones."""

    def run(self, tasks: Iterable[Task], done: Callback) -> None:
        """Until nothing is left."""
        ...

    def close(self) -> None:
        """Give back processes or the cluster; closing twice does no harm."""
        ...


@dataclass(frozen=True)
class BuildRequest:
    """What the command line asks for."""

    inputs: Sequence[Path]
    out: Path
    settings: DataSettings
    shard: Shard = WHOLE
    retry_failed: bool = False


@dataclass(frozen=True)
class Problem:
    """An input, video or clip that was not built, and why."""

    what: str
    reason: str


@dataclass
class BuildResult:
    """What came of a build."""

    index: Index
    problems: list[Problem] = field(default_factory=list)


def local_engine(settings: DataSettings, root: Path) -> Pool:
    """Processes on this machine."""
    run = settings.run
    workers = run.workers or max(1, len(os.sched_getaffinity(0)))
    limits = PoolSettings(workers, run.time_limit_s, run.attempts, run.memory_mb)
    return Pool(functools.partial(Work, settings.build, root), limits)


def build(request: BuildRequest, engine: Engine, report: Report = silent) -> BuildResult:
    """Build or go on; every input that cannot be used is named in the result and recorded, the rest is built.

    Raises:
        ConfigError: packages are missing.
        DatasetError: another build works in the folder, it was built with other settings, or no input can be used.
        MediaError: the output folder cannot be written.
        GenerationFailed: the disk is full.
    """
    check_installed()
    root = prepare_folder(request.out)
    with locked(root, request.shard):
        check_same_settings(root, request.settings.build)
        layout = Layout(root)
        _remove_leftovers(layout, request.shard)
        if request.retry_failed:
            forget_failures(layout)
        inputs = find_inputs(request.inputs, request.shard)
        if not inputs.videos and request.shard.count == 1:
            reasons = "; ".join(f"{path}: {reason}" for path, reason in inputs.refused.items())
            raise DatasetError(f"None of the inputs can be used: {reasons}.")
        run = _Run(layout, request, report)
        run.refuse(inputs.refused)
        try:
            run.make(engine, run.identify(engine, inputs.videos))
        finally:
            engine.close()
        report(ProgressEvent("Deciding", 0, 1))
        index = finish(root, request.settings.build, request.settings.thresholds)
        report(ProgressEvent("Deciding", 1, 1))
    return BuildResult(index, run.problems)


class _Run:
    """The bookkeeping of one build."""

    def __init__(self, layout: Layout, request: BuildRequest, report: Report) -> None:
        self.layout, self.request, self.report = layout, request, report
        self.problems: list[Problem] = []

    def refuse(self, refused: dict[str, str]) -> None:
        """Record inputs that are no videos."""
        self.problems += [Problem(path, reason) for path, reason in refused.items()]
        entries = [InputEntry(path, error=reason) for path, reason in refused.items()]
        add_inputs(self.layout, self.request.shard.name, entries)

    def identify(self, engine: Engine, paths: Sequence[Path]) -> list[VideoFile]:
        """Hash all inputs; of copies under several names the first is taken."""
        progress = Stage(self.report, "Reading inputs", len(paths))
        entries: list[InputEntry] = []

        def done(outcome: Outcome) -> Iterable[Task]:
            assert isinstance(outcome.task, IdentifyFile)
            path = str(outcome.task.path)
            if isinstance(outcome, Done):
                entries.append(InputEntry(path, outcome.sha256))
            else:
                entries.append(InputEntry(path, error=outcome.reason))
                self.problems.append(Problem(path, outcome.reason))
            progress.advance()
            return ()

        engine.run([IdentifyFile(path) for path in paths], done)
        entries.sort(key=lambda entry: entry.path)
        add_inputs(self.layout, self.request.shard.name, entries)
        unique: dict[str, VideoFile] = {}
        for entry in entries:
            if entry.sha256:
                unique.setdefault(entry.sha256, VideoFile(Path(entry.path), entry.sha256))
        return list(unique.values())

    def make(self, engine: Engine, videos: Sequence[VideoFile]) -> None:
        """Ingest what is new, annotate what is not annotated yet."""
        tasks = [task for video in videos for task in self.open_tasks(video)]
        clips = sum(isinstance(task, AnnotateClip) for task in tasks)
        ingesting = Stage(self.report, "Cutting videos", len(tasks) - clips)
        annotating = Stage(self.report, "Annotating clips", clips)

        def done(outcome: Outcome) -> Iterable[Task]:
            if isinstance(outcome, Failed):
                record_failure(self.layout, outcome)
                self.problems.append(Problem(_name(outcome.task), outcome.reason))
            further = [AnnotateClip(clip) for clip in outcome.clips] if isinstance(outcome, Done) else []
            fresh = [task for task in further if not self._finished(task)]
            annotating.total = (annotating.total or 0) + len(fresh)
            (annotating if isinstance(outcome.task, AnnotateClip) else ingesting).advance()
            return fresh

        engine.run(tasks, done)

    def open_tasks(self, video: VideoFile) -> list[Task]:
        """What is left to do for a video."""
        path = self.layout.video(video.sha256)
        if not path.is_file():
            return [IngestVideo(video)]
        state = read_video_state(path)
        if state.status != "done":
            self.problems.append(Problem(str(video.path), state.reason))
        if any(not self.layout.clip(clip.clip_id).is_file() for clip in state.clips):
            return [IngestVideo(video)]
        tasks = [AnnotateClip(clip) for clip in state.clips]
        return [task for task in tasks if not self._finished(task)]

    def _finished(self, task: AnnotateClip) -> bool:
        clip_id = task.facts.clip_id
        return self.layout.row(clip_id).is_file() or self.layout.failure(clip_id).is_file()


def check_installed() -> None:
    """Raises:
    ConfigError: packages that only the dataset builder needs are missing.
    """
    missing = [name for name in ("scenedetect", "pyarrow", "imagehash") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"The dataset builder needs {', '.join(missing)}: pip install 'magicgen[data]'.")


def prepare_folder(out: Path) -> Path:
    """Make the output folder and make sure that it can be written.

    Raises:
        MediaError: it is a file, cannot be made or written, or its disk is full.
    """
    try:
        for folder in (out, out / "state", out / "state" / "videos", out / "parts"):
            folder.mkdir(parents=True, exist_ok=True)
        probe = out / "state" / f".probe-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
        free = shutil.disk_usage(out).free
    except OSError as error:
        raise MediaError(f"The folder {out} cannot be written ({error.strerror}). Choose another --out.") from error
    if free < _LEAST_FREE_BYTES:
        raise MediaError(f"The disk of {out} is full ({free // 1024**2} MiB free). Free some space.")
    return out.resolve()


def check_same_settings(root: Path, settings: BuildSettings) -> None:
    """Refuse a folder that was built with other settings; thresholds may differ.

    Raises:
        DatasetError: naming the settings that differ.
    """
    path = Layout(root).state / "settings.json"
    if not path.is_file():
        write_json(path, {"build": settings.model_dump(mode="json"), "hash": settings.digest()})
        return
    known = json.loads(path.read_text(encoding="utf-8"))
    if known["hash"] != settings.digest():
        names = ", ".join(_differences(known["build"], settings.model_dump(mode="json"))) or "the pipeline's version"
        raise DatasetError(
            f"{root} was built with other settings ({names}). Build into another folder, or use the old settings; "
            "thresholds may be changed at any time with 'magicgen-data refilter'."
        )


def _differences(old: object, new: object, prefix: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new})
        return [name for key in keys for name in _differences(old.get(key), new.get(key), f"{prefix}{key}.")]
    return [] if old == new else [f"{prefix.rstrip('.')}: {old} there, {new} here"]


def forget_failures(layout: Layout) -> None:
    """Make failed videos and clips open again."""
    for path in (layout.state / "failed").glob("*.json"):
        path.unlink()
    for path in (layout.state / "videos").glob("*.json"):
        if read_video_state(path).status == "quarantined":
            path.unlink()


def refilter(root: Path, settings: DataSettings) -> Index:
    """Decide anew with other thresholds; nothing is measured again."""
    known = read_index(root)
    with locked(root.resolve(), WHOLE):
        return finish(root.resolve(), known.build, settings.thresholds)


def _remove_leftovers(layout: Layout, shard: Shard) -> None:
    """Temporary files of a killed build; shards leave them alone, another shard may be writing."""
    if shard.count == 1:
        for path in layout.root.rglob(".magicgen-*.part"):
            path.unlink(missing_ok=True)


def _name(task: Task) -> str:
    match task:
        case IdentifyFile(path=path):
            return str(path)
        case IngestVideo(video=video):
            return str(video.path)
        case AnnotateClip(facts=facts):
            return f"{facts.source_uri} from {facts.start_s:.2f} s"
