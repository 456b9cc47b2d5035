"""Sketches of places: the lines between the parts of a drawn place, and the parts filled with colours.

What a skeleton is to a figure these are to its surroundings. Words alone leave open where trees and houses stand, so a
model that is asked by words alone answers with their mean, bands of colour; lines say where they stand.
"""

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from magicgen.synthetic.colours import Images
from magicgen.synthetic.landscapes import PLACES, TIMES, paint_place

STEP = 14
"""Difference between neighbours, of 255, from which a line parts them; gradients in sky and water are flatter."""
LEAST = 4
"""Pixels of a part that is kept."""
WIDE = 0.06
"""Share of the picture from which a part keeps its gradient."""


def place_lines(painted: Images) -> npt.NDArray[np.uint8]:
    """(H, W) uint8, white lines of one pixel on black, between the parts of a place in flat paint (H, W, 3).

    The lines are closed: pixels beside each other without a line between them belong to the same part.
    """
    step = cv2.morphologyEx(painted, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).max(axis=2)
    parts = _nearest((step <= STEP).astype(np.uint8))
    lines = np.zeros(painted.shape[:2], np.uint8)
    lines[:, :-1][parts[:, :-1] != parts[:, 1:]] = 255
    lines[:-1][parts[:-1] != parts[1:]] = 255
    return lines


def sketch_of(background: str, height: int, width: int, seed: int) -> npt.NDArray[np.uint8] | None:
    """:func:`place_lines` of the place and time that a prompt names; None where it names no place of the drawn world.

    The same seed gives the same place in the morning, by day and in the evening.
    """
    words = background.split()
    place = next((word for word in words if word in PLACES), None)
    if place is None:
        return None
    time = next((word for word in words if word in TIMES), "day")
    rng = np.random.default_rng([seed % 2**63, list(PLACES).index(place)])
    return place_lines(paint_place(rng, height, width, place, time))


def filled_parts(lines: npt.NDArray[np.uint8], colours: Images) -> Images:
    """Every part between lines (H, W), white on black, in the mean of ``colours`` (H, W, 3) over it.

    Sky, ground and other wide parts keep the gradient that the colours have there.
    """
    parts = _nearest((lines < 128).astype(np.uint8))
    size = np.maximum(np.bincount(parts.ravel()), 1)
    channels = [channel.ravel().astype(np.float64) for channel in cv2.split(colours)]
    means = np.stack([np.bincount(parts.ravel(), weights=channel) / size for channel in channels], axis=1)
    result = means[parts].astype(np.float32)
    spread = 0.08 * lines.shape[0]
    for part in np.flatnonzero(size > WIDE * lines.size):
        inside = (parts == part).astype(np.float32)
        share = cv2.GaussianBlur(inside, (0, 0), spread)[..., None]
        total = cv2.GaussianBlur(colours.astype(np.float32) * inside[..., None], (0, 0), spread)
        result = np.where(inside[..., None] > 0, total / np.maximum(share, 1e-3), result)
    return np.clip(np.round(result), 0, 255).astype(np.uint8)


def _nearest(inside: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """(H, W) int32: the connected piece (over edges, not corners) that each pixel belongs to or is nearest to."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= LEAST
    large[0] = False
    known = large[labels]
    if not known.any():
        return np.zeros(inside.shape, np.int32)
    rows, columns = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(labels[rows, columns], np.int32)
