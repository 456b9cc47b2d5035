"""What a person says about reflections in a photo: clicks, boxes, strokes, masks and words, resolved to two soft maps.

A guide is a list of marks in the order in which they were made. Every mark speaks of one layer: the reflection (what is
to go) or the transmission (the scene behind the glass, which is to stay). :func:`guide_meaning` turns them into maps
(H, W, 2) of float32 in [0, 1]: channel 0 says "reflection here", channel 1 "transmission here"; 0 is "unknown", and
both may be above 0 where both layers are visible. It also says how far the answer to them is followed.

Contradictions: marks are drawn in order, and the core of a later mark (the disc of a click, the line of a stroke, the
inside of a mask; boxes and words are never so sure) clears what earlier marks said there about the other layer. Two
clicks of different layers within a hundredth of the picture of each other are refused: they cannot both be meant.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.geometry import Box
from magicgen.control.tracks import Bools
from magicgen.errors import GuideError

Maps = npt.NDArray[np.float32]

POINT_RADIUS = 0.04
"""Radius of a click's core as a share of the shorter side."""
REACH = 0.37
"""How far a click's meaning goes over an even picture, as a share of the shorter side; see :func:`kinship`."""
COLOUR_WEIGHT = 3.0
"""What a difference of colour (Lab, lightness 0 to 1) weighs against a distance of one shorter side."""
SEGMENT_STRENGTH = 0.6
"""How sure a segmented region is, where the click itself is sure (1)."""
BOX_STRENGTH = 0.5
"""How sure the middle of a box is, of which only a part need be meant; half of it outside a segmented region."""
BOX_FEATHER = 0.08
"""Softness of a box's border as a share of its shorter side."""
CLICK_SHARE = 0.03
"""How much of the picture a click is trusted with; see :func:`_trusted`."""
NO_SAY = np.float32(0.02)
"""Where all clicks together mean less than this, they are followed as they are on average."""
BOX_TRUST = 0.85
"""How far a guide of boxes is followed: they hold much that is not meant."""
LARGEST_SEGMENT = 0.6
"""A segment that covers more of the picture than this is taken for a failure, and the click stands alone."""
NEAREST = 0.01
MAX_MARKS = 1000


class Layer(Enum):
    """Which of the two layers a mark speaks of; the value is the map's channel."""

    REFLECTION = 0
    TRANSMISSION = 1

    @property
    def other(self) -> "Layer":
        """The opposite layer."""
        return Layer.TRANSMISSION if self is Layer.REFLECTION else Layer.REFLECTION


@dataclass(frozen=True)
class PointMark:
    """A click at (x, y), normalised, inside the picture."""

    x: float
    y: float
    layer: Layer

    def __post_init__(self) -> None:
        _check_inside(self.x, self.y, "a click")


@dataclass(frozen=True)
class BoxMark:
    """A box, of which at least a part lies inside the picture."""

    box: Box
    layer: Layer

    def __post_init__(self) -> None:
        if self.box.clipped() is None:
            raise GuideError(
                f"the box {_box_list(self.box)} lies outside the picture; coordinates are shares of width and height, "
                "0 to 1, origin top left"
            )


@dataclass(frozen=True)
class StrokeMark:
    """A line drawn with a brush: normalised points and the brush's width as a share of the shorter side."""

    points: tuple[tuple[float, float], ...]
    width: float
    layer: Layer

    def __post_init__(self) -> None:
        if not self.points:
            raise GuideError("a stroke needs at least one point")
        for x, y in self.points:
            _check_inside(x, y, "a stroke's point")
        if not (math.isfinite(self.width) and 0 < self.width <= 1):
            raise GuideError(
                f"a stroke's width is a share of the shorter side, above 0 and at most 1; got {self.width}"
            )


@dataclass(frozen=True, eq=False)
class MaskMark:
    """A painted region, (H, W) bool at the photo's own size."""

    mask: Bools
    layer: Layer

    def __post_init__(self) -> None:
        if self.mask.ndim != 2 or self.mask.dtype != np.bool_:
            raise GuideError(f"a mask is (H, W) bool; got {self.mask.dtype} {self.mask.shape}")


@dataclass(frozen=True)
class TextMark:
    """Words that name what is reflected (or what is not)."""

    text: str
    layer: Layer

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise GuideError("a text mark needs words, such as 'the lamp'")


Mark = PointMark | BoxMark | StrokeMark | MaskMark | TextMark


