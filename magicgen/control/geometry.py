"""Boxes and their motion between keyframes: plain numbers, no pixels."""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import assert_never

import numpy as np
import numpy.typing as npt

from magicgen.errors import TrajectoryError

Floats64 = npt.NDArray[np.float64]

# Objects leave the picture and may be larger than it; boxes farther away than this are typing errors (pixels, say).
LOWEST, HIGHEST = -4.0, 5.0


@dataclass(frozen=True)
class Box:
    """A normalised box: ``x0 < x1``, ``y0 < y1``, exclusive maximum, origin top left; the picture is [0, 1] x [0, 1].

    Coordinates may reach from -4 to 5, since objects leave the picture.

    Raises:
        TrajectoryError: a number that is not finite, out of range, or a box without area.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        given = list(astuple(self))
        if not all(math.isfinite(value) for value in given):
            raise TrajectoryError(f"a box is four finite numbers [x0, y0, x1, y1]; got {given}")
        if min(given) < LOWEST or max(given) > HIGHEST:
            raise TrajectoryError(
                f"a box lies within {LOWEST:g} and {HIGHEST:g}, where 0 to 1 is the picture (normalised, not pixels); "
                f"got {given}"
            )
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise TrajectoryError(f"a box is [x0, y0, x1, y1] with x0 < x1 and y0 < y1; got {given}")

    @property
    def width(self) -> float:
        """x1 - x0."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """y1 - y0."""
        return self.y1 - self.y0

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the middle."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    @property
    def area(self) -> float:
        """Width times height, as a part of the picture's area."""
        return self.width * self.height

    def as_array(self) -> Floats64:
        """(4,) float64 [x0, y0, x1, y1]."""
        return np.array(astuple(self), dtype=np.float64)

    def intersection(self, other: "Box") -> "Box | None":
        """The common part, or None."""
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        x1, y1 = min(self.x1, other.x1), min(self.y1, other.y1)
        return Box(x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None

    def clipped(self) -> "Box | None":
        """The part inside the picture, or None where the box lies outside."""
        return self.intersection(PICTURE)

    def iou(self, other: "Box") -> float:
        """Intersection over union, 0..1."""
        common = self.intersection(other)
        if common is None:
            return 0.0
        return common.area / (self.area + other.area - common.area)

    def lerp(self, other: "Box", amount: float) -> "Box":
        """The box at ``amount`` (0: self, 1: other) on the straight way to another one."""
        mixed = (1 - amount) * self.as_array() + amount * other.as_array()
        return Box(*(float(value) for value in mixed))

    def moved(self, dx: float, dy: float) -> "Box":
        """Shifted to the right and down."""
        return Box(self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy)

    def zoomed(self, factor: float, about: tuple[float, float] | None = None) -> "Box":
        """Scaled about a point (by default its own centre)."""
        x, y = self.centre if about is None else about
        x0, y0, x1, y1 = (float(value) for value in (self.as_array() - (x, y, x, y)) * factor + (x, y, x, y))
        return Box(x0, y0, x1, y1)


PICTURE = Box(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Linear:
    """Straight and even motion between neighbouring keyframes."""


@dataclass(frozen=True)
class Smooth:
    """A monotone cubic through the keyframes (Fritsch and Carlson 1980, with Butland's slopes): no overshoot, no jerk
    at a keyframe, at rest before the first and after the last one."""


Interpolation = Linear | Smooth


def interpolate(frames: Sequence[int], values: Floats64, count: int, how: Interpolation) -> Floats64:
    """Values at the keyframes -> values at all frames.

    Args:
        frames: K different frame numbers, rising.
        values: (K, D) the values at these frames.
        count: T, the number of frames wanted.
        how: the interpolation; outside the keyframes the first or last value is held.

    Returns:
        (T, D) float64.
    """
    knots = np.asarray(frames, dtype=np.float64)
    times = np.clip(np.arange(count, dtype=np.float64), knots[0], knots[-1])
    if len(knots) == 1:
        return np.repeat(values, count, axis=0)
    match how:
        case Linear():
            columns = [np.interp(times, knots, values[:, column]) for column in range(values.shape[1])]
            return np.stack(columns, axis=1)
        case Smooth():
            return _monotone_cubic(knots, values, times)
        case _:
            assert_never(how)


def interpolate_boxes(frames: Sequence[int], boxes: Sequence[Box], count: int, how: Interpolation) -> Floats64:
    """Boxes at the keyframes -> (T, 4) float64 boxes at all frames. Centre and size are interpolated, so that the area
    stays positive on any way."""
    corners = np.stack([box.as_array() for box in boxes])
    places = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
    path = interpolate(frames, places, count, how)
    result = np.concatenate([path[:, :2] - path[:, 2:] / 2, path[:, :2] + path[:, 2:] / 2], axis=1)
    inside = [frame for frame in frames if frame < count]
    result[inside] = corners[: len(inside)]  # the keyframes themselves, free of rounding
    return result


def boxes_within(boxes: Floats64, window: Box) -> Floats64:
    """Boxes (..., 4) of a picture -> the same boxes in the coordinates of a window of it (a crop)."""
    origin = np.array([window.x0, window.y0, window.x0, window.y0])
    return (boxes - origin) / np.array([window.width, window.height, window.width, window.height])


def _monotone_cubic(knots: Floats64, values: Floats64, times: Floats64) -> Floats64:
    step = np.diff(knots)[:, None]
    secant = np.diff(values, axis=0) / step
    slope = np.zeros_like(values)
    if len(knots) > 2:
        before, after = secant[:-1], secant[1:]
        same = before * after > 0
        weight0, weight1 = 2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]
        safe0, safe1 = np.where(same, before, 1.0), np.where(same, after, 1.0)
        slope[1:-1] = np.where(same, (weight0 + weight1) / (weight0 / safe0 + weight1 / safe1), 0.0)
    part = np.clip(np.searchsorted(knots, times, side="right") - 1, 0, len(knots) - 2)
    u = ((times - knots[part]) / step[part, 0])[:, None]
    rise = u * u * (3 - 2 * u)
    left, right = values[part], values[part + 1]
    curve = left + (right - left) * rise + step[part] * u * (1 - u) * (slope[part] * (1 - u) - slope[part + 1] * u)
    # Rounding may leave the interval by an ulp; the promise is not to.
    return np.clip(curve, np.minimum(left, right), np.maximum(left, right))
