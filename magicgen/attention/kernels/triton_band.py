"""Host side of the Triton band kernel: when it can run, its tables and its launch."""

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from magicgen.attention.kernels.heads import HeadGroup
from magicgen.attention.patterns import KEY_BLOCK, BandPlan
from magicgen.attention.tokens import TokenGrid


@dataclass(frozen=True)
class Launch:
    """Block sizes and launch settings; the defaults are for D = 64 in bf16 on Hopper."""

    queries: int = 128
    keys: int = 64
    warps: int = 4
    stages: int = 3


LAUNCHES = (
    Launch(),
    Launch(keys=128),
    Launch(keys=128, warps=8),
    Launch(keys=64, warps=8),
    Launch(keys=64, stages=4),
    Launch(keys=128, stages=2),
)
"""Settings worth timing on a new GPU (see benchmarks/attention.py --tune)."""


def triton_unavailable(device: torch.device, dtype: torch.dtype, head_dim: int, gradients: bool = False) -> str | None:
    """Why the Triton kernel cannot run here, or None."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if gradients:
        return "no backward pass"
    if device.type != "cuda":
        return f"needs a CUDA device, not {device.type}"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "needs a GPU of compute capability 8.0 or newer"
    if head_dim not in (16, 32, 64, 128):
        return f"no kernel for head dimension {head_dim}"
    if dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return f"no kernel for {dtype}"
    return None


def bind_band(
    group: HeadGroup, grid: TokenGrid, device: torch.device, launch: Launch | None = None
) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]:
    """A function (q, k, v, out) that writes the video rows of the group's heads into ``out``, [B,H,N,D]."""
    assert isinstance(group.plan, BandPlan)
    settings = launch or Launch()
    assert KEY_BLOCK % settings.queries == 0
    assert KEY_BLOCK % settings.keys == 0
    windows = [(t.first, t.last) for t in group.plan.tiles for _ in range(t.start, t.stop, settings.queries)]
    first, last = (torch.tensor(column, dtype=torch.int32, device=device) for column in zip(*windows, strict=True))
    heads = torch.tensor(group.heads, dtype=torch.int32, device=device)
    flags = [0] * len(group.straight) + [1] * len(group.permuted)
    permuted = torch.tensor(flags, dtype=torch.int32, device=device)

    def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor) -> None:
        from magicgen.attention.kernels.triton_kernel import band_attention

        q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
        band_attention[(len(windows), q.shape[0] * len(heads))](
            q,
            k,
            v,
            out,
            first,
            last,
            heads,
            permuted,
            *(x.stride(axis) for x in (q, k, v, out) for axis in range(3)),
            len(heads),
            grid.text,
            grid.video,
            grid.frames,
            grid.places,
            math.log2(math.e) * q.shape[-1] ** -0.5,
            D=q.shape[-1],
            BLOCK_M=settings.queries,
            BLOCK_N=settings.keys,
            HAS_PERMUTED=bool(group.permuted),
            PRECISION="ieee" if q.dtype == torch.float32 else "tf32",
            num_warps=settings.warps,
            num_stages=settings.stages,
        )

    return run
