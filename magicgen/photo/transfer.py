"""What was changed in a small picture, brought to the photo's own size.

The change is written as a smooth field, ``T = S * I + B`` fitted in windows (He and Sun 2015, the fast guided filter),
plus what the field cannot say. Field and rest are enlarged; the detail is the photo's own. All of it acts on the coded
values: light that is taken off a place on average would turn its dark details black. Where nothing was changed, the
photo's values are copied, bit for bit.

The photo is worked on in strips: memory beyond input and output does not grow with its height.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.photo.files import Pixels

Floats = npt.NDArray[np.float32]
GAMMA = 2.2
STRIP_PIXELS = 2_000_000
# Changes below the first are noise of the solution and are not made; above the second they are made in full.
FAINT, PLAIN = 1.5 / 255, 4.0 / 255


@dataclass(frozen=True, eq=False)
class ChangeField:
    """A change of a picture at a small size, (h, w, 3) float32 sRGB each: ``gain``, ``offset`` and ``rest``; ``weight``
    (h, w) in [0, 1], where it is made at all."""

    gain: Floats
    offset: Floats
    rest: Floats
    weight: Floats


def change_field(before: Floats, after: Floats, allowed: Floats | None = None, window: int = 9) -> ChangeField:
    """The field that turns one small picture into another.

    Args:
        before, after: (h, w, 3) float32 sRGB in [0, 1].
        allowed: (h, w) in [0, 1], where changes may be made; everywhere when None.
        window: side of the windows in which gain and offset are fitted.
    """
    size = (window, window)

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.blur(values, size, borderType=cv2.BORDER_REFLECT), np.float32)

    mean_source, mean_target = mean(before), mean(after)
    variance = mean(before * before) - mean_source**2
    covariance = mean(before * after) - mean_source * mean_target
    # With little texture in a window the gain goes to 1 and the offset says everything.
    gain = np.clip((covariance + 1e-3) / (np.maximum(variance, 0) + 1e-3), 0, 2)
    gain = mean(gain.astype(np.float32))
    offset = mean(mean_target - gain * mean_source)
    rest = after - (gain * before + offset)
    change = np.abs(after - before).max(axis=2)
    amount = np.asarray(cv2.dilate(change, np.ones((3, 3), np.uint8)), np.float32)
    weight = np.clip((amount - FAINT) / (PLAIN - FAINT), 0, 1).astype(np.float32)
    if allowed is not None:
        weight = weight * allowed
    return ChangeField(gain, offset, rest, weight)


def apply_change(pixels: Pixels, field: ChangeField, strength: float = 1.0) -> Pixels:
    """Make a change in a photo of any size.

    Args:
        pixels: (H, W, 3) uint8 or uint16.
        field: of :func:`change_field`.
        strength: 0 leaves the photo, 1 makes the whole change.

    Returns:
        The same shape and type; where the change has no weight the values are the input's.
    """
    result = pixels.copy()
    for top, bottom in _strips(pixels.shape[0], pixels.shape[1]):
        weight = _grown(field.weight, top, bottom, pixels.shape[0], pixels.shape[1])
        if weight.max() > 0 and strength > 0:
            result[top:bottom] = _changed(pixels, field, strength, weight, top, bottom)
    return result


def removed_light(before: Pixels, after: Pixels) -> Pixels:
    """What a change took away, as a picture: the difference in light, (H, W, 3) of the photo's type."""
    result = np.empty_like(before)
    depth = int(np.iinfo(before.dtype).max)
    for top, bottom in _strips(before.shape[0], before.shape[1]):
        taken = _decoded(before[top:bottom]) - _decoded(after[top:bottom])
        coded = np.power(np.clip(taken, 0, 1), np.float32(1 / GAMMA))
        result[top:bottom] = np.round(coded * depth).astype(before.dtype)
    return result


def shrunk(pixels: Pixels, height: int, width: int) -> Floats:
    """A photo at another size, by area when shrinking: (height, width, 3) float32 sRGB in [0, 1]."""
    depth = np.float32(np.iinfo(pixels.dtype).max)
    if pixels.shape[:2] == (height, width):
        return pixels.astype(np.float32) / depth
    smaller = height * width < pixels.shape[0] * pixels.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), np.float32) / depth


def _changed(pixels: Pixels, field: ChangeField, strength: float, weight: Floats, top: int, bottom: int) -> Pixels:
    height, width = pixels.shape[:2]
    source = pixels[top:bottom]
    depth = np.float32(np.iinfo(pixels.dtype).max)
    target = _grown(field.gain, top, bottom, height, width) * (source / depth)
    target += _grown(field.offset, top, bottom, height, width)
    target += _grown(field.rest, top, bottom, height, width)
    target = np.clip(target, 0, 1, out=target) * depth
    mixed: Any = source + (np.float32(strength) * weight)[..., None] * (target - source)
    return np.clip(np.rint(mixed), 0, depth).astype(pixels.dtype)


def _decoded(pixels: Pixels) -> Floats:
    depth = np.float32(np.iinfo(pixels.dtype).max)
    table = np.power(np.arange(int(depth) + 1, dtype=np.float32) / depth, np.float32(GAMMA))
    return np.asarray(table[pixels], np.float32)


def _strips(height: int, width: int) -> list[tuple[int, int]]:
    rows = max(1, STRIP_PIXELS // max(width, 1))
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


def _grown(values: Floats, top: int, bottom: int, height: int, width: int) -> Floats:
    """Rows top..bottom of a small array enlarged to (height, width), linearly and without a seam between strips."""
    rows = np.clip((np.arange(top, bottom) + 0.5) * values.shape[0] / height - 0.5, 0, values.shape[0] - 1)
    above = np.minimum(rows.astype(np.int64), max(values.shape[0] - 2, 0))
    share = (rows - above).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    below = np.minimum(above + 1, values.shape[0] - 1)
    tall = values[above] * (1 - share) + values[below] * share
    return np.asarray(cv2.resize(tall, (width, bottom - top), interpolation=cv2.INTER_LINEAR), np.float32)
