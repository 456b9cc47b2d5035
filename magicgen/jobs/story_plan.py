"""From a tale (or a story file) to the plan inside a book's folder."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magicgen.control.story import Character, StoryPage, read_story, write_story
from magicgen.control.story_layout import colours, draw_layout, overlap_report
from magicgen.errors import MediaError, StoryError
from magicgen.jobs.story_book import Book, digest, digest_file, slug
from magicgen.media import read_image, write_image
from magicgen.planning.cast import describe
from magicgen.planning.protocol import Planner, PlanOptions
from magicgen.planning.tale import Tale, read_tale

STORY_SUFFIXES = (".yaml", ".yml", ".json")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
MAX_DESCRIPTION = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Planned:
    """The story of a book, where it came from, and what the person should know."""

    page: StoryPage
    warnings: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


def is_story_file(path: Path) -> bool:
    """Whether a file holds a plan rather than a tale."""
    return path.suffix.lower() in STORY_SUFFIXES


def read_characters(folder: Path) -> tuple[Character, ...]:
    """Characters of a folder: ``ruby.png`` (with ``ruby.txt`` beside it, a description), or a folder ``ruby`` with
    pictures and ``description.txt``.

    Raises:
        StoryError: no such folder, nothing in it, or a picture that cannot be read.
    """
    if not folder.is_dir():
        raise StoryError(f"There is no folder {folder}; expected one with a picture or a folder for each character.")
    found: list[Character] = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            pictures = tuple(file for file in sorted(entry.iterdir()) if file.suffix.lower() in PICTURE_SUFFIXES)
            found.append(_character(entry.name, pictures, entry / "description.txt"))
        elif entry.suffix.lower() in PICTURE_SUFFIXES:
            found.append(_character(entry.stem, (entry,), entry.with_suffix(".txt")))
        elif entry.suffix.lower() == ".txt" and not any(
            entry.with_suffix(suffix).is_file() for suffix in PICTURE_SUFFIXES
        ):
            found.append(_character(entry.stem, (), entry))
    if not found:
        raise StoryError(f"{folder} holds no character; expected pictures such as ruby.png, or folders with pictures.")
    return tuple(found)


def _character(name: str, pictures: tuple[Path, ...], described: Path) -> Character:
    for picture in pictures:
        try:
            read_image(picture, max_side=8192)
        except MediaError as error:
            raise StoryError(f"The picture of {name} cannot be used: {error}") from None
    shown = name.replace("_", " ").strip()
    text = shown
    if described.is_file():
        try:
            text = " ".join(described.read_text(encoding="utf-8-sig").split())[:MAX_DESCRIPTION] or shown
        except (OSError, UnicodeDecodeError):
            raise StoryError(f"{described} cannot be read as UTF-8 text.") from None
    label = shown[:1].upper() + shown[1:]
    return Character(name=label, description=text, references=pictures)


def make_plan(
    book: Book,
    story: Path,
    layout: Path | None,
    characters: Path | None,
    planner: Planner,
    options: PlanOptions,
    *,
    keep: bool = False,
) -> Planned:
    """The plan of a book: of ``layout`` where given, else the one in the folder while the tale is the same or a person
    edited it (with ``keep`` in any case), else a new one. Reference pictures are copied into the folder.

    Raises:
        StoryError: the tale, the story file or the planner's answer cannot be used.
    """
    given = read_characters(characters) if characters is not None else ()
    own = layout or (story if is_story_file(story) else None)
    if own is not None:
        page = _with_references(book, _with_given(read_story(own), given))
        return _written(book, Planned(page, overlap_report(page), {"planner": "file", "file": own.name}), "file")
    tale = read_tale(story)
    options = _with_characters(options, given)
    source = digest("plan", tale.title, tale.text, _options_values(options), getattr(planner, "identity", "offline"))
    if book.is_current(book.plan, source) or (keep and book.plan.is_file()):
        page = read_story(book.plan)
        edited = book.was_edited(book.plan)
        warnings = overlap_report(page)
        if edited and book.notes.get("plan.yaml", {}).get("from") != source:
            warnings += ("the plan in the folder was edited and is kept; delete plan.yaml to plan the tale again",)
        return Planned(page, warnings, {"planner": "kept", "edited": edited})
    return _planned(book, tale, planner, options, source)


def _planned(book: Book, tale: Tale, planner: Planner, options: PlanOptions, source: str) -> Planned:
    plan = planner.plan(tale, options)
    page = _with_references(book, plan.page)
    return _written(book, Planned(page, (*plan.warnings, *overlap_report(page)), plan.record), source)


def _written(book: Book, planned: Planned, source: str) -> Planned:
    """Write the plan, and read it back as everybody will."""
    write_story(book.plan, planned.page)
    book.note(book.plan, source)
    return Planned(read_story(book.plan), planned.warnings, planned.record)


def _options_values(options: PlanOptions) -> dict[str, Any]:
    values = {
        name: getattr(options, name) for name in ("seed", "max_panels", "max_subjects", "aspect", "style", "closed")
    }
    values["characters"] = [
        (character.name, character.description, [digest_file(path) for path in character.references])
        for character in options.characters
    ]
    return values


def _with_characters(options: PlanOptions, given: tuple[Character, ...]) -> PlanOptions:
    from dataclasses import replace

    for character in given:
        if options.closed and describe(character.description) is None:
            _log.warning(
                "the description of %s ('%s') names nobody of the storybook world; the tale's words are used",
                character.name,
                character.description[:60],
            )
    return replace(options, characters=given)


def _with_given(page: StoryPage, given: tuple[Character, ...]) -> StoryPage:
    """A story whose characters have the pictures of the given ones."""
    pictures = {character.name.lower(): character.references for character in given if character.references}
    characters = tuple(
        character.model_copy(update={"references": pictures.get(character.name.lower(), character.references)})
        for character in page.characters
    )
    return page.model_copy(update={"characters": characters})


def _with_references(book: Book, page: StoryPage) -> StoryPage:
    """The same story with every picture inside the book's folder."""
    characters = []
    for character in page.characters:
        kept = tuple(
            _copied(book, path, slug(character.name), i) for i, path in enumerate(character.references, start=1)
        )
        characters.append(character.model_copy(update={"references": kept}))
    panels = []
    for p, panel in enumerate(page.panels):
        subjects = tuple(
            subject
            if subject.sketch is None
            else subject.model_copy(update={"sketch": _copied(book, subject.sketch, f"panel-{p + 1:02d}", s + 1)})
            for s, subject in enumerate(panel.subjects)
        )
        panels.append(panel.model_copy(update={"subjects": subjects}))
    return page.model_copy(update={"characters": tuple(characters), "panels": tuple(panels)})


def _copied(book: Book, path: Path, name: str, number: int) -> Path:
    if path.resolve().is_relative_to(book.folder.resolve()):
        return book.folder / path.resolve().relative_to(book.folder.resolve())
    target = book.folder / "given" / f"{name}-{number}{path.suffix.lower()}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    except OSError as error:
        raise MediaError(f"{path} cannot be copied to {target} ({error.strerror}).") from None
    return target


def draw_layouts(book: Book, page: StoryPage, height: int, width: int) -> list[Path]:
    """Write the drawing of every panel's boxes."""
    shades = colours(page)
    paths = []
    for number, panel in enumerate(page.panels):
        path = book.layout(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        source = digest("layout", panel.model_dump(mode="json", include={"subjects"}), height, width)
        if not path.is_file() or book.notes.get(f"layout/{path.name}", {}).get("from") != source:
            write_image(path, draw_layout(panel, 2 * height, 2 * width, shades))
            book.note(path, source)
        paths.append(path)
    return paths
