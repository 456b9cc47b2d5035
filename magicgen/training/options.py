"""What a training run is told: one strict configuration for every stage and size."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from magicgen.config import StrictModel

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class LevelShares(StrictModel):
    """How often each trajectory level is drawn; the shares are normalised."""

    mask: Annotated[float, Field(ge=0)] = 0.0
    box: Annotated[float, Field(ge=0)] = 0.0
    sparse_box: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _any_level(self) -> "LevelShares":
        if self.mask + self.box + self.sparse_box <= 0:
            raise ValueError("at least one level needs a share above 0")
        return self


class SyntheticData(StrictModel):
    """Endless procedural scenes."""

    kind: Literal["synthetic"] = "synthetic"
    min_objects: Positive = 1
    max_objects: Positive = 4
    levels_per_scene: Positive = 2
    camera: Share = 0.0
    light: Share = 0.1


class FolderData(StrictModel):
    """Own clips: ``PATH/NAME/video.mp4`` with ``masks/NNNNN.png`` (the DAVIS layout), perhaps ``caption.txt``."""

    kind: Literal["folder"]
    path: Path


class MagicData(StrictModel):
    """The kept clips of a dataset that ``magicgen-data build`` made.

    ``sizes`` are further (height, width) beside the configuration's own: every clip goes to the nearest aspect.
    ``lengths`` are further numbers of frames: every batch has one of them.
    """

    kind: Literal["magicdata"]
    path: Path
    largest_stride: Positive = 3
    sizes: tuple[tuple[Positive, Positive], ...] = ()
    lengths: tuple[Positive, ...] = ()

    @model_validator(mode="after")
    def _grid(self) -> "MagicData":
        if any((length - 1) % 4 for length in self.lengths):
            raise ValueError("lengths must be 4n + 1")
        if any(side % 16 for size in self.sizes for side in size):
            raise ValueError("heights and widths must be multiples of 16")
        return self


class CacheOptions(StrictModel):
    """Examples that ``--precompute`` encodes once, in shards of safetensors; training repeats them in order."""

    path: Path
    examples: Positive
    per_shard: Positive = 64


class DataOptions(StrictModel):
    """Clips: their source, size and what is left out of their conditions at random.

    ``first_frame_noise`` is the share of examples whose given first frame is noised, with the strength that CogVideoX
    was trained with (arXiv 2408.06072, section 3.4: log-normal, mean -3, deviation 0.5).
    """

    source: Annotated[SyntheticData | FolderData | MagicData, Field(discriminator="kind")] = SyntheticData()
    frames: Positive = 17
    height: Positive = 128
    width: Positive = 192
    batch_size: Positive = 8
    workers: Annotated[int, Field(ge=0)] = 1
    levels: LevelShares = LevelShares(mask=1.0)
    drop_draft: Share = 0.15
    drop_map: Share = 0.1
    drop_prompt: Share = 0.1
    first_frame_noise: Share = 0.0
    cache: CacheOptions | None = None

    @model_validator(mode="after")
    def _whole_batches(self) -> "DataOptions":
        if self.cache is not None and self.cache.examples % self.batch_size:
            raise ValueError("cache.examples must be a multiple of batch_size")
        return self

    @model_validator(mode="after")
    def _grid(self) -> "DataOptions":
        if (self.frames - 1) % 4 or self.height % 16 or self.width % 16:
            raise ValueError("frames must be 4n + 1, height and width multiples of 16")
        return self


class SpatialSparse(StrictModel):
    """Layers with trained spatial sparse attention; block sizes in tokens, frames x height x width."""

    layers: tuple[int, ...]
    compress: tuple[Positive, Positive, Positive] = (1, 2, 2)
    select: tuple[Positive, Positive, Positive] = (2, 4, 4)
    window: tuple[Positive, Positive, Positive] = (2, 4, 4)
    top: Positive = 8


class LoraOptions(StrictModel):
    """Low-rank adapters (arXiv 2106.09685) on the base: ``targets`` are the ends of its modules' names."""

    rank: Positive = 16
    alpha: Annotated[float, Field(gt=0)] = 16.0
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")


class TinyModel(StrictModel):
    """A fresh small model over the fixed block transform."""

    kind: Literal["tiny"] = "tiny"
    layers: Positive = 8
    heads: Positive = 4
    head_dim: Positive = 64
    time_embed_dim: Positive = 128
    text_embed_dim: Positive = 64
    max_words: Positive = 24
    latent_channels: Annotated[int, Field(gt=0, le=192)] = 192
    control_layers: tuple[int, ...] = (0, 2, 4)
    correction_reach: Annotated[int, Field(ge=0)] = 4
    spatial_sparse: SpatialSparse | None = None
    lora: LoraOptions | None = None


class PretrainedModel(StrictModel):
    """A pipeline folder or Hub id (with or without a control branch) to go on from."""

    kind: Literal["pretrained"]
    name: str
    control_layers: tuple[int, ...] | None = None
    lora: LoraOptions | None = None


class LossOptions(StrictModel):
    """Weights of the training loss (MagicMotion, arXiv 2503.16421, section 3.4: lambda 0, 0.5, 0.5)."""

    segmentation: Annotated[float, Field(ge=0)] = 0.0
    moved_region: Annotated[float, Field(ge=1)] = 5.0
    pure_noise: Share = 0.5


class OptimizerOptions(StrictModel):
    """Optimiser and schedule: warm-up, a constant rate, a linear fall to zero over the last share of the steps.

    ``adamw_8bit`` keeps its moments in 8 bits; it needs bitsandbytes or torchao.
    """

    kind: Literal["adamw", "muon", "adamw_8bit"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-5
    matrix_learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    betas: tuple[float, float] = (0.9, 0.95)
    clip_gradient: Annotated[float, Field(gt=0)] = 1.0
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    decay_share: Share = 0.2
    ema_decay: Share = 0.999


class ValidationOptions(StrictModel):
    """Sampled videos on the way."""

    every: Positive = 500
    scenes: Positive = 6
    steps: Positive = 4
    seed: int = 1_000_003


class TrainingOptions(StrictModel):
    """One run of ``magicgen train``."""

    out: Path
    seed: int = 0
    steps: Positive
    model: Annotated[TinyModel | PretrainedModel, Field(discriminator="kind")] = TinyModel()
    train: tuple[Literal["transformer", "branch", "head", "text_encoder", "lora"], ...] = ("branch", "head")
    data: DataOptions = DataOptions()
    loss: LossOptions = LossOptions()
    optimizer: OptimizerOptions = OptimizerOptions()
    validation: ValidationOptions = ValidationOptions()
    precision: Literal["no", "bf16", "fp16"] = "bf16"
    frozen_storage: Literal["full", "bf16", "fp8"] = "full"
    gradient_checkpointing: bool = False
    compile: bool = False
    checkpoint_every: Positive = 500
    keep_checkpoints: Positive = 2
    start_from: Path | None = None

    @model_validator(mode="after")
    def _adapters(self) -> "TrainingOptions":
        if ("lora" in self.train) != (self.model.lora is not None):
            raise ValueError("'lora' in train and model.lora belong together")
        if "lora" in self.train and "transformer" in self.train:
            raise ValueError("train either 'lora' or the whole 'transformer'")
        if self.frozen_storage == "fp8" and self.precision == "no":
            raise ValueError("frozen_storage fp8 needs precision bf16 or fp16")
        return self
