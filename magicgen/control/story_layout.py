"""The layout of a panel: which boxes hide each other, and a drawing of it for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.story import Panel, StoryPage

UInt8 = npt.NDArray[np.uint8]

COVERED = 0.35
"""Share of the smaller box from which an overlap is reported."""

# Distinct in hue and lightness, readable under white text.
COLOURS: tuple[tuple[int, int, int], ...] = (
    (200, 60, 50),
    (40, 100, 190),
    (30, 130, 70),
    (150, 80, 170),
    (190, 110, 20),
    (0, 130, 140),
    (170, 50, 110),
    (90, 90, 90),
)


@dataclass(frozen=True)
class Overlap:
    """Two subjects of a panel that cover each other.

    Attributes:
        front: index of the nearer subject.
        back: index of the one behind.
        share: the common area as a part of the smaller box's, 0..1.
    """

    front: int
    back: int
    share: float


def overlaps(panel: Panel) -> tuple[Overlap, ...]:
    """All pairs of subjects whose boxes meet, the largest share first."""
    order = panel.drawing_order()
    found = []
    for back, front in combinations(order, 2):
        one, other = panel.subjects[back].place, panel.subjects[front].place
        common = one.intersection(other)
        if common is not None:
            found.append(Overlap(front, back, min(1.0, common.area / min(one.area, other.area))))
    return tuple(sorted(found, key=lambda item: (-item.share, item.back, item.front)))


def overlap_report(page: StoryPage, covered: float = COVERED) -> tuple[str, ...]:
    """A sentence for each pair of subjects that hide each other so far that one may not be recognised."""
    lines = []
    for number, panel in enumerate(page.panels, start=1):
        for item in overlaps(panel):
            if item.share >= covered:
                front, back = (panel.subjects[index].character for index in (item.front, item.back))
                lines.append(f"panel {number}: {front} covers {back}; {item.share:.0%} of the smaller box is common")
    return tuple(lines)


def colours(page: StoryPage) -> dict[str, tuple[int, int, int]]:
    """A colour for each character, the same in every panel."""
    return {character.name: COLOURS[i % len(COLOURS)] for i, character in enumerate(page.characters)}


def draw_layout(
    panel: Panel, height: int, width: int, shades: dict[str, tuple[int, int, int]], picture: UInt8 | None = None
) -> UInt8:
    """Boxes with names over a picture (or paper), the nearer ones in front.

    Args:
        panel: what to draw.
        height, width: of the result.
        shades: colour of each character, see :func:`colours`.
        picture: (height, width, 3) uint8, or None for plain paper.

    Returns:
        (height, width, 3) uint8.
    """
    canvas = np.full((height, width, 3), 244, np.uint8) if picture is None else picture.copy()
    line = max(1, round(min(height, width) / 160))
    for index in panel.drawing_order():
        subject = panel.subjects[index]
        colour = shades.get(subject.character, COLOURS[-1])
        x0, y0, x1, y1 = pixel_box(subject.box, height, width)
        fill = canvas[y0:y1, x0:x1]
        fill[:] = (0.75 * fill + 0.25 * np.array(colour)).astype(np.uint8)
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), colour, line)
        _label(canvas, f"{index + 1} {subject.character}", (x0, y0), colour)
    return canvas


def pixel_box(box: Sequence[float], height: int, width: int) -> tuple[int, int, int, int]:
    """A normalised box in whole pixels, at least one pixel large, inside the picture."""
    x0, y0 = min(width - 1, round(box[0] * width)), min(height - 1, round(box[1] * height))
    return x0, y0, max(x0 + 1, min(width, round(box[2] * width))), max(y0 + 1, min(height, round(box[3] * height)))


def _label(canvas: UInt8, text: str, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    height = canvas.shape[0]
    scale = max(0.32, height / 800)
    plain = text.encode("ascii", "replace").decode("ascii")  # OpenCV's letters are ASCII
    (w, h), base = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    x, y = min(corner[0], max(0, canvas.shape[1] - w - 4)), max(corner[1], 0)
    cv2.rectangle(canvas, (x, y), (x + w + 4, y + h + base + 4), colour, cv2.FILLED)
    cv2.putText(canvas, plain, (x + 2, y + h + 2), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
