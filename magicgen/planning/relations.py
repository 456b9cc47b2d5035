"""Spatial words between people: how they are found in a sentence, and whether boxes keep them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from magicgen.control.geometry import Box
from magicgen.planning.mentions import Mention
from magicgen.planning.sentences import Token


@dataclass(frozen=True)
class LeftOf:
    """``a`` stands to the left of ``b``; all by index."""

    a: int
    b: int


@dataclass(frozen=True)
class Behind:
    """``a`` is partly hidden by ``b`` or stands farther back beside it."""

    a: int
    b: int


@dataclass(frozen=True)
class OnTop:
    """``a`` sits or stands on ``b``."""

    a: int
    b: int


@dataclass(frozen=True)
class Above:
    """``a`` is over ``b`` without touching it."""

    a: int
    b: int


@dataclass(frozen=True)
class Between:
    """``a`` stands between ``b`` and ``c``."""

    a: int
    b: int
    c: int


@dataclass(frozen=True)
class Near:
    """``a`` and ``b`` stand side by side, nobody between them."""

    a: int
    b: int


@dataclass(frozen=True)
class AtLeft:
    """``a`` is in the left part of the picture."""

    a: int


@dataclass(frozen=True)
class AtRight:
    """``a`` is in the right part of the picture."""

    a: int


@dataclass(frozen=True)
class InMiddle:
    """``a`` is in the middle of the picture."""

    a: int


Relation = LeftOf | Behind | OnTop | Above | Between | Near | AtLeft | AtRight | InMiddle

_M = r"<(\d+)>"
_PAIRS: tuple[tuple[str, type[LeftOf] | type[Behind] | type[OnTop] | type[Above] | type[Near], bool], ...] = (
    (rf"(?:(?:to|on|at) )?(?:the )?left (?:hand )?(?:side )?of {_M}", LeftOf, False),
    (rf"(?:(?:to|on|at) )?(?:the )?right (?:hand )?(?:side )?of {_M}", LeftOf, True),
    (rf"on top of {_M}", OnTop, False),
    (rf"(?:on|upon|onto) {_M}", OnTop, False),
    (rf"on (?:the )?(?:back|shoulders?|head) of {_M}", OnTop, False),
    (rf"behind {_M}", Behind, False),
    (rf"in front of {_M}", Behind, True),
    (rf"(?:high )?(?:above|over) {_M}", Above, False),
    (rf"(?:under|below|beneath|underneath) {_M}", Above, True),
    (rf"(?:next to|beside|near|close to|alongside|by) {_M}", Near, False),
)
"""Pattern with the second person, relation, and whether the second comes first in it."""
_BETWEEN = re.compile(rf"between {_M}(?: and {_M})?")
_SIDE = re.compile(r"(?:on|at|to) (?:the )?(?:far )?(left|right)(?: hand)?(?: side)?(?! (?:hand |side )*of\b)\b")
_MIDDLE = re.compile(r"in the (?:middle|centre|center)(?! of the)\b")


@dataclass(frozen=True)
class Found:
    """A relation between mentions: indices of mentions, each possibly several that ``and`` joins."""

    relation: type[Relation]
    first: tuple[int, ...]
    second: tuple[int, ...] = ()
    third: tuple[int, ...] = ()


def skeleton(tokens: Sequence[Token], mentions: Sequence[Mention]) -> str:
    """A sentence with its mentions as ``<0>``, ``<1>`` ..."""
    words: list[str] = []
    place = 0
    for number, mention in enumerate(mentions):
        words += [token.lower for token in tokens[place : mention.start]]
        words.append(f"<{number}>")
        place = mention.end
    words += [token.lower for token in tokens[place:]]
    return " ".join(words)


def find_relations(text: str) -> Iterator[Found]:
    """All relations of a sentence in the form of :func:`skeleton`."""
    seconds: set[int] = set()
    claimed: list[tuple[int, int]] = []
    for match in _BETWEEN.finditer(text):
        found = [int(group) for group in match.groups() if group]
        claimed.append(match.span())
        first = _first(text, match.start(), match.end(), set(found))
        if first:
            third = (found[1],) if len(found) > 1 else ()
            yield Found(Between, first, (found[0],), third)
            seconds |= set(found)
    for pattern, relation, swapped in _PAIRS:
        for match in re.finditer(rf"(?<![\w<]){pattern}", text):
            if any(start < match.end() and match.start() < end for start, end in claimed):
                continue
            claimed.append(match.span())
            second = _joined(text, int(match.group(1)))
            first = _first(text, match.start(), match.end(), seconds | set(second))
            if first and not set(first) & set(second):
                seconds |= set(second)
                yield Found(relation, second, first) if swapped else Found(relation, first, second)
    for match in _SIDE.finditer(text):
        if not any(start < match.end() and match.start() < end for start, end in claimed):
            first = _first(text, match.start(), match.end(), seconds)
            if first:
                yield Found(AtLeft if match.group(1) == "left" else AtRight, first)
    for match in _MIDDLE.finditer(text):
        first = _first(text, match.start(), match.end(), seconds)
        if first:
            yield Found(InMiddle, first)


def _first(text: str, start: int, end: int, taken: set[int]) -> tuple[int, ...]:
    """Who stands there: the last one named before that is not the second of a relation, with those joined by ``and``;
    without one the first named after, as in ``behind the bear sat a rabbit``."""
    clause = re.split(r" [;:.!?] ", text[:start])[-1]
    before = [int(number) for number in re.findall(r"<(\d+)>", clause) if int(number) not in taken]
    opening = not re.search(r"<\d+>", re.split(r" (?:,|and|while|but) ", clause)[-1])
    after_text = text[end:]
    follower = re.match(r"[^<,.;!?]{0,40}<(\d+)>", after_text)
    if (
        opening
        and follower
        and re.search(r"(?:^|[,;] |and |while )$", text[:start])
        and int(follower.group(1)) not in taken
    ):
        return _joined(text, int(follower.group(1)))
    if before:
        return _joined_back(text, before[-1])
    after = [int(number) for number in re.findall(r"<(\d+)>", after_text) if int(number) not in taken]
    return _joined(text, after[0]) if after else ()


def _joined(text: str, number: int) -> tuple[int, ...]:
    """A mention and those after it that ``and`` joins to it."""
    numbers = [number]
    while re.search(_and(numbers[-1], numbers[-1] + 1), text):
        numbers.append(numbers[-1] + 1)
    return tuple(numbers)


def _and(one: int, other: int) -> str:
    """``<1> and <2>``, or ``<1> , <2>`` in a list that ``and`` ends."""
    return rf"<{one}> (?:, )?and <{other}>|<{one}> , <{other}>(?= (?:, )?and <| , <\d+> (?:, )?and <)"


def _joined_back(text: str, number: int) -> tuple[int, ...]:
    numbers = [number]
    while re.search(_and(numbers[0] - 1, numbers[0]), text):
        numbers.insert(0, numbers[0] - 1)
    return tuple(numbers)


def holds(relation: Relation, boxes: Sequence[Box]) -> bool:
    """Whether boxes of a panel keep a relation; the test set and the planner ask the same question."""
    match relation:
        case LeftOf(a, b):
            return boxes[a].centre[0] < boxes[b].centre[0] and boxes[a].x0 < boxes[b].x0
        case Behind(a, b):
            one, other = boxes[a], boxes[b]
            reach = 0.75 * (one.width + other.width)
            return one.y1 < other.y1 and abs(one.centre[0] - other.centre[0]) < reach
        case OnTop(a, b):
            one, other = boxes[a], boxes[b]
            stands = other.y0 - 0.05 <= one.y1 <= other.y0 + 0.4 * other.height
            return stands and one.y0 < other.y0 and abs(one.centre[0] - other.centre[0]) < 0.5 * other.width
        case Above(a, b):
            one, other = boxes[a], boxes[b]
            return one.y1 <= other.y0 + 0.02 and one.x0 < other.x1 and other.x0 < one.x1
        case Between(a, b, c):
            low, high = sorted((boxes[b].centre[0], boxes[c].centre[0]))
            return low < boxes[a].centre[0] < high
        case Near(a, b):
            low, high = sorted((boxes[a].centre[0], boxes[b].centre[0]))
            return not any(low < box.centre[0] < high for i, box in enumerate(boxes) if i not in (a, b))
        case AtLeft(a):
            return boxes[a].centre[0] < 0.45
        case AtRight(a):
            return boxes[a].centre[0] > 0.55
        case InMiddle(a):
            return 0.35 < boxes[a].centre[0] < 0.65
        case _:
            assert_never(relation)
