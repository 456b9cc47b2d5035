"""What the Story tab does: planning, drawing, making one panel again, keeping everything in one file."""

import base64
import binascii
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from magicgen.config import check_config
from magicgen.control.story import StoryPage, read_story, story_to_values, write_story
from magicgen.control.story_sketch import read_sketch
from magicgen.errors import ConfigError, MediaError, StoryError
from magicgen.jobs.story import (
    PreparedStory,
    StoryResult,
    StorySettings,
    Upto,
    load_story_painter,
    needs_painter,
    prepare_story,
    run_story,
    story_key,
)
from magicgen.jobs.story_painter import story_facts
from magicgen.media import path_inside, read_image, write_bytes, write_image, write_json
from magicgen.planning.tale import MAX_BYTES, tale_from_text
from magicgen.progress import CancelToken, ProgressEvent, Report, duration
from magicgen.ui.photos import MAX_PHOTO_BYTES, MAX_PHOTO_SIDE, UInt8
from magicgen.ui.shelf import Shelf
from magicgen.ui.story_draft import StoryDraft
from magicgen.ui.story_joints import carry_joints, kept_joints, restore_joints
from magicgen.ui.work import Done, watch

# What a visitor may decide; the rest is for whoever starts the app.
OPEN_SETTINGS = (
    "model",
    "style",
    "max_panels",
    "max_subjects",
    "height",
    "width",
    "steps",
    "seed",
    "sketches",
    "condition",
    "plates",
    "columns",
)
TALE_NAME = "my_story.txt"
MAX_PICTURES = 400
STORY_FILES = (".yaml", ".yml", ".json")


