"""The preview: what the model will see, drawn over the photo by the same rasteriser that feeds the model."""

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.raster import line_thickness, map_colour, rasterise, seen_boxes
from magicgen.control.tracks import Bools, Floats, Level, SparseBoxLevel, Tracks, level_name
from magicgen.media import resize

UInt8 = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

_FILL = 0.45
_GHOST = 0.55


def overlay(picture: UInt8, tracks: Tracks, level: Level) -> UInt8:
    """A preview video of a trajectory.

    Args:
        picture: the photo (H, W, 3) or a video (T, H, W, 3), uint8 RGB; resized to the tracks where it differs.
        tracks: what every object does.
        level: the level that will be given to the model; its maps are what is drawn.

    Returns:
        (T, H, W, 3) uint8: masks as tinted areas with a contour, boxes as outlines, at the sparse level the box of a
        frame that the model does not see as a faint outline; the path of every object, its name, the frame number.

    Raises:
        TrajectoryError: the tracks do not hold what the level needs.
    """
    height, width = tracks.size
    maps = rasterise(tracks, level)
    ground = resize(picture, height, width)
    frames = np.repeat(ground[None], tracks.frames, axis=0) if ground.ndim == 3 else _as_long(ground, tracks.frames)
    known = tracks.at_level(level)
    boxes = seen_boxes(tracks)
    thin = max(1, line_thickness(height, width) // 2)
    for frame in range(tracks.frames):
        image = frames[frame]
        masks = known.first_masks if frame == 0 else None if known.masks is None else known.masks[:, frame]
        if masks is None:
            _blend(image, (maps[frame] * 2).clip(0, 255), maps[frame].any(axis=-1), 0.95)
            if isinstance(level, SparseBoxLevel) and frame not in level.frames:
                _ghosts(image, boxes[:, frame], thin)
        else:
            _tint(image, masks, thin)
        for index in range(len(tracks.names)):
            _trail(image, boxes[index], frame, _bright(index), thin)
        _labels(image, tracks.names, boxes[:, frame])
        _counter(image, f"{level_name(level)}  {frame + 1}/{tracks.frames}")
    return frames


def _as_long(video: UInt8, frames: int) -> UInt8:
    """A copy of the video with ``frames`` frames: cut, or its last frame held."""
    return video[np.minimum(np.arange(frames), len(video) - 1)]


def _bright(index: int) -> Colour:
    red, green, blue = map_colour(index)
    return min(red * 2, 255), min(green * 2, 255), min(blue * 2, 255)


def _blend(image: UInt8, colours: UInt8 | Colour, where: Bools, strength: float) -> None:
    """Mix colours (H, W, 3) or one colour into the pixels of an image, in place."""
    mixed = image[where] * (1 - strength) + np.broadcast_to(np.asarray(colours), image.shape)[where] * strength
    image[where] = mixed.astype(np.uint8)


def _tint(image: UInt8, masks: Bools, thickness: int) -> None:
    for index, mask in enumerate(masks):
        _blend(image, _bright(index), mask, _FILL)
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, contours, -1, _bright(index), thickness, cv2.LINE_AA)


def _ghosts(image: UInt8, boxes: Floats, thickness: int) -> None:
    height, width = image.shape[:2]
    for index, box in enumerate(boxes):
        if np.isfinite(box).all():
            drawn = image.copy()
            x0, y0, x1, y1 = _pixels(box, width, height)
            cv2.rectangle(drawn, (x0, y0), (x1, y1), _bright(index), thickness, cv2.LINE_AA)
            image[:] = cv2.addWeighted(image, 1 - _GHOST, drawn, _GHOST, 0)


def _pixels(box: Floats, width: int, height: int) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(float(value)) for value in box * np.array([width, height, width, height]))
    return x0, y0, x1, y1


