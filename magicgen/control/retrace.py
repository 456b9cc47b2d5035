"""The way back: arrays to a trajectory that a person can go on editing, with as few keyframes as say the same."""

import numpy as np
import numpy.typing as npt

from magicgen.control.geometry import Box, Linear, interpolate
from magicgen.control.rle import encode_rle
from magicgen.control.tracks import BoxLevel, Level, MaskLevel, SparseBoxLevel, Tracks
from magicgen.control.trajectory import BoxMotion, Keyframe, MaskMotion, Trajectory, TrajectoryObject

Floats64 = npt.NDArray[np.float64]

# Parts of the picture and degrees: far below what a pixel shows, above the rounding of float32.
_TOLERANCE = np.array([1e-5, 1e-5, 1e-5, 1e-5, 1e-2])


def retrace(tracks: Tracks, level: Level) -> Trajectory:
    """A trajectory that resolves to ``tracks`` as far as ``level`` shows them.

    At the mask level every object gets its masks. At the box level keyframes are kept where the straight way between
    their neighbours would miss a box, at the sparse level exactly where the level keeps one. An object that is absent
    in some frames keeps the box that it had.

    Raises:
        TrajectoryError: names that a trajectory cannot have, or boxes farther than 4 pictures outside.
    """
    objects = []
    for index, name in enumerate(tracks.names):
        first = encode_rle(tracks.first_masks[index])
        if isinstance(level, MaskLevel) and tracks.masks is not None:
            later = (encode_rle(mask) if mask.any() else None for mask in tracks.masks[index, 1:])
            objects.append(TrajectoryObject(name, MaskMotion((first, *later))))
            continue
        boxes = tracks.boxes[index].astype(np.float64)
        angles = np.zeros(len(boxes)) if tracks.angles is None else tracks.angles[index].astype(np.float64)
        places = np.concatenate([boxes, angles[:, None]], axis=1)
        keyframes = tuple(
            Keyframe(frame, Box(*(float(value) for value in boxes[frame])), float(angles[frame]))
            for frame in _frames(places, level)
        )
        objects.append(TrajectoryObject(name, BoxMotion(keyframes, Linear(), first)))
    return Trajectory(tracks.frames, tuple(objects))


def _frames(places: Floats64, level: Level) -> list[int]:
    """The frames that need a keyframe; ``places`` (T, 5) are boxes and angles."""
    known = [int(frame) for frame in np.flatnonzero(np.isfinite(places).all(axis=1))]
    match level:
        case SparseBoxLevel(kept):
            return [frame for frame in known if frame == 0 or frame in kept]
        case MaskLevel() | BoxLevel():
            return _corners(places, known)


def _corners(places: Floats64, known: list[int]) -> list[int]:
    """Fewest frames, greedily, between which the way is straight and even."""
    kept, start = [known[0]], 0
    while start < len(known) - 1:
        end = start + 1
        while end + 1 < len(known) and _straight(places, known[start : end + 2]):
            end += 1
        kept.append(known[end])
        start = end
    return kept if len(kept) > 1 and np.abs(places[kept[1:]] - places[kept[0]]).max() > 1e-5 else kept[:1]


def _straight(places: Floats64, frames: list[int]) -> bool:
    first, last = frames[0], frames[-1]
    ends = np.stack([places[first], places[last]])
    way = interpolate([0, last - first], ends, last - first + 1, Linear())
    inner = np.array(frames)
    return bool((np.abs(way[inner - first] - places[inner]) <= _TOLERANCE).all())
