"""Dense conditions: subjects drawn alone, cut out, turned into lines and composed at their boxes.

A cutout keeps its aspect, fills its box as far as that allows and stands on the middle of the box's lower edge. Nearer
subjects (see :meth:`magicgen.control.story.Panel.drawing_order`) hide the lines of those behind them, so the order of
the list changes nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.geometry import Box
from magicgen.control.story import Panel
from magicgen.errors import StoryError
from magicgen.media import read_image

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

INK = (44, 36, 36)
"""Colour of drawn lines."""
LEAST_INK = 24
"""Pixels that a drawing has at least."""
NOISY = 5.0
"""Standard deviation of the noise, in grey levels, from which a picture is calmed before its edges are looked for."""


@dataclass(frozen=True, eq=False)
class Cutout:
    """A subject alone, cropped to what it covers.

    Attributes:
        mask: (h, w) bool.
        lines: (h, w) uint8, white lines on black.
        picture: (h, w, 3) uint8, or None for one that was drawn by hand.
        keypoints: (17, 3) float32 x, y (0..1 in the crop) and visibility, or None.
    """

    mask: Bools
    lines: UInt8
    picture: UInt8 | None = None
    keypoints: Floats | None = None


@dataclass(frozen=True, eq=False)
class Composition:
    """What the model is shown of a panel.

    Attributes:
        sketch: (H, W) uint8, white lines on black.
        owner: (H, W) int16: the index of the subject that is seen, -1 for the background.
        boxes: where each subject's cutout came to lie, normalised; None for a subject without one.
        keypoints: (n, 17, 3) float32 in the panel, NaN where unknown.
    """

    sketch: UInt8
    owner: npt.NDArray[np.int16]
    boxes: tuple[Box | None, ...]
    keypoints: Floats


def edge_lines(picture: UInt8, mask: Bools) -> UInt8:
    """Outlines by OpenCV: the silhouette and the strong edges inside it.

    Args:
        picture: (H, W, 3) uint8.
        mask: (H, W) bool, the subject.

    Returns:
        (H, W) uint8, white lines, one to two pixels wide, on black.
    """
    smooth = cv2.bilateralFilter(picture, 5, 40, 3)
    edges = np.zeros(mask.shape, np.uint8)
    for channel in cv2.split(cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB)):
        edges |= cv2.Canny(np.ascontiguousarray(channel), 40, 100, L2gradient=True)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    edges[inner == 0] = 0
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(edges, contours, -1, 255, 1)
    return edges


def noise_level(picture: UInt8) -> float:
    """Standard deviation of a picture's noise in grey levels, after Immerkaer (1996), median instead of mean so that
    the edges of a drawing do not count."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(grey, -1, kernel))[1:-1, 1:-1]
    middle = response[response.shape[0] // 4 :, response.shape[1] // 4 : -response.shape[1] // 4]
    return float(np.percentile(middle, 70)) / (6 * 1.04)


def calmed(picture: UInt8) -> UInt8:
    """Without the grain that a small model leaves; edges stay."""
    for _ in range(3):
        picture = cv2.bilateralFilter(cv2.medianBlur(picture, 3), 7, 45, 4)
    return picture


def calm_lines(picture: UInt8, mask: Bools) -> UInt8:
    """:func:`edge_lines` for grainy pictures: strong and long edges alone."""
    edges = np.zeros(mask.shape, np.uint8)
    for channel in cv2.split(cv2.cvtColor(calmed(picture), cv2.COLOR_RGB2LAB)):
        edges |= cv2.Canny(np.ascontiguousarray(channel), 70, 160, L2gradient=True)
    edges[cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0] = 0
    count, labels, stats, _ = cv2.connectedComponentsWithStats(edges, connectivity=8)
    short = [index for index in range(1, count) if stats[index, cv2.CC_STAT_AREA] < 8]
    edges[np.isin(labels, short)] = 0
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(edges, contours, -1, 255, 1)
    return edges


def cut_out(picture: UInt8, mask: Bools, lines: UInt8 | None = None, keypoints: Floats | None = None) -> Cutout:
    """Crop a subject to its mask.

    Args:
        picture: (H, W, 3) uint8, the subject alone.
        mask: (H, W) bool.
        lines: (H, W) uint8; by default :func:`edge_lines`, of grainy pictures :func:`calm_lines`.
        keypoints: (17, 3) x, y (0..1 in the picture), visibility; or None.

    Raises:
        StoryError: the mask is (nearly) empty.
    """
    if int(mask.sum()) < LEAST_INK:
        raise StoryError("The subject could not be cut out of its picture: nothing stands before the background.")
    if lines is None:
        lines = calm_lines(picture, mask) if noise_level(picture) > NOISY else edge_lines(picture, mask)
    drawn = lines
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    points = None
    if keypoints is not None:
        points = keypoints.copy()
        points[:, 0] = (points[:, 0] * mask.shape[1] - x0) / (x1 - x0)
        points[:, 1] = (points[:, 1] * mask.shape[0] - y0) / (y1 - y0)
    window = slice(y0, y1), slice(x0, x1)
    return Cutout(mask[window].copy(), drawn[window].copy(), picture[window].copy(), points)


def read_sketch(path: Path) -> Cutout:
    """A drawing made by a person: lines on any plain ground, dark on light or light on dark.

    Raises:
        MediaError: no picture.
        StoryError: nothing is drawn, or everything is.
    """
    grey = cv2.cvtColor(read_image(path, max_side=8192), cv2.COLOR_RGB2GRAY)
    frame = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    distance = cv2.absdiff(grey, np.full_like(grey, int(np.median(frame))))
    ink = (distance > 48).astype(np.uint8)
    if not LEAST_INK <= int(ink.sum()) <= 0.6 * ink.size:
        raise StoryError(f"{path}: expected a drawing of lines on a plain ground; found {ink.mean():.0%} of it drawn.")
    closed = cv2.morphologyEx(np.pad(ink, 3), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))[3:-3, 3:-3]
    contours, _ = cv2.findContours(np.ascontiguousarray(closed), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    mask = np.zeros_like(ink)
    cv2.drawContours(mask, contours, -1, 1, cv2.FILLED)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    window = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return Cutout(mask[window].astype(bool), (ink * 255)[window])


def landing(size: tuple[int, int], box: Sequence[float], height: int, width: int) -> tuple[float, float, float, float]:
    """Where a cutout of ``size`` (h, w) lies in a box: pixels (x0, y0, x1, y1), aspect kept, on the lower edge."""
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    scale = min((x1 - x0) / size[1], (y1 - y0) / size[0])
    half, middle = 0.5 * size[1] * scale, 0.5 * (x0 + x1)
    return middle - half, y1 - size[0] * scale, middle + half, y1


def compose(panel: Panel, cutouts: Mapping[int, Cutout], height: int, width: int) -> Composition:
    """All cutouts at the boxes of their subjects.

    Args:
        panel: boxes and order.
        cutouts: by index of the subject; subjects without one are left out.
        height, width: of the panel's picture.
    """
    sketch = np.zeros((height, width), np.uint8)
    owner = np.full((height, width), -1, np.int16)
    boxes: list[Box | None] = [None] * len(panel.subjects)
    keypoints = np.full((len(panel.subjects), 17, 3), np.nan, np.float32)
    for index in panel.drawing_order():
        cutout = cutouts.get(index)
        if cutout is None:
            continue
        place = landing((cutout.mask.shape[0], cutout.mask.shape[1]), panel.subjects[index].box, height, width)
        mask = _warped(cutout.mask.astype(np.float32), place, height, width) >= 0.5
        lines = _thin(cutout.lines, place, height, width)
        sketch[mask] = 0
        owner[mask] = index
        np.maximum(sketch, lines, out=sketch)
        x0, y0, x1, y1 = place
        boxes[index] = Box(x0 / width, y0 / height, x1 / width, y1 / height)
        if cutout.keypoints is not None:
            points = cutout.keypoints
            keypoints[index, :, 0] = (x0 + points[:, 0] * (x1 - x0)) / width
            keypoints[index, :, 1] = (y0 + points[:, 1] * (y1 - y0)) / height
            keypoints[index, :, 2] = points[:, 2]
    return Composition(sketch, owner, tuple(boxes), keypoints)


def paste(panel: Panel, cutouts: Mapping[int, Cutout], plate: UInt8) -> UInt8:
    """All cutouts pasted at their boxes, from back to front, as a rough picture of the panel.

    A cutout without a picture, drawn by hand, is pasted as ink.

    Args:
        panel: boxes and order.
        cutouts: by index of the subject.
        plate: (H, W, 3) uint8, the empty place.
    """
    height, width = plate.shape[:2]
    result = plate.astype(np.float32)
    for index in panel.drawing_order():
        cutout = cutouts.get(index)
        if cutout is None:
            continue
        place = landing((cutout.mask.shape[0], cutout.mask.shape[1]), panel.subjects[index].box, height, width)
        if cutout.picture is None:
            share: Floats = (_thin(cutout.lines, place, height, width).astype(np.float32) / np.float32(255))[..., None]
            colours: Floats = np.broadcast_to(np.asarray(INK, np.float32), result.shape)
        else:
            share = _warped(cutout.mask.astype(np.float32), place, height, width)[..., None]
            picture = without_fringe(cutout.picture, cutout.mask)
            parts = [_warped(part.astype(np.float32), place, height, width) for part in cv2.split(picture)]
            colours = np.stack(parts, axis=-1).astype(np.float32)
        result = result * (1 - share) + colours * share
    return np.round(result).astype(np.uint8)


def without_fringe(picture: UInt8, mask: Bools, rim: int = 2) -> UInt8:
    """The picture with no paper along the silhouette (H, W).

    Outside and within ``rim`` pixels of the edge every pixel takes the colour of the nearest one further in, unless its
    own is darker: outlines stay, pale fringes go.
    """
    inner = cv2.erode(np.pad(mask.astype(np.uint8), 1), np.ones((3, 3), np.uint8), iterations=rim)[1:-1, 1:-1] > 0
    if not inner.any():
        return picture
    from scipy import ndimage  # here, because the app's page does not wait for it

    rows, columns = ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True)
    near = picture[rows, columns]
    darker = picture.astype(np.int16).sum(axis=2) < near.astype(np.int16).sum(axis=2)
    return np.where((inner | (mask & darker))[..., None], picture, near)