def _trail(image: UInt8, boxes: Floats, frame: int, colour: Colour, thickness: int) -> None:
    """The way of the box's centre: travelled in full colour, ahead faint, a dot at the present place."""
    height, width = image.shape[:2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 * np.array([width, height])
    if np.nanmax(np.ptp(centres[np.isfinite(centres).all(axis=1)], axis=0), initial=0.0) < 2:
        return
    ahead = image.copy()
    _polyline(ahead, centres[frame:], (255, 255, 255), thickness)
    image[:] = cv2.addWeighted(image, 0.45, ahead, 0.55, 0)
    _polyline(image, centres[: frame + 1], (0, 0, 0), thickness + 1)
    _polyline(image, centres[: frame + 1], colour, thickness)
    if np.isfinite(centres[frame]).all():
        x, y = (round(float(value)) for value in centres[frame])
        cv2.circle(image, (x, y), thickness + 2, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(image, (x, y), thickness + 1, (255, 255, 255), -1, cv2.LINE_AA)


def _polyline(image: UInt8, points: npt.NDArray[np.floating], colour: Colour, thickness: int) -> None:
    """Lines through the points (K, 2), broken where one is NaN; positions to an eighth of a pixel."""
    fine = np.round(np.nan_to_num(points) * 8).astype(np.int32)
    finite = np.isfinite(points).all(axis=1)
    for start, end in zip(range(len(fine) - 1), range(1, len(fine)), strict=True):
        if finite[start] and finite[end]:
            ends = (int(fine[start, 0]), int(fine[start, 1])), (int(fine[end, 0]), int(fine[end, 1]))
            cv2.line(image, *ends, colour, thickness, cv2.LINE_AA, shift=3)


def _labels(image: UInt8, names: tuple[str, ...], boxes: Floats) -> None:
    """Every object's name on a tag at the upper left corner of its box, inside the picture and clear of other tags."""
    height, width = image.shape[:2]
    taken: list[tuple[int, int, int, int]] = []
    for index, (name, box) in enumerate(zip(names, boxes, strict=True)):
        if not np.isfinite(box).all():
            continue
        x0, y0, x1, y1 = _pixels(box, width, height)
        if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
            continue
        text = _text(name, _text_size(height, width))
        rows, columns = text.shape
        left = min(max(x0, 0), max(width - columns, 0))
        wanted = y0 - rows - 2 if y0 - rows - 2 >= 0 else y0 + 2
        steps = sorted(range(-height, height), key=abs)
        free = (wanted + step for step in steps if 0 <= wanted + step <= height - rows)
        tops = (t for t in free if not any(_meet((left, t, left + columns, t + rows), other) for other in taken))
        top = next(tops, max(wanted, 0))
        taken.append((left, top, left + columns, top + rows))
        _stamp(image, text, left, top, _bright(index))


def _meet(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _counter(image: UInt8, caption: str) -> None:
    height, width = image.shape[:2]
    text = _text(caption, max(8, _text_size(height, width) - 2))
    _stamp(image, text, width - text.shape[1] - 4, height - text.shape[0] - 4, (0, 0, 0))


def _text_size(height: int, width: int) -> int:
    return max(9, min(height, width) // 26)


def _stamp(image: UInt8, text: npt.NDArray[np.float32], left: int, top: int, colour: Colour) -> None:
    """Lay a line of text (coverage 0..1) on a tag of the given colour; moved so that it lies inside the picture."""
    text = text[: image.shape[0], : image.shape[1]]
    rows, columns = text.shape
    top, left = min(max(top, 0), image.shape[0] - rows), min(max(left, 0), image.shape[1] - columns)
    area = image[top : top + rows, left : left + columns]
    luminance = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    ink = np.zeros(3) if luminance > 140 else np.full(3, 255.0)
    tag = area * 0.25 + np.asarray(colour) * 0.75
    area[:] = (tag * (1 - text[..., None]) + ink * text[..., None]).astype(np.uint8)


@cache
def _text(line: str, size: int) -> npt.NDArray[np.float32]:
    """One line of text as coverage 0..1 with a margin, at most 40 characters."""
    from PIL import Image, ImageDraw, ImageFont

    short = line if len(line) <= 40 else line[:39] + "~"
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(short)
    ascent = font.getbbox("Ag")
    low, high = min(top, ascent[1]), max(bottom, ascent[3])
    canvas = Image.new("L", (int(right - left) + 8, int(high - low) + 6))
    ImageDraw.Draw(canvas).text((4 - left, 3 - low), short, fill=255, font=font)
    return (np.asarray(canvas, dtype=np.float32) / 255).astype(np.float32)
