"""Data-dependent stripe columns, after AnchorAttention (arXiv 2505.23520, sections 3.2 and 3.3)."""

import torch

from magicgen.attention.patterns import ANCHOR_POOL, PickPlan
from magicgen.attention.tokens import TokenGrid


def pick_columns(q: torch.Tensor, k: torch.Tensor, grid: TokenGrid, plan: PickPlan) -> list[torch.Tensor]:
    """Key columns for each group of queries.

    ``q``, ``k``: [B,H,N,D]. Returns one int64 [B,H,m] per group: video tokens (frame-major numbers), rising, never from
    the group itself. Scores are formed for one group at a time, [B,H,rows/128,N], so memory stays far below N x N.
    """
    video = q[:, :, grid.text :]
    whole = grid.video // ANCHOR_POOL * ANCHOR_POOL
    pooled = [video[:, :, :whole].unflatten(2, (-1, ANCHOR_POOL)).mean(3)] if whole else []
    if whole < grid.video:
        pooled.append(video[:, :, whole:].mean(2, keepdim=True))
    means = torch.cat(pooled, dim=2)  # [B,H,blocks,D]
    picked = []
    for (start, stop), count in zip(plan.groups, plan.picks, strict=True):
        blocks = slice(start // ANCHOR_POOL, -(-stop // ANCHOR_POOL))
        picked.append(_pick_group(means[:, :, blocks], k, grid.text, start, stop, count))
    return picked


def _pick_group(means: torch.Tensor, k: torch.Tensor, text: int, start: int, stop: int, count: int) -> torch.Tensor:
    """The ``count`` best columns [B,H,count] for mean queries ``means`` [B,H,blocks,D] of the group [start, stop)."""
    if count == 0:
        return torch.empty(*means.shape[:2], 0, dtype=torch.int64, device=means.device)
    scores = (means @ k.transpose(-1, -2)).float()
    anchor = scores[..., text + start : text + stop].amax(-1, keepdim=True)
    if text:
        anchor = torch.maximum(anchor, scores[..., :text].amax(-1, keepdim=True))
    margin = (scores[..., text:] - anchor).amax(2)  # [B,H,V]
    margin[..., start:stop] = float("-inf")
    return margin.topk(count, dim=-1).indices.sort(dim=-1).values


def picked_mask(columns: list[torch.Tensor], grid: TokenGrid) -> torch.Tensor:
    """Columns of :func:`pick_columns` as bool [B,H,G,V], for the masked reference and the search."""
    batch, heads = columns[0].shape[:2]
    mask = torch.zeros(batch, heads, len(columns), grid.video, dtype=torch.bool, device=columns[0].device)
    for group, picked in enumerate(columns):
        mask[:, :, group].scatter_(-1, picked, True)
    return mask
