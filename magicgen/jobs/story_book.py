"""The folder of a book: where every stage keeps its files, and what they were made from.

Every file that a stage writes is noted with a digest of what decided it. A stage is run again only where that changed;
a file that a person edited is kept, and what follows is made again from it.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magicgen.errors import MediaError
from magicgen.media import write_json

STATE_NAME = "made.json"
_SAFE = re.compile(r"[^a-z0-9]+")


def slug(name: str) -> str:
    """A file name for any text: Latin letters kept, the rest told apart by a digest."""
    plain = _SAFE.sub("-", name.lower()).strip("-")[:40]
    if plain and plain.isascii() and _SAFE.sub("", name.lower()) == _SAFE.sub("", plain) and name.isascii():
        return plain
    return f"{plain or 'x'}-{hashlib.sha256(name.encode('utf-8')).hexdigest()[:6]}"


@dataclass
class Book:
    """Paths inside a book's folder, and the notes about its files.

    Attributes:
        folder: the book's own.
        notes: for each file, relative: ``from`` (digest of what decided it) and ``file`` (digest of its bytes).
    """

    folder: Path
    notes: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path) -> "Book":
        """The book in a folder, new or begun; notes that cannot be read count as none.

        Raises:
            MediaError: the folder cannot be made.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(f"The folder {folder} cannot be made ({error.strerror}). Choose another one.") from None
        try:
            notes = json.loads((folder / STATE_NAME).read_text(encoding="utf-8"))
            valid = isinstance(notes, dict) and all(
                isinstance(note, dict) and isinstance(note.get("from"), str) and isinstance(note.get("file"), str)
                for note in notes.values()
            )
        except (OSError, ValueError):
            notes, valid = {}, True
        return cls(folder, notes if valid else {})

    @property
    def plan(self) -> Path:
        """``plan.yaml``, the story with its boxes."""
        return self.folder / "plan.yaml"

    @property
    def sidecar(self) -> Path:
        """``story.json``."""
        return self.folder / "story.json"

    def layout(self, panel: int) -> Path:
        """The drawing of the boxes of a panel (index from 0)."""
        return self.folder / "layout" / f"panel-{panel + 1:02d}.png"

    def sheet(self, character: str) -> Path:
        """The character sheet: front, side, back."""
        return self.folder / "sheets" / f"{slug(character)}.png"

    def plate(self, background: str) -> Path:
        """The empty place of a background prompt."""
        return self.folder / "backgrounds" / f"{slug(background)}.png"

    def place_sketch(self, background: str) -> Path:
        """The lines of that place; draw over it to change what stands where."""
        return self.folder / "backgrounds" / f"{slug(background)}.sketch.png"

    def alone(self, panel: int, subject: int) -> Path:
        """The picture of a subject alone."""
        return self.conditions(panel) / f"subject-{subject + 1}.png"

    def mask(self, panel: int, subject: int) -> Path:
        """Its mask."""
        return self.conditions(panel) / f"subject-{subject + 1}.mask.png"

    def lines(self, panel: int, subject: int) -> Path:
        """Its sketch, cropped; draw over it to change it."""
        return self.conditions(panel) / f"subject-{subject + 1}.sketch.png"

    def joints(self, panel: int, subject: int) -> Path:
        """Its joints in the picture of it alone; move them to change its pose."""
        return self.conditions(panel) / f"subject-{subject + 1}.joints.json"

    def conditions(self, panel: int) -> Path:
        """The folder of a panel's conditions."""
        return self.folder / "conditions" / f"panel-{panel + 1:02d}"

    def sketch(self, panel: int) -> Path:
        """The composed sketch that the model is shown."""
        return self.conditions(panel) / "sketch.png"

    def skeletons(self, panel: int) -> Path:
        """The skeletons that the model is shown instead of a sketch, drawn from the joints of all subjects."""
        return self.conditions(panel) / "joints.png"

    def panel(self, panel: int) -> Path:
        """The finished picture of a panel; its ``.json`` says how it was made."""
        return self.folder / "panels" / f"panel-{panel + 1:02d}.png"

    @property
    def pages(self) -> Path:
        """The folder of the pages."""
        return self.folder / "pages"

    def is_current(self, path: Path, source: str) -> bool:
        """Whether a file is there and was made from just this, or edited by a person since it was made."""
        return path.is_file() and (self.was_edited(path) or self.notes[self._key(path)]["from"] == source)

    def was_edited(self, path: Path) -> bool:
        """Whether a file is not the one that a stage wrote."""
        note = self.notes.get(self._key(path))
        return path.is_file() and (note is None or note["file"] != digest_file(path))

    def note(self, path: Path, source: str) -> None:
        """Remember what a file was made from."""
        self.notes[self._key(path)] = {"from": source, "file": digest_file(path)}

    def forget(self, path: Path) -> None:
        """Have a file made again."""
        self.notes[self._key(path)] = {"from": "", "file": digest_file(path) if path.is_file() else ""}

    def save(self) -> None:
        """Write the notes."""
        write_json(self.folder / STATE_NAME, dict(sorted(self.notes.items())))

    def _key(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def digest(*parts: object) -> str:
    """A digest of plain data."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def digest_file(path: Path) -> str:
    """A digest of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def digest_files(paths: Sequence[Path]) -> list[str]:
    """Digests of several files."""
    return [digest_file(path) for path in paths]


def seed_for(seed: int, *what: object) -> int:
    """The seed of one part of a book: fixed by the book's seed and what the part is."""
    return int(digest(seed, *what)[:12], 16)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data for a sidecar."""
    return {str(key): value for key, value in values.items()}
