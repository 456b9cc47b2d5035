"""What a model is good at, read from its configuration files: sizes, steps, words. Nothing is loaded."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

from magicgen.weights.sources import ModelSource, PipelineFolder, ReleasedMagicMotion, read_json

# As models.text_encoder cuts prompts; repeated here because that module needs torch.
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class ModelFacts:
    """What can be known about a model before it is loaded.

    Attributes:
        frames, height, width, fps: the clip that the weights make best, in pixels and frames per second.
        steps, guidance: the sampling settings that go with them.
        transformer: the backbone's ``config.json``.
        branch_layers: how many blocks the control branch has.
        vocabulary: the words that a closed text encoder knows, or None for an open one.
        measured: what was measured with these weights (``speed.json``), or an empty mapping.
    """

    frames: int
    height: int
    width: int
    fps: float
    steps: int
    guidance: float
    transformer: Mapping[str, Any]
    branch_layers: int
    vocabulary: frozenset[str] | None
    measured: Mapping[str, Any]

    @property
    def bound_to_size(self) -> bool:
        """Whether a learned position table binds the weights to one clip size."""
        return bool(self.transformer.get("use_learned_positional_embeddings"))

    @property
    def size_step(self) -> int:
        """Height and width are multiples of this."""
        return 8 * int(self.transformer.get("patch_size", 2))

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of a prompt that the model has never seen, in order, each once; none for open text encoders."""
        if self.vocabulary is None:
            return []
        return [word for word in dict.fromkeys(_WORD.findall(prompt.lower())) if word not in self.vocabulary]


def model_facts(source: ModelSource) -> ModelFacts:
    """Read the facts of a model.

    Raises:
        WeightsError: a configuration file is missing or damaged.
    """
    match source:
        case PipelineFolder(_, folder):
            index = read_json(folder / "model_index.json")
            branch = _optional(folder / "branch" / "config.json")
            return ModelFacts(
                frames=int(index.get("default_frames", 49)),
                height=int(index.get("default_height", 480)),
                width=int(index.get("default_width", 720)),
                fps=float(index.get("default_fps", 8.0)),
                steps=int(index.get("default_steps", 50)),
                guidance=float(index.get("default_guidance", 6.0)),
                transformer=read_json(folder / "transformer" / "config.json"),
                branch_layers=len(branch.get("control_layers", ())),
                vocabulary=_vocabulary(_optional(folder / "text_encoder" / "config.json")),
                measured=_optional(folder / "speed.json"),
            )
        case ReleasedMagicMotion(_, base, branches):
            config = read_json(base / "transformer" / "config.json")
            layers = int(config.get("num_layers", 42)) if branches else 0
            # MagicMotion's own inference settings (quanhaol/MagicMotion, inference scripts).
            return ModelFacts(49, 480, 720, 8.0, 50, 6.0, config, layers, None, {})
        case _:
            assert_never(source)


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _vocabulary(config: Mapping[str, Any]) -> frozenset[str] | None:
    return frozenset(config["vocabulary"]) if "vocabulary" in config else None
