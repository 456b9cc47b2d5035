"""Stripes and picked columns: the keys are gathered once, then attention is dense. Any device."""

import torch

from magicgen.attention.anchor import pick_columns
from magicgen.attention.kernels.dense import DenseFn
from magicgen.attention.kernels.heads import HeadGroup, gather_rows, put_heads, take_heads
from magicgen.attention.patterns import ColumnPlan, PickPlan
from magicgen.attention.tokens import TokenGrid


def run_columns(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    grid: TokenGrid,
    group: HeadGroup,
    columns: torch.Tensor,
    dense: DenseFn,
    out: torch.Tensor,
) -> None:
    """Video rows of a stripe group. ``columns``: int64 [m], token numbers of the stripe with the text tokens before."""
    assert isinstance(group.plan, ColumnPlan)
    q, k, v = (take_heads(x, group.straight) for x in (q, k, v))
    result = dense(q[:, :, grid.text :], k.index_select(2, columns), v.index_select(2, columns))
    put_heads(out[:, :, grid.text :], group.straight, result)


def run_picks(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    grid: TokenGrid,
    group: HeadGroup,
    dense: DenseFn,
    out: torch.Tensor,
) -> None:
    """Video rows of an anchor group: every group of queries sees text, itself and its own picked columns."""
    assert isinstance(group.plan, PickPlan)
    q, own_k = take_heads(q, group.straight), take_heads(k, group.straight)
    heads = torch.tensor(group.straight, device=q.device)
    text = torch.arange(grid.text, device=q.device)
    video = out[:, :, grid.text :]
    for (start, stop), picked in zip(group.plan.groups, pick_columns(q, own_k, grid, group.plan), strict=True):
        always = torch.cat([text, torch.arange(grid.text + start, grid.text + stop, device=q.device)])
        rows = torch.cat([always.expand(*picked.shape[:2], -1), picked + grid.text], dim=-1)
        queries = q[:, :, grid.text + start : grid.text + stop]
        result = dense(queries, gather_rows(k, heads, rows), gather_rows(v, heads, rows))
        put_heads(video[:, :, start:stop], group.straight, result)
