"""Boxes for the subjects of a panel: a row on the ground, changed by what the tale says about left, behind, on, above.

Heights and widths follow the drawings of the storybook world, so that a box is nearly filled by what stands in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

import numpy as np

from magicgen.control.geometry import Box
from magicgen.control.story import BoxTuple, Shot
from magicgen.planning.relations import (
    Above,
    AtLeft,
    AtRight,
    Behind,
    Between,
    InMiddle,
    LeftOf,
    Near,
    OnTop,
    Relation,
    holds,
)

WIDTHS = {
    "stands": 0.57,
    "walks": 0.57,
    "runs": 0.6,
    "waves": 0.6,
    "jumps": 0.82,
    "sits": 0.68,
    "dances": 0.67,
    "talks": 0.6,
}
"""Width / height of a drawing by its pose, measured as the mean over all kinds seen from the front."""
KIND_WIDTHS = {
    "elephant": 1.4,
    "dog": 1.15,
    "monkey": 1.15,
    "rabbit": 0.78,
    "wizard": 0.8,
    "witch": 0.85,
    "mouse": 1.08,
}
KIND_HEIGHTS = {"mouse": 0.72, "duck": 0.8, "frog": 0.78, "penguin": 0.85, "owl": 0.82, "elephant": 1.12, "bear": 1.05}
SIZES = {"small": 0.8, "big": 1.18, "": 1.0}
_SHOT_HEIGHTS: dict[Shot, float] = {"wide": 0.52, "medium": 0.62, "close": 0.84}
_CROWDED = (1.0, 1.0, 1.0, 0.94, 0.85, 0.75, 0.66, 0.6, 0.55, 0.5, 0.48, 0.46, 0.44)
"""Factor of the heights by the number of subjects."""
_EDGE = 0.03
_GROUND = {"wide": 0.9, "medium": 0.95, "close": 0.97}
_SKY = 0.05
_UNDER_BALLOONS = 0.24
_LEAST_HEIGHT = 0.2


@dataclass(frozen=True)
class Sitter:
    """What decides the size of a box: kind and pose as words of the world, ``small``, ``big`` or empty, grown up or
    not."""

    kind: str
    pose: str
    size: str = ""
    adult: bool = False


def arrange(
    sitters: Sequence[Sitter],
    relations: Sequence[Relation],
    shot: Shot,
    rng: np.random.Generator,
    *,
    balloons: bool = False,
    aspect: float = 1.5,
) -> tuple[tuple[BoxTuple, ...], tuple[Relation, ...]]:
    """Boxes, and the relations that could not be kept.

    Args:
        sitters: in the order in which the tale names them.
        relations: indices are those of ``sitters``.
        shot: how near the viewer stands.
        rng: of the small irregularities.
        balloons: leave room for them above.
        aspect: width / height of the picture.
    """
    if not sitters:
        return (), ()
    top = _UNDER_BALLOONS if balloons else _SKY
    sizes = _sizes(sitters, relations, shot, top, aspect)
    columns = _columns(len(sitters), relations)
    order = _order(columns, relations)
    boxes = _placed([columns[index] for index in order], sizes, relations, _GROUND[shot], top)
    shaken = [_jittered(box, rng) for box in boxes]
    kept = {relation for relation in relations if holds(relation, boxes)}
    if all(holds(relation, shaken) for relation in kept) and not _crowded(shaken, boxes):
        boxes = shaken
    final = tuple(_rounded(box) for box in boxes)
    check = [Box(*box) for box in final]
    return final, tuple(relation for relation in relations if not holds(relation, check))


def _sizes(
    sitters: Sequence[Sitter], relations: Sequence[Relation], shot: Shot, top: float, aspect: float
) -> list[tuple[float, float]]:
    """(width, height) of each subject before it is squeezed into the row."""
    stacked = any(isinstance(relation, OnTop | Above) for relation in relations)
    base = min(_SHOT_HEIGHTS[shot] * _CROWDED[min(len(sitters), 12)], _GROUND[shot] - top)
    if stacked:
        base = min(base, 0.5)
    sizes = []
    for sitter in sitters:
        factor = KIND_HEIGHTS.get(sitter.kind, 1.0) * SIZES[sitter.size] * (1.08 if sitter.adult else 1.0)
        factor *= 0.88 if sitter.pose == "sits" else 1.0
        height = float(np.clip(base * factor, _LEAST_HEIGHT, _GROUND[shot] - top))
        width = height * WIDTHS.get(sitter.pose, 0.6) * KIND_WIDTHS.get(sitter.kind, 1.0) / aspect
        sizes.append((width, height))
    return sizes


def _columns(count: int, relations: Sequence[Relation]) -> list[list[int]]:
    """Who stands in one column, from the ground upwards."""
    columns = [[index] for index in range(count)]

    def column(index: int) -> list[int]:
        return next(one for one in columns if index in one)

    for relation in relations:
        if isinstance(relation, OnTop | Above):
            upper, lower = column(relation.a), column(relation.b)
            if upper is not lower:
                columns.remove(upper)
                lower += upper
    return columns


def _order(columns: Sequence[list[int]], relations: Sequence[Relation]) -> tuple[int, ...]:
    """The order from left to right that keeps most relations, and of these the one nearest to the tale's."""
    if len(columns) > 7:
        return tuple(range(len(columns)))
    best, least = tuple(range(len(columns))), float("inf")
    for order in permutations(range(len(columns))):
        place = {who: rank for rank, column in enumerate(order) for who in columns[column]}
        cost = sum(_cost(relation, place, len(columns)) for relation in relations)
        cost += 0.01 * sum(abs(rank - column) for rank, column in enumerate(order))
        if cost < least - 1e-9:
            best, least = order, cost
    return best


