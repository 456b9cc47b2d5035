"""What a training run will need, before anything is loaded: parameters, tokens, bytes a device, seconds a step.

The networks are built on the meta device, so a five-billion-parameter run is planned in seconds on any machine.
Activations are counted, not measured: see :data:`BLOCK_VALUES`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from magicgen.errors import ConfigError, WeightsError
from magicgen.models import ControlBranch, VideoTransformer
from magicgen.training.networks import fresh_head, tiny_text_encoder, tiny_transformer
from magicgen.training.options import LoraOptions, PretrainedModel, TinyModel, TrainingOptions
from magicgen.weights.facts import model_facts
from magicgen.weights.sources import MAGICMOTION, resolve_model

# CogVideoX-5b-I2V's transformer (THUDM/CogVideoX-5b-I2V, transformer/config.json), for planning without its files.
COGVIDEOX_5B_I2V: Mapping[str, Any] = {
    "num_attention_heads": 48,
    "attention_head_dim": 64,
    "in_channels": 32,
    "out_channels": 16,
    "text_embed_dim": 4096,
    "num_layers": 42,
    "max_text_seq_length": 226,
    "use_rotary_positional_embeddings": True,
    "use_learned_positional_embeddings": True,
}
BLOCK_VALUES = 34
"""Values kept for the backward pass for each token and unit of width in one block, attention being fused: inputs of two
norms and their outputs (4), queries, keys, values before and after norm and rotation (9), attention's output and its
projection (3), gates and residuals (4), the feed-forward part at four times the width before and after its activation
(8), and its output, casts and copies (6)."""
BASE_BYTES = 1 << 30
"""Libraries, CUDA context, allocator."""


@dataclass(frozen=True)
class MemoryPlan:
    """The needs of one step on each device; bytes are estimates.

    Attributes:
        parameters: by part. trained: of them, those that get gradients.
        tokens: video and text tokens of one clip; ``batch`` clips a device.
        weights, gradients, optimizer, average, activations: bytes a device.
        total: their sum with what the libraries need.
        operations: floating-point operations of one step on one device.
        seconds: of one step at ``operations_per_second``; None where that is not known.
    """

    parameters: dict[str, int]
    trained: int
    tokens: int
    batch: int
    devices: int
    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    total: int
    operations: float
    seconds: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def memory_plan(options: TrainingOptions, devices: int = 1, operations_per_second: float | None = None) -> MemoryPlan:
    """Plan a run whose parameters, gradients and optimiser states are sharded over ``devices`` (FSDP, ZeRO-3).

    Raises:
        ConfigError: a part that the model does not have is to be trained.
        WeightsError: no such model.
    """
    parts = _parts(options)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    lora = options.model.lora
    if lora is not None:
        counts["lora"] = _adapter_parameters(parts["transformer"], lora)
    trained = sum(counts.get(name, 0) for name in options.train)
    if trained == 0:
        raise ConfigError(f"train: none of {', '.join(options.train)} has parameters in this model.")
    config = parts["transformer"].config
    width = config.num_attention_heads * config.attention_head_dim
    tokens = _tokens(options, config)
    layers = config.num_layers + len(parts["branch"].config.control_layers)
    batch = options.data.batch_size
    whole, half = 4, 2 if options.precision != "no" else 4
    frozen = sum(counts.values()) - trained
    weights = whole * trained + {"full": 4, "bf16": 2, "fp8": 1}[options.frozen_storage] * frozen
    # Muon keeps one moment of the hidden matrices.
    states = {"adamw": 8, "muon": 5, "adamw_8bit": 2}[options.optimizer.kind]
    activations = _activations(options, config, layers, tokens, width, half) * batch
    gradients, optimizer, average = whole * trained, states * trained, whole * trained
    sharded = [-(-value // devices) for value in (weights, gradients, optimizer, average)]
    operations = 3.0 * batch * (2.0 * sum(counts.values()) * tokens + 4.0 * layers * width * tokens**2)
    if options.gradient_checkpointing:
        operations *= 4 / 3  # blocks run forward a second time
    return MemoryPlan(
        parameters=counts,
        trained=trained,
        tokens=tokens,
        batch=batch,
        devices=devices,
        weights=sharded[0],
        gradients=sharded[1],
        optimizer=sharded[2],
        average=sharded[3],
        activations=activations,
        total=sum(sharded) + activations + BASE_BYTES,
        operations=operations,
        seconds=None if operations_per_second is None else operations / operations_per_second,
    )


def plan_table(plan: MemoryPlan) -> str:
    """The plan as text."""
    lines = [f"{name:<14}{count / 1e6:>12,.1f} M parameters" for name, count in plan.parameters.items()]
    lines += [
        f"{'trained':<14}{plan.trained / 1e6:>12,.1f} M parameters",
        f"{'tokens':<14}{plan.tokens:>12,} a clip, {plan.batch} clips a device, {plan.devices} devices",
    ]
    for name in ("weights", "gradients", "optimizer", "average", "activations", "total"):
        lines.append(f"{name:<14}{getattr(plan, name) / 2**30:>12,.2f} GiB a device")
    lines.append(f"{'work':<14}{plan.operations / 1e12:>12,.2f} TFLOP a step")
    told = "unknown here" if plan.seconds is None else f"about {plan.seconds:,.2f} s"
    lines.append(f"{'a step':<14}{told:>12}")
    return "\n".join(lines)


def _parts(options: TrainingOptions) -> dict[str, Any]:
    """The networks on the meta device: shapes without memory."""
    data = options.data
    with torch.device("meta"):
        match options.model:
            case TinyModel() as model:
                transformer = tiny_transformer(model, data.frames, data.height, data.width)
                layers: tuple[int, ...] | None = model.control_layers
                text: nn.Module | None = tiny_text_encoder(model)
            case PretrainedModel() as model:
                transformer = VideoTransformer(**_config(model.name))
                layers, text = model.control_layers, None
        branch = _empty_branch(transformer.config, layers)
        head = fresh_head(transformer)
    parts = {"transformer": transformer, "branch": branch, "head": head}
    return parts if text is None else {**parts, "text_encoder": text}


def _adapter_parameters(transformer: nn.Module, lora: LoraOptions) -> int:
    return sum(
        lora.rank * (module.in_features + module.out_features)
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear) and any(name == end or name.endswith("." + end) for end in lora.targets)
    )


def _empty_branch(config: Any, layers: tuple[int, ...] | None) -> ControlBranch:
    from magicgen.models.control_branch import SHARED_CONFIG

    chosen = tuple(range(config.num_layers)) if layers is None else layers
    shared = {name: getattr(config, name) for name in SHARED_CONFIG}
    return ControlBranch(control_layers=chosen, in_channels=2 * config.out_channels, **shared)


def _config(name: str) -> dict[str, Any]:
    """The transformer's configuration: of a folder that is here, or the published one of MagicMotion's base."""
    try:
        found = dict(model_facts(resolve_model(name)).transformer)
    except WeightsError:
        if name not in (MAGICMOTION, "THUDM/CogVideoX-5b-I2V", "zai-org/CogVideoX-5b-I2V"):
            raise
        found = dict(COGVIDEOX_5B_I2V)
    return {key: value for key, value in found.items() if not key.startswith("_")}


def _tokens(options: TrainingOptions, config: Any) -> int:
    data, patch = options.data, 8 * config.patch_size
    frames = (data.frames - 1) // 4 + 1
    return frames * (data.height // patch) * (data.width // patch) + config.max_text_seq_length


def _activations(options: TrainingOptions, config: Any, layers: int, tokens: int, width: int, size: int) -> int:
    """Bytes of one clip: what every block keeps, or with checkpointing its input and one block at work."""
    block = BLOCK_VALUES * tokens * width * size
    if options.gradient_checkpointing:
        return layers * tokens * width * size + block
    return layers * block
