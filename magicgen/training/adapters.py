"""Low-rank adapters of a trajectory run (LoRA, arXiv 2106.09685) and compact storage of what is not trained."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from magicgen.errors import ConfigError
from magicgen.training.options import LoraOptions

WEIGHTS_FILE = "pytorch_lora_weights.safetensors"


def add_adapters(transformer: Any, options: LoraOptions) -> None:
    """Give a backbone adapters that change nothing before training, in place.

    Raises:
        ConfigError: a target that no module's name ends with.
    """
    from peft import LoraConfig

    names = [name for name, module in transformer.named_modules() if isinstance(module, nn.Linear)]
    for target in options.targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise ConfigError(f"model.lora.targets: no linear layer of the base ends with '{target}'.")
    transformer.add_adapter(
        LoraConfig(
            r=options.rank,
            lora_alpha=options.alpha,
            init_lora_weights=True,
            target_modules=list(options.targets),
        )
    )


def write_adapter(transformer: Any, folder: Path) -> None:
    """The adapter as diffusers writes those of a CogVideoX pipeline: ``pytorch_lora_weights.safetensors``."""
    from peft.utils import get_peft_model_state_dict

    from pipelines.trajectory_video import TrajectoryVideoPipeline

    TrajectoryVideoPipeline.save_lora_weights(
        folder,
        transformer_lora_layers=get_peft_model_state_dict(transformer),
        transformer_lora_adapter_metadata=transformer.peft_config["default"].to_dict(),
    )


def store_frozen(networks: nn.Module, storage: str, compute: torch.dtype) -> None:
    """Keep frozen backbones in bfloat16, or in 8-bit floats that are widened layer by layer for their computation.

    Args:
        networks: its children ``transformer`` and ``branch`` are stored so where they are frozen; of a backbone with
            adapters all but the adapters.
        storage: full, bf16 or fp8.
        compute: what fp8 weights are widened to. The backward pass needs them once more: under autocast it keeps the
            cast copies of a layer, so gradient checkpointing is what keeps the memory low.
    """
    for name in ("transformer", "branch"):
        part: Any = getattr(networks, name)
        if storage == "full" or part is None:
            continue
        trained = [each for each, parameter in part.named_parameters() if parameter.requires_grad]
        if any("lora_" not in each for each in trained):
            continue
        if storage == "fp8":
            part.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=compute)
        else:
            for each, module in part.named_modules():
                # Norms and embeddings are small, and their inputs are not cast by autocast on every device.
                if isinstance(module, nn.Linear) and ".lora_" not in each:
                    module.to(torch.bfloat16)
