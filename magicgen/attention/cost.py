"""What a pattern costs on this device: measured, not derived from its density.

Sparse-vDiT's "hardware-aware cost" is lambda times density (arXiv 2506.03065, eq. 2). A kernel's speed also depends on
how long its calls are and what it has to copy, so the search times every candidate at the real shape.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from magicgen.attention.execute import attend, build_program
from magicgen.attention.kernels.dense import DenseFn
from magicgen.attention.patterns import Dense, Spec
from magicgen.attention.timing import Clock, now
from magicgen.attention.tokens import TokenGrid


@dataclass(frozen=True)
class Shape:
    """The attention call that is timed."""

    batch: int
    heads: int
    head_dim: int
    device: torch.device
    dtype: torch.dtype


def measure_costs(
    specs: Sequence[Spec],
    grid: TokenGrid,
    shape: Shape,
    *,
    dense: DenseFn,
    kernel: str = "auto",
    repeats: int = 5,
    clock: Clock = time.perf_counter,
) -> dict[Spec, float]:
    """Seconds per head for each spec and for Dense, medians of ``repeats`` rounds over all of them in turn.

    Every spec is run for all heads of a layer at once, on random q, k, v of ``shape`` from a fixed seed.
    """
    generator = torch.Generator().manual_seed(0)
    size = (3, shape.batch, grid.total, shape.heads, shape.head_dim)
    q, k, v = torch.randn(size, generator=generator).to(shape.device, shape.dtype).transpose(2, 3)
    programs = {
        spec: build_program(
            (spec,) * shape.heads,
            grid,
            device=shape.device,
            dtype=shape.dtype,
            head_dim=shape.head_dim,
            kernel=kernel,
            dense=dense,
        )
        for spec in dict.fromkeys([Dense(), *specs])
    }
    times: dict[Spec, list[float]] = {spec: [] for spec in programs}
    with torch.no_grad():
        for program in programs.values():
            attend(q, k, v, program)
        for _ in range(repeats):
            for spec, program in programs.items():
                start = now(shape.device, clock)
                attend(q, k, v, program)
                times[spec].append(now(shape.device, clock) - start)
    return {spec: statistics.median(found) / shape.heads for spec, found in times.items()}
