"""One layer's heads under their specs: grouped once, then run with one call a group."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import torch

from magicgen.attention.kernels import flex, slices, triton_band
from magicgen.attention.kernels.dense import DenseFn, few
from magicgen.attention.kernels.gather import run_columns, run_picks
from magicgen.attention.kernels.heads import HeadGroup, put_heads, take_heads
from magicgen.attention.kernels.reference import reference_attention
from magicgen.attention.kernels.select import Choice, Kernel, choose_kernel
from magicgen.attention.patterns import (
    ColumnPlan,
    Dense,
    EmptyPlan,
    Spec,
    block_plan,
    density,
    order_of,
)
from magicgen.attention.tokens import Order, TokenGrid
from magicgen.errors import PlanError

GroupFn = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]
"""Writes the video rows of its heads: (q, k, v, out), each [B,H,N,D]."""


@dataclass(frozen=True)
class LayerProgram:
    """What one layer runs: specs of all heads, their groups and the kernel of each group."""

    grid: TokenGrid
    specs: tuple[Spec, ...]
    groups: tuple[HeadGroup, ...]
    choices: tuple[Choice, ...]
    runs: tuple[GroupFn, ...]
    dense: DenseFn
    device: torch.device

    @property
    def is_dense(self) -> bool:
        """Whether every head is dense, so that the layer is one plain attention call."""
        return all(isinstance(spec, Dense) for spec in self.specs)

    @property
    def density(self) -> float:
        """Mean density over the heads."""
        return sum(density(spec, self.grid) for spec in self.specs) / len(self.specs)


def group_heads(specs: tuple[Spec, ...], grid: TokenGrid) -> tuple[HeadGroup, ...]:
    """Heads with the same block plan as one group; diagonal and multi-diagonal bands of one shape share a group."""
    straight: dict[object, list[int]] = {}
    permuted: dict[object, list[int]] = {}
    for head, spec in enumerate(specs):
        plan = block_plan(spec, grid)
        target = permuted if order_of(spec) is Order.TOKEN_MAJOR else straight
        target.setdefault(plan, []).append(head)
    plans = list(dict.fromkeys([*straight, *permuted]))
    return tuple(
        HeadGroup(plan, tuple(straight.get(plan, ())), tuple(permuted.get(plan, ())))  # type: ignore[arg-type]
        for plan in plans
    )


def build_program(
    specs: tuple[Spec, ...],
    grid: TokenGrid,
    *,
    device: torch.device,
    dtype: torch.dtype,
    head_dim: int,
    kernel: str = "auto",
    dense: DenseFn,
    gradients: bool = False,
) -> LayerProgram:
    """Resolves everything that does not depend on the data, so that a call only runs kernels.

    ``gradients``: only kernels that can be differentiated.
    """
    groups = group_heads(specs, grid)
    choices = tuple(choose_kernel(group.plan, kernel, device, dtype, head_dim, gradients) for group in groups)
    runs = tuple(
        _bind(group, choice.kernel, specs, grid, device, dense) for group, choice in zip(groups, choices, strict=True)
    )
    return LayerProgram(grid, specs, groups, choices, runs, dense, device)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, program: LayerProgram) -> torch.Tensor:
    """Attention of one layer. ``q``, ``k``, ``v``: [B,H,N,D] in the grid of ``program``; returns [B,H,N,D]."""
    if program.is_dense:
        return program.dense(q, k, v)
    grid = program.grid
    dtype = compute_dtype(q)
    q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    if q.shape[1] != len(program.specs) or q.shape[2] != grid.total:
        raise PlanError(
            f"attention got {q.shape[1]} heads and {q.shape[2]} tokens; the plan is for {len(program.specs)} heads and "
            f"{grid.total} tokens ({grid})"
        )
    # Heads next to each other within a token: the caller flattens them without another copy.
    out = torch.empty(q.shape[0], q.shape[2], q.shape[1], q.shape[3], dtype=q.dtype, device=q.device).transpose(1, 2)
    if grid.text:
        out[:, :, : grid.text] = few(q[:, :, : grid.text], k, v)
    for run in program.runs:
        run(q, k, v, out)
    return out


def compute_dtype(q: torch.Tensor) -> torch.dtype:
    """The dtype that attention runs in: autocast's where it is on, since that is what it does to plain attention."""
    kind = q.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else q.dtype


def _bind(
    group: HeadGroup, kernel: Kernel, specs: tuple[Spec, ...], grid: TokenGrid, device: torch.device, dense: DenseFn
) -> GroupFn:
    match kernel:
        case Kernel.DENSE:
            return lambda q, k, v, out: _run_dense(q, k, v, grid, group, dense, out)
        case Kernel.SKIP:
            return lambda q, k, v, out: _run_skip(grid, group, out)
        case Kernel.REFERENCE:
            return lambda q, k, v, out: _run_reference(q, k, v, grid, group, specs, out)
        case Kernel.GATHER:
            return _bind_gather(group, grid, device, dense)
        case Kernel.SLICES:
            return slices.bind_band(group, grid, device)
        case Kernel.FLEX:
            return flex.bind_band(group, grid, device)
        case Kernel.TRITON:
            return triton_band.bind_band(group, grid, device)
        case _:
            assert_never(kernel)


def _bind_gather(group: HeadGroup, grid: TokenGrid, device: torch.device, dense: DenseFn) -> GroupFn:
    if not isinstance(group.plan, ColumnPlan):
        return lambda q, k, v, out: run_picks(q, k, v, grid, group, dense, out)
    columns = torch.tensor([*range(grid.text), *(grid.text + c for c in group.plan.columns)], device=device)
    return lambda q, k, v, out: run_columns(q, k, v, grid, group, columns, dense, out)


def _run_dense(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    grid: TokenGrid,
    group: HeadGroup,
    dense: DenseFn,
    out: torch.Tensor,
) -> None:
    q, k, v = (take_heads(x, group.straight) for x in (q, k, v))
    put_heads(out[:, :, grid.text :], group.straight, dense(q[:, :, grid.text :], k, v))


def _run_skip(grid: TokenGrid, group: HeadGroup, out: torch.Tensor) -> None:
    assert isinstance(group.plan, EmptyPlan)
    for head in group.straight:
        out[:, head, grid.text :] = 0


def _run_reference(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    grid: TokenGrid,
    group: HeadGroup,
    specs: tuple[Spec, ...],
    out: torch.Tensor,
) -> None:
    q, k, v = (take_heads(x, group.heads) for x in (q, k, v))
    result = reference_attention(q, k, v, grid, tuple(specs[head] for head in group.heads))
    put_heads(out[:, :, grid.text :], group.heads, result[:, :, grid.text :])
