"""Adapters of characters (LoRA) for a book: found and matched with its characters before a model is loaded."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magicgen.control.story import Character, StoryPage
from magicgen.errors import StoryError, WeightsError
from magicgen.jobs.story_book import digest_file

WEIGHTS_FILE = "pytorch_lora_weights.safetensors"
ABOUT_FILE = "character.json"
_WORD = re.compile(r"[^\W_]+")
_ARTICLES = frozenset(("a", "an", "the"))


@dataclass(frozen=True)
class AdapterFolder:
    """An adapter on the disk.

    Attributes:
        folder: where its weights are. identity: digest of them.
        name: the character that the person wrote before ``=``, or None.
        description: the words that it was trained with, "" where unknown.
        base: digest of the backbone that it was trained on, "" where unknown.
    """

    folder: Path
    identity: str
    name: str | None
    description: str
    base: str


@dataclass(frozen=True)
class CharacterAdapter:
    """An adapter and the story's character that it draws."""

    character: str
    adapter: AdapterFolder

    def record(self) -> dict[str, str]:
        """For sidecars: no path of the machine."""
        return {
            "character": self.character,
            "description": self.adapter.description,
            "adapter": self.adapter.identity,
        }


def read_adapter(text: str) -> AdapterFolder:
    """The adapter that ``FOLDER`` or ``NAME=FOLDER`` names: a run of ``character_lora.yaml``, or its folder ``lora``.

    Raises:
        WeightsError: there is no adapter.
    """
    name, given = _split(text)
    folder = given / "lora" if (given / "lora" / WEIGHTS_FILE).is_file() else given
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise WeightsError(
            f"--adapter {text}: {given} holds no character adapter ({WEIGHTS_FILE} is missing); expected the folder of "
            "a run of 'magicgen train configs/train/character_lora.yaml', or NAME=FOLDER."
        )
    told = _about(folder / ABOUT_FILE) or _about(folder.parent / "settings.json")
    return AdapterFolder(
        folder, digest_file(weights), name, str(told.get("description", "")), str(told.get("base_digest", ""))
    )


def match_adapters(adapters: Sequence[AdapterFolder], page: StoryPage) -> tuple[CharacterAdapter, ...]:
    """Whom each adapter draws: the character named with it, else the one with its description.

    Raises:
        StoryError: nobody or several fit, or two adapters draw one character.
    """
    found: list[CharacterAdapter] = []
    for adapter in adapters:
        character = _character(adapter, page).name
        if any(other.character == character for other in found):
            raise StoryError(f"Two adapters draw {character}; give one, or say which is whose with NAME=FOLDER.")
        found.append(CharacterAdapter(character, adapter))
    return tuple(found)


def strange_base(adapters: Sequence[CharacterAdapter], model: Path) -> list[str]:
    """Warnings about adapters that learned on other weights than those of ``model``."""
    weights = model / "transformer" / "diffusion_pytorch_model.safetensors"
    if not any(each.adapter.base for each in adapters) or not weights.is_file():
        return []
    here = hashlib.sha256(weights.read_bytes()).hexdigest()
    return [
        f"the adapter of {each.character} was trained on other weights than these; train it again if it looks wrong"
        for each in adapters
        if each.adapter.base not in ("", here)
    ]


def _split(text: str) -> tuple[str | None, Path]:
    name, mark, rest = text.partition("=")
    if not mark or Path(text).expanduser().is_dir():
        return None, Path(text).expanduser()
    return name.strip() or None, Path(rest).expanduser()


def _about(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _character(adapter: AdapterFolder, page: StoryPage) -> Character:
    known = ", ".join(f"{each.name} ({each.description})" for each in page.characters) or "nobody"
    if adapter.name is not None:
        for character in page.characters:
            if character.name.casefold() == adapter.name.casefold():
                return character
        raise StoryError(f"--adapter {adapter.name}=...: the story has {known}; write one of these names.")
    fitting = [each for each in page.characters if _words(each.description) == _words(adapter.description)]
    if len(fitting) == 1:
        return fitting[0]
    reason = "several characters have" if fitting else "no character of the story has"
    raise StoryError(
        f"The adapter {adapter.folder} draws '{adapter.description or 'a character without description'}', and "
        f"{reason} this description. Write NAME=FOLDER; the story has {known}."
    )


def _words(description: str) -> list[str]:
    return [word for word in _WORD.findall(description.lower()) if word not in _ARTICLES]
