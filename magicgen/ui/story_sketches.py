"""The paper on which a subject is drawn by hand: its sketch so far, and the strokes that change it."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.guide import Layer, StrokeMark
from magicgen.control.story_sketch import read_sketch
from magicgen.errors import MediaError, StoryError
from magicgen.media import read_image
from magicgen.ui.reflection_desk import read_marks
from magicgen.ui.story_draft import StoryDraft

UInt8 = npt.NDArray[np.uint8]
PAPER = 480
MARGIN = 40


def drawing_paper(draft: StoryDraft, subject: int) -> UInt8:
    """White paper of the shape of a subject's box, with its lines so far in black: (h, w, 3)."""
    planned = draft.panel.subjects[subject]
    making_aspect = _aspect(draft) * (planned.box[2] - planned.box[0]) / (planned.box[3] - planned.box[1])
    width = round(min(2.5, max(0.4, making_aspect)) * PAPER)
    paper = np.full((PAPER, width, 3), 255, np.uint8)
    if planned.sketch is not None and planned.sketch.is_file():
        drawn = read_image(planned.sketch)
        if drawn.shape == paper.shape:  # it was drawn on this very paper
            return drawn
    lines = _lines(draft, subject)
    if lines is None:
        return paper
    height, across = lines.shape
    scale = min((PAPER - 2 * MARGIN) / height, (width - 2 * MARGIN) / across)
    size = (max(1, round(across * scale)), max(1, round(height * scale)))
    fitted = cv2.resize(lines, size, interpolation=cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA)
    top, left = PAPER - MARGIN - size[1], (width - size[0]) // 2
    paper[top : top + size[1], left : left + size[0]] = np.where(fitted > 96, 0, 255).astype(np.uint8)[..., None]
    return paper


def add_strokes(paper: UInt8, marks: Any) -> UInt8:
    """The paper with the strokes of the drawing area in the order in which they were made: black with the pen, white
    with the eraser.

    Raises:
        GuideError: marks that the drawing area does not make.
        StoryError: nothing was drawn.
    """
    strokes = [mark for mark in read_marks(marks).marks if isinstance(mark, StrokeMark)] if marks else []
    if not strokes:
        raise StoryError("Nothing is drawn on the paper yet. Take the pen and draw, or send a picture.")
    height, width = paper.shape[:2]
    drawn = paper.copy()
    for stroke in strokes:
        points = np.array([(x * width, y * height) for x, y in stroke.points], np.float32).round().astype(np.int32)
        thick = max(1, round(stroke.width * min(height, width)))
        ink = (0, 0, 0) if stroke.layer is Layer.REFLECTION else (255, 255, 255)
        if len(points) == 1:
            cv2.circle(drawn, tuple(map(int, points[0])), max(1, thick // 2), ink, cv2.FILLED)
        else:
            cv2.polylines(drawn, [points], False, ink, thick)
    return drawn


def _aspect(draft: StoryDraft) -> float:
    """Width of a panel by its height."""
    layout = draft.book.layout(draft.shown)
    if not layout.is_file():
        return 1.5
    height, width = read_image(layout).shape[:2]
    return width / height


def _lines(draft: StoryDraft, subject: int) -> UInt8 | None:
    """The lines of a subject, 255 on 0: drawn by hand, or by the model; None where there are none yet."""
    own = draft.panel.subjects[subject].sketch
    path = own if own is not None else draft.book.lines(draft.shown, subject)
    try:
        return read_sketch(path).lines if path.is_file() else None
    except (StoryError, MediaError):
        return None
