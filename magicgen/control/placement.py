"""Where the first-frame pixels of an object lie in every later frame: affine placements found from masks or boxes.

At the box levels an object follows its boxes. At the mask level every frame's mask is registered against the first
one, so that in-plane turning is found too. All of it is geometry on arrays; no pixels are made here.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.cut_boxes import slid_behind, unclipped_boxes
from magicgen.control.paths import completed, shipped_paths
from magicgen.control.tracks import Tracks, boxes_from_masks

Matrix = npt.NDArray[np.float64]

# Masks are registered on a canvas of this many pixels; the first mask is scaled to CANVAS_RADIUS**2 pixels of area.
CANVAS = 48
CANVAS_RADIUS = 18.0
TURNS = 72
# Overlaps are compared on every n-th pixel, so that the shorter side has about this many.
COARSE_SIDE = 64
# A registration without turning is kept unless turning explains this much more of the mask (IoU).
TURN_GAIN = 0.02


@dataclass(frozen=True)
class Placement:
    """Placements of N objects in T frames.

    Attributes:
        matrices: (N, T, 2, 3) float64, first-frame pixel -> pixel of frame t.
        present: (N, T) bool, whether the object is known to be in the picture.
        windows: (N, T, 4) float64 pixel boxes outside of which an object is hidden; infinite where it is not.
    """

    matrices: Matrix
    present: npt.NDArray[np.bool_]
    windows: npt.NDArray[np.float64]


def place(tracks: Tracks) -> Placement:
    """Placements from what the tracks know: masks where they are given, else boxes, completed where few are known."""
    count, frames = len(tracks.names), tracks.frames
    matrices = np.tile(np.eye(2, 3), (count, frames, 1, 1))
    present = np.ones((count, frames), dtype=np.bool_)
    windows = np.tile([-np.inf, -np.inf, np.inf, np.inf], (count, frames, 1))
    for index in range(count):
        if tracks.masks is None:
            angles = None if tracks.angles is None else tracks.angles[index]
            boxes, present[index] = _complete_boxes(tracks.boxes[index])
            matrices[index], windows[index] = _follow_boxes(tracks.first_masks[index], boxes, angles)
        else:
            others = np.asarray(np.delete(tracks.masks, index, axis=0).any(axis=0)) if count > 1 else None
            matrices[index], present[index] = _follow_masks(tracks.first_masks[index], tracks.masks[index], others)
    return Placement(matrices, present, windows)


def shown_share(shown: npt.NDArray[np.float64], window: tuple[int, int, int, int]) -> npt.NDArray[np.float32]:
    """The share of every pixel of ``window`` (top, bottom, left, right) inside the box ``shown``, in [0, 1]."""
    top, bottom, left, right = window
    rows, columns = np.arange(top, bottom), np.arange(left, right)
    across = np.minimum(columns + 1, shown[2]) - np.maximum(columns, shown[0])
    down = np.minimum(rows + 1, shown[3]) - np.maximum(rows, shown[1])
    return (down.clip(0, 1)[:, None] * across.clip(0, 1)[None]).astype(np.float32)


def _complete_boxes(boxes: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Boxes (T, 4) with NaN -> all boxes and which frames show the object.

    Gaps between known boxes are interpolated. A gap counts as absence only where the object was last seen at the border
    of the picture or is never seen again while most frames are known (a dense track); a sparse track has gaps by
    design.
    """
    known = np.asarray(np.isfinite(boxes).all(axis=1))
    frames = np.arange(len(boxes))
    if not known.any():
        return np.zeros((len(boxes), 4)), np.zeros(len(boxes), dtype=np.bool_)
    if known.sum() > 1 and known.mean() >= 0.5:
        filled = np.stack([np.interp(frames, frames[known], boxes[known, side]) for side in range(4)], axis=1)
        return filled.astype(np.float64), known
    whole = completed(frames[known], boxes[known].astype(np.float64), len(boxes), shipped_paths())
    return whole, np.ones(len(boxes), dtype=np.bool_)


