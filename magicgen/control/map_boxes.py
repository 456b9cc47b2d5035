"""Finding the boxes that were drawn as outlines on a map, also where the border or another outline cuts them.

A box is fitted, not read off: of all boxes near the bounding rectangle of an object's pixels the one whose outline
explains these pixels best (IoU, pixels hidden by other outlines not counted). With summed-area tables one candidate
costs a handful of additions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.raster import line_thickness

Labels = npt.NDArray[np.uint8]
_Sides = tuple[int, int, int, int]


@dataclass(frozen=True)
class Outline:
    """A box found on a map.

    Attributes:
        sides: x0, y0, x1, y1 in pixels (centres of the drawn lines); NaN for a side that lies outside of the picture.
        match: IoU of the outline of this box with the pixels found, 0..1.
    """

    sides: tuple[float, float, float, float]
    match: float


def usual_half_width(size: tuple[int, int]) -> int:
    """Pixels on each side of the centre of a line drawn by OpenCV in the public thickness on a map of size (H, W)."""
    return line_thickness(*size) // 2


def find_outline(labels: Labels, value: int, half: int) -> Outline | None:
    """The box outline in label ``value`` on a map (H, W) of labels, with lines of 2 * half + 1 pixels; None where
    there is nothing."""
    piece = labels == value
    low, high = _extent(piece, half)
    if low is None or high is None:
        return None
    fit = _Fit(piece, (labels > 0) & ~piece, half)
    best: _Sides = (
        low[0] + half,
        low[1] + half,
        max(high[0] - half, low[0] + half + 1),
        max(high[1] - half, low[1] + half + 1),
    )
    choices = [_positions(best[side], _lines(piece, side % 2), side, half, piece.shape) for side in range(4)]
    score = fit.score(best)
    for _ in range(4):
        before = best
        for side in range(4):
            for position in choices[side]:
                candidate: _Sides = (*best[:side], position, *best[side + 1 :])  # type: ignore[assignment]
                value_of = fit.score(candidate)
                if value_of > score:
                    best, score = candidate, value_of
        if best == before:
            break
    height, width = piece.shape
    seen = (best[0] >= -half, best[1] >= -half, best[2] <= width - 1 + half, best[3] <= height - 1 + half)
    x0, y0, x1, y1 = (float(at) if visible else np.nan for at, visible in zip(best, seen, strict=True))
    return Outline((x0, y0, x1, y1), score)


def _extent(piece: npt.NDArray[np.bool_], half: int) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """(x, y) of the first and the last pixel of the larger pieces: specks that coding leaves must not stretch a box."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(piece.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    least = min(4 * (2 * half + 1), int(areas.max(initial=0)))
    large = 1 + np.flatnonzero(areas >= max(least, 3))
    if count < 2 or large.size == 0:
        return None, None
    lefts, tops = stats[large, cv2.CC_STAT_LEFT], stats[large, cv2.CC_STAT_TOP]
    rights, bottoms = lefts + stats[large, cv2.CC_STAT_WIDTH], tops + stats[large, cv2.CC_STAT_HEIGHT]
    return (int(lefts.min()), int(tops.min())), (int(rights.max()) - 1, int(bottoms.max()) - 1)


def _lines(piece: npt.NDArray[np.bool_], axis: int) -> list[int]:
    """Columns (axis 0) or rows (axis 1) that hold most pixels of a piece, at most eight: its lines, if it has any."""
    profile = piece.sum(axis=axis)
    return [int(at) for at in np.argsort(-profile, kind="stable")[:8] if profile[at] > 0]


def _positions(start: int, lines: list[int], side: int, half: int, size: tuple[int, ...]) -> list[int]:
    """Where the line of one side may lie: at the outermost pixels, farther out where another outline hides it or the
    border cuts it, where most pixels are, or not in the picture at all."""
    outward = -1 if side < 2 else 1
    reach = [start + outward * step for step in range(-2, 2 * half + 3)]
    near_lines = [line + step for line in lines for step in range(-half, half + 1)]
    outside = -half - 2 if side < 2 else (size[1] if side == 2 else size[0]) + half + 1
    return sorted({*reach, *near_lines, outside})


