"""Whether a finished video does what was drawn: tracked objects against the boxes that were asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from magicgen.control.tracks import Bools, Level, Tracks, boxes_from_masks
from magicgen.evaluation.metrics import background, box_iou, finite_mean, psnr

UInt8 = npt.NDArray[np.uint8]

TRACKER_NAME = "magicgen flow tracker"
BACKGROUND_MARGIN = 4


@dataclass(frozen=True)
class Adherence:
    """How well a video follows its trajectory.

    Attributes:
        box_iou: mean Box-IoU of the tracked objects with the boxes that the model was given, frames after the first.
        last_box_iou: the same in the last frame that has a box, one number per object; NaN for one that was never asked
            for again.
        background_psnr: dB against the photo, away from old and new places of the objects.
        tracker: what followed the objects.
    """

    box_iou: float
    last_box_iou: tuple[float, ...]
    background_psnr: float
    tracker: str


def finite_or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return round(value, 4) if np.isfinite(value) else None


def measure_adherence(
    video: UInt8,
    tracks: Tracks,
    level: Level,
    track: Callable[[UInt8, Bools], Bools] | None = None,
    tracker_name: str = TRACKER_NAME,
    photo: UInt8 | None = None,
) -> Adherence:
    """Track the objects from their first masks and compare.

    Args:
        video: (T, H, W, 3) uint8, frame 0 the photo.
        tracks, level: what was asked for, at the size of the video.
        track: masks of frame 0 -> (N, T, H, W); by default the project's own tracker, at the video's own size, which
            says as much about boxes as an enlarged one and takes two thirds of the time.
        photo: (H, W, 3) uint8, what the background is compared with; by default the video's own first frame.
    """
    if track is None:
        from magicgen.segmentation.propagate import PropagateSettings, propagate_masks

        track = partial(propagate_masks, settings=PropagateSettings(enlarge=1.0))
    found = boxes_from_masks(track(video, tracks.first_masks))
    asked = tracks.at_level(level).boxes
    scores = box_iou(found, asked)
    known = np.asarray(np.isfinite(asked).all(axis=-1))
    known[:, 0] = False
    last = [scores[k, np.flatnonzero(known[k])[-1]] if known[k].any() else float("nan") for k in range(len(asked))]
    held = np.broadcast_to(video[0] if photo is None else photo, video.shape)
    return Adherence(
        box_iou=finite_mean(scores[known]),
        last_box_iou=tuple(float(value) for value in last),
        background_psnr=psnr(video, held, background(tracks, BACKGROUND_MARGIN)),
        tracker=tracker_name,
    )
