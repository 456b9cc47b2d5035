"""Which separate parts of a followed object belong to it."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.segmentation.flow import Floats, FrameFlow, rigid_field, squared_length
from magicgen.segmentation.layers import Layer

SMALL = 0.25  # of the largest part's area: from here on a part needs no reason
GAP = 5  # working pixels that do not separate parts
NEW = 0.5  # chance of the background from which on a hole is one
SUPPORT = 0.3  # mean carried probability from which a part is not new


def own_parts(labels: Floats, layers: Sequence[Layer], flow: FrameFlow) -> Floats:
    """Give small parts that do not belong to their object to the background.

    A small part belongs to its object when it was there before and does not stand still with the background while the
    object moves; what merely looks like the object somewhere else, or was left behind by it, does not.

    Args:
        labels: (1 + N, h, w) float32 probabilities of background and objects on this frame.
        layers: background and objects as carried to this frame, before it changed them.
        flow: motion from the last frame.

    Returns:
        ``labels`` itself where nothing changes, else a copy.
    """
    best = labels.argmax(axis=0)
    ground = _distance(flow, layers[0])
    result = labels
    for number in range(1, len(labels)):
        mask = best == number
        parts = _small_parts(mask)
        own = _distance(flow, layers[number]) if parts else ground
        for part in parts:
            known = layers[number].seen[part].mean() > SUPPORT
            if known and np.median(own[part]) <= np.median(ground[part]) + 0.25:
                continue
            if result is labels:
                result = labels.copy()
            result[0][part] += result[number][part]
            result[number][part] = 0
    return result


def filled(labels: Floats, ground_seen: Floats, ground_fits: Floats) -> Floats:
    """Give new holes of an object to it: a side that was not seen before, unless the background looks like that.

    Args:
        labels: (1 + N, h, w) float32 probabilities of background and objects on this frame.
        ground_seen: (h, w) float32, probability of the background as carried from the last frame.
        ground_fits: (h, w) float32 in [0, 1], how well the frame fits a background that is known.

    Returns:
        ``labels`` itself where nothing changes, else a copy.
    """
    best = labels.argmax(axis=0)
    result = labels
    for number in range(1, len(labels)):
        for hole in _holes(best == number):
            if (best[hole] != 0).any() or max(ground_fits[hole].mean(), ground_seen[hole].mean()) > NEW:
                continue
            if result is labels:
                result = labels.copy()
            result[number][hole] += result[0][hole]
            result[0][hole] = 0
    return result


def _holes(mask: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.bool_]]:
    """Regions that the mask surrounds, smaller than half of it."""
    count, numbers, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    x, y, width, height, area = stats.T
    inside = (x > 0) & (y > 0) & (x + width < mask.shape[1]) & (y + height < mask.shape[0])
    found = np.flatnonzero(inside & (area <= 0.5 * mask.sum()))
    return [numbers == hole for hole in found.tolist() if 0 < hole < count]


def _small_parts(mask: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.bool_]]:
    byte = mask.astype(np.uint8)
    count, numbers = cv2.connectedComponents(cv2.dilate(byte, np.ones((GAP, GAP), np.uint8)))
    if count <= 2:
        return []
    numbers = numbers * byte
    areas = np.bincount(numbers.ravel(), minlength=count)
    areas[0] = 0
    return [numbers == part for part in range(1, count) if 0 < areas[part] < SMALL * areas.max()]


def _distance(flow: FrameFlow, layer: Layer) -> Floats:
    """(h, w) how far the flow is from the layer's rigid motion, in working pixels."""
    return np.sqrt(squared_length(flow.backward - rigid_field(layer.motion, flow.trust.shape)))
