"""Measures of generated stories: the right subject in its box, how many there are, the same faces, the same places.

The judge is :class:`~magicgen.models.storybook_reader.StorybookReader`, a network that knows the drawn world; its own
accuracy on real drawings is the ceiling of what it can find right. Where a figure stands is measured without it: where
the panel differs from its plate. OCCM is defined as in ViStoryBench (arXiv 2505.24862): 100 exp(-|D - E| / (eps + E))
for D figures found and E expected.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from magicgen.models.crops import MARGIN, as_input, cropped, square_of
from magicgen.models.storybook_reader import CROP, StorybookReader, tint_distance

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
RegionBox = tuple[float, float, float, float]
CHANGED = 24
"""Difference from the plate, of 255, from which a pixel shows a figure; shadows are fainter."""
SMALLEST = 0.004
"""Share of the picture from which a piece counts as a figure."""
SHIFTS = ((0, 0), (2, 0), (-2, 0), (0, 2), (0, -2))
"""Pixels of a crop by which the reader looks at it from several sides, each also mirrored."""


@dataclass(frozen=True)
class Wanted:
    """A subject as the story has it.

    Attributes:
        name: tells characters apart. box, kind, colour: where it stands, what it is, its main colour.
        tints: (parts, 3) float32 its exact colours as the reader reads them, 0..1; None where none are given.
        has: which parts it has.
    """

    name: str
    box: RegionBox
    kind: str
    colour: str
    tints: npt.NDArray[np.float32] | None = None
    has: tuple[bool, ...] = ()


@dataclass(frozen=True)
class SubjectScore:
    """One subject of one panel.

    Attributes:
        iou: of its box with the box around what was drawn there.
        kind, colour: what the reader sees. right: IoU of at least 0.5, right kind and right colour.
        off: how far its tints are from those of the character, in grey levels; NaN where these are not given.
    """

    name: str
    iou: float
    kind: str
    colour: str
    kind_right: bool
    colour_right: bool
    off: float = math.nan

    @property
    def right(self) -> bool:
        """The right subject in its box."""
        return self.iou >= 0.5 and self.kind_right and self.colour_right


@dataclass(frozen=True)
class PanelScore:
    """One panel: its subjects, figures found, share of sketch lines that the picture keeps, and of unchanged plate."""

    subjects: tuple[SubjectScore, ...]
    found: int
    sketch: float
    plate: float


@dataclass(frozen=True)
class StoryScore:
    """Means over panels; see :func:`summary`."""

    layout: float
    iou: float
    kind: float
    colour: float
    count: float
    occm: float
    identity: float
    look: float
    off: float
    sketch: float
    plate: float
    panels: int

    def as_dict(self) -> dict[str, float]:
        """Plain data, four digits."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def score_panel(
    picture: UInt8, plate: UInt8, wanted: Sequence[Wanted], sketch: UInt8 | None, reader: StorybookReader
) -> PanelScore:
    """Measure one panel.

    Args:
        picture, plate: (H, W, 3) uint8, the panel and its empty place.
        wanted: its subjects.
        sketch: (H, W) uint8 white lines, or None.
        reader: in evaluation mode.
    """
    figures = figure_mask(picture, plate)
    seen = _read(picture, wanted, reader)
    subjects = tuple(
        SubjectScore(
            name=each.name,
            iou=drawn_iou(figures, each.box, [other.box for other in wanted if other is not each]),
            kind=kind,
            colour=colour,
            kind_right=kind == each.kind,
            colour_right=colour == each.colour,
            off=off,
        )
        for each, (kind, colour, off) in zip(wanted, seen, strict=True)
    )
    outside = ~cv2.dilate(figures.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    same = np.abs(picture.astype(np.int16) - plate).max(axis=2) <= 8
    kept = float(same[outside].mean()) if outside.any() else 1.0
    return PanelScore(subjects, _figures_found(figures, wanted), _lines_kept(picture, sketch), kept)


def figure_mask(picture: UInt8, plate: UInt8) -> Bools:
    """(H, W) bool: where figures were drawn onto the plate."""
    smooth = cv2.GaussianBlur(picture, (3, 3), 0).astype(np.int16) - cv2.GaussianBlur(plate, (3, 3), 0)
    changed = (np.abs(smooth).max(axis=2) > CHANGED).astype(np.uint8)
    changed = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return np.asarray(cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.bool_)


def drawn_iou(figures: Bools, box: RegionBox, others: Sequence[RegionBox]) -> float:
    """IoU of a box with the box around what was drawn in and near it, what is nearer to other subjects left out."""
    height, width = figures.shape
    rows, columns = np.mgrid[:height, :width]
    x, y = (columns + 0.5) / width, (rows + 0.5) / height
    own = _outside(box, x, y)
    mine = figures & (own < 0.25)
    for other in others:
        distance = _outside(other, x, y)
        mine &= (own < distance) | ((own == distance) & (_centred(box, x, y) <= _centred(other, x, y)))
    if not mine.any():
        return 0.0
    found_rows, found_columns = np.flatnonzero(mine.mean(axis=1) > 0.004), np.flatnonzero(mine.mean(axis=0) > 0.008)
    if not len(found_rows) or not len(found_columns):
        return 0.0
    drawn = (
        found_columns[0] / width,
        found_rows[0] / height,
        (found_columns[-1] + 1) / width,
        (found_rows[-1] + 1) / height,
    )
    return _box_iou(box, drawn)


def summary(
    panels: Sequence[Sequence[PanelScore]], wanted: Sequence[Sequence[Sequence[Wanted]]], tolerance: float = math.nan
) -> StoryScore:
    """Scores of stories, each a sequence of panels, with what each panel should show.

    ``identity`` is the share of pairs of panels with the same character in which the reader sees the same kind and
    colour; ``count`` the share of panels with as many figures as subjects; ``look`` the share of subjects whose tints
    lie within ``tolerance`` grey levels of the character's; ``off`` how far they lie on average.
    """
    flat = [score for story in panels for score in story]
    subjects = [each for score in flat for each in score.subjects]
    expected = [len(panel) for story in wanted for panel in story]
    pairs = [
        (a.kind, a.colour) == (b.kind, b.colour)
        for story in panels
        for i, first in enumerate(story)
        for second in story[i + 1 :]
        for a in first.subjects
        for b in second.subjects
        if a.name == b.name
    ]
    return StoryScore(
        layout=_mean([each.right for each in subjects]),
        iou=_mean([each.iou for each in subjects]),
        kind=_mean([each.kind_right for each in subjects]),
        colour=_mean([each.colour_right for each in subjects]),
        count=_mean([score.found == count for score, count in zip(flat, expected, strict=True)]),
        occm=_mean([occm(score.found, count) for score, count in zip(flat, expected, strict=True)]),
        identity=_mean(pairs),
        look=_mean([math.nan if math.isnan(each.off + tolerance) else each.off <= tolerance for each in subjects]),
        off=_mean([each.off for each in subjects]),
        sketch=_mean([score.sketch for score in flat]),
        plate=_mean([score.plate for score in flat]),
        panels=len(flat),
    )


def occm(found: int, expected: int) -> float:
    """On-stage character count matching of ViStoryBench, 0..100."""
    return 100 * math.exp(-abs(found - expected) / (1e-6 + expected)) if expected else 100.0 * (found == 0)


@torch.no_grad()
def _read(picture: UInt8, wanted: Sequence[Wanted], reader: StorybookReader) -> list[tuple[str, str, float]]:
    """Kind, colour and distance of tints of every subject, each the mean answer over :data:`SHIFTS` and mirrors."""
    if not wanted:
        return []
    height, width = picture.shape[:2]
    squares = [square_of(each.box, height, width, MARGIN) for each in wanted]
    inputs = as_input(np.stack([cropped(picture, square, CROP) for square in squares]))
    views = [inputs.roll(shift, (2, 3)) for shift in SHIFTS]
    seen = [reader(view.flip(3) if mirrored else view) for view in views for mirrored in (False, True)]
    kinds = torch.stack([each.kind.log_softmax(1) for each in seen]).mean(0).argmax(1)
    colours = torch.stack([each.colour.log_softmax(1) for each in seen]).mean(0).argmax(1)
    tints = torch.stack([each.tints for each in seen]).mean(0)
    return [
        (reader.config.kinds[int(kind)], reader.config.colours[int(colour)], _off(each, tint))
        for each, kind, colour, tint in zip(wanted, kinds, colours, tints, strict=True)
    ]


def _off(each: Wanted, tints: torch.Tensor) -> float:
    if each.tints is None:
        return math.nan
    return float(tint_distance(tints[None], torch.from_numpy(each.tints)[None], torch.tensor([each.has])))


def _figures_found(figures: Bools, wanted: Sequence[Wanted]) -> int:
    """Boxes in which something stands, and pieces that belong to none of them."""
    height, width = figures.shape
    claimed = np.zeros_like(figures)
    filled = 0
    for each in wanted:
        x0, y0, x1, y1 = each.box
        window = (
            slice(max(0, round((y0 - 0.04) * height)), round((y1 + 0.06) * height)),
            slice(max(0, round((x0 - 0.04) * width)), round((x1 + 0.04) * width)),
        )
        claimed[window] = True
        filled += bool(figures[window].mean() > 0.12)
    _, _, facts, _ = cv2.connectedComponentsWithStats((figures & ~claimed).astype(np.uint8))
    strays = int((facts[1:, cv2.CC_STAT_AREA] > SMALLEST * figures.size).sum())
    return filled + strays


def _lines_kept(picture: UInt8, sketch: UInt8 | None) -> float:
    """Share of the sketch's lines that lie within two pixels of an edge of the picture."""
    if sketch is None or not (sketch > 127).any():
        return math.nan
    edges = cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 40, 110)
    near = cv2.dilate(edges, np.ones((5, 5), np.uint8)) > 0
    return float(near[sketch > 127].mean())


def _outside(box: RegionBox, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far points lie outside of a box, in units of its sides (the larger of both directions)."""
    dx = np.maximum(np.maximum(box[0] - x, x - box[2]), 0) / (box[2] - box[0])
    dy = np.maximum(np.maximum(box[1] - y, y - box[3]), 0) / (box[3] - box[1])
    return np.maximum(dx, dy)


def _centred(box: RegionBox, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.hypot(x - 0.5 * (box[0] + box[2]), y - 0.5 * (box[1] + box[3]))


def _box_iou(a: RegionBox, b: RegionBox) -> float:
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(wide, 0.0) * max(tall, 0.0)
    whole = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / whole if whole > 0 else 0.0


def _mean(values: Sequence[float | bool]) -> float:
    known = [float(value) for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
