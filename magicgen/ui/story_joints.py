"""Joints on the page: shown as skeletons, sent by a visitor, kept with the book and with whom they belong to."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.story import Panel, StoryPage
from magicgen.errors import StoryError
from magicgen.jobs.story_book import Book
from magicgen.jobs.story_joints import ADVICE, joints_from_values, read_joints, write_joints
from magicgen.media import read_image, resize, write_bytes
from magicgen.synthetic.skeleton import draw_keypoints
from magicgen.ui.story_draft import StoryDraft
from magicgen.ui.story_rows import labels

UInt8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
SHOWN_HEIGHT = 480
PAPER = (128, 192)
MAX_BYTES = 64 * 1024


def skeleton(draft: StoryDraft, subject: int) -> UInt8 | None:
    """A subject's joints, with a dot on each, over the paled picture of it alone, with a line at every tenth.

    (480, w, 3) uint8; None where no joints are there yet.
    """
    path, alone = draft.book.joints(draft.shown, subject), draft.book.alone(draft.shown, subject)
    if not path.is_file():
        return None
    ground = read_image(alone) if alone.is_file() else np.full((*PAPER, 3), 255, np.uint8)
    width = round(SHOWN_HEIGHT * ground.shape[1] / ground.shape[0])
    pale = 128 + resize(ground, SHOWN_HEIGHT, width) / 2
    for tenth in range(1, 10):
        pale[round(SHOWN_HEIGHT * tenth / 10)] -= 24
        pale[:, round(width * tenth / 10)] -= 24
    joints = read_joints(path)
    drawn = draw_keypoints(joints[None], SHOWN_HEIGHT, width)
    cover = drawn.max(axis=2, keepdims=True) / 255  # hues are full, so that their brightness is how much they cover
    picture = np.asarray(np.clip(pale * (1 - cover) + drawn, 0, 255), np.uint8)
    for x, y, _ in joints[joints[:, 2] > 0]:
        cv2.circle(picture, (round(float(x) * width), round(float(y) * SHOWN_HEIGHT)), 3, (255, 255, 255), cv2.FILLED)
    return picture


def skeletons(draft: StoryDraft) -> list[tuple[UInt8, str]]:
    """What the model is shown of the chosen panel, then each subject with its joints, with words for each."""
    book, found = Book.open(draft.folder), []
    composed = book.skeletons(draft.shown)
    if composed.is_file():
        found.append((read_image(composed), "the whole panel"))
    for index, label in enumerate(labels(draft.panel)):
        drawn = skeleton(draft, index)
        if drawn is not None:
            own = book.was_edited(book.joints(draft.shown, index))
            found.append((drawn, f"{label}, yours" if own else f"{label} alone"))
    return found


def joints_file(draft: StoryDraft, subject: int) -> Path | None:
    """The file to download."""
    path = draft.book.joints(draft.shown, subject)
    return path if path.is_file() else None


def replace_joints(draft: StoryDraft, subject: int, source: Path | None) -> None:
    """Give a subject of the shown panel the joints of a file; None has them read again.

    Raises:
        StoryError: there is no such subject, or this is no file of joints.
    """
    if not 0 <= subject < len(draft.panel.subjects):
        raise StoryError("Choose whom the joints belong to.")
    path = draft.book.joints(draft.shown, subject)
    if source is None:
        path.unlink(missing_ok=True)
    else:
        _write(path, _sent(source))
    if draft.book.panel(draft.shown).is_file():
        draft.changed.add(draft.shown)


def kept_joints(draft: StoryDraft) -> dict[str, Any]:
    """The joints that a visitor sent, by the name of their file in the book."""
    own = _own(draft.folder, draft.page)
    return {_name(draft.folder, path): json.loads(path.read_text(encoding="utf-8")) for path in own.values()}


def restore_joints(folder: Path, page: StoryPage, documents: Any) -> None:
    """Put what :func:`kept_joints` gave into the folder of a book; None is nothing.

    Raises:
        StoryError: no such document, joints of somebody who is not in the plan, or wrong ones.
    """
    if documents is None:
        return
    if not isinstance(documents, dict):
        raise StoryError("joints: expected an object of joints by the names of their files.")
    places = {_name(folder, path): path for path in _all(folder, page).values()}
    for name, document in documents.items():
        if name not in places:
            raise StoryError(f"joints: {name[:80]!r} belongs to nobody in the plan.")
        try:
            _write(places[name], joints_from_values(document, f"joints: {name}"))
        except StoryError as error:
            raise StoryError(str(error).replace(ADVICE, "")) from None


def carry_joints(draft: StoryDraft, page: StoryPage) -> None:
    """Before the plan changes: joints that a visitor sent stay with whom they show when others come or go."""
    own = _own(draft.folder, draft.page)
    for number, (old, new) in enumerate(zip(draft.page.panels, page.panels, strict=False)):
        kept = {index: path.read_bytes() for (panel, index), path in own.items() if panel == number}
        goes = _homes(old, new)
        if all(goes.get(index) == index for index in kept):
            continue
        for index in kept:
            draft.book.joints(number, index).unlink()
        for index in kept.keys() & goes.keys():
            write_bytes(draft.book.joints(number, goes[index]), kept[index])


def moves_joints(draft: StoryDraft, page: StoryPage) -> bool:
    """Whether :func:`carry_joints` may move or remove files, which a run that goes on would read."""
    there = [key for key, path in _all(draft.folder, draft.page).items() if path.is_file()]
    return any(
        number < len(page.panels) and _homes(draft.page.panels[number], page.panels[number]).get(index) != index
        for number, index in there
    )


def _sent(source: Path) -> Floats:
    """The joints of an uploaded file; messages name it as the visitor knows it."""
    if source.stat().st_size > MAX_BYTES:
        raise StoryError(f"{source.name} is larger than {MAX_BYTES // 1024} KiB; expected a file of 17 joints.")
    try:
        return read_joints(source)
    except StoryError as error:
        raise StoryError(str(error).replace(str(source), source.name).replace(ADVICE, "")) from None


def copy_joints(draft: StoryDraft, before: int, folder: Path, number: int) -> None:
    """Give a copy of panel ``before``, panel ``number`` of the book in ``folder``, the joints that a visitor sent."""
    copy = Book(folder)
    for (panel, index), path in _own(draft.folder, draft.page).items():
        if panel == before:
            copy.conditions(number).mkdir(parents=True, exist_ok=True)
            write_bytes(copy.joints(number, index), path.read_bytes())


def _homes(old: Panel, new: Panel) -> dict[int, int]:
    """Where each subject is now: one that did not change at all, else the one that is called as it was."""
    goes: dict[int, int] = {}
    for before, after in ((old.subjects, new.subjects), (labels(old), labels(new))):
        for index, one in enumerate(before):
            free = [place for place, other in enumerate(after) if other == one and place not in goes.values()]
            if index not in goes and free:
                goes[index] = free[0]
    return goes


def _own(folder: Path, page: StoryPage) -> dict[tuple[int, int], Path]:
    """Files of joints that no stage wrote, by panel and subject."""
    book = Book.open(folder)
    return {key: path for key, path in _all(folder, page).items() if book.was_edited(path)}


def _all(folder: Path, page: StoryPage) -> dict[tuple[int, int], Path]:
    """Where the joints of everybody in a book would lie, by panel and subject, both from 0."""
    keys = [(number, each) for number, panel in enumerate(page.panels) for each in range(len(panel.subjects))]
    return {key: Book(folder).joints(*key) for key in keys}


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _write(path: Path, joints: Floats) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_joints(path, joints)
