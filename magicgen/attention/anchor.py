"""Data-dependent stripe columns, after AnchorAttention (arXiv 2505.23520, sections 3.2 and 3.3)."""

from collections.abc import Sequence

import torch

from magicgen.attention.patterns import ANCHOR_POOL, PickPlan
from magicgen.attention.tokens import TokenGrid

SCORES = 1 << 24
"""Scores that may be held at once: 64 MiB."""


@torch.no_grad()
def pick_columns(q: torch.Tensor, k: torch.Tensor, grid: TokenGrid, plan: PickPlan) -> list[torch.Tensor]:
    """Key columns for each group of queries.

    ``q``, ``k``: [B,H,N,D]. Returns one int64 [B,H,m] per group: video tokens (frame-major numbers) in no order, never
    from the group itself. Scores [B,H,rows/128,N] are formed for as many groups at a time as ``SCORES`` numbers hold.
    """
    video = q[:, :, grid.text :]
    whole = grid.video // ANCHOR_POOL * ANCHOR_POOL
    pooled = [video[:, :, :whole].unflatten(2, (-1, ANCHOR_POOL)).mean(3)] if whole else []
    if whole < grid.video:
        pooled.append(video[:, :, whole:].mean(2, keepdim=True))
    means = torch.cat(pooled, dim=2)  # [B,H,blocks,D]
    rows = max(1, max(-(-(stop - start) // ANCHOR_POOL) for start, stop in plan.groups))
    at_once = max(1, SCORES // (q.shape[0] * q.shape[1] * q.shape[2] * rows))
    picked: list[torch.Tensor] = []
    for first in range(0, len(plan.groups), at_once):
        several = slice(first, first + at_once)
        picked += _pick_groups(means, k, grid, plan.groups[several], plan.picks[several])
    return picked


def _pick_groups(
    means: torch.Tensor, k: torch.Tensor, grid: TokenGrid, groups: Sequence[tuple[int, int]], picks: Sequence[int]
) -> list[torch.Tensor]:
    """The best columns of neighbouring groups: one product and one choice for all of them."""
    if not any(picks):
        return [torch.empty(*means.shape[:2], 0, dtype=torch.int64, device=means.device) for _ in groups]
    text, low = grid.text, groups[0][0] // ANCHOR_POOL
    scores = (means[:, :, low : -(-groups[-1][1] // ANCHOR_POOL)] @ k.transpose(-1, -2)).float()
    margins = torch.empty(*scores.shape[:2], len(groups), grid.video, device=scores.device)
    for index, (start, stop) in enumerate(groups):
        own = scores[:, :, start // ANCHOR_POOL - low : -(-stop // ANCHOR_POOL) - low]
        anchor = own[..., text + start : text + stop].amax(-1, keepdim=True)
        if text:
            anchor = torch.maximum(anchor, own[..., :text].amax(-1, keepdim=True))
        torch.amax(own[..., text:] - anchor, dim=2, out=margins[:, :, index])
        margins[:, :, index, start:stop] = float("-inf")
    best = margins.topk(max(picks), dim=-1, sorted=len(set(picks)) > 1).indices
    return [best[:, :, index, :count] for index, count in enumerate(picks)]


def picked_mask(columns: list[torch.Tensor], grid: TokenGrid) -> torch.Tensor:
    """Columns of :func:`pick_columns` as bool [B,H,G,V], for the masked reference and the search."""
    batch, heads = columns[0].shape[:2]
    mask = torch.zeros(batch, heads, len(columns), grid.video, dtype=torch.bool, device=columns[0].device)
    for group, picked in enumerate(columns):
        mask[:, :, group].scatter_(-1, picked, True)
    return mask
