"""Where speech balloons go: inside the panel, off the faces, in reading order, near who speaks."""

from collections.abc import Sequence
from dataclasses import dataclass

from magicgen.control.geometry import Box
from magicgen.control.story import Panel

HEAD_SHARE = 0.48
"""Upper part of a subject's box that is kept free: the head of storybook characters is large."""
MOUTH = 0.36
"""Height of the mouth below the upper edge of the box, as a part of its height."""
Mouth = tuple[float, float, Box]
"""Where a speaker's mouth is, and the head around it."""
_STEPS = 24
_GAP = 0.008


@dataclass(frozen=True)
class Bubble:
    """A balloon that found its place; all numbers are parts of the panel's picture.

    Attributes:
        index: of the balloon in the panel.
        box: of the bubble itself.
        tail: where its tail points to, or None for a voice from outside.
        option: which of the offered sizes was taken.
    """

    index: int
    box: Box
    tail: tuple[float, float] | None
    option: int


def face_boxes(panel: Panel) -> tuple[Box, ...]:
    """Where the subjects' heads are."""
    boxes = []
    for subject in panel.subjects:
        x0, y0, x1, y1 = subject.box
        share = HEAD_SHARE if subject.pose != "sits" else HEAD_SHARE + 0.08
        boxes.append(Box(x0 + 0.08 * (x1 - x0), y0, x1 - 0.08 * (x1 - x0), y0 + share * (y1 - y0)))
    return tuple(boxes)


def place_bubbles(panel: Panel, sizes: Sequence[Sequence[tuple[float, float]]]) -> tuple[Bubble | None, ...]:
    """A place for every balloon, or None for one that would hide a face or another balloon wherever it goes.

    Args:
        panel: subjects and balloons.
        sizes: for each balloon the (width, height) that its text may be set in, the preferred first, as parts of the
            picture.
    """
    faces, bodies = face_boxes(panel), [subject.place for subject in panel.subjects]
    placed: list[Bubble | None] = []
    for index, options in enumerate(sizes):
        mouth = _mouth(panel, index)
        best: tuple[float, Bubble] | None = None
        earlier = [bubble for bubble in placed if bubble is not None]
        for option, (width, height) in enumerate(options):
            for box in _candidates(width, height):
                cost = _cost(box, faces, bodies, earlier, mouth, panel.balloons[index].kind == "thought")
                if cost is not None and (best is None or cost + 0.15 * option < best[0]):
                    best = (cost + 0.15 * option, Bubble(index, box, _tail(box, mouth), option))
        placed.append(None if best is None else best[1])
    return tuple(placed)


def _mouth(panel: Panel, index: int) -> Mouth | None:
    speaker = panel.balloons[index].speaker
    for subject, face in zip(panel.subjects, face_boxes(panel), strict=True):
        if speaker and subject.character == speaker:
            head = Box(face.x0, face.y0 + 0.12 * face.height, face.x1, face.y1)
            return subject.place.centre[0], subject.box[1] + MOUTH * subject.place.height, head
    return None


def _candidates(width: float, height: float) -> list[Box]:
    right, bottom = 1 - 2 * _GAP - width, 1 - 2 * _GAP - height
    if right < 0 or bottom < 0:
        return []
    rows = [_GAP + bottom * step / _STEPS for step in range(_STEPS + 1)]
    columns = [_GAP + right * step / _STEPS for step in range(_STEPS + 1)]
    return [Box(x, y, x + width, y + height) for y in rows for x in columns]


def _cost(
    box: Box,
    faces: Sequence[Box],
    bodies: Sequence[Box],
    earlier: Sequence[Bubble],
    mouth: Mouth | None,
    thought: bool,
) -> float | None:
    """How bad a place is; None for one that hides a face or another balloon, or would be read too early."""
    if any(box.intersection(face) is not None for face in faces):
        return None
    roomy = Box(box.x0 - _GAP, box.y0 - _GAP, box.x1 + _GAP, box.y1 + _GAP)
    for bubble in earlier:
        if roomy.intersection(bubble.box) is not None or not _read_after(box, bubble.box):
            return None
        if bubble.tail is not None and _crosses(roomy, bubble.box.centre, bubble.tail):
            return None
    hidden = sum(common.area for body in bodies if (common := box.intersection(body)) is not None)
    x, y = box.centre
    cost = 3.0 * hidden / box.area + 0.5 * box.y0
    if mouth is not None:
        tail = _tail(box, mouth)
        cost += ((x - mouth[0]) ** 2 + (0.7 * (y - mouth[1])) ** 2) ** 0.5
        cost += 0.6 * (y > mouth[1])
        if thought:  # the puffs need some way
            cost += 4.0 * max(0.0, 0.1 - (mouth[2].y0 - box.y1)) if box.y1 < mouth[2].y0 else 0.0
        if tail is not None and any(
            _crosses(face, box.centre, tail) for face in faces if not _contains(face, mouth[:2])
        ):
            cost += 1.0
    else:
        cost += 0.3 * y
    return cost


def _read_after(box: Box, before: Box) -> bool:
    """Whether a reader comes to ``box`` after ``before``: lower, or beside it on the right."""
    if box.y0 >= before.y1:
        return True
    return box.x0 >= before.x1 and box.y0 >= before.y0 - 0.5 * before.height


def _tail(box: Box, mouth: Mouth | None) -> tuple[float, float] | None:
    """The tail's tip: towards the mouth, but only to the edge of the head."""
    if mouth is None:
        return None
    x, y, head = mouth
    start = min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1)
    steps = [(start[0] + (x - start[0]) * t / 40, start[1] + (y - start[1]) * t / 40) for t in range(41)]
    outside = [point for point in steps if not _contains(head, point)]
    return outside[-1] if outside else start


def _contains(box: Box, point: tuple[float, float]) -> bool:
    return box.x0 <= point[0] <= box.x1 and box.y0 <= point[1] <= box.y1


def _crosses(box: Box, start: tuple[float, float], end: tuple[float, float], steps: int = 12) -> bool:
    """Whether the straight way from one point to another meets a box."""
    return any(
        _contains(box, (start[0] + (end[0] - start[0]) * t / steps, start[1] + (end[1] - start[1]) * t / steps))
        for t in range(steps + 1)
    )
