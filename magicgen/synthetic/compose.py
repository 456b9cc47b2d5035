"""Putting layers together: shadows, premultiplied blending, visible masks, sketches."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.synthetic.actors import Canvas, Layer, Place
from magicgen.synthetic.shapes import Floats


@dataclass(frozen=True)
class NoShadow:
    """The object throws no shadow."""


@dataclass(frozen=True)
class DropShadow:
    """A soft copy of the silhouette, shifted by (dx, dy) and blurred by ``blur``, all in units of the object's size."""

    dx: float
    dy: float
    blur: float
    strength: float


@dataclass(frozen=True)
class GroundShadow:
    """A soft flat ellipse under the feet."""

    strength: float


Shadow = NoShadow | DropShadow | GroundShadow


def _overlap(
    canvas_shape: tuple[int, ...], x0: int, y0: int, height: int, width: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Slices of the picture and of the patch where the two overlap."""
    top, left = max(y0, 0), max(x0, 0)
    bottom, right = min(y0 + height, canvas_shape[0]), min(x0 + width, canvas_shape[1])
    if bottom <= top or right <= left:
        return None
    return (slice(top, bottom), slice(left, right)), (slice(top - y0, bottom - y0), slice(left - x0, right - x0))


def blend(frame: Floats, layer: Layer) -> None:
    """Draw a layer over a float32 frame, in place."""
    spot = _overlap(frame.shape, layer.x0, layer.y0, *layer.alpha.shape)
    if spot is not None:
        behind = cv2.cvtColor(1 - layer.alpha[spot[1]], cv2.COLOR_GRAY2RGB)
        behind *= frame[spot[0]]
        behind += layer.rgb[spot[1]]
        frame[spot[0]] = behind


def _darken(frame: Floats, shadows: npt.NDArray[np.uint8], patch: Floats, x0: int, y0: int) -> None:
    spot = _overlap(frame.shape, x0, y0, *patch.shape)
    if spot is not None:
        part = patch[spot[1]]
        frame[spot[0]] *= cv2.cvtColor(1 - part, cv2.COLOR_GRAY2RGB)
        np.maximum(shadows[spot[0]], np.ceil(part * 255).astype(np.uint8), out=shadows[spot[0]])


def cast(frame: Floats, shadows: npt.NDArray[np.uint8], layer: Layer, place: Place, shadow: Shadow) -> None:
    """Darken the frame by an object's shadow and note its strength (0..255) in ``shadows``, both in place."""
    match shadow:
        case NoShadow():
            return
        case DropShadow(dx, dy, spread, strength):
            pad = max(1, round(place.size * spread))
            alpha = cv2.copyMakeBorder(layer.alpha, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
            soft = cv2.blur(cv2.blur(alpha, (pad, pad)), (pad, pad)) * np.float32(strength)
            x, y = layer.x0 - pad + round(dx * place.size), layer.y0 - pad + round(dy * place.size)
            _darken(frame, shadows, soft, x, y)
        case GroundShadow(strength):
            half, flat = max(2, round(place.size * 0.34)), max(2, round(place.size * 0.1))
            y, x = np.mgrid[-flat : flat + 1, -half : half + 1].astype(np.float32)
            inside = np.clip(1.2 - 1.2 * ((x / half) ** 2 + (y / flat) ** 2), 0, 1)
            foot_x = place.x + 0.48 * place.size * np.sin(np.radians(place.angle))
            foot_y = place.y + 0.48 * place.size * np.cos(np.radians(place.angle))
            soft = (inside * np.float32(strength)).astype(np.float32)
            _darken(frame, shadows, soft, round(foot_x) - half, round(foot_y) - flat)


def draw_strokes(sketch: npt.NDArray[np.uint8], layer: Layer) -> None:
    """White outlines on black with hidden lines removed, in place."""
    for group in layer.strokes:
        cv2.fillPoly(sketch, group, 0, cv2.LINE_8, 4)
        cv2.polylines(sketch, group, True, 255, 1, cv2.LINE_AA, 4)


def silhouette(layer: Layer | None, canvas: Canvas) -> npt.NDArray[np.bool_]:
    """(H, W) bool: where the layer covers more than half of a pixel."""
    mask = np.zeros((canvas.height, canvas.width), np.bool_)
    if layer is None:
        return mask
    spot = _overlap(mask.shape, layer.x0, layer.y0, *layer.alpha.shape)
    if spot is not None:
        mask[spot[0]] = layer.alpha[spot[1]] > 0.5
    return mask
