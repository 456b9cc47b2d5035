"""One door for everything that says how objects move: ``trajectory.json`` or a map video, at the size of the result."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import numpy as np

from magicgen.control.geometry import boxes_within
from magicgen.control.map_video import read_map_video
from magicgen.control.resolve import Segment, cut_mask, level_by_name, natural_level, picture_window, resolve
from magicgen.control.tracks import BoxLevel, Level, MaskLevel, SparseBoxLevel, Tracks, level_name
from magicgen.control.trajectory import read_trajectory, same_aspect
from magicgen.errors import TrajectoryError

VIDEO_SUFFIXES = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif")


@dataclass(frozen=True)
class Condition:
    """Tracks at the size of the result and the level to be shown to the model."""

    tracks: Tracks
    level: Level


def read_condition(
    path: str | os.PathLike[str],
    height: int,
    width: int,
    *,
    level: str | None = None,
    frames: int | None = None,
    resample: bool = False,
    source_size: tuple[int, int] | None = None,
    first_masks: Segment | None = None,
) -> Condition:
    """Read a trajectory or a map video.

    Args:
        path: ``.json`` or a video.
        height, width: the size of the result in pixels.
        level: mask, box or sparse_box; by default what the file gives (boxes: box, unless a map video is sparse).
        frames: the number of frames wanted; by default that of the file.
        resample: fit another number of frames to ``frames``; otherwise that is an error.
        source_size: (H, W) of the photo, where it is cut to the aspect of the result.
        first_masks: the segmenter for objects without a mask, see :func:`magicgen.control.resolve.resolve`.

    Raises:
        MediaError, TrajectoryError: the file cannot be used, or does not give what is asked for.
    """
    source = Path(path)
    if source.suffix.lower() == ".json":
        trajectory = read_trajectory(source)
        trajectory = trajectory.resampled(_wanted(source, trajectory.frames, frames, resample))
        tracks = resolve(trajectory, height, width, source_size=source_size, first_masks=first_masks)
        natural: Level = natural_level(trajectory)
        keyframes: Iterable[int] = trajectory.keyframe_frames()
    elif source.suffix.lower() in VIDEO_SUFFIXES:
        video = read_map_video(source)
        count = _wanted(source, video.tracks.frames, frames, resample)
        tracks = fit_tracks(video.tracks, height, width, source_size)
        tracks, natural = resample_tracks(tracks, video.level, count)
        keyframes = natural.frames if isinstance(natural, SparseBoxLevel) else ()
    else:
        raise TrajectoryError(
            f"{source} is neither a trajectory (.json) nor a map video ({', '.join(VIDEO_SUFFIXES)})."
        )
    chosen = natural if level is None else _chosen(level, natural, tracks, keyframes, source)
    return Condition(tracks, chosen)


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
    """Tracks over another number of frames that span the same time: every new frame takes the nearest old one; at the
    sparse level every kept box goes to the nearest new frame."""
    old = tracks.frames
    if frames == old:
        return tracks, level
    picked = np.round(np.linspace(0, old - 1, frames)).astype(int)
    angles = None if tracks.angles is None else tracks.angles[:, picked]
    masks = None if tracks.masks is None else tracks.masks[:, picked]
    match level:
        case MaskLevel() | BoxLevel():
            return Tracks(tracks.names, tracks.first_masks, tracks.boxes[:, picked], masks, angles), level
        case SparseBoxLevel(kept):
            boxes = np.full((len(tracks.names), frames, 4), np.nan, dtype=np.float32)
            boxes[:, 0] = tracks.boxes[:, 0]
            moved = {max(1, round(frame * (frames - 1) / (old - 1))): frame for frame in kept}
            moved = {new: frame for new, frame in moved.items() if new < frames}
            for new, frame in moved.items():
                boxes[:, new] = tracks.boxes[:, frame]
            return Tracks(tracks.names, tracks.first_masks, boxes, masks, angles), SparseBoxLevel(tuple(sorted(moved)))
        case _:
            assert_never(level)


def _wanted(source: Path, given: int, wanted: int | None, resample: bool) -> int:
    if wanted is None or wanted == given:
        return given
    if not resample:
        raise TrajectoryError(
            f"{source} has {given} frames, but {wanted} are wanted. Ask for resampling, or for {given} frames."
        )
    return wanted


def _chosen(name: str, natural: Level, tracks: Tracks, keyframes: Iterable[int], source: Path) -> Level:
    if isinstance(natural, SparseBoxLevel) and name == level_name(natural):
        return natural
    level = level_by_name(name, tracks.frames, keyframes)
    if isinstance(natural, SparseBoxLevel):
        raise TrajectoryError(
            f"{source} shows boxes in {len(natural.frames)} frames only (sparse_box); it cannot serve level {name!r}."
        )
    tracks.at_level(level)
    return level
