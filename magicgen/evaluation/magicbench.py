"""MagicBench's protocol: every method at every level on every sample, scored, kept, averaged by level and object count.

Mask-IoU and Box-IoU follow the paper (arXiv 2503.16421, section 4): the ground-truth masks of frame 0 are tracked
through the generated video and compared with the ground truth. The paper tracks with SAM 2; here any tracker serves, by
default the project's own, and its score on the ground-truth video stands in the table as the ceiling.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from magicgen.control.tracks import Level, boxes_from_masks, level_name, paper_levels
from magicgen.errors import DatasetError, MagicGenError
from magicgen.evaluation.methods import Method, Videos, make_video, uses_level
from magicgen.evaluation.metrics import background, finite_mean, moved_region, psnr, ssim, tracked_iou, warping_error
from magicgen.evaluation.samples import BrokenSample, Sample
from magicgen.evaluation.trackers import Tracker
from magicgen.progress import ProgressEvent, Report, silent

UInt8 = npt.NDArray[np.uint8]
Keep = Callable[[Sample, "Score", UInt8], None]

# How far, in pixels, the background begins from an object: codecs and soft edges reach over the mask.
BACKGROUND_MARGIN = 4
SCORES_NAME = "scores.jsonl"
EVERY_LEVEL = "all"


@dataclass(frozen=True)
class Score:
    """What one method made of one sample at one level.

    Attributes:
        sample, group, method, level: of the run; ``level`` is ``all`` where the method does not depend on it.
        mask_iou, box_iou: in [0, 1], mean over objects and frames after the first.
        region_psnr: dB against the truth in moved and uncovered places.
        background_psnr: dB against the truth away from all objects.
        ssim: of the whole video against the truth.
        warping_error: see :func:`magicgen.evaluation.metrics.warping_error`.
        seconds: what making the video took.
        fingerprint: of everything that decided it; a kept score counts only where this is still the same.

    A measure that does not apply (no moved region) is NaN, null in the file.
    """

    sample: str
    group: str
    method: str
    level: str
    mask_iou: float
    box_iou: float
    region_psnr: float
    background_psnr: float
    ssim: float
    warping_error: float
    seconds: float
    fingerprint: str = ""


@dataclass(frozen=True)
class Failure:
    """A sample that a method could not be measured on, and why."""

    sample: str
    method: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """Scores of a run, kept ones included, and what failed."""

    scores: tuple[Score, ...]
    failures: tuple[Failure, ...] = ()


MEASURES = ("mask_iou", "box_iou", "region_psnr", "background_psnr", "ssim", "warping_error", "seconds")


def score_video(
    sample: Sample, method: str, level: str, video: UInt8, seconds: float, track: Tracker, fingerprint: str = ""
) -> Score:
    """Measure one video.

    Raises:
        DatasetError: its size differs from the truth's.
    """
    if video.shape != sample.video.shape:
        raise DatasetError(f"{method} made {video.shape} of '{sample.name}'; its ground truth is {sample.video.shape}.")
    tracks = sample.tracks
    assert tracks.masks is not None
    found = track(video, tracks.first_masks)
    mask_iou, box_iou = tracked_iou(found, tracks.masks, boxes_from_masks(found), boxes_from_masks(tracks.masks))
    return Score(
        sample=sample.name,
        group=sample.group,
        method=method,
        level=level,
        mask_iou=mask_iou,
        box_iou=box_iou,
        region_psnr=psnr(video, sample.video, moved_region(tracks)),
        background_psnr=psnr(video, sample.video, background(tracks, BACKGROUND_MARGIN)),
        ssim=ssim(video, sample.video),
        warping_error=warping_error(video),
        seconds=seconds,
        fingerprint=fingerprint,
    )


def run_bench(
    samples: Iterable[Sample | BrokenSample],
    count: int,
    methods: Sequence[Method],
    out: Path,
    *,
    track: Tracker,
    fingerprints: Mapping[str, str] = MappingProxyType({}),
    keep: Keep | None = None,
    report: Report = silent,
    share: tuple[int, int] = (0, 1),
) -> Outcome:
    """Score every method on every sample; what ``out/scores*.jsonl`` holds already is not made again.

    Args:
        samples, count: the set and its size.
        methods: with different names.
        out: folder of the scores, made where it is missing.
        track: masks of frame 0 -> masks of all frames.
        fingerprints: by method, of everything that decides its scores; kept scores of another one are passed over.
        keep: called with the sample, the score and the video that was made, before the score is written.
        report: progress.
        share: (rank, world): this process takes every world-th sample, from ``rank`` on, and its own score file.

    Returns:
        All scores in ``out`` with these fingerprints, those of other processes included, and this process's failures.

    Raises:
        DatasetError: the scores in ``out`` cannot be read.
    """
    rank, world = share
    out.mkdir(parents=True, exist_ok=True)
    done = {_key(score) for score in read_scores(out, fingerprints)}
    failures: list[Failure] = []
    names: set[str] = set()
    with _opened(out / (SCORES_NAME if world == 1 else f"scores.{rank}.jsonl")) as file:
        for number, sample in enumerate(samples):
            names.add(sample.name)
            if number % world != rank:
                continue
            report(ProgressEvent("Measuring", number, count))
            if isinstance(sample, BrokenSample):
                failures.append(Failure(sample.name, "reading it", sample.reason))
                continue
            for method, level, name in _jobs(methods, sample):
                if (sample.name, method.name, name) in done:
                    continue
                try:
                    video, seconds = make_video(method, sample, level)
                    fingerprint = fingerprints.get(method.name, "")
                    score = score_video(sample, method.name, name, video, seconds, track, fingerprint)
                except MagicGenError as error:
                    failures.append(Failure(sample.name, method.name, str(error)))
                    continue
                if keep is not None:
                    keep(sample, score, video)
                file.write(json.dumps(_plain(score), allow_nan=False) + "\n")
                file.flush()
    report(ProgressEvent("Measuring", count, count))
    scores = [score for score in read_scores(out, fingerprints) if score.sample in names]
    return Outcome(tuple(scores), tuple(failures))


def _opened(path: Path) -> TextIO:
    """The score file, to be appended to; a last line that a kill cut short is removed."""
    if path.is_file():
        data = path.read_bytes()
        if not data.endswith(b"\n"):
            path.write_bytes(data[: data.rfind(b"\n") + 1])
    return path.open("a", encoding="utf-8")


def read_scores(folder: Path, fingerprints: Mapping[str, str] = MappingProxyType({})) -> list[Score]:
    """The scores of a folder, the last of each sample, method and level, in the order of samples; a last line that a
    kill cut short is left out, and so are scores of a method in ``fingerprints`` with another fingerprint.

    Raises:
        DatasetError: the file is of another kind.
    """
    found: dict[tuple[str, str, str], Score] = {}
    for path in sorted(folder.glob("scores*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                value = json.loads(line)
                numbers: dict[str, Any] = {key: np.nan if item is None else item for key, item in value.items()}
                score = Score(**numbers)
            except (TypeError, ValueError, AttributeError) as error:
                if number == len(lines):
                    continue
                raise DatasetError(f"{path}, line {number}: not a score ({error}); delete the file.") from None
            if score.fingerprint == fingerprints.get(score.method, score.fingerprint):
                found[_key(score)] = score
    return sorted(found.values(), key=lambda score: score.sample)


def _key(score: Score) -> tuple[str, str, str]:
    return score.sample, score.method, score.level


def _plain(score: Score) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value
        for key, value in asdict(score).items()
    }


def _jobs(methods: Sequence[Method], sample: Sample) -> Iterable[tuple[Method, Level, str]]:
    levels = paper_levels(len(sample.video))
    for method in methods:
        one_for_all = isinstance(method, Videos) and not any(
            (method.folder / level_name(level)).is_dir() for level in levels
        )
        if uses_level(method) and not one_for_all:
            yield from ((method, level, level_name(level)) for level in levels)
        else:
            yield method, levels[0], EVERY_LEVEL


def mean_score(scores: Sequence[Score], method: str, level: str, group: str | None = None) -> dict[str, float]:
    """Means over samples of every measure; a method that knows no levels counts for each. Empty where nothing fits."""
    chosen = [
        score
        for score in scores
        if score.method == method and score.level in (level, EVERY_LEVEL) and group in (None, score.group)
    ]
    if not chosen:
        return {}
    return {name: finite_mean([getattr(score, name) for score in chosen]) for name in MEASURES} | {
        "samples": float(len(chosen))
    }
