"""A plan as tables and as boxes on the drawing area, and back.

Every function that takes rows or boxes gives a whole new plan, checked like a story file.
"""

import re
from collections.abc import Sequence
from typing import Any

from magicgen.control.story import FACINGS, LEAST_SIDE, SHOTS, Panel, StoryPage, story_from_values
from magicgen.errors import StoryError

Rows = list[list[Any]]
PANEL_HEADERS = ["#", "Caption", "Place", "Shot", "Seed"]
SUBJECT_HEADERS = ["#", "Character", "What is seen", "Pose", "Faces", "x0", "y0", "x1", "y1"]
BALLOON_HEADERS = ["Speaker", "Text", "Kind"]
CAST_HEADERS = ["Name", "Looks"]
SOURCE = "the plan"
NEW_BOX = (0.35, 0.35, 0.65, 0.95)
_COUNTED = re.compile(r" \d+$")
_VOWELS = "aeiou"


def with_title(page: StoryPage, title: str) -> StoryPage:
    """The plan with another title.

    Raises:
        StoryError: signs that no title can have.
    """
    return story_from_values({**page.model_dump(mode="json"), "title": title}, SOURCE)


def panel_rows(page: StoryPage) -> Rows:
    """One row for each panel."""
    return [
        [number, panel.caption, panel.background, panel.shot, "" if panel.seed is None else panel.seed]
        for number, panel in enumerate(page.panels, start=1)
    ]


def with_panel_rows(page: StoryPage, rows: Sequence[Sequence[Any]]) -> StoryPage:
    """The plan with the texts, shots and seeds of a table.

    Raises:
        StoryError: a cell that no plan can hold.
    """
    values = page.model_dump(mode="json")
    rows = [_padded(row, PANEL_HEADERS) for row in rows]
    if len(rows) != len(page.panels):
        raise StoryError("The table has another number of panels than the plan; use the buttons to add and delete.")
    for panel, (_, caption, background, shot, seed) in zip(values["panels"], rows, strict=True):
        panel.update(caption=text(caption), background=text(background), shot=choice(shot, SHOTS, "Shot"))
        panel["seed"] = whole(seed, "Seed")
    return story_from_values(values, SOURCE)


def subject_rows(panel: Panel) -> Rows:
    """One row for each subject."""
    return [
        [index, subject.character, subject.prompt, subject.pose or "", subject.facing, *map(rounded, subject.box)]
        for index, subject in enumerate(panel.subjects, start=1)
    ]


def with_subject_rows(page: StoryPage, number: int, rows: Sequence[Sequence[Any]]) -> StoryPage:
    """The plan with the subjects of a table. Rows without a character are left out.

    Raises:
        StoryError: a cell that no plan can hold.
    """
    before = page.panels[number].subjects
    subjects = []
    for row in rows:
        index, character, prompt, pose, facing, *box = _padded(row, SUBJECT_HEADERS)
        if not text(character):
            continue
        place = whole(index, SUBJECT_HEADERS[0]) or 0
        known = before[place - 1] if 0 < place <= len(before) else None
        box = box if any(text(value) for value in box) else list(NEW_BOX)
        subjects.append(
            {
                "character": text(character),
                "prompt": text(prompt) or page.character(text(character)).description,
                "pose": text(pose) or None,
                "facing": choice(facing, FACINGS, "Faces"),
                "box": tuple(real(value, name) for value, name in zip(box, SUBJECT_HEADERS[5:], strict=True)),
                "sketch": str(known.sketch) if known is not None and known.sketch is not None else None,
            }
        )
    return _with_subjects(page, number, subjects)


def balloon_rows(panel: Panel) -> Rows:
    """One row for each balloon, and an empty one to write into."""
    return [*([balloon.speaker, balloon.text, balloon.kind] for balloon in panel.balloons), ["", "", "speech"]]


def with_balloon_rows(page: StoryPage, number: int, rows: Sequence[Sequence[Any]]) -> StoryPage:
    """The plan with the balloons of a table; rows without text are left out.

    Raises:
        StoryError: a cell that no plan can hold.
    """
    values = page.model_dump(mode="json")
    kinds = ("speech", "thought")
    values["panels"][number]["balloons"] = tuple(
        {"speaker": text(speaker), "text": text(words), "kind": choice(kind, kinds, "Kind")}
        for speaker, words, kind in (_padded(row, BALLOON_HEADERS) for row in rows)
        if text(words)
    )
    return story_from_values(values, SOURCE)


def cast_rows(page: StoryPage) -> Rows:
    """One row for each character."""
    return [[character.name, character.description] for character in page.characters]


def with_cast_rows(page: StoryPage, rows: Sequence[Sequence[Any]]) -> StoryPage:
    """The plan with the looks of a table, in the prompts of all panels too.

    Raises:
        StoryError: a cell that no plan can hold.
    """
    rows = [_padded(row, CAST_HEADERS) for row in rows]
    if [text(row[0]) for row in rows] != [character.name for character in page.characters]:
        raise StoryError("Names are fixed here, since captions and balloons tell of them too; write another tale.")
    values = page.model_dump(mode="json")
    for character, (_, described) in zip(values["characters"], rows, strict=True):
        old, new = character["description"], text(described)
        character["description"] = new
        for panel in values["panels"]:
            for subject in panel["subjects"]:
                if subject["character"] == character["name"] and new:
                    subject["prompt"] = reworded(subject["prompt"], old, new)
    return story_from_values(values, SOURCE)


