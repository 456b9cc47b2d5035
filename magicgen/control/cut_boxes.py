"""From boxes of what can be seen to boxes of whole objects: cut by the border of the picture, or by what hides them."""

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]

# Of a box that lost this share of one side, while the other side kept its size, and one of whose edges stood still,
# the object has slid behind that edge. Less may be an object that turns or is squeezed.
LOST = 0.5
# The standing edge moves less than this share of what was lost.
STANDING = 0.15
# From this share on a box counts as getting narrower.
NARROWING = 0.03


def unclipped_boxes(boxes: Boxes, margin: float) -> Boxes:
    """Boxes (T, 4) of visible parts -> boxes of whole objects, where the picture's border cut them.

    A box that touches a border is extended over it to the size that the object had when it was last (or will first be)
    seen whole, scaled by the other side where that one is whole.
    """
    result = boxes.copy()
    sizes = boxes[:, 2:] - boxes[:, :2]
    low, high = boxes[:, :2] <= margin, boxes[:, 2:] >= 1 - margin
    cut = low ^ high  # an object that touches both borders is not leaving
    whole = ~cut.any(axis=1)
    if not whole.any():
        return result
    frames = np.arange(len(boxes))
    for t in np.flatnonzero(~whole):
        reference = sizes[frames[whole][np.argmin(np.abs(frames[whole] - t))]]
        ratios = [sizes[t, axis] / max(reference[axis], 1e-6) for axis in (0, 1) if not cut[t, axis]]
        scale = ratios[0] if ratios else 1.0
        for axis in (0, 1):
            missing = reference[axis] * scale - sizes[t, axis]
            if cut[t, axis] and missing > 0:
                result[t, axis if low[t, axis] else axis + 2] += -missing if low[t, axis] else missing
    return result


def slid_behind(boxes: Boxes) -> tuple[Boxes, Boxes]:
    """Boxes (T, 4) that get narrower against a standing edge -> (boxes of the whole object, windows that show it).

    A head that sinks into water has a box whose lower edge stands still while the upper one comes down. It is not
    squeezed: it keeps its size and is hidden beyond that edge. Windows are infinite where nothing is hidden.
    """
    whole, windows = boxes.copy(), np.tile([-np.inf, -np.inf, np.inf, np.inf], (len(boxes), 1))
    sizes = boxes[:, 2:] - boxes[:, :2]
    ratios = sizes / np.maximum(sizes[:1], 1e-9)
    for axis in (0, 1):
        expected = sizes[0, axis] * ratios[:, 1 - axis]
        lost = 1 - sizes[:, axis] / np.maximum(expected, 1e-9)
        for run in _runs(lost > NARROWING):
            worst = run[int(np.argmax(lost[run]))]
            edge = _standing_edge(boxes, max(run[0] - 1, 0), worst, axis, lost[worst] * expected[worst])
            if lost[worst] < LOST or edge is None:
                continue
            windows[run, edge] = boxes[run, edge]
            opposite = axis if edge != axis else axis + 2
            sign = 1 if edge > opposite else -1
            whole[run, edge] = boxes[run, opposite] + sign * expected[run]
    return whole, windows


def _standing_edge(boxes: Boxes, before: int, after: int, axis: int, lost: float) -> int | None:
    """Index of the edge that stood still while the other one came near, or None."""
    moved = np.abs(boxes[after] - boxes[before])
    still = [edge for edge in (axis, axis + 2) if moved[edge] < STANDING * lost]
    return still[0] if len(still) == 1 else None


def _runs(flags: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.intp]]:
    """Indices of each run of True."""
    indices = np.flatnonzero(flags)
    return [] if not len(indices) else np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