@dataclass(frozen=True)
class RemovalGuide:
    """All marks of a person, in order; no mark at all asks for the automatic result."""

    marks: tuple[Mark, ...] = ()

    def __post_init__(self) -> None:
        if len(self.marks) > MAX_MARKS:
            raise GuideError(f"a guide holds at most {MAX_MARKS} marks; got {len(self.marks)}")
        points = [mark for mark in self.marks if isinstance(mark, PointMark)]
        for index, first in enumerate(points):
            for second in points[index + 1 :]:
                near = max(abs(first.x - second.x), abs(first.y - second.y)) < NEAREST
                if near and first.layer is not second.layer:
                    raise GuideError(
                        f"the clicks at ({first.x:g}, {first.y:g}) and ({second.x:g}, {second.y:g}) contradict each "
                        "other: one says reflection (+), the other transmission (-). Leave one of them out."
                    )

    @property
    def empty(self) -> bool:
        """Whether nothing is said."""
        return not self.marks

    def with_mark(self, mark: Mark) -> "RemovalGuide":
        """The same guide and one mark more."""
        return RemovalGuide((*self.marks, mark))


@dataclass(frozen=True)
class Prompt:
    """What a promptable segmenter is asked: points (x, y, inside?) and a box, all normalised."""

    points: tuple[tuple[float, float, bool], ...] = ()
    box: Box | None = None


# The photo is the segmenter's own business (it was set once); the answer is (H, W) bool at the size it was set at.
SegmentRegion = Callable[[Prompt], Bools]
SegmentText = Callable[[str], Bools]


@dataclass(frozen=True, eq=False)
class Meaning:
    """What a guide was taken to mean at a size.

    Attributes:
        maps: (H, W, 2) float32 in [0, 1], see the module; all zero for an empty guide.
        followed: (H, W) float32 in [0, 1], how far the answer to the maps is followed at every place.
    """

    maps: Maps
    followed: Maps

    @property
    def share(self) -> float:
        """How far the guide is followed where it speaks, 0 to 1."""
        speaks = self.maps.max(axis=2)
        return float((self.followed * speaks).sum() / max(float(speaks.sum()), 1e-6))


def guide_meaning(
    guide: RemovalGuide,
    photo: Maps,
    segment: SegmentRegion | None = None,
    segment_text: SegmentText | None = None,
    picture_size: tuple[int, int] | None = None,
) -> Meaning:
    """The two maps of a guide at a size, and how far they are followed.

    Args:
        guide: the marks.
        photo: (H, W, 3) float32 sRGB in [0, 1] at the size that the maps shall have; clicks mean what looks alike.
        segment: finds the region that a click or box means; without one, marks stand for themselves.
        segment_text: finds the region that words mean.
        picture_size: (H, W) of the photo that masks must have; unchecked when None.

    Raises:
        GuideError: words without something that understands them, or a mask of another size.
    """
    maps = np.zeros((*photo.shape[:2], 2), np.float32)
    parts = []
    for index, mark in enumerate(guide.marks):
        core, region = _resolve(guide, index, photo, segment, segment_text, picture_size)
        own, other = mark.layer.value, mark.layer.other.value
        parts.append(np.maximum(core, region))
        maps[..., own] = np.maximum(maps[..., own], parts[-1])
        maps[..., other] *= 1 - core
    return Meaning(maps, _followed(guide, parts, maps.shape[:2]))


def guide_maps(
    guide: RemovalGuide,
    photo: Maps,
    segment: SegmentRegion | None = None,
    segment_text: SegmentText | None = None,
    picture_size: tuple[int, int] | None = None,
) -> Maps:
    """The maps of :func:`guide_meaning` alone, (H, W, 2) float32 in [0, 1]."""
    return guide_meaning(guide, photo, segment, segment_text, picture_size).maps


def _followed(guide: RemovalGuide, parts: list[Maps], size: tuple[int, ...]) -> Maps:
    """How far a guide is followed at every place, of what each of its marks means: fully where anything is painted or
    named, less where there are only boxes and clicks. Clicks on the scene count where there are no others."""
    kinds = {type(mark) for mark in guide.marks}
    if not kinds or not kinds <= {PointMark, BoxMark}:
        return np.ones(size, np.float32)
    if BoxMark in kinds:
        return np.full(size, BOX_TRUST, np.float32)
    layers = [mark.layer for mark in guide.marks]
    counted = Layer.REFLECTION if Layer.REFLECTION in layers else Layer.TRANSMISSION
    return _trusted([part for part, layer in zip(parts, layers, strict=True) if layer is counted])