class _Fit:
    """Scores boxes against the pixels of one object."""

    def __init__(self, piece: npt.NDArray[np.bool_], others: npt.NDArray[np.bool_], half: int) -> None:
        self.half = half
        self.height, self.width = piece.shape
        self.total = int(np.count_nonzero(piece))
        self.piece = cv2.integral(piece.astype(np.uint8))
        self.free = cv2.integral((~others).astype(np.uint8))

    def score(self, sides: _Sides) -> float:
        """IoU of the outline of a box (centres of its lines) and the pixels."""
        x0, y0, x1, y1 = sides
        if x0 >= x1 or y0 >= y1:
            return 0.0
        outer = (x0 - self.half, y0 - self.half, x1 + self.half + 1, y1 + self.half + 1)
        inner = (x0 + self.half + 1, y0 + self.half + 1, x1 - self.half, y1 - self.half)
        matched = self._sum(self.piece, outer) - self._sum(self.piece, inner)
        drawn = self._sum(self.free, outer) - self._sum(self.free, inner)
        union = drawn + self.total - matched
        return matched / union if union > 0 else 0.0

    def _sum(self, table: npt.NDArray[np.int32], area: _Sides) -> int:
        x0, x1 = (min(max(x, 0), self.width) for x in (area[0], area[2]))
        y0, y1 = (min(max(y, 0), self.height) for y in (area[1], area[3]))
        if x0 >= x1 or y0 >= y1:
            return 0
        return int(table[y1, x1]) - int(table[y0, x1]) - int(table[y1, x0]) + int(table[y0, x0])


def complete_boxes(
    first: npt.NDArray[np.float64], outlines: Sequence[Outline | None], size: tuple[int, int], half: int
) -> npt.NDArray[np.float32]:
    """Outlines of frames 1.. -> (T, 4) float32 normalised boxes; sides outside of the picture are placed by the size
    that the object has in the nearest frame that shows it whole.

    Args:
        first: (4,) the object's box in pixels on frame 0.
        outlines: T - 1 outlines, None where the object is not drawn.
        size: (H, W) of the map.
        half: half of the line width.
    """
    height, width = size
    sides = np.full((len(outlines) + 1, 4), np.nan)
    sides[0] = first
    for frame, outline in enumerate(outlines, start=1):
        if outline is not None:
            sides[frame] = outline.sides
    drawn = np.array([True] + [outline is not None for outline in outlines])
    whole = sides.copy()
    whole[0][[first[0] <= 0, first[1] <= 0, first[2] >= width, first[3] >= height]] = np.nan
    extents = whole[:, 2:] - whole[:, :2]
    for frame in range(1, len(sides)):
        if drawn[frame] and np.isnan(sides[frame]).any():
            for axis in (0, 1):
                extent = _likely_extent(extents, frame, axis)
                sides[frame, axis::2] = _placed(sides[frame, axis::2], extent, size[1 - axis], half)
    return (sides / np.array([width, height, width, height])).astype(np.float32)


def _likely_extent(extents: npt.NDArray[np.float64], frame: int, axis: int) -> float:
    """Width (axis 0) or height (axis 1) of an object in a frame, from the nearest frame where it is known, scaled as
    the other one has changed; NaN where it is never known."""
    known = np.flatnonzero(np.isfinite(extents[:, axis]))
    if known.size == 0:
        return float("nan")
    nearest = known[np.argmin(np.abs(known - frame))]
    ratio = extents[frame, 1 - axis] / extents[nearest, 1 - axis]
    return float(extents[nearest, axis] * (ratio if np.isfinite(ratio) else 1.0))


def _placed(ends: npt.NDArray[np.float64], extent: float, border: int, half: int) -> npt.NDArray[np.float64]:
    """Both ends of a box along one axis, the missing ones outside of [0, border]."""
    low, high = ends
    beyond_low, beyond_high = -half - 1.0, border + half + 0.0
    if np.isnan(low) and np.isnan(high):
        return np.array([beyond_low, beyond_high])
    if np.isnan(low):
        low = min(high - extent, beyond_low) if np.isfinite(extent) else beyond_low
    if np.isnan(high):
        high = max(low + extent, beyond_high) if np.isfinite(extent) else beyond_high
    return np.array([low, high])
