"""What a training run of the story model is told."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from magicgen.config import StrictModel
from magicgen.training.options import OptimizerOptions, Positive, Share


class StoryData(StrictModel):
    """Drawn pictures; sizes are multiples of 16."""

    height: Positive = 128
    width: Positive = 192
    batch_size: Positive = 16
    workers: Annotated[int, Field(ge=0)] = 1

    @model_validator(mode="after")
    def _grid(self) -> "StoryData":
        if self.height % 16 or self.width % 16:
            raise ValueError("height and width must be multiples of 16")
        return self


class StoryModel(StrictModel):
    """A fresh network. ``words``, ``local``: text tokens of the global prompt and of each subject."""

    heads: Positive = 4
    layers: Positive = 4
    control_layers: tuple[int, ...] = (0, 2)
    time_dim: Positive = 64
    words: Annotated[int, Field(gt=0, le=32)] = 16
    local: Annotated[int, Field(gt=0, le=32)] = 12


class StoryTraining(StrictModel):
    """One run of ``magicgen train`` for ``task: story``.

    ``subject`` is the weight of subjects in the loss against 1 elsewhere; ``pure_noise`` the share of examples that
    start from noise alone, where a sampler starts.
    """

    task: Literal["story"]
    out: Path
    seed: int = 0
    steps: Positive
    model: StoryModel = StoryModel()
    data: StoryData = StoryData()
    optimizer: OptimizerOptions
    subject: Annotated[float, Field(ge=1)] = 6.0
    pure_noise: Share = 0.4
    precision: Literal["no", "bf16"] = "no"
    checkpoint_every: Positive = 200
    start_from: Path | None = None


class ReaderTraining(StrictModel):
    """One run of ``magicgen train`` for ``task: storybook_reader``: the network that judges stories.

    ``pictures`` panels are drawn once and their figures cut out with jitter ``passes`` times. ``start_from`` is the
    folder of a reader to go on from.
    """

    task: Literal["storybook_reader"]
    out: Path
    seed: int = 0
    start_from: Path | None = None
    pictures: Positive = 8000
    passes: Positive = 8
    precision: Literal["no", "bf16"] = "no"
    batch_size: Positive = 64
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    height: Positive = 128
    width: Positive = 192
    test_pictures: Positive = 500


class KeypointTraining(StrictModel):
    """One run of ``magicgen train`` for ``task: keypoint_head``: the network that finds the joints of drawn figures.

    ``pictures`` panels are drawn once and their figures cut out with jitter ``passes`` times. ``widths`` and
    ``features`` are those of :class:`magicgen.models.keypoint_head.KeypointHead`.
    """

    task: Literal["keypoint_head"]
    out: Path
    widths: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=4)] = (20, 32, 64, 96)
    features: Positive = 48
    seed: int = 0
    pictures: Positive = 2000
    passes: Positive = 20
    batch_size: Positive = 64
    learning_rate: Annotated[float, Field(gt=0)] = 4e-3
    height: Positive = 128
    width: Positive = 192
    test_pictures: Positive = 250


class CharacterTraining(StrictModel):
    """One run of ``magicgen train`` for ``task: character_lora``: a small adapter that knows one character.

    Attributes:
        out: folder of the run; the adapter is ``out/lora``.
        base: folder of the story model, or ``tiny``.
        description: the words for the character ("red fox with a blue hat").
        sheets: character sheets (front, side, back side by side), as ``magicgen story`` writes them.
        pictures: other pictures of it, each with the whole character on a plain ground.
        rank: of the adapter's matrices.
    """

    task: Literal["character_lora"]
    out: Path
    base: str = "tiny"
    description: Annotated[str, Field(min_length=1, max_length=200)]
    sheets: tuple[Path, ...] = ()
    pictures: tuple[Path, ...] = ()
    rank: Positive = 8
    seed: int = 0
    steps: Positive = 200
    batch_size: Positive = 8
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    checkpoint_every: Positive = 100

    @model_validator(mode="after")
    def _something_to_see(self) -> "CharacterTraining":
        if not self.sheets and not self.pictures:
            raise ValueError("give at least one sheet or picture of the character")
        return self