def _trusted(clicked: list[Maps]) -> Maps:
    """How far clicks are followed at every place: (H, W) in [0, 1].

    A click may be a mistake, and what it means may be much of the picture: it is trusted with :data:`CLICK_SHARE` of
    it, with as much again for each further click that means the same. Where it means more, it is followed only in that
    proportion; where several mean something, they share the say.

    Args:
        clicked: what each click means, (H, W) in [0, 1].
    """
    meant = np.array([float(part.mean()) + 1e-6 for part in clicked])
    together = np.array([[float((one * other).mean()) for other in clicked] for one in clicked]) + 1e-9
    agreeing = (together / np.diag(together)[:, None]).sum(axis=1)
    trust = np.minimum(1, CLICK_SHARE * agreeing / meant)
    everywhere = float((trust * meant).sum() / meant.sum())
    say = np.stack(clicked)
    weighed = (say * trust[:, None, None].astype(np.float32)).sum(axis=0) + NO_SAY * everywhere
    return np.asarray(weighed / (say.sum(axis=0) + NO_SAY), np.float32)


def _resolve(
    guide: RemovalGuide,
    index: int,
    photo: Maps,
    segment: SegmentRegion | None,
    segment_text: SegmentText | None,
    picture_size: tuple[int, int] | None,
) -> tuple[Maps, Maps]:
    """A mark's sure core and its less sure region, (h, w) each."""
    height, width = size = photo.shape[0], photo.shape[1]
    nothing = np.zeros(size, np.float32)
    mark = guide.marks[index]
    match mark:
        case PointMark(x, y, layer):
            # Earlier clicks of the other layer tell the segmenter what does not belong to the region.
            others = tuple((p.x, p.y, False) for p in guide.marks if isinstance(p, PointMark) and p.layer is not layer)
            found = None if segment is None else segment(Prompt(((x, y, True), *others)))
            inside = _within(guide, mark, size)
            alike = kinship(photo, x, y) * inside
            # The core is no surer than what lies around it, or the model would leave a blot there.
            return disc(x, y, height, width) * alike, np.maximum(alike, _region(found, size) * inside)
        case BoxMark(box, _):
            # A box is drawn around a thing, not along it: its border says little, and a hard one would be seen.
            inside = feathered(box, height, width)
            refined = _region(None if segment is None else segment(Prompt(box=box)), size)
            if not (refined * inside).any():
                return nothing, inside * BOX_STRENGTH
            return nothing, inside * (BOX_STRENGTH / 2 + refined * (1 - BOX_STRENGTH / 2 / SEGMENT_STRENGTH))
        case StrokeMark(points, stroke_width, _):
            return stroke(points, stroke_width, height, width), nothing
        case MaskMark(mask, _):
            if picture_size is not None and mask.shape != picture_size:
                raise GuideError(
                    f"the mask is {mask.shape[1]}x{mask.shape[0]} pixels, the photo {picture_size[1]}x"
                    f"{picture_size[0]}; give a mask of the photo's size"
                )
            return soft_resize(mask, height, width), nothing
        case TextMark(text, _):
            if segment_text is None:
                raise GuideError(
                    f"the words '{text}' need a text segmenter (Grounding DINO), and none is installed here. Use a "
                    "click, a box, a stroke or a mask instead, or put its weights in place (see docs/reflection.md)."
                )
            return nothing, _region(segment_text(text), size)
        case _:
            assert_never(mark)


def _within(guide: RemovalGuide, click: PointMark, size: tuple[int, int]) -> Maps:
    """(h, w): the boxes of its layer in which a click lies, within which it is meant; everything without one."""
    boxes = [mark.box for mark in guide.marks if isinstance(mark, BoxMark) and mark.layer is click.layer]
    around = [feathered(box, *size) for box in boxes if box.x0 <= click.x <= box.x1 and box.y0 <= click.y <= box.y1]
    return np.maximum.reduce(around) if around else np.ones(size, np.float32)


def disc(x: float, y: float, height: int, width: int, radius: float = POINT_RADIUS) -> Maps:
    """A click: 1 in its core, falling to 0 over half of its radius; ``radius`` is a share of the shorter side."""
    reach = max(radius * min(height, width), 1.0)
    rows = np.arange(height, dtype=np.float32)[:, None] + 0.5 - y * height
    columns = np.arange(width, dtype=np.float32)[None] + 0.5 - x * width
    distance = np.sqrt(rows**2 + columns**2)
    return np.clip(2 - 2 * (distance - 0.5 * reach) / reach, 0, 1).astype(np.float32)


