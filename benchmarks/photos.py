"""Photos that nothing was trained on: does the object arrive, does the rest hold still?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from magicgen.control.map_video import MapVideo
from magicgen.control.resolve import natural_level
from magicgen.control.tracks import MaskLevel
from magicgen.errors import DatasetError
from magicgen.evaluation.adherence import Adherence, measure_adherence
from magicgen.media import read_video
from magicgen.progress import ProgressEvent, Report

LevelName = Literal["mask", "box", "sparse_box"]
LEVELS: tuple[LevelName, ...] = ("mask", "box", "sparse_box")
# Box-IoU in the last box, and dB of the background against the photo, from which a video counts as good.
ARRIVED = 0.6
UNDISTURBED = 26.0


@dataclass(frozen=True)
class PhotoScore:
    """One photo with one trajectory at one level."""

    name: str
    level: str
    adherence: Adherence
    seconds: float

    @property
    def arrived(self) -> bool:
        """Every object that was asked for to the end is in its last box then."""
        asked = [value for value in self.adherence.last_box_iou if np.isfinite(value)]
        return bool(asked) and min(asked) >= ARRIVED

    @property
    def undisturbed(self) -> bool:
        """The background stays as in the photo; so does one that no pixel belongs to."""
        return not self.adherence.background_psnr < UNDISTURBED

    def as_data(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "level": self.level,
            "arrived": self.arrived,
            "undisturbed": self.undisturbed,
            "seconds": self.seconds,
            **asdict(self.adherence),
        }


def measure_photos(folder: Path, model: str, out: Path, report: Report, seed: int = 0) -> list[PhotoScore]:
    """Animate ``FOLDER/NAME/photo.jpg`` along every ``FOLDER/NAME/*.json``, at its own level and the coarser ones.

    The videos lie in ``out`` afterwards, with previews and sidecars.

    Raises:
        DatasetError: the folder holds no such photos.
    """
    from magicgen.jobs.animate import AnimateSettings, load, prepare, run
    from magicgen.jobs.inputs import read_document

    cases = [(path.parent / "photo.jpg", path) for path in sorted(folder.glob("*/*.json"))]
    cases = [case for case in cases if case[0].is_file()]
    if not cases:
        raise DatasetError(f"{folder} holds no photos with trajectories; expected NAME/photo.jpg and NAME/*.json.")
    out.mkdir(parents=True, exist_ok=True)
    pipeline, scores = None, []
    for number, (photo, trajectory) in enumerate(cases):
        report(ProgressEvent(f"Animating {photo.parent.name}/{trajectory.stem}", number, len(cases)))
        name = f"{photo.parent.name}_{trajectory.stem}"
        document = read_document(trajectory)
        assert not isinstance(document, MapVideo)
        finest: LevelName = "mask" if isinstance(natural_level(document), MaskLevel) else "box"
        for level in LEVELS[LEVELS.index(finest) :]:
            video = out / f"{name}.{level}.mp4"
            prepared = prepare(photo, trajectory, video, AnimateSettings(model=model, level=level, seed=seed))
            pipeline = pipeline or load(prepared)
            result = run(prepared, pipeline)
            inputs = prepared.inputs
            adherence = measure_adherence(read_video(video).frames, inputs.tracks, inputs.level, photo=inputs.picture)
            scores.append(PhotoScore(name, level, adherence, result.timings["generate_s"]))
    return scores


def photo_table(scores: Sequence[PhotoScore]) -> str:
    """Markdown, with how many arrived."""
    lines = ["| photo and trajectory | level | Box-IoU | in the last frame | background |", "|---|---|---|---|---|"]
    for score in scores:
        measured = score.adherence
        last = ", ".join(f"{value:.2f}" for value in measured.last_box_iou)
        background = "-" if np.isnan(measured.background_psnr) else f"{measured.background_psnr:.1f} dB"
        lines.append(f"| {score.name} | {score.level} | {measured.box_iou:.2f} | {last} | {background} |")
    for level in dict.fromkeys(score.level for score in scores):
        chosen = [score for score in scores if score.level == level]
        lines.append(
            f"\n{level}: {sum(score.arrived for score in chosen)} of {len(chosen)} arrive (Box-IoU >= {ARRIVED}), "
            f"{sum(score.undisturbed for score in chosen)} keep the background (>= {UNDISTURBED:.0f} dB)."
        )
    finest = list({score.name: score for score in reversed(scores)}.values())
    lines.append(
        f"\nEach trajectory at its own level: {sum(score.arrived for score in finest)} of {len(finest)} arrive, "
        f"{sum(score.undisturbed for score in finest)} keep the background."
    )
    return "\n".join(lines)
