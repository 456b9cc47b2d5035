"""A visitor's book as values of the tab's parts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr
import numpy as np
import numpy.typing as npt

from magicgen.control.story_layout import colours
from magicgen.media import read_image
from magicgen.ui.photos import data_url
from magicgen.ui.story_draft import StoryDraft
from magicgen.ui.story_joints import joints_file, skeleton, skeletons
from magicgen.ui.story_rows import balloon_rows, boxes_document, cast_rows, labels, panel_rows, subject_rows
from magicgen.ui.story_sketches import drawing_paper
from magicgen.ui.told import note

UInt8 = npt.NDArray[np.uint8]
# What shows the plan as a whole, then what shows one panel of it.
WHOLE_PARTS = ("book", "pages", "facts", "files", "notes", "title", "panels", "cast", "sheets", "someone", "choice")
PANEL_PARTS = (
    *("canvas", "subjects", "balloons", "picture"),
    *("sketches", "who", "pen"),
    *("skeletons", "whose", "skeleton", "joints"),
)
# Parts that an edit leaves as they are while the same people are seen.
PICTURES = ("book", "pages", "facts", "files", "sheets", "someone", *PANEL_PARTS[3:])
INK = 96


class StoryView:
    """Values of the parts, in the order of :data:`WHOLE_PARTS` and :data:`PANEL_PARTS`.

    Args:
        draft: the book.
        subject: whom the pen draws and whose joints are shown.
    """

    PANEL_COUNT: ClassVar[int] = len(PANEL_PARTS)
    PLAN_COUNT: ClassVar[int] = len(WHOLE_PARTS) + len(PANEL_PARTS)

    def __init__(self, draft: StoryDraft, subject: int = 0) -> None:
        self._draft, self._subject = draft, subject

    def plan(self) -> list[Any]:
        """Everything that shows the plan."""
        draft, page = self._draft, self._draft.page
        names = [character.name for character in page.characters]
        choices = [(self._numbered(number), number) for number in range(len(page.panels))]
        return [
            gr.update(visible=bool(draft.shared)),
            [(str(path), f"page {number}") for number, path in enumerate(draft.pages, start=1)],
            note(*draft.facts),
            [str(path) for path in draft.shared] or None,
            note(*self._told()),
            page.title,
            panel_rows(page),
            cast_rows(page),
            [(str(path), words) for path, words in draft.sheets],
            gr.update(choices=names, value=names[0] if names else None),
            gr.update(choices=choices, value=draft.shown),
            *self.panel(),
        ]

    def edited(self, part: str, sent: Any, *, same: bool) -> list[Any]:
        """:meth:`plan` after a change in ``part``, without what the page shows already.

        Args:
            part: what the visitor changed.
            sent: its value in the browser.
            same: whether the same people are seen as before.
        """
        view = dict(zip((*WHOLE_PARTS, *PANEL_PARTS), self.plan(), strict=True))
        told = boxes_named(boxes_document(self._draft.panel)) if part == "canvas" else view[part]
        if told == (boxes_named(sent) if part == "canvas" else sent):
            view[part] = gr.skip()
        for name in PICTURES if same else ():
            view[name] = gr.skip()
        return list(view.values())

    def panel(self) -> list[Any]:
        """Everything that shows the chosen panel."""
        draft = self._draft
        picture = draft.book.panel(draft.shown)
        whom = [(label, index) for index, label in enumerate(labels(draft.panel))]
        drawn = self._subject if self._subject < len(whom) else 0
        chosen = {"choices": whom, "value": drawn if whom else None}
        return [
            self._boxes(),
            subject_rows(draft.panel),
            balloon_rows(draft.panel),
            gr.update(value=str(picture) if picture.is_file() else None, visible=picture.is_file()),
            self._sketches(),
            gr.update(**chosen),
            self._paper(drawn) if whom else gr.update(picture=None, value={"version": 1, "marks": []}),
            skeletons(draft),
            gr.update(**chosen),
            *self.skeleton(drawn),
        ]

    def skeleton(self, subject: int) -> list[Any]:
        """A subject's joints as a picture and as a file."""
        path = joints_file(self._draft, subject)
        return [skeleton(self._draft, subject), gr.update(value=path, interactive=path is not None)]

    @staticmethod
    def history(books: Sequence[StoryDraft]) -> Any:
        """The covers of a visitor's books."""
        covers = [(str(book.pages[0]), book.page.title or "Untitled") for book in books if book.pages]
        return gr.update(value=covers, visible=bool(covers))

    @staticmethod
    def property(pixels: UInt8, size: tuple[int, int] | None = None) -> dict[str, Any]:
        """A picture for a drawing area; boxes snap to the pixels of ``size`` (h, w)."""
        height, width = size or pixels.shape[:2]
        return {"url": data_url(pixels), "width": width, "height": height}

    def _told(self) -> list[str]:
        draft = self._draft
        told = [f"Note: {text}" for text in draft.warnings[:8]]
        if draft.changed:
            listed = ", ".join(str(number + 1) for number in sorted(draft.changed))
            told.append(f"Changed since it was drawn: panel {listed}. Make the pictures to draw it again.")
        return told or [f"{len(draft.page.panels)} panels, {len(draft.page.characters)} characters."]

    def _numbered(self, number: int) -> str:
        return f"{number + 1} *" if number in self._draft.changed else str(number + 1)

    def _boxes(self) -> Any:
        """The boxes over the picture of the panel, or over plain paper."""
        draft = self._draft
        size = self._size()
        picture = draft.book.panel(draft.shown)
        shown = read_image(picture) if picture.is_file() else np.full((*size, 3), 244, np.uint8)
        shades = colours(draft.page)
        palette = ["#{:02x}{:02x}{:02x}".format(*shades[subject.character]) for subject in draft.panel.subjects]
        return gr.update(
            picture=self.property(shown, size),
            palette=palette or ["#333333"],
            value={**boxes_document(draft.panel), "tag": draft.tag},
        )

    def _size(self) -> tuple[int, int]:
        """(H, W) of the panel as the model draws it."""
        layout = self._draft.book.layout(self._draft.shown)
        if not layout.is_file():
            return self._draft.settings.height or 128, self._draft.settings.width or 192
        height, width = read_image(layout).shape[:2]
        return height // 2, width // 2  # layouts are drawn at twice the size

    def _sketches(self) -> list[tuple[Any, str]]:
        """What the model is shown of the panel: composed lines, then each subject alone."""
        draft, found = self._draft, []
        composed = draft.book.sketch(draft.shown)
        if composed.is_file():
            found.append((inked(composed), "the whole panel"))
        for index, (subject, label) in enumerate(zip(draft.panel.subjects, labels(draft.panel), strict=True)):
            if subject.sketch is not None and subject.sketch.is_file():
                found.append((read_image(subject.sketch), f"{label}, yours"))
            elif draft.book.alone(draft.shown, index).is_file():
                found.append((read_image(draft.book.alone(draft.shown, index)), f"{label} alone"))
        return found

    def _paper(self, subject: int) -> Any:
        return gr.update(picture=self.property(drawing_paper(self._draft, subject)), value={"version": 1, "marks": []})


def boxes_named(document: dict[str, Any]) -> list[str]:
    """Who stands on the drawing area; boxes that lie outside the picture are cut off without moving what is dragged."""
    return [str(item.get("name")) for item in document.get("objects", ())]


def inked(path: Path) -> UInt8:
    """A sketch file (white lines on black) as ink on paper."""
    return np.where(read_image(path) > INK, 0, 255).astype(np.uint8)