def kinship(photo: Maps, x: float, y: float) -> Maps:
    """How likely every pixel shares the layer of the one that was clicked: (H, W) float32, 1 at the click.

    ``exp(-(d / REACH)^2)``, ``d`` the distance in shorter sides and :data:`COLOUR_WEIGHT` times that in colour, as
    the two legs of a right angle. On real photos through glass (the 89 pairs, shorter side 128) the share of pixels of
    the clicked layer falls with ``d`` in this way, from 0.9 to that of the picture (benchmarks/reflection_clicks.py).

    Args:
        photo: (H, W, 3) float32 sRGB in [0, 1].
        x, y: the click, normalised.
    """
    height, width = photo.shape[:2]
    short = min(height, width)
    colours = cv2.cvtColor(photo, cv2.COLOR_RGB2LAB) / 100
    smooth = cv2.GaussianBlur(colours, (0, 0), max(short / 128, 0.3))
    row, column = min(int(y * height), height - 1), min(int(x * width), width - 1)
    rows = (np.arange(height, dtype=np.float32)[:, None] + 0.5 - y * height) / short
    columns = (np.arange(width, dtype=np.float32)[None] + 0.5 - x * width) / short
    apart = rows**2 + columns**2 + COLOUR_WEIGHT**2 * ((smooth - smooth[row, column]) ** 2).sum(axis=2)
    return np.exp(-apart / REACH**2).astype(np.float32)


def stroke(points: tuple[tuple[float, float], ...], brush: float, height: int, width: int) -> Maps:
    """A brush line: 1 inside, antialiased at the edge."""
    canvas = np.zeros((height, width), np.uint8)
    shift = 4
    scaled = [(round((x * width - 0.5) * 2**shift), round((y * height - 0.5) * 2**shift)) for x, y in points]
    thickness = max(1, round(brush * min(height, width)))
    if len(scaled) == 1:
        cv2.circle(canvas, scaled[0], (thickness << shift) // 2, 255, -1, cv2.LINE_AA, shift)
    else:
        line = np.array(scaled, np.int32).reshape(-1, 1, 2)
        cv2.polylines(canvas, [line], False, 255, thickness, cv2.LINE_AA, shift)
    return canvas.astype(np.float32) / np.float32(255)


def box_map(box: Box, height: int, width: int) -> Maps:
    """The share of every pixel that lies in a box."""
    rows = _overlap(box.y0 * height, box.y1 * height, height)
    columns = _overlap(box.x0 * width, box.x1 * width, width)
    return rows[:, None] * columns[None]


def feathered(box: Box, height: int, width: int) -> Maps:
    """A box whose border is soft towards the inside."""
    inside = box_map(box, height, width)
    clipped = box.clipped() or box
    sigma = BOX_FEATHER * min((clipped.x1 - clipped.x0) * width, (clipped.y1 - clipped.y0) * height)
    if sigma < 0.3:
        return inside
    soft = cv2.GaussianBlur(inside, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(inside * soft, np.float32)


def soft_resize(mask: Bools, height: int, width: int) -> Maps:
    """A mask at another size, by area: borders become shares, never another label."""
    return resized(mask.astype(np.float32), height, width)


def resized(maps: Maps, height: int, width: int) -> Maps:
    """Maps (H, W) or (H, W, C) at another size: by area when shrinking, else linearly."""
    shrinks = height * width < maps.shape[0] * maps.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(maps, (width, height), interpolation=method), np.float32)


def _region(found: Bools | None, size: tuple[int, int]) -> Maps:
    if found is None or not 0 < float(found.mean()) <= LARGEST_SEGMENT:
        return np.zeros(size, np.float32)
    return SEGMENT_STRENGTH * soft_resize(found, *size)


def _overlap(start: float, end: float, count: int) -> Maps:
    edges = np.arange(count + 1, dtype=np.float64)
    return np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0, 1).astype(np.float32)


def _check_inside(x: float, y: float, what: str) -> None:
    if not (math.isfinite(x) and math.isfinite(y) and 0 <= x <= 1 and 0 <= y <= 1):
        raise GuideError(
            f"{what} lies outside the picture: ({x:g}, {y:g}). Coordinates are shares of width and height, 0 to 1, "
            "origin top left (not pixels)."
        )


def _box_list(box: Box) -> list[float]:
    return [box.x0, box.y0, box.x1, box.y1]
