"""Textured shapes and photo cutouts: outlines in the unit square around 0, turned into sprites.

A function that draws an outline takes the source of its random proportions and returns an outer ring and holes,
(n, 2) float32 each, x right, y down, longest side about 1.
"""

from collections.abc import Callable

import cv2
import numpy as np

from magicgen.synthetic.colours import Colour, Images
from magicgen.synthetic.geometry import Doubles, Floats, f32
from magicgen.synthetic.textures import fractal_noise

Outline = list[Floats]


def _polar(angles: Doubles, radius: Doubles | float) -> Floats:
    return np.stack([np.cos(angles) * radius, np.sin(angles) * radius], axis=1).astype(np.float32)


def _turn(count: int, start: float = -np.pi / 2) -> Doubles:
    return np.linspace(0, 2 * np.pi, count, endpoint=False) + start


def circle(rng: np.random.Generator) -> Outline:
    """A circle of radius 0.5."""
    return [_polar(_turn(48), 0.5)]


def ellipse(rng: np.random.Generator) -> Outline:
    """An ellipse, 1 wide and 0.45 to 0.8 high."""
    return [_polar(_turn(48), 0.5) * f32((1, rng.uniform(0.45, 0.8)))]


def square(rng: np.random.Generator) -> Outline:
    """A square of side 1 with rounded corners."""
    return [_rounded(0.5, 0.5, rng.uniform(0.02, 0.2))]


def box(rng: np.random.Generator) -> Outline:
    """A rectangle, 1 wide and 0.5 to 0.8 high, with rounded corners."""
    return [_rounded(0.5, rng.uniform(0.25, 0.4), rng.uniform(0.02, 0.15))]


def _rounded(half_w: float, half_h: float, radius: float) -> Floats:
    corner = np.linspace(0, np.pi / 2, 6)
    parts = []
    for quarter, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        centre = f32((sx * (half_w - radius), sy * (half_h - radius)))
        parts.append(_polar(corner + quarter * np.pi / 2, radius) + centre)
    return np.concatenate(parts)


def regular(count: int) -> Callable[[np.random.Generator], Outline]:
    """A regular polygon."""
    return lambda rng: [_polar(_turn(count), 0.5)]


def diamond(rng: np.random.Generator) -> Outline:
    """A rhombus standing on its tip, 0.68 wide and 1 high."""
    return [f32([[0, -0.5], [0.34, 0], [0, 0.5], [-0.34, 0]])]


def star(rng: np.random.Generator) -> Outline:
    """A star of 5 to 8 points; its notches lie at 0.2 to 0.3 from the middle, its tips at 0.5."""
    points = int(rng.integers(5, 9))
    return [_polar(_turn(2 * points), np.where(np.arange(2 * points) % 2 == 0, 0.5, rng.uniform(0.2, 0.3)))]


def gear(rng: np.random.Generator) -> Outline:
    """A wheel of 7 to 11 teeth with a round hole."""
    teeth = int(rng.integers(7, 12))
    steps = np.arange(teeth * 4)
    return [_polar(_turn(teeth * 4), np.where(steps % 4 < 2, 0.5, 0.39)), _polar(_turn(24), rng.uniform(0.12, 0.2))]


def heart(rng: np.random.Generator) -> Outline:
    """A heart, tip down, about 1 wide."""
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [f32(np.stack([x, -y - 2.5], axis=1) / 33)]


def ring(rng: np.random.Generator) -> Outline:
    """A circle with a round hole of radius 0.18 to 0.32."""
    return [_polar(_turn(48), 0.5), _polar(_turn(36), rng.uniform(0.18, 0.32))]


def frame(rng: np.random.Generator) -> Outline:
    """A picture frame, 1 wide and 0.84 high, its bars 0.1 to 0.2 thick."""
    thickness = rng.uniform(0.1, 0.2)
    return [_rounded(0.5, 0.42, 0.04), _rounded(0.5 - thickness, 0.42 - thickness, 0.03)]


def cross(rng: np.random.Generator) -> Outline:
    """An upright cross with arms 0.24 to 0.4 thick."""
    a = rng.uniform(0.12, 0.2)
    points = [
        (a, 0.5),
        (a, a),
        (0.5, a),
        (0.5, -a),
        (a, -a),
        (a, -0.5),
        (-a, -0.5),
        (-a, -a),
        (-0.5, -a),
        (-0.5, a),
        (-a, a),
        (-a, 0.5),
    ]
    return [f32(points)]


def arrow(rng: np.random.Generator) -> Outline:
    """An arrow to the right, 1 long and 0.72 high."""
    return [f32([[-0.5, -0.15], [0.05, -0.15], [0.05, -0.36], [0.5, 0], [0.05, 0.36], [0.05, 0.15], [-0.5, 0.15]])]


def crescent(rng: np.random.Generator) -> Outline:
    """A crescent moon, open to the right."""
    t = np.linspace(0.3 * np.pi, 1.7 * np.pi, 30)
    outer = _polar(t, 0.5)
    inner = _polar(t[::-1], 0.36) + f32((0.2, 0))
    return [np.concatenate([outer, inner])]


