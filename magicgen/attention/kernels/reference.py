"""The oracle: dense attention under the mask that a spec means. The only place where an N x N mask exists."""

import torch

from magicgen.attention.anchor import pick_columns, picked_mask
from magicgen.attention.kernels.heads import take_heads
from magicgen.attention.patterns import Anchor, PickPlan, Spec, block_plan, mask_rows
from magicgen.attention.tokens import TokenGrid


def full_mask(
    spec: Spec, grid: TokenGrid, q: torch.Tensor | None = None, k: torch.Tensor | None = None
) -> torch.Tensor:
    """Mask of all rows, bool [N,N], or [B,H,N,N] for Anchor (which needs ``q`` and ``k``)."""
    device = q.device if q is not None else None
    picked = None
    if isinstance(spec, Anchor) and q is not None and k is not None:
        plan = block_plan(spec, grid)
        assert isinstance(plan, PickPlan)
        picked = picked_mask(pick_columns(q, k, grid, plan), grid)
    video = mask_rows(spec, grid, torch.arange(grid.video, device=device), picked)
    text = torch.ones(*video.shape[:-2], grid.text, grid.total, dtype=torch.bool, device=device)
    return torch.cat([text, video], dim=-2)


def masked_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(D)) v over the allowed pairs, in fp32 at least; rows that see nothing are zero."""
    high = torch.promote_types(q.dtype, torch.float32)
    scores = (q.to(high) @ k.to(high).transpose(-1, -2)) * q.shape[-1] ** -0.5
    weights = torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1).nan_to_num(0.0)
    return (weights @ v.to(high)).to(q.dtype)


def reference_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grid: TokenGrid, specs: tuple[Spec, ...]
) -> torch.Tensor:
    """Every head under its own mask: [B,H,N,D] -> [B,H,N,D]."""
    out = torch.empty_like(q)
    for head, spec in enumerate(specs):
        one_q, one_k, one_v = (take_heads(x, (head,)) for x in (q, k, v))
        mask = full_mask(spec, grid, one_q, one_k)
        out[:, head : head + 1] = masked_attention(one_q, one_k, one_v, mask)
    return out
