"""Camera moves written as trajectories: zoom, pan, turn.

A model that obeys boxes has no camera input, but a moving camera is a motion of everything it sees: zooming in makes
every box grow away from the picture's centre, panning to the right shifts every box to the left, turning the camera
turns everything the other way (MagicMotion, arXiv 2503.16421, shows these uses). So a camera move is applied in two
ways, which may be combined:

* to the boxes of drawn objects (:func:`with_camera`), which is all that released weights can see: a box for the whole
  picture leaves it as soon as it grows;
* to an object named "camera" that covers the whole picture behind all others (:func:`camera_trajectory`), so that a
  motion draft carries the background as well.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

from magicgen.control.geometry import Box, Floats64, Interpolation, Linear, interpolate, interpolate_boxes
from magicgen.control.rle import encode_rle
from magicgen.control.trajectory import BoxMotion, Keyframe, MaskMotion, Trajectory, TrajectoryObject
from magicgen.errors import TrajectoryError

CAMERA = "camera"
# Few enough for the sparse level, close enough that the straight way between them follows a zoom to half a percent.
_KEYFRAMES = 9


@dataclass(frozen=True)
class Zoom:
    """Zooming in (factor > 1) or out (factor < 1), about the picture's centre; at even pace in the logarithm."""

    factor: float

    def __post_init__(self) -> None:
        if not 0.2 <= self.factor <= 5:
            raise TrajectoryError(f"A zoom factor lies between 0.2 and 5; got {self.factor}.")


@dataclass(frozen=True)
class Pan:
    """Shifting the view by parts of the picture's width to the right and of its height downwards."""

    right: float = 0.0
    down: float = 0.0

    def __post_init__(self) -> None:
        if not (abs(self.right) <= 2 and abs(self.down) <= 2):
            raise TrajectoryError(
                f"A pan is at most 2 pictures wide or high; got right={self.right}, down={self.down}."
            )


@dataclass(frozen=True)
class Rotate:
    """Turning the camera about its axis, in degrees counter-clockwise: the picture turns clockwise."""

    degrees: float

    def __post_init__(self) -> None:
        if not abs(self.degrees) <= 720:
            raise TrajectoryError(f"A camera turns by at most 720 degrees; got {self.degrees}.")


CameraMove = Zoom | Pan | Rotate


def camera_trajectory(
    frames: int, size: tuple[int, int], moves: Sequence[CameraMove], interpolation: Interpolation | None = None
) -> Trajectory:
    """A trajectory of one object named "camera" that is the whole picture.

    Args:
        frames: T >= 2.
        size: (H, W) of the photo; only its aspect matters.
        moves: what the camera does from the first to the last frame, all at the same time.
        interpolation: the pace, linear by default.

    Raises:
        TrajectoryError: numbers out of range, or boxes farther than 4 pictures outside.
    """
    height, width = size
    whole = BoxMotion((Keyframe(0, Box(0.0, 0.0, 1.0, 1.0)),), Linear(), encode_rle(np.ones((height, width), np.bool_)))
    still = Trajectory(frames, (TrajectoryObject(CAMERA, whole),))
    return with_camera(still, size, moves, interpolation, background=False)


def with_camera(
    trajectory: Trajectory,
    size: tuple[int, int],
    moves: Sequence[CameraMove],
    interpolation: Interpolation | None = None,
    *,
    background: bool = True,
) -> Trajectory:
    """The same objects as seen by a moving camera: what they do themselves and what the camera does to them.

    Args:
        trajectory: objects with boxes.
        size: (H, W) of the photo; only its aspect matters.
        moves: what the camera does from the first to the last frame, all at the same time.
        interpolation: the pace, linear by default.
        background: put the whole picture as an object named "camera" behind all others, so that it moves too.

    Raises:
        TrajectoryError: an object given by masks (they already say where it is seen), a name "camera" in use, fewer
            than two frames, or boxes farther than 4 pictures outside.
    """
    if trajectory.frames < 2:
        raise TrajectoryError("A camera move needs at least two frames; the trajectory has one.")
    last = trajectory.frames - 1
    pace = interpolate([0, last], np.array([[0.0], [1.0]]), trajectory.frames, interpolation or Linear())[:, 0]
    objects = []
    for item in trajectory.objects:
        match item.motion:
            case MaskMotion():
                raise TrajectoryError(
                    f"The object {item.name!r} is given by masks, which already say where it is seen; a camera move "
                    "can only be added to objects with boxes."
                )
            case BoxMotion() as motion:
                objects.append(replace(item, motion=_moved(motion, trajectory.frames, pace, moves, size)))
            case _:
                assert_never(item.motion)
    if background:
        if any(item.name == CAMERA for item in trajectory.objects):
            raise TrajectoryError(f"An object is already named {CAMERA!r}; rename it or leave the background out.")
        objects = [*camera_trajectory(trajectory.frames, size, moves, interpolation).objects, *objects]
    return Trajectory(trajectory.frames, tuple(objects))


def _moved(
    motion: BoxMotion, frames: int, pace: Floats64, moves: Sequence[CameraMove], size: tuple[int, int]
) -> BoxMotion:
    at = [key.frame for key in motion.keyframes]
    boxes = interpolate_boxes(at, [key.box for key in motion.keyframes], frames, motion.interpolation)
    turns = interpolate(at, np.array([[key.angle] for key in motion.keyframes]), frames, motion.interpolation)[:, 0]
    spread = {round(float(frame)) for frame in np.linspace(0, frames - 1, _KEYFRAMES)}
    chosen = sorted(spread | (set(at) if len(at) < _KEYFRAMES else set(range(frames))))
    keyframes = []
    for frame in chosen:
        box = Box(*(float(value) for value in boxes[frame]))
        seen, turn = _seen(box, moves, float(pace[frame]), size)
        keyframes.append(Keyframe(frame, seen, float(turns[frame]) + turn))
    return BoxMotion(tuple(keyframes), Linear(), motion.mask)


def _seen(box: Box, moves: Sequence[CameraMove], part: float, size: tuple[int, int]) -> tuple[Box, float]:
    """A box as seen after a part (0..1) of the moves, and the degrees by which its content has turned."""
    scale, right, down, turn = 1.0, 0.0, 0.0, 0.0
    for move in moves:
        match move:
            case Zoom(factor):
                scale *= factor**part
            case Pan():
                right, down = right + move.right * part, down + move.down * part
            case Rotate(degrees):
                turn -= degrees * part
            case _:
                assert_never(move)
    aspect = size[1] / size[0]
    x, y = (box.centre[0] - 0.5 - right) * aspect, box.centre[1] - 0.5 - down
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    x, y = (cosine * x + sine * y) * scale, (-sine * x + cosine * y) * scale
    half_width, half_height = box.width / 2 * scale, box.height / 2 * scale
    x, y = x / aspect + 0.5, y + 0.5
    return Box(x - half_width, y - half_height, x + half_width, y + half_height), turn
