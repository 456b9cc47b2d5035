"""The baseline that a person would script: cut the object out, inpaint behind it, paste it along its boxes."""

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.tracks import Level, Tracks

UInt8 = npt.NDArray[np.uint8]


def cut_and_paste(picture: UInt8, tracks: Tracks, level: Level) -> UInt8:
    """Every object cut out by its first mask and pasted, resized to its box, over a background that Telea's method fills.

    Boxes are interpolated linearly where the level leaves them out. Later objects lie in front; nothing turns.

    Args:
        picture: (H, W, 3) uint8, frame 0.
        tracks: at the size of the picture.
        level: what may be used of the tracks; of the mask level the masks' boxes.

    Returns:
        (T, H, W, 3) uint8; frame 0 is the picture.
    """
    boxes = tracks.at_level(level).boxes
    holes = cv2.dilate(tracks.first_masks.any(axis=0).astype(np.uint8), np.ones((5, 5), np.uint8))
    ground = cv2.inpaint(np.ascontiguousarray(picture), holes, 5, cv2.INPAINT_TELEA)
    frames = np.repeat(ground[None], tracks.frames, axis=0)
    frames[0] = picture
    for mask, track in zip(tracks.first_masks, boxes, strict=True):
        if not mask.any():
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        for t, box in enumerate(_filled(track)):
            if t > 0 and np.isfinite(box).all():
                _paste(frames[t], picture[window], mask[window].astype(np.float32), box)
    return frames


def _filled(boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Boxes (T, 4) with gaps of a sparse track filled linearly; in a dense track gaps mean absence and stay NaN."""
    known = np.asarray(np.isfinite(boxes).all(axis=1))
    if not known.any():
        return boxes.astype(np.float64)
    frames = np.arange(len(boxes))
    filled = np.stack([np.interp(frames, frames[known], boxes[known, side]) for side in range(4)], axis=1)
    if known.mean() >= 0.5:
        filled[~known] = np.nan
    return filled


def _paste(frame: UInt8, crop: UInt8, alpha: npt.NDArray[np.float32], box: npt.NDArray[np.float64]) -> None:
    """Blend a cut-out into (H, W, 3) ``frame``, in place, as large as the normalised ``box``."""
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = np.round(box * (width, height, width, height)).astype(int)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if right <= left or bottom <= top:
        return
    pixels = cv2.resize(crop, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    cover = cv2.resize(alpha, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)[..., None]
    part = slice(top - y0, bottom - y0), slice(left - x0, right - x0)
    below = frame[top:bottom, left:right]
    frame[top:bottom, left:right] = np.round(pixels[part] * cover[part] + below * (1 - cover[part])).astype(np.uint8)
