"""A photo and a trajectory file, brought to one clip: the same size, the same window, the same number of frames."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

import numpy as np
import numpy.typing as npt

from magicgen.control.geometry import PICTURE, Box, boxes_within
from magicgen.control.map_video import MapVideo, read_map_video
from magicgen.control.resolve import level_by_name, natural_level, resize_mask, resolve
from magicgen.control.tracks import Bools, BoxLevel, Level, MaskLevel, SparseBoxLevel, Tracks, level_name
from magicgen.control.trajectory import Trajectory, read_trajectory, same_aspect
from magicgen.errors import TrajectoryError
from magicgen.media import crop_to_aspect, fit, resize

UInt8 = npt.NDArray[np.uint8]
Document = Trajectory | MapVideo
SegmentPicture = Callable[[UInt8, Box], Bools]

MAP_SUFFIXES = (".mp4", ".mov", ".webm", ".avi", ".mkv", ".gif")


@dataclass(frozen=True)
class ClipInputs:
    """What a model is given.

    Attributes:
        picture: (H, W, 3) uint8 RGB, the first frame.
        tracks: what the objects do, at the size of the picture.
        level: how much of it the model is told.
        fps: frames per second that the trajectory file asks for, or None.
    """

    picture: UInt8
    tracks: Tracks
    level: Level
    fps: float | None = None


@dataclass(frozen=True)
class ClipShape:
    """Frames, height and width of a clip, in pixels."""

    frames: int
    height: int
    width: int


def read_document(path: Path) -> Document:
    """A ``trajectory.json`` or a map video, told apart by the ending.

    Raises:
        TrajectoryError, MediaError: it cannot be read.
    """
    return read_map_video(path) if path.suffix.lower() in MAP_SUFFIXES else read_trajectory(path)


def document_frames(document: Document) -> int:
    """How many frames the file describes."""
    return document.tracks.frames if isinstance(document, MapVideo) else document.frames


def fitting_size(
    photo: tuple[int, int], usual: tuple[int, int], height: int | None, width: int | None, step: int, *, fixed: bool
) -> tuple[int, int]:
    """(height, width) of a clip.

    Args:
        photo: (H, W) of the photo.
        usual: (H, W) that the weights make best; the clip gets about as many pixels, in the photo's aspect.
        height, width: what the person asked for; one of them is enough.
        step: sides are multiples of this.
        fixed: the weights can make the usual size only.
    """
    if height is not None and width is not None:
        return height, width
    if fixed and height is None and width is None:
        return usual
    aspect = photo[1] / photo[0]
    if height is not None:
        return height, _multiple(height * aspect, step)
    if width is not None:
        return _multiple(width / aspect, step), width
    area = usual[0] * usual[1]
    return _multiple(math.sqrt(area / aspect), step), _multiple(math.sqrt(area * aspect), step)


def clip_inputs(
    photo: UInt8, document: Document, shape: ClipShape, level: str | None, segment: SegmentPicture | None
) -> ClipInputs:
    """Photo and trajectory at the clip's size; the photo is cut to the clip's aspect, the trajectory with it.

    Args:
        photo: (H, W, 3) uint8 RGB.
        document: what was read.
        shape: the clip; a trajectory of another number of frames is resampled in time.
        level: ``mask``, ``box`` or ``sparse_box``; by default the finest that the document serves.
        segment: ``(picture, box) -> mask`` for objects drawn as a box alone; without it the box itself is the mask.

    Raises:
        TrajectoryError: the document does not hold what the level needs, or an object cannot be seen.
    """
    source_size = (photo.shape[0], photo.shape[1])
    straight = same_aspect(source_size, (shape.height, shape.width))
    picture = (resize if straight else fit)(photo, shape.height, shape.width)
    match document:
        case Trajectory():
            trajectory = document if document.frames == shape.frames else document.resampled(shape.frames)
            tracks = resolve(
                trajectory,
                shape.height,
                shape.width,
                source_size=source_size,
                first_masks=None if segment is None else lambda box: segment(picture, box),
            )
            wanted = natural_level(trajectory) if level is None else _level(level, trajectory)
            return ClipInputs(picture, tracks, _checked(wanted, tracks))
        case MapVideo(tracks, drawn, fps):
            window = PICTURE if straight else _window(source_size, shape)
            tracks, drawn = _resampled(tracks, drawn, shape.frames)
            tracks = _cut_tracks(tracks, window, shape.height, shape.width)
            return ClipInputs(picture, tracks, _checked(_map_level(level, drawn, tracks.frames), tracks), fps)
        case _:
            assert_never(document)


def _multiple(side: float, step: int) -> int:
    return max(step, round(side / step) * step)


def _level(word: str, trajectory: Trajectory) -> Level:
    return level_by_name(word, trajectory.frames, trajectory.keyframe_frames())


def _checked(level: Level, tracks: Tracks) -> Level:
    tracks.at_level(level)
    return level


def _map_level(word: str | None, drawn: Level, frames: int) -> Level:
    """The level asked for, which may be coarser than what was drawn, never finer."""
    if word is None or word == level_name(drawn):
        return drawn
    match drawn, level_by_name(word, frames):
        case MaskLevel() | BoxLevel(), (BoxLevel() | SparseBoxLevel()) as coarser:
            return coarser
        case _:
            raise TrajectoryError(
                f"The map video shows the level {level_name(drawn)}, which does not hold what the level {word} needs. "
                "Leave out --level, or choose a coarser one (mask, then box, then sparse_box)."
            )


def _window(photo: tuple[int, int], shape: ClipShape) -> Box:
    y0, y1, x0, x1 = crop_to_aspect(photo, shape.height, shape.width)
    return Box(x0 / photo[1], y0 / photo[0], x1 / photo[1], y1 / photo[0])


def _resampled(tracks: Tracks, level: Level, frames: int) -> tuple[Tracks, Level]:
    """Every new frame takes the nearest old one; the kept frames of a sparse level move with their boxes."""
    old = tracks.frames
    if frames == old:
        return tracks, level
    source = np.round(np.linspace(0, old - 1, frames)).astype(int)
    match level:
        case SparseBoxLevel(kept):
            places = {frame: round(frame * (frames - 1) / max(old - 1, 1)) for frame in kept}
            boxes = np.full((len(tracks.names), frames, 4), np.nan, np.float32)
            boxes[:, 0] = tracks.boxes[:, 0]
            for frame, place in places.items():
                boxes[:, max(place, 1)] = tracks.boxes[:, frame]
            new_level: Level = SparseBoxLevel(tuple(sorted({max(place, 1) for place in places.values()})))
            return replace(tracks, boxes=boxes, masks=None, angles=None), new_level
        case MaskLevel() | BoxLevel():
            masks = None if tracks.masks is None else tracks.masks[:, source]
            angles = None if tracks.angles is None else tracks.angles[:, source]
            return replace(tracks, boxes=tracks.boxes[:, source], masks=masks, angles=angles), level
        case _:
            assert_never(level)


def _cut_tracks(tracks: Tracks, window: Box, height: int, width: int) -> Tracks:
    """Tracks of a whole picture, of any size, at the size of a clip that shows a window of it."""
    rows, columns = tracks.size
    y0, y1 = round(window.y0 * rows), max(round(window.y1 * rows), round(window.y0 * rows) + 1)
    x0, x1 = round(window.x0 * columns), max(round(window.x1 * columns), round(window.x0 * columns) + 1)

    def cut(mask: Bools) -> Bools:
        return resize_mask(mask[y0:y1, x0:x1], height, width)

    firsts = np.stack([cut(mask) for mask in tracks.first_masks])
    for name, mask in zip(tracks.names, firsts, strict=True):
        if not mask.any():
            raise TrajectoryError(
                f"Nothing of {name!r} is left on frame 0 at {width}x{height} pixels. Choose a larger size, or the "
                "aspect of the map video."
            )
    masks = None if tracks.masks is None else np.stack([[cut(mask) for mask in masks] for masks in tracks.masks])
    boxes = boxes_within(tracks.boxes.astype(np.float64), window).astype(np.float32)
    return Tracks(tracks.names, firsts, boxes, masks, tracks.angles)
