"""Simulated people: clicks, boxes, strokes and masks as someone would draw them who sees the reflection, with the
inaccuracy and the mistakes of real hands. What is drawn goes through :mod:`magicgen.control.guide`, as in use."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.geometry import Box
from magicgen.control.guide import (
    BoxMark,
    Layer,
    Maps,
    Mark,
    MaskMark,
    PointMark,
    Prompt,
    RemovalGuide,
    StrokeMark,
    guide_maps,
)
from magicgen.control.tracks import Bools

REFLECTED = 0.1
"""A pixel belongs to the reflection where the glass changed it by more than this (of 1)."""
CLEAR = 0.03
LEAST_SHARE = 0.0015


@dataclass(frozen=True)
class GuideShares:
    """What a simulated person does; the shares are normalised. ``none`` is the automatic case."""

    none: float = 0.45
    masks: float = 0.2
    clicks: float = 0.22
    boxes: float = 0.05
    strokes: float = 0.05
    wrong: float = 0.03


@dataclass(frozen=True)
class Regions:
    """Components of one layer, largest first: (H, W) bool each."""

    layer: Layer
    parts: tuple[Bools, ...]

    @property
    def whole(self) -> Bools:
        """All of them together."""
        return np.logical_or.reduce(self.parts) if self.parts else np.zeros((1, 1), np.bool_)


def regions(residual: npt.NDArray[np.float32], layer: Layer, keep: int = 6) -> Regions:
    """Where a layer is seen, from how much the glass changed each pixel (H, W)."""
    wanted = residual > REFLECTED if layer is Layer.REFLECTION else residual < CLEAR
    cleaned = cv2.morphologyEx(wanted.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cleaned, connectivity=8)
    order = sorted(range(1, count), key=lambda index: -int(stats[index, cv2.CC_STAT_AREA]))[:keep]
    large = [index for index in order if stats[index, cv2.CC_STAT_AREA] >= LEAST_SHARE * residual.size]
    return Regions(layer, tuple(labels == index for index in large))


def centre_click(part: Bools, layer: Layer) -> PointMark:
    """A click at the place farthest from the part's border (the usual simulated click)."""
    distance = cv2.distanceTransform(np.pad(part.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return PointMark((float(x) + 0.5) / part.shape[1], (float(y) + 0.5) / part.shape[0], layer)


def random_click(rng: np.random.Generator, part: Bools, layer: Layer, jitter: float = 0.01) -> PointMark:
    """A click somewhere in the part, shaken by ``jitter`` of the picture (real clicks are not centred)."""
    ys, xs = np.nonzero(part)
    pick = int(rng.integers(len(ys)))
    x = (xs[pick] + 0.5) / part.shape[1] + rng.normal(0, jitter)
    y = (ys[pick] + 0.5) / part.shape[0] + rng.normal(0, jitter)
    return PointMark(float(np.clip(x, 0, 1)), float(np.clip(y, 0, 1)), layer)


def box_around(part: Bools, layer: Layer) -> BoxMark:
    """The bounding box of a part."""
    ys, xs = np.nonzero(part)
    height, width = part.shape
    return BoxMark(Box(xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height), layer)


def simulate_guide(
    rng: np.random.Generator, photo: Maps, residual: npt.NDArray[np.float32], shares: GuideShares
) -> Maps:
    """A random person's guide for a photo (H, W, 3), float32 sRGB in [0, 1], of which ``residual`` (H, W) says how much
    the glass changed each pixel: (H, W, 2) float32 maps, all zero in the automatic case."""
    kinds = list(vars(shares))
    weights = np.array([getattr(shares, kind) for kind in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
    blank = np.zeros((*residual.shape, 2), np.float32)
    if kind == "none":
        return blank
    chosen = [Layer.REFLECTION] if rng.random() < 0.35 else [Layer.TRANSMISSION] if rng.random() < 0.25 else list(Layer)
    found = [each for each in (regions(residual, layer) for layer in chosen) if each.parts]
    if not found:
        return blank
    if kind == "masks":
        masks = tuple(_mask(rng, each) for each in found)
        return guide_maps(_guide(masks), photo)
    if kind == "wrong":
        found = [Regions(each.layer.other, each.parts) for each in found]
    marks = tuple(mark for each in found for mark in _marks(rng, kind, each))
    segmenter = _Segmenter(rng, residual) if rng.random() < 0.5 else None
    return guide_maps(_guide(marks), photo, segmenter)


def _marks(rng: np.random.Generator, kind: str, found: Regions) -> list[Mark]:
    areas = np.array([part.sum() for part in found.parts], np.float64)
    count = min(len(areas), 1 + int(rng.geometric(0.5)) - 1 or 1)
    order = rng.choice(len(areas), size=count, replace=False, p=areas / areas.sum())
    parts = [found.parts[int(index)] for index in order]
    match kind:
        case "boxes":
            return [_loose(rng, box_around(part, found.layer)) for part in parts]
        case "strokes":
            return [_stroke(rng, part, found.layer) for part in parts]
        case _:
            centred = rng.random() < 0.5
            return [
                centre_click(part, found.layer) if centred else random_click(rng, part, found.layer) for part in parts
            ]


def _mask(rng: np.random.Generator, found: Regions) -> MaskMark:
    """All parts, perhaps with one forgotten and the border drawn a little wide or narrow."""
    parts = list(found.parts)
    if len(parts) > 1 and rng.random() < 0.3:
        parts.pop(int(rng.integers(len(parts))))
    mask = np.logical_or.reduce(parts).astype(np.uint8)
    if rng.random() < 0.5:
        side = max(1, round(float(rng.uniform(0, 0.03)) * min(mask.shape)))
        change = cv2.dilate if rng.random() < 0.5 else cv2.erode
        mask = change(mask, np.ones((2 * side + 1, 2 * side + 1), np.uint8))
    return MaskMark(np.asarray(mask, np.bool_), found.layer)


def _loose(rng: np.random.Generator, mark: BoxMark) -> BoxMark:
    box = mark.box
    pad = rng.normal(0, 0.03, 4)
    x0, x1 = sorted((float(np.clip(box.x0 + pad[0], 0, 1)), float(np.clip(box.x1 + pad[2], 0, 1))))
    y0, y1 = sorted((float(np.clip(box.y0 + pad[1], 0, 1)), float(np.clip(box.y1 + pad[3], 0, 1))))
    small = x1 - x0 < 0.01 or y1 - y0 < 0.01
    return mark if small else BoxMark(Box(x0, y0, x1, y1), mark.layer)


def _stroke(rng: np.random.Generator, part: Bools, layer: Layer) -> StrokeMark:
    clicks = [random_click(rng, part, layer, 0.005) for _ in range(int(rng.integers(2, 5)))]
    return StrokeMark(tuple((click.x, click.y) for click in clicks), float(rng.uniform(0.015, 0.06)), layer)


def _guide(marks: Sequence[Mark]) -> RemovalGuide:
    """The marks, without clicks that contradict an earlier one."""
    kept: list[Mark] = []
    for mark in marks:
        clash = isinstance(mark, PointMark) and any(
            isinstance(other, PointMark)
            and other.layer is not mark.layer
            and max(abs(other.x - mark.x), abs(other.y - mark.y)) < 0.02
            for other in kept
        )
        if not clash:
            kept.append(mark)
    return RemovalGuide(tuple(kept))


class _Segmenter:
    """Answers a click with the true part around it, roughly."""

    def __init__(self, rng: np.random.Generator, residual: npt.NDArray[np.float32]) -> None:
        self.rng = rng
        self.parts = [part for layer in Layer for part in regions(residual, layer).parts]
        self.size = residual.shape

    def __call__(self, prompt: Prompt) -> Bools:
        nothing = np.zeros(self.size, np.bool_)
        if not prompt.points:
            return nothing
        x, y, _ = prompt.points[0]
        row = min(int(y * self.size[0]), self.size[0] - 1)
        column = min(int(x * self.size[1]), self.size[1] - 1)
        part = next((part for part in self.parts if part[row, column]), None)
        if part is None:
            return nothing
        side = max(1, round(float(self.rng.uniform(0, 0.04)) * min(self.size)))
        change = cv2.dilate if self.rng.random() < 0.5 else cv2.erode
        return np.asarray(change(part.astype(np.uint8), np.ones((2 * side + 1,) * 2, np.uint8)), np.bool_)


__all__ = [
    "GuideShares",
    "Regions",
    "box_around",
    "centre_click",
    "random_click",
    "regions",
    "simulate_guide",
]
