"""From what a person wrote to arrays: a :class:`Trajectory` at a pixel size becomes :class:`Tracks`."""

import logging
from collections.abc import Callable, Iterable

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.geometry import PICTURE, Box, Floats64, boxes_within, interpolate, interpolate_boxes
from magicgen.control.rle import Rle
from magicgen.control.tracks import (
    Bools,
    BoxLevel,
    Level,
    MaskLevel,
    SparseBoxLevel,
    Tracks,
    boxes_from_masks,
)
from magicgen.control.trajectory import BoxMotion, MaskMotion, Trajectory, TrajectoryObject, same_aspect
from magicgen.errors import TrajectoryError
from magicgen.media import crop_to_aspect

Segment = Callable[[Box], Bools]

_log = logging.getLogger(__name__)


def resolve(
    trajectory: Trajectory,
    height: int,
    width: int,
    *,
    source_size: tuple[int, int] | None = None,
    first_masks: Segment | None = None,
) -> Tracks:
    """Tracks of a trajectory at ``height`` x ``width`` pixels.

    Args:
        trajectory: what a person wrote, in coordinates of the photo.
        height, width: the size of the result.
        source_size: (H, W) of the photo, if :func:`magicgen.media.fit` cuts it to another aspect: boxes and masks are
            cut in the same way. By default the photo has the aspect of the result.
        first_masks: the segmenter: a box of frame 0 (in coordinates of the result, clipped to the picture) -> (height,
            width) bool. Called for objects with boxes and no mask; without it such a mask is the filled box.

    Returns:
        Tracks; with masks of every frame only if every object has them.

    Raises:
        TrajectoryError: masks of another aspect than the photo, an object outside of the picture, hidden completely by
            others or smaller than a pixel on frame 0.
    """
    window = picture_window(source_size or (height, width), height, width)
    _check_aspect(trajectory, source_size or (height, width))
    firsts, boxes, angles, dense = [], [], [], []
    for item in trajectory.objects:
        match item.motion:
            case MaskMotion(masks):
                seen = _dense(masks, window, height, width)
                firsts.append(seen[0])
                boxes.append(boxes_from_masks(seen).astype(np.float64))
                angles.append(np.zeros(trajectory.frames))
                dense.append(seen)
            case BoxMotion() as motion:
                path = boxes_within(_box_path(motion, trajectory.frames), window)
                firsts.append(_first_mask(item, motion, path[0], window, (height, width), first_masks))
                boxes.append(path)
                angles.append(_angle_path(motion, trajectory.frames))
    all_masks = np.stack(dense) if len(dense) == len(trajectory.objects) else None
    names = tuple(item.name for item in trajectory.objects)
    turning = np.stack(angles).astype(np.float32)
    return Tracks(
        names,
        _layered(np.stack(firsts), names),
        np.stack(boxes).astype(np.float32),
        None if all_masks is None else _without_overlap(all_masks),
        turning if turning.any() else None,
    )


def natural_level(trajectory: Trajectory) -> Level:
    """The finest level that a trajectory can serve: masks where every object has them, else boxes."""
    if all(isinstance(item.motion, MaskMotion) for item in trajectory.objects):
        return MaskLevel()
    return BoxLevel()


def sparse_level(frames: int, keyframes: Iterable[int] = ()) -> SparseBoxLevel:
    """Which frames keep their boxes at the sparse level: frame 1, the last frame (as in all public demos) and the
    keyframes, if these are fewer than ten in all; else nine frames spread evenly from frame 1 to the last."""
    last = frames - 1
    wanted = sorted({frame for frame in (1, last, *keyframes) if 0 < frame <= last})
    if len(wanted) >= 10:
        wanted = sorted({round(float(value)) for value in np.linspace(1, last, 9)})
    return SparseBoxLevel(tuple(wanted))


def level_by_name(name: str, frames: int, keyframes: Iterable[int] = ()) -> Level:
    """``mask``, ``box`` or ``sparse_box`` -> the level; the frames of the sparse one as in :func:`sparse_level`.

    Raises:
        TrajectoryError: another word.
    """
    levels: dict[str, Callable[[], Level]] = {
        "mask": MaskLevel,
        "box": BoxLevel,
        "sparse_box": lambda: sparse_level(frames, keyframes),
    }
    if name not in levels:
        raise TrajectoryError(f"The level is mask, box or sparse_box; got {name[:40]!r}.")
    return levels[name]()


def resize_mask(mask: Bools, height: int, width: int) -> Bools:
    """(H, W) bool at another size: a pixel belongs to the object where at least half of it does."""
    if mask.shape == (height, width):
        return mask
    shrinks = height * width < mask.size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    cover = cv2.resize(mask.astype(np.float32), (width, height), interpolation=method)
    return np.asarray(cover >= 0.5)