def _follow_boxes(
    mask: npt.NDArray[np.bool_], boxes: npt.NDArray[np.float64], angles: npt.NDArray[np.float32] | None
) -> tuple[Matrix, npt.NDArray[np.float64]]:
    """Matrices (T, 2, 3) and the windows (T, 4), in pixels, that show the object."""
    height, width = mask.shape
    scale = np.array([width, height, width, height], dtype=np.float64)
    whole = unclipped_boxes(boxes, margin=0.75 / min(height, width))
    windows = np.tile([-np.inf, -np.inf, np.inf, np.inf], (len(boxes), 1))
    if angles is None:
        whole, windows = slid_behind(whole)
    whole, windows = whole * scale, windows * scale
    start = boxes_from_masks(mask[None])[0].astype(np.float64) * scale
    # The drawn box of frame 0 and the mask need not agree; the object moves as the boxes move relative to frame 0.
    origin = start if not np.isfinite(boxes[0]).all() else whole[0]
    turns = np.zeros(len(boxes)) if angles is None else np.nan_to_num(angles - angles[0])
    matrices = [_box_matrix(origin, box, float(turn)) for box, turn in zip(whole, turns, strict=True)]
    return np.stack(matrices), windows


def _box_matrix(origin: npt.NDArray[np.float64], box: npt.NDArray[np.float64], degrees: float) -> Matrix:
    """Pixel box -> pixel box; with an angle, the object turns about its centre and keeps its scale."""
    size0, size1 = origin[2:] - origin[:2], box[2:] - box[:2]
    centre0, centre1 = (origin[2:] + origin[:2]) / 2, (box[2:] + box[:2]) / 2
    radians = np.deg2rad(degrees)
    turn = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    linear = turn @ np.diag(size1 / np.maximum(size0, 1e-6))
    # Pixel centres lie at half-integers of box coordinates.
    offset = centre1 - 0.5 - linear @ (centre0 - 0.5)
    return np.column_stack([linear, offset])


def _follow_masks(
    first: npt.NDArray[np.bool_], masks: npt.NDArray[np.bool_], others: npt.NDArray[np.bool_] | None
) -> tuple[Matrix, npt.NDArray[np.bool_]]:
    height, width = first.shape
    present = np.asarray(masks.reshape(len(masks), -1).any(axis=1))
    boxes, _ = _complete_boxes(boxes_from_masks(masks))
    by_box, _ = _follow_boxes(first, boxes, None)
    matrices = by_box.copy()
    registrar = _MaskRegistrar(first)
    step = max(1, min(height, width) // COARSE_SIDE)
    coarse = np.ascontiguousarray(first[::step, ::step])
    turn, previous = 0, np.eye(2, 3)
    for t in range(1, len(masks)):
        if not present[t]:
            matrices[t] = previous
            continue
        hidden = None if others is None else others[t, ::step, ::step]
        similar, turn = registrar.register(masks[t], turn)
        inherited = _shifted(previous, boxes[t] - boxes[t - 1], width, height) if present[t - 1] else by_box[t]
        candidates = (by_box[t], similar, inherited)
        overlap = _Overlap(coarse, masks[t, ::step, ::step], hidden, step)
        scores = [overlap.score(candidate) for candidate in candidates]
        scores[1] -= TURN_GAIN
        matrices[t] = _refine(overlap, masks[t], candidates[int(np.argmax(scores))])
        previous = matrices[t]
    return matrices, present


def _shifted(matrix: Matrix, change: npt.NDArray[np.float64], width: int, height: int) -> Matrix:
    moved = matrix.copy()
    moved[0, 2] += width * (change[0] + change[2]) / 2
    moved[1, 2] += height * (change[1] + change[3]) / 2
    return moved


class _MaskRegistrar:
    """Finds the similarity that takes the first mask to another one: centroid, area, and the turn of best overlap."""

    def __init__(self, first: npt.NDArray[np.bool_]) -> None:
        self.centre, self.radius = _centre_and_radius(first)
        self.turned = np.stack(
            [self._canvas(first, self.centre, self.radius, 360.0 * k / TURNS).ravel() for k in range(TURNS)]
        )
        self.area = self.turned.sum(axis=1)

    def register(self, mask: npt.NDArray[np.bool_], near: int) -> tuple[Matrix, int]:
        """The placement and the index of its turn; turns near the last one are preferred."""
        centre, radius = _centre_and_radius(mask)
        canvas = self._canvas(mask, centre, radius, 0.0).ravel()
        overlap = self.turned @ canvas
        score = overlap / (self.area + canvas.sum() - overlap)
        distance = np.abs((np.arange(TURNS) - near + TURNS // 2) % TURNS - TURNS // 2)
        turn = int(np.argmax(score - 0.01 * distance))
        linear = _rotation(360.0 * turn / TURNS) * (radius / self.radius)
        return np.column_stack([linear, centre - linear @ self.centre]), turn

    @staticmethod
    def _canvas(
        mask: npt.NDArray[np.bool_], centre: npt.NDArray[np.float64], radius: float, degrees: float
    ) -> npt.NDArray[np.float32]:
        linear = _rotation(degrees) * (CANVAS_RADIUS / radius)
        matrix = np.column_stack([linear, (CANVAS - 1) / 2 - linear @ centre])
        return cv2.warpAffine(mask.astype(np.float32), matrix, (CANVAS, CANVAS), flags=cv2.INTER_LINEAR)


def _rotation(degrees: float) -> npt.NDArray[np.float64]:
    radians = np.deg2rad(degrees)
    return np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])


def _centre_and_radius(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float64], float]:
    moments = cv2.moments(mask.astype(np.uint8), binaryImage=True)
    area = max(moments["m00"], 1.0)
    return np.array([moments["m10"], moments["m01"]]) / area, float(np.sqrt(area))


