"""Bands as slices of keys and values, one call of PyTorch's dense attention a tile; any device, the CPU's kernel.

Measured on two x86 cores in fp32: the attention calls themselves run at full speed from 768 queries on (85 % of it from
192), so all that is lost is copying, and most of that is memory that the system hands out anew in every call. Hence
nothing of the length of the sequence is copied: text keys and the window of one tile are brought together, used, and
given back before the next tile. Heads in token-major order are gathered tile by tile from where they are, which costs
what a copy in order costs.
"""

from collections.abc import Callable
from functools import partial

import torch

from magicgen.attention.kernels.dense import sdpa
from magicgen.attention.kernels.heads import HeadGroup, gather_rows, put_heads, scatter_rows, take_heads
from magicgen.attention.patterns import BandPlan, Tile
from magicgen.attention.tokens import Order, TokenGrid


def bind_band(
    group: HeadGroup, grid: TokenGrid, device: torch.device
) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]:
    """A function (q, k, v, out) that writes the video rows of the group's heads into ``out``, [B,H,N,D].

    Differentiable. Heads of both orders share every call.
    """
    assert isinstance(group.plan, BandPlan)
    if not group.permuted:
        return partial(_run_straight, group.straight, grid.text, group.plan.tiles)
    heads = torch.tensor(group.heads, device=device)
    return partial(_run_permuted, heads, [_tile_rows(tile, group, grid, device) for tile in group.plan.tiles])


def _run_straight(
    heads: tuple[int, ...],
    text: int,
    tiles: tuple[Tile, ...],
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out: torch.Tensor,
) -> None:
    q, k, v = (take_heads(x, heads) for x in (q, k, v))
    for tile in tiles:
        queries = slice(text + tile.start, text + tile.stop)
        result = sdpa(q[:, :, queries], *(_with_text(x, text, tile) for x in (k, v)))
        put_heads(out[:, :, queries], heads, result)


def _with_text(x: torch.Tensor, text: int, tile: Tile) -> torch.Tensor:
    """Text rows and the tile's window of ``x`` [B,h,N,D]; a view where they are neighbours already."""
    if text == 0 or tile.first == 0:
        return x[:, :, tile.first : text + tile.last]
    return torch.cat([x[:, :, :text], x[:, :, text + tile.first : text + tile.last]], dim=2)


def _run_permuted(
    heads: torch.Tensor,
    tiles: list[tuple[torch.Tensor, torch.Tensor]],
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out: torch.Tensor,
) -> None:
    for queries, keys in tiles:
        result = sdpa(gather_rows(q, heads, queries), gather_rows(k, heads, keys), gather_rows(v, heads, keys))
        scatter_rows(out, heads, queries, result)


def _tile_rows(
    tile: Tile, group: HeadGroup, grid: TokenGrid, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token numbers of a tile's queries [h,m] and of its keys, text first [h,n], in each head's order."""
    text = torch.arange(grid.text, device=device)
    queries, keys = [], []
    for order, heads in ((Order.FRAME_MAJOR, group.straight), (Order.TOKEN_MAJOR, group.permuted)):
        tokens = grid.text + grid.video_position(order, device).argsort()
        queries.append(tokens[tile.start : tile.stop].expand(len(heads), -1))
        keys.append(torch.cat([text, tokens[tile.first : tile.last]]).expand(len(heads), -1))
    return torch.cat(queries), torch.cat(keys)