def picture_window(size: tuple[int, int], height: int, width: int) -> Box:
    """The part of a photo of ``size`` (H, W) that :func:`magicgen.media.fit` keeps, normalised; all of it where the
    aspects differ by rounding only."""
    if same_aspect(size, (height, width)):
        return PICTURE
    y0, y1, x0, x1 = crop_to_aspect(size, height, width)
    return Box(x0 / size[1], y0 / size[0], x1 / size[1], y1 / size[0])


def _check_aspect(trajectory: Trajectory, size: tuple[int, int]) -> None:
    for item in trajectory.objects:
        masks = item.motion.masks if isinstance(item.motion, MaskMotion) else (item.motion.mask,)
        for mask in masks:
            if mask is not None and not same_aspect(mask.size, size):
                raise TrajectoryError(
                    f"The mask of {item.name!r} is {mask.size[1]}x{mask.size[0]} pixels, another aspect than the "
                    f"picture's {size[1]}x{size[0]}. A mask must show the whole picture that it belongs to."
                )


def _dense(masks: tuple[Rle | None, ...], window: Box, height: int, width: int) -> Bools:
    empty = np.zeros((height, width), dtype=np.bool_)
    return np.stack([empty if mask is None else cut_mask(mask.decode(), window, height, width) for mask in masks])


def cut_mask(mask: Bools, window: Box, height: int, width: int) -> Bools:
    """The part of a mask (H, W) that lies in a normalised window, resized."""
    rows, columns = mask.shape
    y0, y1 = round(window.y0 * rows), max(round(window.y1 * rows), round(window.y0 * rows) + 1)
    x0, x1 = round(window.x0 * columns), max(round(window.x1 * columns), round(window.x0 * columns) + 1)
    return resize_mask(mask[y0:y1, x0:x1], height, width)


def _box_path(motion: BoxMotion, frames: int) -> Floats64:
    keys = motion.keyframes
    return interpolate_boxes([key.frame for key in keys], [key.box for key in keys], frames, motion.interpolation)


def _angle_path(motion: BoxMotion, frames: int) -> Floats64:
    """Degrees against frame 0, (T,)."""
    values = np.array([[key.angle] for key in motion.keyframes], dtype=np.float64)
    path = interpolate([key.frame for key in motion.keyframes], values, frames, motion.interpolation)[:, 0]
    return path - path[0]


def _first_mask(
    item: TrajectoryObject,
    motion: BoxMotion,
    box: npt.NDArray[np.float64],
    window: Box,
    size: tuple[int, int],
    segment: Segment | None,
) -> Bools:
    height, width = size
    pixels = _box_mask(box, height, width)
    if not pixels.any():
        raise TrajectoryError(
            f"The box of {item.name!r} on frame 0 shows no pixel of the {width}x{height} picture (of the part that is "
            "kept when the photo is cut to this aspect). Draw it larger or choose another output size."
        )
    if motion.mask is not None:
        mask = cut_mask(motion.mask.decode(), window, height, width)
        if not mask.any():
            raise TrajectoryError(f"The mask of {item.name!r} has no pixel left in the {width}x{height} picture.")
        if not (mask & pixels).any():
            raise TrajectoryError(
                f"The mask of {item.name!r} and its box on frame 0 do not meet; draw the box around the masked object."
            )
        return mask
    if segment is None:
        return pixels
    x0, y0, x1, y1 = (float(value) for value in np.clip(box, 0.0, 1.0))
    found = segment(Box(x0, y0, x1, y1))
    if found.shape != size or found.dtype != np.bool_:
        raise TrajectoryError(f"A segmenter returns a {size} bool mask; got {found.dtype} {found.shape}.")
    if not (found & pixels).any():
        _log.warning("The segmenter found nothing in the box of %r; the whole box is taken as the object.", item.name)
        return pixels
    return found


def _box_mask(box: npt.NDArray[np.float64], height: int, width: int) -> Bools:
    """The filled box, at least one pixel where it meets the picture at all."""
    mask = np.zeros((height, width), dtype=np.bool_)
    x0, y0, x1, y1 = (float(value) for value in np.clip(box, 0.0, 1.0) * (width, height, width, height))
    if x1 > x0 and y1 > y0:
        left, top = min(round(x0), width - 1), min(round(y0), height - 1)
        mask[top : max(round(y1), top + 1), left : max(round(x1), left + 1)] = True
    return mask


def _layered(firsts: Bools, names: tuple[str, ...]) -> Bools:
    visible = _without_overlap(firsts)
    for index, name in enumerate(names):
        if not visible[index].any():
            raise TrajectoryError(
                f"{name!r} cannot be seen on frame 0 at {firsts.shape[2]}x{firsts.shape[1]} pixels: it is smaller than "
                "a pixel, or the objects after it in the list, which lie in front, cover it. Change box or order."
            )
    return visible


def _without_overlap(masks: Bools) -> Bools:
    """(N, ..., H, W): every object without what later ones cover."""
    visible = masks.copy()
    covered = masks[-1].copy()
    for index in range(len(masks) - 2, -1, -1):
        visible[index] &= ~covered
        covered |= masks[index]
    return visible