def leaf(rng: np.random.Generator) -> Outline:
    """A leaf lying on its side, 1 long and 0.4 to 0.6 high, pointed at both ends."""
    x = np.linspace(-0.5, 0.5, 20)
    y = rng.uniform(0.2, 0.3) * np.cos(np.pi * x) ** 0.8
    return [np.concatenate([np.stack([x, y], 1), np.stack([x[::-1], -y[::-1]], 1)]).astype(np.float32)]


def blob(rng: np.random.Generator) -> Outline:
    """A smooth irregular closed curve, reaching 0.5 from the middle where it is widest."""
    t = _turn(64)
    radius = np.ones_like(t)
    for k in range(2, 6):
        radius += rng.normal(0, 0.32 / k) * np.cos(k * t + rng.uniform(0, 2 * np.pi))
    radius = np.clip(radius, 0.35, None)
    return [_polar(t, 0.5 * radius / radius.max())]


def cloud(rng: np.random.Generator) -> Outline:
    """A puffy closed curve of 6 or 8 bulges, flattened to 0.7 of its height."""
    t = _turn(72)
    radius = 0.38 + 0.12 * np.abs(np.sin(t * int(rng.integers(3, 5))))
    return [_polar(t, radius) * f32((1, 0.7))]


def letter(rng: np.random.Generator) -> Outline:
    """A bold capital letter or digit, from OpenCV's vector font."""
    canvas = np.zeros((160, 160), np.uint8)
    text = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"[int(rng.integers(32))]
    (w, h), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 4, 22)
    cv2.putText(canvas, text, ((160 - w) // 2, (160 + h) // 2), cv2.FONT_HERSHEY_DUPLEX, 4, 255, 22)
    contours, _ = cv2.findContours(canvas, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    points = [contour[:, 0].astype(np.float32) for contour in contours if len(contour) > 3]
    everything = np.concatenate(points)
    low, high = everything.min(axis=0), everything.max(axis=0)
    return [(p - (low + high) / 2) / float((high - low).max()) for p in points]


OUTLINES: dict[str, Callable[[np.random.Generator], Outline]] = {
    "circle": circle,
    "ellipse": ellipse,
    "square": square,
    "box": box,
    "triangle": regular(3),
    "pentagon": regular(5),
    "hexagon": regular(6),
    "diamond": diamond,
    "star": star,
    "gear": gear,
    "heart": heart,
    "ring": ring,
    "frame": frame,
    "cross": cross,
    "arrow": arrow,
    "crescent": crescent,
    "leaf": leaf,
    "blob": blob,
    "cloud": cloud,
    "letter": letter,
}
"""Caption word -> outline: an outer ring and holes, (n, 2) each, x right, y down, longest side about 1."""


def sprite(rng: np.random.Generator, outline: Outline, texture: Images, ink: Colour | None) -> Floats:
    """Texture cut out by the outline with soft shading, (S, S, 4) float32.

    Premultiplied RGB in [0, 255] and alpha in [0, 1]. S is the texture's side; 4 % on every side
    stay empty.
    """
    side = texture.shape[0]
    pixels = [np.round((points * 0.92 + 0.5) * side * 16).astype(np.int32) for points in outline]
    alpha = np.zeros((side, side), np.uint8)
    cv2.fillPoly(alpha, pixels, 255, cv2.LINE_AA, 4)
    colour = texture.astype(np.float32)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / np.float32(side) - np.float32(0.5)
    angle, strength = rng.uniform(-0.8, 0.8) - np.pi / 2, rng.uniform(0.0, 0.5)
    light = 1 + strength * (np.cos(angle) * x + np.sin(angle) * y)
    if rng.random() < 0.3:
        light = light - 0.9 * strength * (x * x + y * y) * 2
    colour *= light.astype(np.float32)[..., None]
    if ink is not None:
        line = np.zeros((side, side), np.uint8)
        cv2.polylines(line, pixels, True, 255, max(2, side // 40), cv2.LINE_AA, 4)
        share = (line.astype(np.float32) / 255)[..., None]
        colour = f32(colour * (1 - share) + f32(ink) * share)
    opacity = alpha.astype(np.float32)[..., None] / 255
    return np.concatenate([np.clip(colour, 0, 255) * opacity, opacity], axis=-1)


def cutout(rng: np.random.Generator) -> Outline:
    """The ragged silhouette of a cut-out photo: a noise island around the middle."""
    side = 64
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    field = fractal_noise(rng, side, side, 3, rng.uniform(2, 4)) + 1.1 - 3.6 * np.hypot(x / rng.uniform(0.8, 1), y)
    island = cv2.morphologyEx((field > 0.25).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    contours, _ = cv2.findContours(island, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return blob(rng)
    largest = max(contours, key=cv2.contourArea)[:, 0].astype(np.float32)
    low, high = largest.min(axis=0), largest.max(axis=0)
    return [(largest - (low + high) / 2) / float((high - low).max())]