class StoryDesk:
    """Works on the books of visitors.

    Args:
        shelf: where the model is kept.
        models: presets and folders that a visitor may choose from; the first is the default.
    """

    def __init__(self, shelf: Shelf, models: Sequence[str] = ("tiny",)) -> None:
        self._shelf, self.models = shelf, tuple(models)

    def settings(self, values: dict[str, Any]) -> StorySettings:
        """Settings by name; those that are not given are the model's.

        Raises:
            ConfigError: out of range, unknown, or not a visitor's to choose.
        """
        foreign = [name for name in values if name not in OPEN_SETTINGS]
        if foreign:
            raise ConfigError(f"{foreign[0][:40]}: not offered here; choose among {', '.join(OPEN_SETTINGS)}.")
        given = {name: value for name, value in values.items() if value not in (None, "")}
        if given.setdefault("model", self.models[0]) not in self.models:
            named = str(given["model"])[:80]
            raise ConfigError(f"model: {named!r} is not offered here; choose {' or '.join(self.models)}.")
        return check_config(given, StorySettings, source="settings")

    def plan(self, folder: Path, text: str, settings: StorySettings) -> StoryDraft:
        """A tale -> its plan, with the boxes of every panel. No model is loaded.

        Raises:
            StoryError: an empty tale, or one that is too long.
        """
        tale_from_text(text, "The tale")
        folder.mkdir(parents=True)
        source = write_bytes(folder / TALE_NAME, text.encode("utf-8"))
        prepared = prepare_story(source, folder, settings.model_copy(update={"stop_after": "boxes"}))
        run_story(prepared, None)
        return StoryDraft(folder, source, settings, prepared.page, prepared.warnings)

    def edit(self, draft: StoryDraft, page: StoryPage) -> None:
        """Another plan for a book; remembers which pictures it leaves behind."""
        carry_joints(draft, page)
        drawn = {"subjects", "background", "shot", "seed"}
        for number, (new, old) in enumerate(zip(page.panels, draft.page.panels, strict=False)):
            if new.model_dump(include=drawn) != old.model_dump(include=drawn) and draft.book.panel(number).is_file():
                draft.changed.add(number)
        write_story(draft.book.plan, page)
        draft.page = page

    def prepare(
        self, draft: StoryDraft, settings: StorySettings, upto: Upto, panel: int | None = None, seed: int | None = None
    ) -> PreparedStory:
        """Check everything before a run.

        Args:
            draft: the book.
            settings: for all of it.
            upto: the last stage.
            panel: the only panel to make, counted from 1.
            seed: its new seed.

        Raises:
            MagicGenError: whatever is wrong.
        """
        missing = [number for number in draft.undrawn() if number != panel] if panel is not None else []
        if missing:
            raise StoryError("Make all pictures once; then one of them can be made again.")
        wanted = settings.model_copy(update={"stop_after": upto})
        layout = draft.book.plan
        return prepare_story(draft.source, draft.folder, wanted, layout=layout, panel=panel, panel_seed=seed)

    def run(self, prepared: PreparedStory, token: CancelToken) -> Iterator[ProgressEvent | Done[StoryResult]]:
        """The stages, as events and at last the result."""

        def work(report: Report) -> StoryResult:
            if not needs_painter(prepared):
                return run_story(prepared, None, report=report, cancel=token)
            report(ProgressEvent("Loading the model", 0))
            painter, load_s = self._shelf.get("story", story_key(prepared), lambda: load_story_painter(prepared))
            return run_story(prepared, painter, load_s=load_s, report=report, cancel=token)

        return watch(work, token)

    def finish(self, draft: StoryDraft, prepared: PreparedStory, result: StoryResult) -> None:
        """Take the result of a run into its book."""
        draft.settings = prepared.settings
        draft.warnings = result.warnings
        draft.changed -= set(prepared.only or range(len(prepared.page.panels))) if result.panels else set()
        for number in prepared.only:  # its new seed
            panels = list(draft.page.panels)
            panels[number] = panels[number].model_copy(update={"seed": prepared.page.panels[number].seed})
            self.edit_quietly(draft, draft.page.model_copy(update={"panels": tuple(panels)}))
        drawn = sum(value for name, value in result.timings.items() if name not in ("plan_s", "load_s"))
        making = prepared.making
        draft.facts = (
            f"{len(prepared.page.panels)} panels of {making.width} x {making.height}, seed {making.seed}; "
            f"made in {duration(drawn)}.",
        )
        if result.sidecar is not None and result.cbz is not None:
            kept = self.keep(draft, result.sidecar)
            draft.shared = tuple(path for path in (result.pdf, result.cbz, kept) if path is not None)

    def edit_quietly(self, draft: StoryDraft, page: StoryPage) -> None:
        """Another plan whose pictures are there already."""
        write_story(draft.book.plan, page)
        draft.page = page

    def keep(self, draft: StoryDraft, sidecar: Path) -> Path:
        """Complete the ``story.json`` of a run: tale, plan and what the visitor drew, in one file."""
        document = json.loads(sidecar.read_text(encoding="utf-8"))
        values = story_to_values(draft.page, draft.folder)
        pictures = {name: _base64(draft.folder / name) for name in _given(values)}
        own = {"pictures": pictures, "joints": kept_joints(draft)}
        return write_json(sidecar, {**document, "text": draft.tale, "story": values, **own})

    def restore(self, folder: Path, source: Path) -> StoryDraft:
        """A book from a file: the ``story.json`` of an earlier book, or a story file in YAML or JSON.

        Raises:
            MagicGenError: no such file, or anything in it that does not fit.
        """
        if source.suffix.lower() not in STORY_FILES:
            raise StoryError(f"{source.name}: expected a story file (.yaml, .json) or a tale (.txt).")
        folder.mkdir(parents=True)
        document = _document(source)
        if document.get("kind") != "story":
            own = folder / f"story{source.suffix.lower()}"
            shutil.copyfile(source, own)
            return self._begun(folder, _renamed_errors(own, source), self.settings({}))
        given = document.get("settings")
        stored = given if isinstance(given, dict) else {}
        settings, warnings = self._kept_settings(stored, source.name)
        if not isinstance(document.get("story"), dict):
            raise StoryError(f"{source.name} holds no plan; load the plan.yaml that lies beside it.")
        _write_pictures(folder, document.get("pictures"))
        own = write_json(folder / "story-file.json", document["story"])
        page = _renamed_errors(own, source)
        restore_joints(folder, page, document.get("joints"))
        draft = self._begun(folder, page, settings)
        draft.warnings = (*warnings, *draft.warnings)
        text = document.get("text")
        if isinstance(text, str) and text.strip():
            tale_from_text(text, source.name)
            draft.source = write_bytes(folder / TALE_NAME, text.encode("utf-8"))
        return draft

    def _kept_settings(self, stored: dict[str, Any], name: str) -> tuple[StorySettings, list[str]]:
        """The settings of a kept book as far as they can be had here, and what cannot."""
        known = {each: stored[each] for each in OPEN_SETTINGS if stored.get(each) is not None}
        foreign = known["model"] if known.get("model", self.models[0]) not in self.models else None
        if foreign is None:
            return self.settings(known), []
        settings = self.settings({**known, "model": self.models[0]})
        model = Path(str(foreign)).name[:80]
        warnings = [f"{name} was drawn by the model {model}, which is not offered here; {settings.model} draws now"]
        if settings.condition != "sketch" and story_facts(settings.model).stock:
            settings = settings.model_copy(update={"condition": "sketch"})
            warnings.append(f"{settings.model} is not shown joints; it draws after sketches")
        return settings, warnings

    def _begun(self, folder: Path, page: StoryPage, settings: StorySettings) -> StoryDraft:
        plan = write_story(folder / "plan.yaml", page)
        draft = StoryDraft(folder, plan, settings, read_story(plan))
        prepared = self.prepare(draft, settings, "boxes")
        run_story(prepared, None)
        draft.warnings = prepared.warnings
        return draft

    def replace_sketch(self, draft: StoryDraft, subject: int, picture: UInt8 | None) -> None:
        """Give a subject of the shown panel a drawing of its own, (h, w, 3) lines on a plain ground; None takes it
        away again.

        Raises:
            StoryError: there is no such subject, or nothing is drawn.
        """
        if not 0 <= subject < len(draft.panel.subjects):
            raise StoryError("Choose whom the drawing shows.")
        path: Path | None = None
        if picture is not None:
            given = draft.folder / "given"
            given.mkdir(exist_ok=True)
            count = sum(1 for _ in given.iterdir()) + 1
            path = write_image(given / f"panel-{draft.shown + 1:02d}-{subject + 1}-{count}.png", picture)
            try:
                read_sketch(path)
            except StoryError as error:
                path.unlink()
                raise StoryError(str(error).replace(str(path), "The drawing")) from None
        panels = list(draft.page.panels)
        subjects = list(draft.panel.subjects)
        subjects[subject] = subjects[subject].model_copy(update={"sketch": path})
        panels[draft.shown] = draft.panel.model_copy(update={"subjects": tuple(subjects)})
        self.edit(draft, draft.page.model_copy(update={"panels": tuple(panels)}))

    def replace_reference(self, draft: StoryDraft, name: str, picture: UInt8) -> None:
        """Show the model what a character looks like; its sheet is made from the picture.

        Raises:
            StoryError: there is no such character.
        """
        who = draft.page.character(name)
        given = draft.folder / "given"
        given.mkdir(exist_ok=True)
        count = sum(1 for _ in given.iterdir()) + 1
        path = write_image(given / f"character-{draft.page.characters.index(who) + 1}-{count}.png", picture)
        characters = tuple(
            each.model_copy(update={"references": (path,)}) if each.name == name else each
            for each in draft.page.characters
        )
        self.edit_quietly(draft, draft.page.model_copy(update={"characters": characters}))
        for number, panel in enumerate(draft.page.panels):
            if draft.book.panel(number).is_file() and any(subject.character == name for subject in panel.subjects):
                draft.changed.add(number)


