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


def gather_rows(x: torch.Tensor, heads: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """``x[b, heads[i], rows[..., i]]`` for ``x`` [B,H,N,D] and ``rows`` [h,m] or [B,h,m]: [B,h,m,D].

    One index_select over flat rows copies whole rows of D values, for heads before or after tokens in memory alike, as
    fast as a copy in order; torch.gather with a widened index moves single values and is several times slower on a CPU.
    """
    flat, index = _flat_rows(x, heads, rows)
    return flat.index_select(0, index.flatten()).view(*index.shape, x.shape[3])


def scatter_rows(out: torch.Tensor, heads: torch.Tensor, rows: torch.Tensor, values: torch.Tensor) -> None:
    """The reverse of :func:`gather_rows`: writes ``values`` [B,h,m,D] into ``out``, whose memory is dense."""
    assert out.is_contiguous() or out.transpose(1, 2).is_contiguous()
    flat, index = _flat_rows(out, heads, rows)
    flat.index_copy_(0, index.flatten(), values.reshape(-1, out.shape[3]))


def _flat_rows(x: torch.Tensor, heads: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``x`` as [B*H*N,D] in the order of its memory, and the numbers [B,h,m] of the wanted rows in it."""
    batch, count, tokens, dim = x.shape
    sample = torch.arange(batch, device=x.device)[:, None, None]
    if x.transpose(1, 2).is_contiguous():
        return x.transpose(1, 2).reshape(-1, dim), (sample * tokens + rows) * count + heads[:, None]
    return x.reshape(-1, dim), (sample * count + heads[:, None]) * tokens + rows
