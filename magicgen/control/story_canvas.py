"""What the story model corrects, and what of its answer is shown: pictures of places with figures, (H, W, 3) uint8."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.story import Subject
from magicgen.control.story_sketch import INK

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


def lined(plate: UInt8, condition: UInt8) -> UInt8:
    """The plate with a sketch drawn on it in ink: the draft that the model corrects. Skeletons, which are coloured, are
    left out."""
    ink = condition.min(axis=2, keepdims=True).astype(np.float32) / 255
    return np.round(plate * (1 - ink) + np.asarray(INK, np.float32) * ink).astype(np.uint8)


def rough_picture(
    ground: UInt8 | None, condition: UInt8, crops: UInt8 | None, subjects: Sequence[Subject]
) -> UInt8 | None:
    """The rough picture that the model corrects: crops in the boxes of some subjects, or the sketch in ink."""
    if ground is None:
        return None
    height, width = condition.shape[:2]
    ground = sized(ground, height, width)
    if crops is None:
        return lined(ground, condition)
    result, crops = ground.copy(), sized(crops, height, width)
    for subject in subjects:
        x0, y0, x1, y1 = subject.box
        window = (
            slice(max(0, round(y0 * height) - 1), round(y1 * height) + 1),
            slice(max(0, round(x0 * width) - 1), round(x1 * width) + 1),
        )
        result[window] = crops[window]
    return result


def figure_share(sketch: UInt8, filled: Bools | None = None) -> Floats:
    """(H, W) float32 in [0, 1]: where a picture drawn after a sketch shows its figures and their shadows.

    Everything else stays the plate, bit for bit, so that a place is the same in every panel.

    Args:
        sketch: (H, W) uint8, white lines on black.
        filled: (H, W) bool, where pasted crops lie; an outline with a gap encloses nothing without them.
    """
    lines = sketch if filled is None else np.where(filled, np.uint8(255), sketch)
    closed = cv2.morphologyEx(np.pad(lines, 8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))[8:-8, 8:-8]
    contours, _ = cv2.findContours((closed > 64).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    shown = np.zeros(sketch.shape, np.uint8)
    cv2.drawContours(shown, contours, -1, 255, cv2.FILLED)
    for contour in contours:
        left, top, wide, tall = cv2.boundingRect(contour)
        if tall * wide > 0.004 * sketch.size:  # a figure, not a loose stroke: it stands on a shadow
            foot = (left + wide // 2, top + tall - 1)
            cv2.ellipse(
                shown, foot, (max(2, round(0.34 * tall)), max(2, round(0.1 * tall))), 0, 0, 360, 255, cv2.FILLED
            )
    shown = cv2.dilate(shown, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.GaussianBlur(shown.astype(np.float32) / 255, (0, 0), 0.8), np.float32)


def on_place(drawn: UInt8, ground: UInt8, lines: UInt8, crops: UInt8 | None = None) -> UInt8:
    """The figures of a drawn picture, and their shadows, on the place that it was drawn after.

    Args:
        lines: (H, W) uint8, the sketch, black where there is none.
        crops: the rough picture with pasted crops that was drawn after, if there was one.
    """
    place = sized(ground, *drawn.shape[:2])
    filled = None if crops is None else differs(crops, place)
    return blended(drawn, place, figure_share(lines, filled))


def blended(picture: UInt8, place: UInt8, share: Floats) -> UInt8:
    """``share`` (H, W) in [0, 1] of a picture, the rest of the place."""
    share = share[..., None]
    return np.round(picture * share + place * (1 - share)).astype(np.uint8)


def differs(picture: UInt8, place: UInt8) -> Bools:
    """(H, W) bool: where a picture is visibly not the empty place."""
    return np.asarray(cv2.absdiff(picture, place).max(axis=2) > 6)


def lines_inside(sketch: UInt8, subjects: Sequence[Subject]) -> UInt8:
    """The lines inside the boxes of some subjects."""
    height, width = sketch.shape
    kept = np.zeros_like(sketch)
    for subject in subjects:
        x0, y0, x1, y1 = subject.box
        window = slice(int(y0 * height), round(y1 * height)), slice(int(x0 * width), round(x1 * width))
        kept[window] = sketch[window]
    return kept


def sized(picture: UInt8, height: int, width: int) -> UInt8:
    """A picture (H, W, 3) or (H, W) uint8 at (height, width); areas are averaged where it shrinks."""
    if picture.shape[:2] == (height, width):
        return picture
    method = cv2.INTER_AREA if picture.shape[0] > height else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method), np.uint8)