def read_text(source: Path) -> str:
    """A tale from an uploaded file.

    Raises:
        StoryError: too large, not UTF-8, or empty.
    """
    if source.stat().st_size > MAX_BYTES:
        raise StoryError(f"{source.name} is larger than 1 MiB; tell it in parts.")
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise StoryError(f"{source.name} is not UTF-8 text; expected a plain text file.") from None
    tale_from_text(text, source.name)
    return text


def read_picture(source: Path) -> UInt8:
    """An uploaded picture.

    Raises:
        MediaError: not a picture, or too large.
    """
    if source.stat().st_size > MAX_PHOTO_BYTES:
        raise MediaError(f"The picture has more than {MAX_PHOTO_BYTES // 1024**2} MiB; save it smaller.")
    try:
        return read_image(source, max_side=MAX_PHOTO_SIDE)
    except MediaError as error:
        raise MediaError(str(error).replace(str(source), source.name)) from None


def _document(source: Path) -> dict[str, Any]:
    """The document of a JSON file; for YAML an empty one, since its own reader names lines."""
    if source.suffix.lower() != ".json":
        return {}
    try:
        document = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoryError(f"{source.name} cannot be read as JSON ({str(error)[:100]}).") from None
    return document if isinstance(document, dict) else {}


def _renamed_errors(own: Path, source: Path) -> StoryPage:
    """Read a story file; messages name the file that the visitor knows."""
    try:
        return read_story(own)
    except StoryError as error:
        raise StoryError(str(error).replace(str(own), source.name)) from None


def _given(values: dict[str, Any]) -> Sequence[str]:
    """The picture files that a plan names."""
    names = [name for character in values.get("characters", ()) for name in character.get("references", ())]
    for panel in values["panels"]:
        names += [subject["sketch"] for subject in panel.get("subjects", ()) if subject.get("sketch")]
    return list(dict.fromkeys(names))


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")


def _write_pictures(folder: Path, pictures: Any) -> None:
    """Write the pictures of a kept book where its plan looks for them: inside the folder, and really pictures."""
    if pictures is None:
        return
    if not isinstance(pictures, dict) or len(pictures) > MAX_PICTURES:
        raise StoryError(f"pictures: expected at most {MAX_PICTURES} pictures by name.")
    for name, data in pictures.items():
        target = path_inside(folder, str(name))
        if target.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            raise StoryError(f"pictures: {str(name)[:80]!r} is no name of a picture.")
        try:
            content = base64.b64decode(data, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise StoryError(f"pictures: {str(name)[:80]!r} is damaged.") from None
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, content)
        read_picture(target)
