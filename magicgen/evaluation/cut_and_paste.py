"""The baseline that a person would script: cut the object out, inpaint behind it, paste it along its boxes."""

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.tracks import Bools, Level, SparseBoxLevel, Tracks

UInt8 = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
GROW = 2
INPAINT_RADIUS = 5


def cut_and_paste(picture: UInt8, tracks: Tracks, level: Level) -> UInt8:
    """Every object cut out by its first mask and pasted, resized to its box, over a background inpainted by Telea.

    Later objects lie in front; nothing turns; masks beyond frame 0 are not looked at, at any level.

    Args:
        picture: (H, W, 3) uint8, frame 0.
        tracks: at the size of the picture.
        level: at the sparse level only the kept boxes are known, see :func:`known_boxes`.

    Returns:
        (T, H, W, 3) uint8; frame 0 is the picture.
    """
    holes = cv2.dilate(tracks.first_masks.any(axis=0).astype(np.uint8), np.ones((2 * GROW + 1, 2 * GROW + 1), np.uint8))
    ground = cv2.inpaint(np.ascontiguousarray(picture), holes, INPAINT_RADIUS, cv2.INPAINT_TELEA)
    frames = np.repeat(ground[None], tracks.frames, axis=0)
    frames[0] = picture
    for mask, boxes in zip(tracks.first_masks, known_boxes(tracks, level), strict=True):
        if not mask.any():
            continue
        window = _window(mask)
        crop, cover = picture[window], mask[window].astype(np.float32)
        for frame, box in zip(frames[1:], boxes[1:], strict=True):
            if np.isfinite(box).all():
                _paste(frame, crop, cover, box)
    return frames


def known_boxes(tracks: Tracks, level: Level) -> npt.NDArray[np.float64]:
    """(N, T, 4) boxes as far as a level tells them, NaN where an object is absent.

    At the mask and box levels those of the tracks. At the sparse level linear between the kept frames on which the
    object is seen; it is absent where the nearest kept frame does not show it.
    """
    if not isinstance(level, SparseBoxLevel):
        return tracks.boxes.astype(np.float64)
    kept, every = np.array(sorted({0, *level.frames})), np.arange(tracks.frames)
    nearest = kept[np.abs(every[:, None] - kept[None]).argmin(axis=1)]
    result = np.full(tracks.boxes.shape, np.nan)
    for boxes, row in zip(tracks.boxes, result, strict=True):
        seen = kept[np.isfinite(boxes[kept]).all(axis=1)]
        if len(seen):
            for side in range(4):
                row[:, side] = np.interp(every, seen, boxes[seen, side])
            row[~np.isin(nearest, seen)] = np.nan
    return result


def _window(mask: Bools) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _paste(frame: UInt8, crop: UInt8, cover: Plane, box: npt.NDArray[np.float64]) -> None:
    """Blend a cut-out into (H, W, 3) ``frame``, in place, as large as the normalised ``box``.

    Only the part inside the picture is made, so a box much larger than the picture costs nothing.
    """
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = np.rint(np.clip(box, -100, 100) * (width, height, width, height)).astype(int)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if right <= left or bottom <= top:
        return
    rows, columns = cover.shape
    # Averaged down first where it shrinks, so that fine patterns do not flicker.
    size = (min(columns, x1 - x0), min(rows, y1 - y0))
    if size != (columns, rows):
        crop, cover = (np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA)) for part in (crop, cover))
    scales = np.array([x1 - x0, y1 - y0]) / size
    offset = np.array([x0 - left, y0 - top]) + (scales - 1) / 2
    matrix = np.array([[scales[0], 0, offset[0]], [0, scales[1], offset[1]]])
    inside = (right - left, bottom - top)
    pixels = cv2.warpAffine(crop, matrix, inside, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(cover, matrix, inside, flags=cv2.INTER_LINEAR)[..., None]
    below = frame[top:bottom, left:right]
    below[:] = np.rint(pixels * alpha + below * (1 - alpha)).astype(np.uint8)