@dataclass(frozen=True)
class _Overlap:
    """How well a placement explains a mask: IoU on every ``step``-th pixel that no other object hides."""

    first: npt.NDArray[np.bool_]
    mask: npt.NDArray[np.bool_]
    hidden: npt.NDArray[np.bool_] | None
    step: int

    def score(self, matrix: Matrix) -> float:
        height, width = self.mask.shape
        coarse = matrix.copy()
        coarse[:, 2] /= self.step
        placed = cv2.warpAffine(self.first.view(np.uint8), coarse, (width, height), flags=cv2.INTER_NEAREST) > 0
        if self.hidden is not None:
            placed &= ~self.hidden
        union = np.count_nonzero(placed | self.mask)
        return np.count_nonzero(placed & self.mask) / union if union else 0.0


def _refine(overlap: _Overlap, mask: npt.NDArray[np.bool_], start: Matrix) -> Matrix:
    """Coordinate descent on shift, size and turn about the mask's centre, two rounds."""
    best, best_score = start, overlap.score(start)
    if best_score > 0.97:
        return best
    centre, radius = _centre_and_radius(mask)
    for step in (1.0, 0.5):
        for nudge in _nudges(centre, step * overlap.step / 2, radius):
            candidate = nudge[:, :2] @ best
            candidate[:, 2] += nudge[:, 2]
            score = overlap.score(candidate)
            if score > best_score:
                best, best_score = candidate, score
    return best


def _nudges(centre: npt.NDArray[np.float64], step: float, radius: float) -> list[Matrix]:
    angle = float(np.rad2deg(2 * step / radius))
    linears = [np.eye(2) * (1 + 2 * step / radius), np.eye(2) / (1 + 2 * step / radius)]
    linears += [_rotation(angle), _rotation(-angle)]
    nudges = [np.column_stack([linear, centre - linear @ centre]) for linear in linears]
    for shift in ((step, 0.0), (-step, 0.0), (0.0, step), (0.0, -step)):
        nudges.append(np.column_stack([np.eye(2), shift]))
    return nudges
