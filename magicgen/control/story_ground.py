"""A figure on a plain ground: where it is, and which ground sets it off."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Colour = tuple[int, int, int]

GROUNDS: tuple[Colour, ...] = ((140, 165, 190), (205, 150, 140), (140, 180, 135), (175, 150, 200), (120, 120, 128))
"""Papers on which figures are drawn alone: bluish, reddish, greenish, violet, gray. None is light: snouts that a front
view hardly shows are often white."""
LIGHT = 200
"""Brightness from which a ground is paper."""
FAINT = 14.0
"""Distance from the ground, in steps of 8 bits, that the palest parts of a reference have."""
CLEAN = 0.7
"""Distance from its own median, in steps of 8 bits, within which half of a clean drawing's border stays; what somebody
holds may touch the rest."""
INK_APART = 40.0
"""Distance from the ground, in steps of 8 bits, that an outline has and a blend of paper and fur mostly has not."""
GAP = 0.4
"""Share of the threshold below which the ground is seen through a figure, as between its legs."""
CLEAR = 45.0
"""Lab distance from which a colour stands out well enough; more counts no further."""


def from_ground(picture: UInt8) -> Floats:
    """(h, w) float32 Lab distance, in steps of 8 bits, from the colour of the border."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    return np.asarray(np.linalg.norm(lab - np.median(_frame(lab), axis=0), axis=2), np.float32)


def drawn_figure(picture: UInt8) -> Bools:
    """(h, w) bool: a figure on a plain ground and all that its outline encloses. A clean border tells a clean drawing:
    its outlines, of white on white too thin and faint to be smoothed first, count as they are."""
    distance = from_ground(picture)
    if np.median(_frame(distance)) > CLEAN:
        return grainy_figure(picture, strict=False)
    drawn = (distance > 6).astype(np.uint8)
    closed = cv2.morphologyEx(np.pad(drawn, 4), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))[4:-4, 4:-4]
    contours, _ = cv2.findContours(np.ascontiguousarray(closed), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    full = np.zeros_like(drawn)
    large = max((cv2.contourArea(contour) for contour in contours), default=0.0)
    kept = [contour for contour in contours if cv2.contourArea(contour) >= 0.02 * large]
    cv2.drawContours(full, kept, -1, 1, cv2.FILLED)
    full[_bare_paper(picture)] = 0
    # the rim is half paper, except where it is ink
    inner = cv2.erode(np.pad(full, 1), np.ones((3, 3), np.uint8))[1:-1, 1:-1]
    return (inner > 0) | ((full > 0) & (distance > INK_APART))


def grainy_figure(picture: UInt8, strict: bool = True) -> Bools:
    """(h, w) bool: a figure on a plain ground by a small model, whose pictures have grain and a haze around the figure.
    The threshold is set by the figure's own contrast, so that the haze stays outside; where not ``strict`` it is lower:
    pale parts of a figure with dark ones are kept, and some haze."""
    distance = from_ground(np.asarray(cv2.medianBlur(picture, 3), np.uint8))
    threshold = _threshold(distance) if strict else min(_threshold(distance), FAINT)
    whole = _smooth_silhouette((distance > threshold).astype(np.uint8))
    if np.median(_frame(picture)) > LIGHT:  # a white figure is of that colour too
        return whole
    return whole & ~patches(whole & (distance < GAP * threshold))


def _threshold(distance: Floats) -> float:
    """Half of what parts the strong from the faint (Otsu 1979) among all that is not plainly ground."""
    drawn = np.clip(distance[distance > 8], 0, 120).astype(np.uint8)
    if not drawn.size:
        return 10.0
    parting, _ = cv2.threshold(drawn[None], 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(np.clip(0.5 * parting, 10, 30))


def _smooth_silhouette(mask: npt.NDArray[np.uint8]) -> Bools:
    """Everything that a ragged mask encloses, without its loose grains, its rim smoothed."""
    closed = cv2.morphologyEx(np.pad(mask, 8), cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))[
        8:-8, 8:-8
    ]
    contours, _ = cv2.findContours(np.ascontiguousarray(closed), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    full = np.zeros_like(mask)
    cv2.drawContours(full, contours, -1, 1, cv2.FILLED)
    whole = main_part(cv2.morphologyEx(full, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    return cv2.GaussianBlur(whole.astype(np.float32), (0, 0), 1.0) > 0.5


def main_part(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The largest piece and those that are not small beside it."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return mask
    areas = stats[1:, cv2.CC_STAT_AREA]
    kept = [index + 1 for index, area in enumerate(areas) if area >= max(12, 0.03 * areas.max())]
    return np.isin(labels, kept).astype(np.uint8)


def _bare_paper(picture: UInt8) -> Bools:
    """(h, w) bool: paper to the last bit, also where lines enclose it, as between legs; fur is shaded."""
    same = (picture == np.median(_frame(picture), axis=0).astype(np.uint8)).all(axis=2)
    return patches(same)


def patches(mask: Bools, least: int = 8) -> Bools:
    """(h, w) bool: the connected pieces of a mask with at least ``least`` pixels."""
    count, labels, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    large = [index for index in range(1, count) if facts[index, cv2.CC_STAT_AREA] >= least]
    return np.isin(labels, large)


def _frame(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values along the border, (n, ...)."""
    channels = values.shape[2:]
    sides = (values[:3], values[:, :3], values[:, -3:])
    return np.concatenate([side.reshape(-1, *channels) for side in sides])


def contrasting(colours: Sequence[Colour] | UInt8) -> Colour:
    """The ground of :data:`GROUNDS` from which these colours, (n, 3), stand out; the first where there are none."""
    if not len(colours):
        return GROUNDS[0]
    seen = _lab(np.asarray(colours, np.uint8)[None])[0]
    worth = []
    for ground in GROUNDS:
        off = np.linalg.norm(seen - _lab(np.asarray(ground, np.uint8)[None, None])[0], axis=1)
        worth.append(float(np.minimum(off, CLEAR).mean() + np.percentile(np.minimum(off, CLEAR), 10)))
    return GROUNDS[int(np.argmax(worth))]


def _lab(picture: UInt8) -> Floats:
    """CIE Lab in its own units."""
    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB), np.float32)
