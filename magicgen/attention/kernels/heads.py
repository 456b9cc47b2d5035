"""Groups of heads that are computed in one call."""

from dataclasses import dataclass
from itertools import pairwise

import torch

from magicgen.attention.patterns import BlockPlan


@dataclass(frozen=True)
class HeadGroup:
    """Heads of one layer with the same block plan.

    ``straight`` heads read the video tokens frame-major, ``permuted`` heads token-major; only bands have both.
    """

    plan: BlockPlan
    straight: tuple[int, ...]
    permuted: tuple[int, ...] = ()

    @property
    def heads(self) -> tuple[int, ...]:
        """All heads, in the order in which kernels stack them."""
        return self.straight + self.permuted


def head_slices(heads: tuple[int, ...]) -> list[slice]:
    """``heads`` as slices, as few as possible: evenly spaced heads are one strided view, which needs no copy."""
    if not heads:
        return []
    steps = {b - a for a, b in pairwise(heads)}
    if len(heads) == 1:
        return [slice(heads[0], heads[0] + 1)]
    if len(steps) == 1 and (step := steps.pop()) > 0:
        return [slice(heads[0], heads[-1] + 1, step)]
    return [slice(head, head + 1) for head in heads]


def take_heads(x: torch.Tensor, heads: tuple[int, ...]) -> torch.Tensor:
    """Heads of ``x`` [B,H,...]: a view where they are evenly spaced, else a copy."""
    parts = [x[:, part] for part in head_slices(heads)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def put_heads(out: torch.Tensor, heads: tuple[int, ...], values: torch.Tensor) -> None:
    """Writes ``values`` [B,len(heads),...] into the heads of ``out`` [B,H,...]."""
    done = 0
    for part in head_slices(heads):
        target = out[:, part]
        target.copy_(values[:, done : done + target.shape[1]])
        done += target.shape[1]
