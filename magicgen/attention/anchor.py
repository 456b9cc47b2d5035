"""Data-dependent stripe columns, after AnchorAttention (arXiv 2505.23520, sections 3.2 and 3.3)."""

import torch

from magicgen.attention.patterns import ANCHOR_POOL, PickPlan
from magicgen.attention.tokens import TokenGrid


def pick_columns(q: torch.Tensor, k: torch.Tensor, grid: TokenGrid, plan: PickPlan) -> list[torch.Tensor]:
    """Key columns for each group of queries.

    ``q``, ``k``: [B,H,N,D]. Returns one int64 [B,H,m] per group: video tokens (frame-major numbers), rising, never from
    the group itself. Scores are formed for one group at a time, [B,H,rows/128,N], so memory stays far below N x N.
    """
    return [
        _pick_group(q, k, grid, start, stop, count)
        for (start, stop), count in zip(plan.groups, plan.picks, strict=True)
    ]


def _pick_group(q: torch.Tensor, k: torch.Tensor, grid: TokenGrid, start: int, stop: int, count: int) -> torch.Tensor:
    own = slice(grid.text + start, grid.text + stop)
    queries = q[:, :, own]
    if count == 0:
        return torch.empty(*q.shape[:2], 0, dtype=torch.int64, device=q.device)
    pooled = torch.stack([part.mean(2) for part in queries.split(ANCHOR_POOL, dim=2)], dim=2)  # [B,H,blocks,D]
    scores = (pooled @ k.transpose(-1, -2)).float()
    anchor = scores[..., own].amax(-1)
    if grid.text:
        anchor = torch.maximum(anchor, scores[..., : grid.text].amax(-1))
    margin = (scores[..., grid.text :] - anchor[..., None]).amax(2)  # [B,H,V]
    margin[..., start:stop] = float("-inf")
    return margin.topk(count, dim=-1).indices.sort(dim=-1).values


def picked_mask(columns: list[torch.Tensor], grid: TokenGrid) -> torch.Tensor:
    """Columns of :func:`pick_columns` as bool [B,H,G,V], for the masked reference and the search."""
    batch, heads = columns[0].shape[:2]
    mask = torch.zeros(batch, heads, len(columns), grid.video, dtype=torch.bool, device=columns[0].device)
    for group, picked in enumerate(columns):
        mask[:, :, group].scatter_(-1, picked, True)
    return mask