def _cost(relation: Relation, place: dict[int, int], count: int) -> float:
    """How much an order breaks a relation; ``place`` is the column of each subject, from the left."""
    match relation:
        case LeftOf(a, b):
            return float(place[a] >= place[b])
        case Between(a, b, c):
            return float(not min(place[b], place[c]) < place[a] < max(place[b], place[c]))
        case Near(a, b) | Behind(a, b):
            return 0.5 * max(0, abs(place[a] - place[b]) - 1)
        case AtLeft(a):
            return place[a] / count
        case AtRight(a):
            return (count - 1 - place[a]) / count
        case InMiddle(a):
            return abs(place[a] - (count - 1) / 2) / count
        case _:
            return 0.0


def _placed(
    columns: Sequence[list[int]],
    sizes: list[tuple[float, float]],
    relations: Sequence[Relation],
    ground: float,
    top: float,
) -> list[Box]:
    """Boxes of the columns from left to right, then everybody who stands farther back."""
    widths = [max(sizes[index][0] for index in column) for column in columns]
    room = 1 - 2 * _EDGE
    factor = min(1.0, room / sum(widths))
    sizes = [(width * factor, height * factor) for width, height in sizes]
    widths = [width * factor for width in widths]
    gap = (room - sum(widths)) / len(columns)
    boxes: dict[int, Box] = {}
    left = _EDGE
    for column, width in zip(columns, widths, strict=True):
        middle = left + 0.5 * gap + 0.5 * width
        left += gap + width
        if len(columns) == 1:
            middle = _alone(column, relations, width)
        _stack(column, middle, sizes, relations, ground, top, boxes)
    for relation in relations:
        if isinstance(relation, Behind):
            boxes[relation.a] = _farther(boxes, relation, top)
    return [boxes[index] for index in range(len(sizes))]


def _alone(column: list[int], relations: Sequence[Relation], width: float) -> float:
    """The middle of the only column."""
    for relation in relations:
        if isinstance(relation, AtLeft) and relation.a in column:
            return max(0.27, _EDGE + width / 2)
        if isinstance(relation, AtRight) and relation.a in column:
            return min(0.73, 1 - _EDGE - width / 2)
    return 0.5


def _stack(
    column: list[int],
    middle: float,
    sizes: Sequence[tuple[float, float]],
    relations: Sequence[Relation],
    ground: float,
    top: float,
    boxes: dict[int, Box],
) -> None:
    """One column from the ground upwards; all shrink alike where it is too high."""
    touching = {relation.a for relation in relations if isinstance(relation, OnTop)}
    steps = [0.0]
    for below, above in pairwise(column):
        steps.append(sizes[below][1] * (0.86 if above in touching else 1.0) + (0.0 if above in touching else 0.02))
    total = sum(steps) + sizes[column[-1]][1]
    factor = min(1.0, (ground - top) / total)
    foot = ground
    for index, step in zip(column, steps, strict=True):
        foot -= step * factor
        width, height = sizes[index][0] * factor, sizes[index][1] * factor
        boxes[index] = Box(middle - width / 2, foot - height, middle + width / 2, foot)


def _farther(boxes: dict[int, Box], relation: Behind, top: float) -> Box:
    """Who stands behind: a little smaller, higher in the picture, partly hidden by the one in front."""
    back, front = boxes[relation.a], boxes[relation.b]
    width, height = 0.86 * back.width, 0.86 * back.height
    foot = min(back.y1, front.y1) - 0.09
    side = 1.0 if back.centre[0] >= front.centre[0] else -1.0
    middle = front.centre[0] + side * (0.5 * front.width + 0.22 * width)
    if not _EDGE <= middle - width / 2 <= middle + width / 2 <= 1 - _EDGE:
        middle = float(np.clip(middle, _EDGE + width / 2, 1 - _EDGE - width / 2))
    others = [box for index, box in boxes.items() if index not in (relation.a, relation.b)]
    if any(box.x0 < middle + width / 2 and middle - width / 2 < box.x1 for box in others):
        middle = front.centre[0] + side * (0.5 * front.width + 0.1 * width)
    return Box(middle - width / 2, max(top, foot - height), middle + width / 2, foot)


def _jittered(box: Box, rng: np.random.Generator) -> Box:
    """The same box a little moved and scaled about its foot, inside the picture."""
    scale = rng.uniform(0.95, 1.04)
    width, height = box.width * scale, min(box.height * scale, 0.95)
    middle = float(np.clip(box.centre[0] + rng.uniform(-0.012, 0.012), 0.01 + width / 2, 0.99 - width / 2))
    foot = float(np.clip(box.y1 + rng.uniform(-0.012, 0.006), 0.02 + height, 0.99))
    return Box(middle - width / 2, foot - height, middle + width / 2, foot)


def _crowded(shaken: Sequence[Box], plain: Sequence[Box]) -> bool:
    """Whether shaking made boxes meet that did not."""
    for i, one in enumerate(shaken):
        for j in range(i):
            if one.intersection(shaken[j]) is not None and plain[i].intersection(plain[j]) is None:
                return True
    return False


def _rounded(box: Box) -> BoxTuple:
    values = np.clip([box.x0, box.y0, box.x1, box.y1], 0.0, 1.0)
    return (
        round(float(values[0]), 3),
        round(float(values[1]), 3),
        round(float(values[2]), 3),
        round(float(values[3]), 3),
    )
