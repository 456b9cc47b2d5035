"""Stories as people and planners write them: characters, panels, and who stands where; ``story.yaml``.

The format is described in docs/story.md. The reader accepts version 1 exactly; for everything else it names file, line,
field, what was given and what is expected. Planners write the same model, so one check serves people and machines.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from magicgen.config import StrictModel, check_config, dump_yaml, read_yaml
from magicgen.control.geometry import Box
from magicgen.errors import ConfigError, MediaError, StoryError
from magicgen.media import path_inside, write_bytes, write_json

VERSION: Literal[1] = 1
MAX_CHARACTERS = 64
MAX_PANELS = 200
MAX_SUBJECTS = 12
MAX_BALLOONS = 12
MAX_REFERENCES = 30
MAX_NAME = 80
MAX_PROMPT = 1_000
MAX_CAPTION = 2_000
LEAST_SIDE = 0.02
"""Shortest side of a box, as a part of the picture's."""

Facing = Literal["front", "left", "right", "away"]
Shot = Literal["wide", "medium", "close"]
BoxTuple = tuple[float, float, float, float]
YAWS: dict[Facing, float] = {"front": 0.0, "left": -90.0, "right": 90.0, "away": 180.0}
"""View angles in degrees, as the storybook world counts them: 0 front, 90 facing the viewer's right, 180 back."""


def _printable(text: str) -> str:
    if any((ord(sign) < 32 and sign != "\n") or ord(sign) == 127 for sign in text):
        raise ValueError("expected text without control characters")
    return text


def _spoken(text: str) -> str:
    if not text.strip():
        raise ValueError("expected some words")
    return text


Prompt = Annotated[str, Field(max_length=MAX_PROMPT), AfterValidator(_printable)]
Words = Annotated[Prompt, AfterValidator(_spoken)]
Caption = Annotated[str, Field(max_length=MAX_CAPTION), AfterValidator(_printable)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_printable), AfterValidator(_spoken)]


class Character(StrictModel):
    """Somebody who appears in the story.

    Attributes:
        name: unique in the story ("Ruby").
        description: what it looks like, put into every prompt with it ("red fox with a blue hat").
        references: pictures of it, paths relative to the file; made by the model where there are none.
    """

    name: Name
    description: Words
    references: Annotated[tuple[Path, ...], Field(max_length=MAX_REFERENCES)] = ()


class Subject(StrictModel):
    """A character in a panel.

    Attributes:
        character: its name. A name may stand twice in one panel (two ducks).
        prompt: the local prompt, the only words that act in the box ("a red fox with a blue hat waves").
        box: normalised [x0, y0, x1, y1] inside the picture, exclusive maximum, origin top left.
        pose: what it does in one word ("waves"), or None for standing.
        facing: which way it looks, seen by the viewer.
        sketch: a drawing of its outlines for this panel, relative to the file; made by the model where there is none.
    """

    character: Name
    prompt: Words
    box: BoxTuple
    pose: Annotated[Prompt, Field(max_length=MAX_NAME)] | None = None
    facing: Facing = "front"
    sketch: Path | None = None

    @field_validator("box", mode="before")
    @classmethod
    def _four_numbers(cls, box: object) -> object:
        if not isinstance(box, list | tuple) or len(box) != 4:
            raise ValueError("a box is four numbers [x0, y0, x1, y1] from 0 to 1")
        return tuple(box)  # strict mode takes no list for a tuple outside of JSON

    @field_validator("box")
    @classmethod
    def _in_the_page(cls, box: BoxTuple) -> BoxTuple:
        if not all(0.0 <= value <= 1.0 for value in box):
            raise ValueError("a box lies inside the picture: four numbers from 0 to 1 (normalised, not pixels)")
        if box[2] - box[0] < LEAST_SIDE or box[3] - box[1] < LEAST_SIDE:
            raise ValueError(f"a box is [x0, y0, x1, y1] with x1 and y1 at least {LEAST_SIDE:g} above x0 and y0")
        return box

    @property
    def place(self) -> Box:
        """The box as geometry."""
        return Box(*self.box)

    @property
    def yaw(self) -> float:
        """View angle in degrees, see :data:`YAWS`."""
        return YAWS[self.facing]


