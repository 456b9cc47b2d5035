"""Which model draws a book, what is known about it before it is loaded, and loading it."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from magicgen.errors import MagicGenError, WeightsError
from magicgen.jobs.loading import choose_device
from magicgen.jobs.story_book import digest, digest_file
from magicgen.jobs.story_stages import Painter
from magicgen.synthetic.vocabulary import VOCABULARY
from magicgen.weights.sources import preset_folder, read_json

PRESET = "story_tiny"
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class StoryFacts:
    """What can be known about a model of stories without loading it.

    Attributes:
        name: as the person wrote it. folder: where its files are.
        identity: digest of its files; pictures made by other weights are made again.
        height, width: what it draws best, in pixels, multiples of ``size_step``.
        subjects: how many a panel shows; more than three are drawn in turns.
        closed: whether it knows the words of the storybook world only.
    """

    name: str
    folder: Path
    identity: str
    height: int = 128
    width: int = 192
    size_step: int = 16
    subjects: int = 6
    closed: bool = True
    vocabulary: frozenset[str] = field(default=frozenset(VOCABULARY), repr=False)

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of a prompt that the model has never seen."""
        if not self.closed:
            return []
        return [word for word in dict.fromkeys(_WORD.findall(prompt.lower())) if word not in self.vocabulary]


def story_facts(model: str) -> StoryFacts:
    """The facts of ``tiny`` or of a folder.

    Raises:
        WeightsError: there is no such model.
    """
    folder = preset_folder("tiny").parent / PRESET if model in ("tiny", PRESET) else Path(model).expanduser()
    if model not in ("tiny", PRESET) and not (folder / "model_index.json").is_file():
        raise WeightsError(
            f"{folder} holds no story model (model_index.json is missing); expected 'tiny' or its folder."
        )
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".json", ".safetensors") and file.is_file())
    weighty = [file for file in files if file.name not in ("scores.json", "speed.json")]
    identity = digest([(file.relative_to(folder).as_posix(), digest_file(file)) for file in weighty])
    index = read_json(folder / "model_index.json") if (folder / "model_index.json").is_file() else {}
    usual = StoryFacts(model, folder, f"{folder.name}-{identity[:12]}")
    height, width = index.get("default_height"), index.get("default_width")
    return replace(usual, height=int(height or usual.height), width=int(width or usual.width))


def load_painter(facts: StoryFacts, device: str | None) -> Painter:
    """Load a model.

    Raises:
        WeightsError: its files are missing, damaged or do not fit each other.
    """
    if not facts.folder.is_dir():
        raise WeightsError(
            f"This installation has no weights for stories in {facts.folder}. Install the package again, or train them "
            "with 'magicgen train configs/train/story_tiny.yaml' and pass the folder with --model. Plans and layouts "
            "need none: --stop-after boxes."
        )
    from diffusers.utils import logging as diffusers_logging

    from pipelines.story import load_story_pipeline

    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    try:
        painter: Painter = load_story_pipeline(facts.folder, choose_device(device))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, MagicGenError):
            raise
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise WeightsError(f"The story model {facts.folder} cannot be loaded ({reason}).") from error
    return painter
