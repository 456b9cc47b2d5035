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
INK_APART = 40.0
"""Distance from the ground, in steps of 8 bits, that an outline has and a blend of paper and fur mostly has not."""
CLEAR = 45.0
"""Lab distance from which a colour stands out well enough; more counts no further."""


def from_ground(picture: UInt8) -> Floats:
    """(h, w) float32 Lab distance, in steps of 8 bits, from the colour of the border."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    return np.asarray(np.linalg.norm(lab - np.median(_frame(lab), axis=0), axis=2), np.float32)


def drawn_figure(picture: UInt8) -> Bools:
    """(h, w) bool: a drawing on a plain ground and all that its outline encloses. The grain of the border says what
    counts as drawn: outlines of white on white are too thin and faint to be smoothed first."""
    distance = from_ground(picture)
    grain = float(np.percentile(_frame(distance), 90))
    drawn = (distance > np.clip(2.5 * grain, 6, 30)).astype(np.uint8)
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
