"""The raw scores of a clip and of its tracks; nothing is decided here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from data_tools.frames import LastClip
from data_tools.layout import Layout
from data_tools.model_scores import ModelScorer
from data_tools.motion import Motion, measure_motion
from data_tools.records import ClipRecord, Resources, Score, Track
from data_tools.scores import CLIP_SCORES
from data_tools.settings import ModelScores
from magicgen.control.rle import Rle

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
_HASHED = 5  # frames whose perceptual hash is stored


class Measure:
    """Stage: adds all raw scores and the perceptual hash."""

    name, version = "measure", 1

    def __init__(self, settings: ModelScores, layout: Layout, clips: LastClip | None = None) -> None:
        self.settings, self.layout = settings, layout
        self.clips = clips or LastClip()
        self._scorer: ModelScorer | None = None

    @property
    def resources(self) -> Resources:
        """A GPU only where models score on one."""
        return Resources(cpus=1, gpus=float(self.settings.device.startswith("cuda")), memory=2 << 30)

    def setup(self) -> None:
        """Load the models that were given, and what the hash needs."""
        self._scorer = ModelScorer(self.settings)
        image_hash(np.zeros((1, 32, 32, 3), np.uint8))

    def __call__(self, record: ClipRecord) -> Sequence[ClipRecord]:
        if self._scorer is None:
            self.setup()
        assert self._scorer is not None
        video = self.clips.frames(self.layout.root / record.facts.file)
        size = (record.facts.height, record.facts.width)
        motion = measure_motion(video, lambda frame: [decode_mask(track.rle[frame], size) for track in record.tracks])
        small = thumbnails(video)
        tracks = tuple(
            replace(track, scores=track_scores(track, motion, index, video.shape[1:3]))
            for index, track in enumerate(record.tracks)
        )
        scores: dict[str, Score] = {
            **dict.fromkeys(CLIP_SCORES),
            "duration": record.facts.frames / record.facts.fps,
            "camera_motion": motion.camera,
            "background_residual": motion.background,
            "camera_inliers": motion.inliers,
            "flow_consistency": motion.consistency,
            "order": frame_order(small),
            "cut_inside": largest_change(small),
            "static_overlay": static_overlay(video, motion.camera),
            "sharpness": sharpness(video),
            **self._scorer.scores(video, record.caption),
        }
        return [replace(record, tracks=tracks, scores=_rounded(scores), image_hash=image_hash(video))]


def decode_mask(rle: str | None, size: tuple[int, int]) -> Bools:
    """(H, W) bool of one frame of a track."""
    return np.zeros(size, np.bool_) if rle is None else Rle(size, rle).decode()


def decode_masks(track: Track, size: tuple[int, int]) -> Bools:
    """(T, H, W) bool of a track."""
    return np.stack([decode_mask(rle, size) for rle in track.rle])


@dataclass(frozen=True)
class _Path:
    """Boxes of the frames in which an object is seen."""

    frames: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    def neighbours(self) -> Bools:
        """Which steps are from one frame to the very next."""
        return np.diff(self.frames) == 1


def track_scores(track: Track, motion: Motion, index: int, size: tuple[int, ...]) -> dict[str, Score]:
    """The scores of :data:`data_tools.scores.TRACK_SCORES` of one track of a clip of ``size`` (H, W)."""
    height, width = size
    diagonal = float(np.hypot(height, width))
    seen = np.flatnonzero(track.visible)
    path = _Path(seen, np.array([track.boxes[frame] for frame in seen], dtype=np.float64))
    area = np.array([track.area[frame] for frame in seen], dtype=np.float64)
    sides = np.median((path.boxes[:, 2:] - path.boxes[:, :2]) / (width, height), axis=0)
    borders = (path.boxes[:, :2] <= 0).any(axis=1) | (path.boxes[:, 2:] >= (width, height)).any(axis=1)
    gaps = np.diff(seen) - 1
    residual = motion.residuals[index]
    return _rounded(
        {
            "visible_share": len(seen) / len(track.rle),
            "longest_gap": float(gaps.max(initial=0)) / len(track.rle),
            "area_mean": float(area.mean()) / (height * width),
            "area_min": float(area.min()) / (height * width),
            "area_max": float(area.max()) / (height * width),
            "box_side_min": float(sides.min()),
            "border_touch": float(borders.mean()),
            "area_jump": _area_jump(area, path.neighbours()),
            **_moves(path, diagonal),
            "forward_backward": motion.errors[index],
            "residual": residual,
            "motion_ratio": _ratio(residual, motion.background, diagonal),
            "confidence": _mean(track.confidence),
            "first_frame": float(track.visible[0]),
        }
    )


def _area_jump(area: npt.NDArray[np.float64], neighbours: Bools) -> float:
    """A tenth of the usual area is added to all: an object that comes in over the border is no jump."""
    padded = area + 0.1 * np.median(area)
    ratios = padded[1:][neighbours] / padded[:-1][neighbours]
    return float(np.maximum(ratios, 1 / ratios).max(initial=1.0))


def _moves(path: _Path, diagonal: float) -> dict[str, float]:
    """Path length in box diagonals, the largest step beyond the usual one, and the median change of velocity."""
    steps = np.diff(path.centres, axis=0)[path.neighbours()]
    lengths = np.linalg.norm(steps, axis=1)
    box = float(np.median(np.linalg.norm(path.boxes[:, 2:] - path.boxes[:, :2], axis=1)))
    usual = float(np.median(lengths)) if lengths.size else 0.0
    changes = np.linalg.norm(np.diff(steps, axis=0), axis=1)
    return {
        "path_length": float(lengths.sum()) / box,
        "centre_jump": max(0.0, float(lengths.max(initial=0.0)) - usual) / diagonal,
        "jerk": float(np.median(changes)) / diagonal if changes.size else 0.0,
    }


def _ratio(residual: Score, background: Score, diagonal: float) -> Score:
    """Residual motion against the background's; a background quieter than a twentieth of a pixel counts as that."""
    if residual is None or background is None:
        return None
    return residual / max(background, 0.05 / diagonal)


