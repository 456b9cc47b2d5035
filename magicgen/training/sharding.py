"""Weights that FSDP divides between devices: gathered for checkpoints, divided again where one is read.

A checkpoint always holds whole tensors, so a run can go on with another number of processes, or without FSDP, and is
exported like any other. Gathering goes tensor by tensor into the main memory of the first process.
"""

import os
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType, FullyShardedDataParallelPlugin
from accelerate.state import AcceleratorState, PartialState
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from magicgen.errors import ConfigError
from magicgen.training.options import TrainingOptions

NOT_SUPPORTED = (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)


def make_accelerator(options: TrainingOptions) -> Accelerator:
    """Accelerate as its configuration says; FSDP also in processes on a CPU, where accelerate itself leaves it off."""
    accelerator = Accelerator(
        mixed_precision=options.precision,
        log_with="tensorboard",
        project_dir=options.out,
        # Without the segmentation loss the head takes no part in a step.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if asked and accelerator.distributed_type is DistributedType.MULTI_CPU:
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()
        for shared in (AcceleratorState._shared_state, PartialState._shared_state):
            shared["distributed_type"] = DistributedType.FSDP
    return accelerator


def check_sharding(accelerator: Accelerator, options: TrainingOptions) -> None:
    """Refuse ways of dividing that this loop does not know, and settings that do not go with FSDP.

    Raises:
        ConfigError: says which, and what to use instead.
    """
    kind = accelerator.distributed_type
    if kind in NOT_SUPPORTED:
        raise ConfigError(
            f"accelerate is set to {kind.value}; this loop divides weights by FSDP. Use configs/accelerate/fsdp.yaml."
        )
    if kind is not DistributedType.FSDP:
        return
    if not accelerator.is_fsdp2:
        raise ConfigError("accelerate is set to FSDP 1; this loop uses FSDP 2. Set fsdp_config.fsdp_version to 2.")
    wrong = {
        f"optimizer.kind {options.optimizer.kind} (needs adamw)": options.optimizer.kind != "adamw",
        f"frozen_storage {options.frozen_storage} (needs full)": options.frozen_storage != "full",
        "compile true (needs false)": options.compile,
    }
    if found := [name for name, given in wrong.items() if given]:
        raise ConfigError(f"FSDP does not go with {', '.join(found)}.")


def gathered(value: Any, *, keep: bool) -> Any:
    """Nested dicts and lists with every divided tensor made whole on the CPU; all processes must call it together.

    Args:
        value: anything.
        keep: False where the result is not wanted (all processes but the first): divided tensors become None.
    """
    if isinstance(value, DTensor):
        full = value.full_tensor().detach()
        return full.cpu() if keep else None
    if isinstance(value, dict):
        return {key: gathered(item, keep=keep) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(gathered(item, keep=keep) for item in value)
    return value


def divided_like(value: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
    """A whole tensor divided as ``pattern`` is; itself where the pattern is whole or of another shape (a counter)."""
    if not isinstance(pattern, DTensor) or value.shape != pattern.shape:
        return value
    device = pattern.to_local().device
    # Every process has read the same file, so nothing needs to be sent.
    return distribute_tensor(value.to(device), pattern.device_mesh, pattern.placements, src_data_rank=None)


def divided_state(state: dict[str, torch.Tensor], networks: nn.Module) -> dict[str, torch.Tensor]:
    """A whole state dict divided as the networks' parameters are."""
    own = networks.state_dict()
    return {name: divided_like(value, own[name]) if name in own else value for name, value in state.items()}


def divided_optimizer(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimiser's whole state divided as its parameters are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments = {
        number: {name: divided_like(value, parameters[number]) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return {**state, "state": moments}


def assemble(networks: nn.Module) -> None:
    """Put together what belongs to no block, so that the parts can be called one by one; nothing without FSDP."""
    if isinstance(networks, FSDPModule):
        networks.unshard()


def divide(networks: nn.Module) -> None:
    """Undo :func:`assemble`."""
    if isinstance(networks, FSDPModule):
        networks.reshard()
