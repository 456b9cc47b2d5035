"""Which kernel runs which block plan on which device, and what it falls back to."""

from dataclasses import dataclass
from enum import Enum

import torch

from magicgen.attention.kernels.flex import flex_unavailable
from magicgen.attention.kernels.triton_band import triton_unavailable
from magicgen.attention.patterns import BandPlan, BlockPlan, ColumnPlan, EmptyPlan, FullPlan, PickPlan
from magicgen.errors import PlanError


class Kernel(Enum):
    """Ways to compute a group of heads."""

    DENSE = "dense"
    SKIP = "skip"
    SLICES = "slices"
    GATHER = "gather"
    FLEX = "flex"
    TRITON = "triton"
    REFERENCE = "reference"


BAND_KERNELS = ("auto", "slices", "flex", "triton", "reference")
"""What a user may ask for; stripes and picked columns are always gathered (or run by the reference)."""


@dataclass(frozen=True)
class Choice:
    """A kernel and, where it is not the one that was asked for, the reason."""

    kernel: Kernel
    fallback: str | None = None


def choose_kernel(
    plan: BlockPlan,
    wanted: str,
    device: torch.device,
    dtype: torch.dtype,
    head_dim: int,
    gradients: bool = False,
) -> Choice:
    """The kernel for ``plan``; ``wanted`` is one of ``BAND_KERNELS``, ``gradients`` asks for a backward pass."""
    if wanted not in BAND_KERNELS:
        raise PlanError(f"attention kernel {wanted!r} is unknown; expected one of {', '.join(BAND_KERNELS)}")
    if wanted == "reference" and not isinstance(plan, (FullPlan, EmptyPlan)):
        return Choice(Kernel.REFERENCE)
    match plan:
        case FullPlan():
            return Choice(Kernel.DENSE)
        case EmptyPlan():
            return Choice(Kernel.SKIP)
        case ColumnPlan() | PickPlan():
            return Choice(Kernel.GATHER)
        case BandPlan():
            return _choose_band(wanted, device, dtype, head_dim, gradients)


def _choose_band(wanted: str, device: torch.device, dtype: torch.dtype, head_dim: int, gradients: bool) -> Choice:
    if wanted == "slices" or (wanted == "auto" and device.type != "cuda"):
        return Choice(Kernel.SLICES)
    order = (Kernel.FLEX, Kernel.TRITON) if wanted == "flex" else (Kernel.TRITON, Kernel.FLEX)
    reasons: list[str] = []
    for kernel in order:
        check = triton_unavailable if kernel is Kernel.TRITON else flex_unavailable
        reason = check(device, dtype, head_dim, gradients)
        if reason is None:
            return Choice(kernel, "; ".join(reasons) or None)
        reasons.append(f"{kernel.value}: {reason}")
    return Choice(Kernel.SLICES, "; ".join(reasons))
