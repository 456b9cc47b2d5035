"""Panels in another order, one more, one less: a new book that keeps every picture that still fits."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magicgen.control.story import StoryPage, read_story, story_to_values, write_story
from magicgen.errors import StoryError
from magicgen.jobs.story_book import Book, seed_for
from magicgen.media import write_json
from magicgen.ui.story_draft import StoryDraft
from magicgen.ui.story_joints import copy_joints

NUMBERED = ("panels", "conditions", "layout")
LEFT_BEHIND = ("pages", "book.pdf", "book.cbz", "story.json", *NUMBERED)


def rearranged(draft: StoryDraft, folder: Path, order: Sequence[int]) -> StoryDraft:
    """A book in a fresh folder.

    Args:
        draft: the book to begin with.
        folder: of the new one; made here.
        order: for each new panel the index of the old one. One that stands twice is a copy with a seed of its own
            and the joints that the visitor sent.

    Raises:
        StoryError: no panel is left.
    """
    if not order:
        raise StoryError("A story has at least one panel.")
    shutil.copytree(draft.folder, folder, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    old = Book.open(draft.folder)
    notes = {name: kept for name, kept in old.notes.items() if not name.startswith(NUMBERED)}
    for number, before in enumerate(order):
        if before not in order[:number]:
            notes |= _moved(old, folder, before, number)
        else:
            copy_joints(draft, before, folder, number)
    write_json(folder / "made.json", notes)
    source = folder / draft.source.name
    plan = write_story(folder / "plan.yaml", _plan(draft, folder, order))
    warnings = draft.warnings
    shown = order.index(draft.shown) if draft.shown in order else 0
    changed = {order.index(number) for number in draft.changed if number in order}
    return StoryDraft(folder, source, draft.settings, read_story(plan), warnings, shown, changed)


def _plan(draft: StoryDraft, folder: Path, order: Sequence[int]) -> StoryPage:
    """The plan with the seeds that the panels were drawn with; their numbers decided them until now."""
    values = story_to_values(draft.page, draft.folder)
    panels: list[dict[str, Any]] = []
    for number, before in enumerate(order):
        panel = dict(values["panels"][before])
        if before in order[:number]:
            panel = {name: value for name, value in panel.items() if name not in ("caption", "balloons", "seed")}
            panel["seed"] = seed_for(draft.settings.seed, "copy", before, number)
        panel.setdefault("seed", seed_for(draft.settings.seed, "panel", before))
        panels.append(panel)
    named = folder / "rearranged.json"
    write_json(named, {**values, "panels": panels})
    return read_story(named)


def _moved(old: Book, folder: Path, before: int, number: int) -> dict[str, dict[str, str]]:
    """Copy what belongs to one panel; its notes by their new names."""
    came, goes = f"panel-{before + 1:02d}", f"panel-{number + 1:02d}"
    for room in NUMBERED:
        (folder / room).mkdir(exist_ok=True)
        for source in (old.folder / room).glob(f"{came}*"):
            target = folder / room / source.name.replace(came, goes, 1)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copyfile(source, target)
    return {
        name.replace(came, goes, 1): kept
        for name, kept in old.notes.items()
        if name.startswith(tuple(f"{room}/{came}" for room in NUMBERED))
    }
