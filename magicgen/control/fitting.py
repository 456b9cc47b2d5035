"""Tracks that exist already, such as those of a map video, brought to another size, window and number of frames."""

from typing import assert_never

import numpy as np
import numpy.typing as npt

from magicgen.control.geometry import boxes_within
from magicgen.control.resolve import cut_mask, picture_window
from magicgen.control.tracks import BoxLevel, Floats, Level, MaskLevel, SparseBoxLevel, Tracks
from magicgen.control.trajectory import same_aspect
from magicgen.errors import TrajectoryError


def fit_tracks(tracks: Tracks, height: int, width: int, source_size: tuple[int, int] | None = None) -> Tracks:
    """Tracks at another size, cut as :func:`magicgen.media.fit` cuts the photo of ``source_size`` (H, W).

    Raises:
        TrajectoryError: the tracks have another aspect than the photo, or an object vanishes.
    """
    size = source_size or (height, width)
    if not same_aspect(tracks.size, size):
        raise TrajectoryError(
            f"The map is {tracks.size[1]}x{tracks.size[0]} pixels, another aspect than the picture's "
            f"{size[1]}x{size[0]}. Make it from the same picture, or cut the picture to the same aspect."
        )
    window = picture_window(size, height, width)
    firsts = np.stack([cut_mask(mask, window, height, width) for mask in tracks.first_masks])
    for name, mask in zip(tracks.names, firsts, strict=True):
        if not mask.any():
            raise TrajectoryError(f"{name!r} has no pixel left on frame 0 at {width}x{height}; choose a larger size.")
    masks = None
    if tracks.masks is not None:
        masks = np.stack([[cut_mask(mask, window, height, width) for mask in track] for track in tracks.masks])
    boxes = boxes_within(tracks.boxes.astype(np.float64), window).astype(np.float32)
    return Tracks(tracks.names, firsts, boxes, masks, tracks.angles)


def resample_tracks(tracks: Tracks, level: Level, frames: int) -> tuple[Tracks, Level]:
    """Tracks over another number of frames that span the same time: masks of the nearest old frame, boxes and angles
    on the straight way between their neighbours; at the sparse level every kept box goes to the nearest new frame."""
    old = tracks.frames
    if frames == old:
        return tracks, level
    times = np.linspace(0, old - 1, frames)
    angles = None if tracks.angles is None else _between(tracks.angles[..., None], times)[..., 0]
    masks = None if tracks.masks is None else tracks.masks[:, np.round(times).astype(int)]
    match level:
        case MaskLevel():
            boxes = tracks.boxes[:, np.round(times).astype(int)]
            return Tracks(tracks.names, tracks.first_masks, boxes, masks, angles), level
        case BoxLevel():
            return Tracks(tracks.names, tracks.first_masks, _between(tracks.boxes, times), masks, angles), level
        case SparseBoxLevel(kept):
            boxes = np.full((len(tracks.names), frames, 4), np.nan, dtype=np.float32)
            boxes[:, 0] = tracks.boxes[:, 0]
            moved = {max(1, round(frame * (frames - 1) / max(old - 1, 1))): frame for frame in kept if frame > 0}
            moved = {new: frame for new, frame in moved.items() if new < frames}
            for new, frame in moved.items():
                boxes[:, new] = tracks.boxes[:, frame]
            return Tracks(tracks.names, tracks.first_masks, boxes, masks, angles), SparseBoxLevel(tuple(sorted(moved)))
        case _:
            assert_never(level)


def _between(values: Floats, times: npt.NDArray[np.float64]) -> Floats:
    """Values (N, T, D) at fractional frames; beside an absent one (NaN) that of the nearest frame."""
    low, high = np.floor(times).astype(int), np.ceil(times).astype(int)
    part = (times - low)[:, None].astype(np.float32)
    mixed = values[:, low] * (1 - part) + values[:, high] * part
    return np.asarray(np.where(np.isfinite(mixed), mixed, values[:, np.round(times).astype(int)]), dtype=np.float32)
