"""What a training run of the reflection adapter is told."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from magicgen.config import StrictModel
from magicgen.training.options import OptimizerOptions, Positive, Share

Fold = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]


class MixtureShares(StrictModel):
    """Where a batch's examples come from; the shares are normalised. Without real pairs only ``synthetic`` counts.

    ``real``: pairs as they are, with the reflection's strength varied; ``transplanted``: the reflection layer of a
    pair over the scene of another; ``composed``: a synthetic reflection over the scene of a pair; ``synthetic``:
    neither from a pair.
    """

    real: Weight = 0.5
    transplanted: Weight = 0.2
    composed: Weight = 0.2
    synthetic: Weight = 0.1


class ReflectionData(StrictModel):
    """Examples: real pairs and composed ones.

    Attributes:
        pairs: folder with ``mixture`` and ``transmission``; None trains on synthetic mixtures only.
        photos: folder of pictures that synthetic mixtures take scenes and reflections from, beside scikit-image's
            photos and drawn scenes; None for those alone.
        folds: the pairs, in the order of their names, are cut into this many runs.
        hold_out: the fold or folds that are left out; None trains on all.
        short_side, long_side: of the training pictures (multiples of 16).
        fine_share: share of the steps that also train the refiner one octave finer, on tiles.
        clean: share of the pictures without reflection.
        tones: how widely exposure, contrast and white balance of pairs are varied; 0 leaves them as they are.
        smallest: side of the smallest window that is cut from a pair, of the picture's.
        bank: how many drawn scenes are kept as scenes and reflections.
        guides: share of the pictures that come with a simulated guide.
    """

    pairs: Path | None = None
    photos: Path | None = None
    folds: Positive = 5
    hold_out: Fold | tuple[Fold, ...] | None = None
    short_side: Positive = 160
    long_side: Positive = 208
    batch_size: Positive = 8
    workers: Annotated[int, Field(ge=0)] = 0
    fine_share: Share = 0.15
    clean: Share = 0.1
    tones: Weight = 1.0
    smallest: Annotated[float, Field(gt=0, le=0.9)] = 0.6
    bank: Positive = 96
    guides: Share = 0.5
    shares: MixtureShares = MixtureShares()

    @property
    def held_out(self) -> tuple[int, ...]:
        """The folds that are left out."""
        if self.hold_out is None:
            return ()
        return self.hold_out if isinstance(self.hold_out, tuple) else (self.hold_out,)

    @model_validator(mode="after")
    def _fits(self) -> "ReflectionData":
        if self.short_side % 16 or self.long_side % 16 or self.long_side < self.short_side:
            raise ValueError("short_side and long_side must be multiples of 16, and long_side not below short_side")
        if any(fold >= self.folds for fold in self.held_out):
            raise ValueError(f"hold_out counts from 0 to {self.folds - 1}")
        return self


class ReflectionModel(StrictModel):
    """A fresh adapter on a backbone folder.

    Attributes:
        base: a preset's name or the path of a pipeline folder.
        rank, prompt_tokens, prompt_layers, refiner_widths, refiner_blocks, refiner_dropout, context: see
            :class:`magicgen.models.reflection.ReflectionAdapter`.
        working_side: shorter side at which the adapter will see photos; None for that of the training pictures.
    """

    base: str = "tiny"
    rank: Positive = 32
    prompt_tokens: Positive = 4
    prompt_layers: tuple[int, ...] = (1, 2)
    refiner_widths: tuple[int, ...] = (32, 64, 128)
    refiner_blocks: tuple[int, ...] = (1, 2, 2)
    refiner_dropout: Share = 0.0
    context: Positive = 2
    working_side: Positive | None = None


class VeilOptions(StrictModel):
    """The automatic answer, solved for after the last step; see :mod:`magicgen.training.reflection_veil`.

    Attributes:
        examples: how many varied examples are drawn from the pairs.
        varied: what they count against the pairs as they are.
        clean: what scenes without glass count, at which nothing is to be changed.
        floor: added to a picture's mean squared error before it divides.
        ridge: how strongly the weights are drawn towards no change.
        tones, smallest, shares: as in :class:`ReflectionData`, for the varied examples.
    """

    examples: Positive = 600
    varied: Weight = 1.0
    clean: Weight = 0.01
    floor: Annotated[float, Field(gt=0)] = 2e-4
    ridge: Annotated[float, Field(gt=0)] = 0.1
    tones: Weight = 1.0
    smallest: Annotated[float, Field(gt=0, le=0.9)] = 0.5
    shares: MixtureShares = MixtureShares(real=0.5, transplanted=0.5, composed=0.0, synthetic=0.0)


class ReflectionLoss(StrictModel):
    """Weights of the terms; see :mod:`magicgen.training.reflection_losses`.

    ``floor`` is added to the squared error before its logarithm: the larger, the less pictures that are nearly right
    count.
    """

    decibel: Weight = 0.1
    floor: Annotated[float, Field(gt=0)] = 1e-4
    absolute: Weight = 1.0
    gradient: Weight = 0.6
    structure: Weight = 0.2
    reflection: Weight = 0.3
    reconstruction: Weight = 0.1
    exclusion: Weight = 0.05
    draft: Weight = 0.5


class ReflectionTraining(StrictModel):
    """One run of ``magicgen train`` for ``task: reflection``.

    Attributes:
        start_from: an earlier run, whose averaged adapter is the start.
        train: the whole adapter, or its pixel network alone (the backbone's draft then stays as it is).
        veil: how the automatic answer is solved for, which needs pairs; None leaves it as it was.
    """

    task: Literal["reflection"]
    out: Path
    seed: int = 0
    steps: Positive
    model: ReflectionModel = ReflectionModel()
    data: ReflectionData = ReflectionData()
    loss: ReflectionLoss = ReflectionLoss()
    optimizer: OptimizerOptions = OptimizerOptions(
        learning_rate=1e-3, betas=(0.9, 0.99), weight_decay=1e-4, warmup_steps=50, decay_share=0.5, ema_decay=0.995
    )
    precision: Literal["no", "bf16"] = "no"
    checkpoint_every: Positive = 100
    start_from: Path | None = None
    train: Literal["all", "refiner"] = "all"
    veil: VeilOptions | None = None

    @model_validator(mode="after")
    def _fits(self) -> "ReflectionTraining":
        if self.veil is not None and self.data.pairs is None:
            raise ValueError("veil needs real pairs: set data.pairs to their folder, or leave veil out")
        return self
