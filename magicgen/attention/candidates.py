"""The patterns that a search tries for every head."""

from dataclasses import dataclass

import torch

from magicgen.attention.patterns import Anchor, Dense, Diagonal, MultiDiagonal, Skip, Spec, VerticalStripe, density
from magicgen.attention.tokens import TokenGrid


@dataclass(frozen=True)
class StripeShare:
    """A stripe whose columns the search still has to find: the ``share`` of video keys with the most attention."""

    share: float


Candidate = Spec | StripeShare

SHARES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


def default_candidates(grid: TokenGrid, device: torch.device) -> tuple[Candidate, ...]:
    """Dense first, then every pattern at several densities below 60 %.

    A CPU runs long tiles best (768 queries a call, see kernels/slices.py), a GPU tiles of one block. Shares that come
    to the same window on this grid appear once.
    """
    on_gpu = device.type == "cuda"
    band_rows = (128,) if on_gpu else (384, 768)
    anchor_rows = 1024 if on_gpu else 768
    bands = [kind(share, rows) for kind in (Diagonal, MultiDiagonal) for rows in band_rows for share in SHARES]
    anchors = [Anchor(share, anchor_rows) for share in SHARES[:5]]
    distinct: dict[tuple[str, float], Spec] = {}
    for spec in (*bands, *anchors):
        found = density(spec, grid)
        if found < 0.6:
            distinct.setdefault((type(spec).__name__, round(found, 4)), spec)
    stripes = [StripeShare(share) for share in SHARES if round(share * grid.video) > 0]
    return (Dense(), Skip(), *distinct.values(), *stripes)


def resolve_stripe(candidate: StripeShare, mass: torch.Tensor, grid: TokenGrid) -> VerticalStripe:
    """The stripe of the video tokens with the largest attention ``mass`` [V]."""
    count = max(1, round(candidate.share * grid.video))
    return VerticalStripe(tuple(mass.topk(count).indices.sort().values.tolist()))


def cost_spec(candidate: Candidate, grid: TokenGrid) -> Spec:
    """A spec that costs what ``candidate`` will: a stripe of evenly spread columns stands for any of its size."""
    if isinstance(candidate, StripeShare):
        count = max(1, round(candidate.share * grid.video))
        return VerticalStripe(tuple(sorted({index * grid.video // count for index in range(count)})))
    return candidate