def reworded(prompt: str, old: str, new: str) -> str:
    """A prompt with another description, and the article that fits it."""
    article = "an" if new[:1].lower() in _VOWELS else "a"
    counted = re.compile(rf"\ban? {re.escape(old)}\b")
    return counted.sub(f"{article} {new}", prompt) if counted.search(prompt) else prompt.replace(old, new)


def boxes_document(panel: Panel) -> dict[str, Any]:
    """The boxes of a panel as the drawing area holds them; a name that stands twice is counted."""
    objects = [
        {"name": name, "keyframes": [{"frame": 0, "box": list(map(rounded, subject.box))}], "interpolation": "linear"}
        for name, subject in zip(labels(panel), panel.subjects, strict=True)
    ]
    return {"version": 1, "frames": 1, "objects": objects}


def labels(panel: Panel) -> list[str]:
    """A name of its own for every subject."""
    given: list[str] = []
    for subject in panel.subjects:
        count = sum(label == subject.character or _COUNTED.sub("", label) == subject.character for label in given)
        given.append(subject.character if not count else f"{subject.character} {count + 1}")
    return given


def with_boxes(page: StoryPage, number: int, document: Any) -> StoryPage:
    """The plan with the boxes of the drawing area: moved, deleted, or new. A new one is for a character of its name,
    else for the first that the panel lacks.

    Raises:
        StoryError: no such document, or nobody whom a new box could show.
    """
    panel = page.panels[number]
    known = dict(zip(labels(panel), panel.model_dump(mode="json")["subjects"], strict=True))
    try:
        drawn = [(str(item["name"]), _inside(item["keyframes"][0]["box"])) for item in document["objects"]]
    except (KeyError, TypeError, ValueError, IndexError):
        raise StoryError("The drawing area sent no boxes. Reload the page.") from None
    present = {known[name]["character"] for name, _ in drawn if name in known}
    subjects = []
    for name, box in drawn:
        subject = known.get(name) or _newcomer(page, name, present)
        present.add(subject["character"])
        subjects.append({**subject, "box": box})
    return _with_subjects(page, number, subjects)


def rounded(value: float) -> float:
    """A coordinate as tables show it."""
    return round(float(value), 4)


def text(cell: Any) -> str:
    """A cell as text."""
    return "" if cell is None else str(cell).strip()


def whole(cell: Any, name: str) -> int | None:
    """A cell as a whole number, None where it is empty."""
    try:
        return int(float(text(cell))) if text(cell) else None
    except (ValueError, OverflowError):
        raise StoryError(f"{name}: {text(cell)[:40]!r} is no whole number.") from None


def real(cell: Any, name: str) -> float:
    """A cell as a number."""
    try:
        return float(text(cell).replace(",", "."))
    except ValueError:
        raise StoryError(f"{name}: {text(cell)[:40]!r} is no number from 0 to 1.") from None


def choice(cell: Any, offered: Sequence[str], name: str) -> str:
    """A cell as one of a few words; the first where it is empty."""
    word = text(cell).lower() or offered[0]
    if word not in offered:
        raise StoryError(f"{name}: {word[:40]!r} is unknown; choose {', '.join(offered[:-1])} or {offered[-1]}.")
    return word


def _padded(row: Sequence[Any], headers: Sequence[str]) -> list[Any]:
    """A row of full length: a table without rows sends an empty one."""
    return [*row, *[""] * len(headers)][: len(headers)]


def _with_subjects(page: StoryPage, number: int, subjects: list[dict[str, Any]]) -> StoryPage:
    values = page.model_dump(mode="json")
    values["panels"][number]["subjects"] = tuple(subjects)
    return story_from_values(values, SOURCE)


def _newcomer(page: StoryPage, name: str, present: set[str]) -> dict[str, Any]:
    """Values of a subject for a box that was drawn or renamed by hand."""
    names = [character.name for character in page.characters]
    if not names:
        raise StoryError("The story has no characters, so nobody can stand in a new box.")
    plain = _COUNTED.sub("", name)
    named = next((each for each in names if each.lower() in (name.lower(), plain.lower())), None)
    chosen = named or next((each for each in names if each not in present), names[0])
    description = page.character(chosen).description
    article = "an" if description[:1].lower() in _VOWELS else "a"
    return {"character": chosen, "prompt": f"{article} {description} stands", "pose": "stands"}


def _inside(box: Sequence[Any]) -> tuple[float, ...]:
    """A box as far as it lies in the picture, large enough for a plan."""
    x0, y0, x1, y1 = (min(1.0, max(0.0, float(value))) for value in box)
    x0, y0 = min(x0, 1 - LEAST_SIDE), min(y0, 1 - LEAST_SIDE)
    return x0, y0, min(1.0, max(x1, x0 + LEAST_SIDE + 1e-6)), min(1.0, max(y1, y0 + LEAST_SIDE + 1e-6))