def _warped(values: Floats, place: tuple[float, float, float, float], height: int, width: int) -> Floats:
    """(h, w) values spread over ``place`` of a (height, width) canvas; averaged where they shrink."""
    x0, y0, x1, y1 = place
    rows, columns = max(1, round(y1 - y0)), max(1, round(x1 - x0))
    smaller = rows < values.shape[0] or columns < values.shape[1]
    sized = cv2.resize(values, (columns, rows), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    canvas = np.zeros((height, width), np.float32)
    left, top = round(x0), round(y1) - rows
    into = slice(max(0, top), min(height, top + rows)), slice(max(0, left), min(width, left + columns))
    canvas[into] = sized[into[0].start - top : into[0].stop - top, into[1].start - left : into[1].stop - left]
    return canvas


def _thin(lines: UInt8, place: tuple[float, float, float, float], height: int, width: int) -> UInt8:
    """Lines at another size that stay about as wide as they were: none is lost where the drawing shrinks."""
    x0, _, x1, _ = place
    scale = (x1 - x0) / lines.shape[1]
    ink = (lines > 127).astype(np.float32)
    if scale < 1:
        reach = min(9, math.ceil(1 / scale))
        ink = cv2.dilate(ink, np.ones((reach, reach), np.uint8)).astype(np.float32)
    moved = _warped(ink, place, height, width) >= 0.5
    if not 0.95 < scale < 1.2:
        moved = skeletonized(moved)
    return np.where(moved, 255, 0).astype(np.uint8)


def skeletonized(ink: Bools) -> Bools:
    """Lines of one pixel's width."""
    from skimage.morphology import skeletonize

    return np.asarray(skeletonize(ink), dtype=bool)