class Balloon(StrictModel):
    """What somebody says or thinks; drawn on the page, never into the picture."""

    speaker: Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_printable)] = ""
    text: Annotated[Caption, AfterValidator(_spoken)]
    kind: Literal["speech", "thought"] = "speech"


class Panel(StrictModel):
    """One picture of the story.

    Attributes:
        caption: the text under the picture, in the story's own words.
        background: the background prompt, without the subjects ("in the forest at night"). Equal words mean the same
            place, which looks the same in every panel.
        shot: how near the viewer stands.
        subjects: who is seen; see :meth:`drawing_order` for who hides whom.
        balloons: in reading order.
        seed: of this panel alone; None for one made from the story's.
    """

    caption: Caption = ""
    background: Words
    shot: Shot = "medium"
    subjects: Annotated[tuple[Subject, ...], Field(max_length=MAX_SUBJECTS)] = ()
    balloons: Annotated[tuple[Balloon, ...], Field(max_length=MAX_BALLOONS)] = ()
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None

    def drawing_order(self) -> tuple[int, ...]:
        """Indices of the subjects from back to front: by the lower edge of the box, of equal ones the larger first;
        the order in the file decides only between equal boxes."""
        boxes = [subject.place for subject in self.subjects]
        return tuple(sorted(range(len(boxes)), key=lambda i: (boxes[i].y1, -boxes[i].area, boxes[i].x0, i)))

    @property
    def prompt(self) -> str:
        """The global prompt: every subject with its side of the picture, from back to front, then the place."""
        told = [f"{self.subjects[i].prompt}{_side(self.subjects[i].place)}" for i in self.drawing_order()]
        return f"{_listed(told)} {self.background}"


class StoryPage(StrictModel):
    """A whole story.

    Raises:
        pydantic.ValidationError: names that repeat, a subject without a character, and whatever the parts refuse;
            :func:`read_story` and :func:`story_from_values` make a :class:`StoryError` of it.
    """

    version: Literal[1] = VERSION
    title: Annotated[str, Field(max_length=200), AfterValidator(_printable)] = ""
    style: Prompt = ""
    characters: Annotated[tuple[Character, ...], Field(max_length=MAX_CHARACTERS)] = ()
    panels: Annotated[tuple[Panel, ...], Field(max_length=MAX_PANELS)]

    @model_validator(mode="after")
    def _fits_together(self) -> "StoryPage":
        names = [character.name for character in self.characters]
        wrong: list[InitErrorDetails] = []
        if not self.panels:
            wrong.append(_finding(("panels",), "a story has at least one panel", self.panels))
        for index, name in enumerate(names):
            if name in names[:index]:
                wrong.append(_finding(("characters", index, "name"), "every character needs a name of its own", name))
        listed = ", ".join(names[:20]) or "none"
        for p, panel in enumerate(self.panels):
            for s, subject in enumerate(panel.subjects):
                if subject.character not in names:
                    where = ("panels", p, "subjects", s, "character")
                    wrong.append(_finding(where, f"unknown character; the story has {listed}", subject.character))
            for b, balloon in enumerate(panel.balloons):
                if balloon.speaker and balloon.speaker not in names:
                    where = ("panels", p, "balloons", b, "speaker")
                    wrong.append(_finding(where, f"unknown character; the story has {listed}", balloon.speaker))
        if wrong:
            raise ValidationError.from_exception_data("StoryPage", wrong)
        return self

    def character(self, name: str) -> Character:
        """The character of a name.

        Raises:
            StoryError: there is none.
        """
        for character in self.characters:
            if character.name == name:
                return character
        raise StoryError(f"There is no character '{name[:MAX_NAME]}' in the story.")


