"""Optimisers: AdamW, or Muon for the matrices of transformer blocks with AdamW for everything else.

Muon (Keller Jordan, 2024; ``torch.optim.Muon``) orthogonalises the momentum of hidden matrices; on small budgets it
learns about twice as much per step.
"""

import importlib
import importlib.util
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from magicgen.errors import ConfigError
from magicgen.training.options import OptimizerOptions


def make_optimizers(
    named: Iterable[tuple[str, nn.Parameter]], options: OptimizerOptions
) -> list[torch.optim.Optimizer]:
    """One or two optimisers over the trainable parameters."""
    trainable = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    matrices = [
        parameter for name, parameter in trainable if options.kind == "muon" and _is_hidden_matrix(name, parameter)
    ]
    chosen = {id(parameter) for parameter in matrices}
    decayed = [p for _, p in trainable if id(p) not in chosen and p.ndim >= 2]
    plain = [p for _, p in trainable if id(p) not in chosen and p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    if options.kind == "adamw_8bit":
        return [eight_bit_adamw()(groups, lr=options.learning_rate, betas=options.betas, eps=1e-8)]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=options.learning_rate, betas=options.betas, eps=1e-8, fused=True)
    ]
    if matrices:
        optimizers.append(
            torch.optim.Muon(
                matrices,
                lr=options.matrix_learning_rate,
                weight_decay=options.weight_decay,
                momentum=0.95,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers


def eight_bit_adamw() -> Any:
    """AdamW with moments in 8 bits, of whichever library is installed.

    Raises:
        ConfigError: neither is.
    """
    for library, module in (("bitsandbytes", "bitsandbytes.optim"), ("torchao", "torchao.optim")):
        if importlib.util.find_spec(library) is not None:
            return importlib.import_module(module).AdamW8bit
    raise ConfigError(
        "optimizer.kind: adamw_8bit needs the package bitsandbytes or torchao, and neither is installed: "
        "pip install bitsandbytes. Or choose adamw or muon."
    )


def learning_rate_factor(step: int, steps: int, options: OptimizerOptions) -> float:
    """Warm-up, constant, linear fall to zero over the last ``decay_share`` of the run."""
    warm = min(1.0, (step + 1) / max(options.warmup_steps, 1))
    tail = options.decay_share * steps
    return warm if tail <= 0 else warm * min(1.0, max(0.0, (steps - step) / tail))


def _is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    inside = "transformer_blocks" in name and (".attn1.to_" in name or ".ff.net" in name)
    return parameter.ndim == 2 and (inside or "out_projectors" in name)
