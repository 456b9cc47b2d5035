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
STOCK = ("CogVideoXPipeline", "CogVideoXImageToVideoPipeline")
"""Pipelines without a branch for sketches that draw stories too, see ``pipelines/story_stock.py``."""
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
        stock: whether it is a CogVideoX checkpoint without a branch for sketches.
    """

    name: str
    folder: Path
    identity: str
    height: int = 128
    width: int = 192
    size_step: int = 16
    subjects: int = 6
    closed: bool = True
    stock: bool = False
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
    index = read_json(folder / "model_index.json") if (folder / "model_index.json").is_file() else {}
    if index.get("_class_name") in STOCK:
        return _stock_facts(model, folder)
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".json", ".safetensors") and file.is_file())
    weighty = [file for file in files if file.name not in ("scores.json", "speed.json")]
    identity = digest([(file.relative_to(folder).as_posix(), digest_file(file)) for file in weighty])
    usual = StoryFacts(model, folder, f"{folder.name}-{identity[:12]}")
    height, width = index.get("default_height"), index.get("default_width")
    return replace(usual, height=int(height or usual.height), width=int(width or usual.width))


def _stock_facts(model: str, folder: Path) -> StoryFacts:
    """The facts of a CogVideoX checkpoint. Its files are large: sizes and the configuration tell versions apart."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".json", ".safetensors") and file.is_file())
    config = read_json(folder / "transformer" / "config.json")
    identity = digest([(file.relative_to(folder).as_posix(), file.stat().st_size) for file in files], config)
    return StoryFacts(
        model,
        folder,
        f"{folder.name}-{identity[:12]}",
        height=8 * int(config.get("sample_height", 60)),
        width=8 * int(config.get("sample_width", 90)),
        closed=False,
        stock=True,
    )


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
    from pipelines.story_stock import load_stock_painter

    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    try:
        chosen, load = choose_device(device), load_stock_painter if facts.stock else load_story_pipeline
        painter: Painter = load(facts.folder, chosen)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, MagicGenError):
            raise
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise WeightsError(f"The story model {facts.folder} cannot be loaded ({reason}).") from error
    return painter
