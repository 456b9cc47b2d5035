"""A photo and a trajectory file, brought to one clip: the same size, the same window, the same number of frames."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import numpy as np
import numpy.typing as npt

from magicgen.control.fitting import fit_tracks, resample_tracks
from magicgen.control.geometry import Box
from magicgen.control.map_video import MapVideo, read_map_video
from magicgen.control.resolve import level_by_name, natural_level, resolve
from magicgen.control.tracks import Bools, BoxLevel, Level, MaskLevel, SparseBoxLevel, Tracks, level_name
from magicgen.control.trajectory import Trajectory, read_trajectory, same_aspect
from magicgen.errors import TrajectoryError
from magicgen.media import fit, resize

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
            tracks, drawn = resample_tracks(tracks, drawn, shape.frames)
            tracks = fit_tracks(tracks, shape.height, shape.width, source_size)
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