def thumbnails(video: UInt8) -> npt.NDArray[np.float32]:
    """(T, 32, 48, 3) of a video."""
    return np.stack([cv2.resize(frame, (48, 32), interpolation=cv2.INTER_AREA) for frame in video]).astype(np.float32)


def frame_order(small: npt.NDArray[np.float32]) -> Score:
    """Median over frames of the change to the next frame over the change to frames far away, on :func:`thumbnails`.

    Time's order shows in it: neighbours of a real video are more alike than distant frames, those of a shuffled one are
    not. None for videos of fewer than nine frames or without any change.
    """
    if len(small) < 9:
        return None
    flat = small.reshape(len(small), -1)
    far = np.array(
        [np.abs(flat - np.roll(flat, lag, axis=0)).mean() for lag in (len(flat) // 3, len(flat) // 2)]
    ).mean()
    near = np.median(np.abs(np.diff(flat, axis=0)).mean(axis=1))
    return float(near / far) if far > 0.3 else None


def largest_change(small: npt.NDArray[np.float32]) -> float:
    """The largest change between neighbouring :func:`thumbnails` over a large usual one (the ninth decile, so that
    repeated frames do not count, and at least two grey levels)."""
    changes = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
    return float(changes.max(initial=0.0) / max(float(np.quantile(changes, 0.9)) if changes.size else 0.0, 2.0))


def static_overlay(video: UInt8, camera: Score) -> Score:
    """Share of pixels with a strong edge of unchanging place and direction in every looked-at frame; None where the
    camera stands still, because then all edges stay."""
    if camera is None or camera < 0.001:
        return None
    scale = min(1.0, 432 / max(video.shape[1:3]))
    size = (round(video.shape[2] * scale), round(video.shape[1] * scale))
    chosen = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in video[:: max(1, len(video) // 12)]]
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in chosen]
    gradients = np.stack([np.stack([cv2.Sobel(g, cv2.CV_32F, 1, 0), cv2.Sobel(g, cv2.CV_32F, 0, 1)]) for g in grey])
    mean = gradients.mean(axis=0)
    wander = np.linalg.norm(gradients - mean, axis=1).mean(axis=0)
    strength = np.linalg.norm(mean, axis=0)
    return float(np.mean((strength > 100) & (wander < 0.35 * strength)))


def sharpness(video: UInt8) -> float:
    """Median variance of the Laplacian over a few frames, at 480 lines."""
    values = []
    for frame in video[:: max(1, len(video) // 8)]:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        values.append(float(cv2.Laplacian(grey, cv2.CV_32F).var()))
    return float(np.median(values))


def image_hash(video: UInt8) -> str:
    """Perceptual hashes (imagehash.phash, 64 bits) of five frames, joined by '-'."""
    import imagehash
    from PIL import Image

    places = np.linspace(0, len(video) - 1, _HASHED).round().astype(int)
    return "-".join(str(imagehash.phash(Image.fromarray(video[place]))) for place in places)


def _mean(values: Sequence[Score]) -> Score:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _rounded(scores: dict[str, Score]) -> dict[str, Score]:
    return {name: None if value is None else round(float(value), 6) for name, value in scores.items()}