def read_story(path: str | os.PathLike[str]) -> StoryPage:
    """Read ``story.yaml`` or ``story.json``, version 1; reference pictures and sketches become paths that exist.

    Raises:
        StoryError: no such file, not YAML, any field that is not as described in docs/story.md, or a picture that is
            missing or lies outside the file's folder.
    """
    source = Path(path)
    try:
        values, lines = read_yaml(source)
        page = check_config(values, StoryPage, source=str(source), lines=lines)
    except ConfigError as error:
        raise StoryError(str(error)) from None
    return _with_files(page, source)


def story_from_values(values: object, source: str) -> StoryPage:
    """Plain data (of a planner, say) as a story, through the same check; paths stay as they are.

    Raises:
        StoryError: every finding with its dotted field; ``source`` is what messages call it.
    """
    try:
        return check_config(values, StoryPage, source=source)
    except ConfigError as error:
        raise StoryError(str(error)) from None


def write_story(path: str | os.PathLike[str], page: StoryPage) -> Path:
    """Write a story as YAML or, by the name's end, JSON; reading it gives an equal story.

    Raises:
        StoryError: a picture of the story lies outside the file's folder.
        MediaError: missing or read-only folder, full disk.
    """
    target = Path(path)
    values = story_to_values(page, target.parent)
    if target.suffix.lower() == ".json":
        return write_json(target, values)
    return write_bytes(target, dump_yaml(values).encode("utf-8"))


def story_to_values(page: StoryPage, folder: Path) -> dict[str, Any]:
    """A story as plain data, pictures relative to ``folder``, empty fields left out.

    Raises:
        StoryError: a picture lies outside of it.
    """
    values = page.model_dump(mode="json", exclude_defaults=True)
    for index, character in enumerate(page.characters):
        if character.references:
            names = [_relative(file, folder, f"characters[{index}].references") for file in character.references]
            values["characters"][index]["references"] = names
    for p, panel in enumerate(page.panels):
        for s, subject in enumerate(panel.subjects):
            if subject.sketch is not None:
                name = _relative(subject.sketch, folder, f"panels[{p}].subjects[{s}].sketch")
                values["panels"][p]["subjects"][s]["sketch"] = name
    return {"version": VERSION, **values}


def _with_files(page: StoryPage, source: Path) -> StoryPage:
    """The same story with pictures as paths from here, all there."""

    def found(file: Path, where: str) -> Path:
        try:
            target = path_inside(source.parent, str(file))
        except MediaError as error:
            raise StoryError(f"{source}: {where}: {error}") from None
        if not target.is_file():
            raise StoryError(f"{source}: {where}: there is no picture {file}; it is looked for beside the story file.")
        return source.parent / file

    characters = tuple(
        character.model_copy(
            update={"references": tuple(found(file, f"characters[{i}].references") for file in character.references)}
        )
        for i, character in enumerate(page.characters)
    )
    panels = []
    for p, panel in enumerate(page.panels):
        subjects = tuple(
            subject
            if subject.sketch is None
            else subject.model_copy(update={"sketch": found(subject.sketch, f"panels[{p}].subjects[{s}].sketch")})
            for s, subject in enumerate(panel.subjects)
        )
        panels.append(panel.model_copy(update={"subjects": subjects}))
    return page.model_copy(update={"characters": characters, "panels": tuple(panels)})


def _relative(file: Path, folder: Path, where: str) -> str:
    try:
        return file.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise StoryError(f"{where}: {file} lies outside of {folder}; copy it there.") from None


def _finding(where: tuple[str | int, ...], message: str, given: object) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError("story", "{text}", {"text": message}), loc=where, input=given)


def _side(box: Box) -> str:
    middle = box.centre[0]
    return " on the left" if middle < 0.4 else (" on the right" if middle > 0.6 else " in the middle")


def _listed(parts: list[str]) -> str:
    if not parts:
        return "nobody"
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


SHOTS: tuple[Shot, ...] = get_args(Shot)
FACINGS: tuple[Facing, ...] = get_args(Facing)
