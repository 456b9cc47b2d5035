"""Trained spatial sparse attention on the video token grid, after Direct3D-S2 (arXiv 2505.17412, section 3.3).

Three branches share the queries and are mixed by learned gates: *compression* (keys and values pooled per block of
tokens, all blocks seen), *selection* (the blocks whose compressed keys score highest, at full resolution) and *window*
(the query's own, shifted, block). Direct3D-S2 works on sparse voxels; here the tokens form a dense grid frames x height
x width. Unlike the other patterns of this package it has weights of its own and has to be trained with the model.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from magicgen.attention.tokens import TokenGrid
from magicgen.errors import PlanError


@dataclass(frozen=True)
class SpatialSparseConfig:
    """Block sizes as frames x height x width. Direct3D-S2 compresses 4^3 and selects 8 blocks of 8^3.

    ``compress`` has to divide ``select`` so that compressed scores add up to block scores.
    """

    compress: tuple[int, int, int] = (1, 2, 2)
    select: tuple[int, int, int] = (2, 4, 4)
    window: tuple[int, int, int] = (2, 4, 4)
    top: int = 8

    def __post_init__(self) -> None:
        sizes = (*self.compress, *self.select, *self.window, self.top)
        if any(size < 1 for size in sizes):
            raise PlanError(f"spatial sparse attention: block sizes and top have to be at least 1; got {sizes}")
        if any(s % c for s, c in zip(self.select, self.compress, strict=True)):
            raise PlanError(
                f"spatial sparse attention: compress {self.compress} has to divide select {self.select} on every axis"
            )


class SpatialSparseAttention(nn.Module):
    """Mixes compression, selection and window attention.

    Takes and returns heads, [B,H,N,D] with the text tokens first, so it stands where plain attention stands. Text rows
    are dense; every video query of every branch also sees the text keys. ``gate_features`` [B,N,C] are the layer's
    inputs, from which the gates are computed (the paper's Linear(hidden, 3), here one gate per head and branch).
    """

    def __init__(self, width: int, heads: int, head_dim: int, config: SpatialSparseConfig | None = None) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.config = config or SpatialSparseConfig()
        tokens = self.config.compress[0] * self.config.compress[1] * self.config.compress[2]
        # Where a token lies inside its block, for keys and values; then a learned mixture of the block's tokens.
        self.place_k = nn.Parameter(torch.zeros(tokens, head_dim))
        self.place_v = nn.Parameter(torch.zeros(tokens, head_dim))
        self.pool_k = nn.Parameter(torch.full((tokens,), 1.0 / tokens))
        self.pool_v = nn.Parameter(torch.full((tokens,), 1.0 / tokens))
        self.gates = nn.Linear(width, 3 * heads)

    def forward(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        gate_features: torch.Tensor,
        grid: TokenGrid,
        *,
        dense_reference: bool = False,
    ) -> torch.Tensor:
        """[B,H,N,D] -> [B,H,N,D]. ``dense_reference``: the same mathematics under dense masks, for tests."""
        self._check(q, grid)
        text = grid.text
        text_rows = F.scaled_dot_product_attention(q[:, :, :text], k, v)
        queries = q[:, :, text:]
        short_k = self._compress(k[:, :, text:], grid, self.place_k, self.pool_k)
        short_v = self._compress(v[:, :, text:], grid, self.place_v, self.pool_v)
        compressed = _with_text(queries, k, v, short_k, short_v, text)
        chosen = self._choose(queries, short_k, grid)
        if dense_reference:
            selected = self._masked(queries, k, v, grid, _selection_mask(chosen, grid, self.config.select))
            windowed = self._masked(queries, k, v, grid, _window_mask(grid, self.config.window, q.device))
        else:
            selected = _selection(queries, k, v, chosen, grid, self.config.select)
            windowed = _window(queries, k, v, grid, self.config.window)
        gates = torch.sigmoid(self.gates(gate_features[:, text:])).unflatten(2, (3, self.heads))
        mixed = sum(
            gates[:, :, branch].transpose(1, 2)[..., None] * output
            for branch, output in enumerate((compressed, selected, windowed))
        )
        return torch.cat([text_rows, mixed], dim=2)

    def _check(self, q: torch.Tensor, grid: TokenGrid) -> None:
        if q.shape[1:] != (self.heads, grid.total, self.head_dim):
            raise PlanError(
                f"spatial sparse attention: got q of {tuple(q.shape)}; expected [B, {self.heads}, {grid.total}, "
                f"{self.head_dim}] for {grid}"
            )

    def _compress(self, x: torch.Tensor, grid: TokenGrid, place: torch.Tensor, pool: torch.Tensor) -> torch.Tensor:
        """Video tokens [B,H,V,D] -> one token per compression block [B,H,M,D]; a ragged block pools what it has."""
        index, count = _blocks(grid, self.config.compress, x.device)
        real = (index >= 0).to(x.dtype)
        tokens = x[:, :, index.clamp_min(0)] + place  # [B,H,M,tokens,D]
        weights = pool * real
        # A whole block keeps its learned weights; a cut one is scaled up to the same total.
        weights = weights * (pool.sum() / weights.sum(-1, keepdim=True).clamp_min(1e-6)) if _ragged(count) else weights
        return (tokens * weights[..., None]).sum(3)

    def _choose(self, queries: torch.Tensor, short_k: torch.Tensor, grid: TokenGrid) -> torch.Tensor:
        """Selection blocks for each block of queries: int64 [B,H,Q,top], by summed compressed attention.

        All queries of a selection block share their choice, as in Direct3D-S2, so that blocks are read once.
        """
        query_blocks, _ = _blocks(grid, self.config.select, queries.device)
        to_block = _block_of_compressed(grid, self.config, queries.device)
        with torch.no_grad():
            real = (query_blocks >= 0)[None, None, :, :, None]
            mean = (queries[:, :, query_blocks.clamp_min(0)] * real).sum(3) / real.sum(3)
            scores = torch.softmax((mean @ short_k.transpose(-1, -2)) * self.head_dim**-0.5, dim=-1)
            blocks = torch.zeros(*scores.shape[:3], len(query_blocks), dtype=scores.dtype, device=scores.device)
            blocks.index_add_(3, to_block, scores)
            return blocks.topk(min(self.config.top, len(query_blocks)), dim=-1).indices.sort(dim=-1).values

    def _masked(
        self, queries: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grid: TokenGrid, mask: torch.Tensor
    ) -> torch.Tensor:
        seen = torch.ones(*mask.shape[:-1], grid.text, dtype=torch.bool, device=mask.device)
        return F.scaled_dot_product_attention(queries, k, v, attn_mask=torch.cat([seen, mask], dim=-1))


def _with_text(
    queries: torch.Tensor, k: torch.Tensor, v: torch.Tensor, short_k: torch.Tensor, short_v: torch.Tensor, text: int
) -> torch.Tensor:
    keys, values = torch.cat([k[:, :, :text], short_k], dim=2), torch.cat([v[:, :, :text], short_v], dim=2)
    return F.scaled_dot_product_attention(queries, keys, values)


def _blocks(
    grid: TokenGrid, size: tuple[int, int, int], device: torch.device, shift: tuple[int, int, int] = (0, 0, 0)
) -> tuple[torch.Tensor, torch.Tensor]:
    """Video tokens of each block, int64 [blocks, tokens], -1 where a block reaches over the edge; and their number."""
    axes = []
    for length, step, offset in zip((grid.frames, grid.height, grid.width), size, shift, strict=True):
        starts = torch.arange(-offset, length, step, device=device)
        places = starts[:, None] + torch.arange(step, device=device)
        axes.append(torch.where((places >= 0) & (places < length), places, -1))
    f, y, x = axes
    f = f[:, None, None, :, None, None]
    y = y[None, :, None, None, :, None]
    x = x[None, None, :, None, None, :]
    tokens = (f * grid.height + y) * grid.width + x
    tokens = torch.where((f >= 0) & (y >= 0) & (x >= 0), tokens, -1)
    index = tokens.flatten(3).flatten(0, 2)
    index = index[(index >= 0).any(1)]
    return index, (index >= 0).sum(1)


def _ragged(count: torch.Tensor) -> bool:
    return bool((count != count[0]).any())


def _block_of(grid: TokenGrid, size: tuple[int, int, int], device: torch.device) -> torch.Tensor:
    """The selection block of every video token, int64 [V]."""
    index, _ = _blocks(grid, size, device)
    owner = torch.empty(grid.video, dtype=torch.int64, device=device)
    numbers = torch.arange(len(index), device=device)[:, None].expand_as(index)
    owner[index[index >= 0]] = numbers[index >= 0]
    return owner


def _block_of_compressed(grid: TokenGrid, config: SpatialSparseConfig, device: torch.device) -> torch.Tensor:
    """The selection block that each compression block lies in, int64 [M]."""
    first = _blocks(grid, config.compress, device)[0].amax(1)
    return _block_of(grid, config.select, device)[first]


def _attend_blocks(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Each block of queries [B,H,Q,m,D] to its own keys [B,H,Q,n,D]; ``seen`` bool [..,Q,n] marks real keys."""
    batch, heads, blocks = queries.shape[:3]
    mask = seen.expand(batch, heads, blocks, -1).flatten(0, 1)[:, :, None]
    out = F.scaled_dot_product_attention(
        queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1), attn_mask=mask.expand(-1, -1, 1, -1)
    )
    return out.unflatten(0, (batch, heads))


def _scatter(result: torch.Tensor, index: torch.Tensor, video: int) -> torch.Tensor:
    """Block results [B,H,Q,m,D] back to [B,H,V,D]; ``index`` [Q,m] holds -1 for places over the edge."""
    real = index >= 0
    order = torch.empty(video, dtype=torch.int64, device=index.device)
    order[index[real]] = torch.arange(int(real.sum()), device=index.device)
    return result[:, :, real].index_select(2, order)


def _selection(
    queries: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    chosen: torch.Tensor,
    grid: TokenGrid,
    size: tuple[int, int, int],
) -> torch.Tensor:
    index, _ = _blocks(grid, size, queries.device)
    tokens = index[chosen]  # [B,H,Q,top,block]
    seen = _text_first((tokens >= 0).flatten(3), grid.text)
    rows = (tokens.clamp_min(0) + grid.text).flatten(3)
    keys, values = (_rows_with_text(x, rows, grid.text) for x in (k, v))
    return _scatter(_attend_blocks(queries[:, :, index.clamp_min(0)], keys, values, seen), index, grid.video)


def _window(
    queries: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grid: TokenGrid, size: tuple[int, int, int]
) -> torch.Tensor:
    index, _ = _blocks(grid, size, queries.device, _half(size))
    rows = (index.clamp_min(0) + grid.text)[None, None].expand(*queries.shape[:2], -1, -1)
    seen = _text_first((index >= 0)[None, None], grid.text)
    keys, values = (_rows_with_text(x, rows, grid.text) for x in (k, v))
    return _scatter(_attend_blocks(queries[:, :, index.clamp_min(0)], keys, values, seen), index, grid.video)


def _half(size: tuple[int, int, int]) -> tuple[int, int, int]:
    """Half a window, so that windows straddle the edges of the selection blocks."""
    return size[0] // 2, size[1] // 2, size[2] // 2


def _rows_with_text(x: torch.Tensor, rows: torch.Tensor, text: int) -> torch.Tensor:
    """Text rows before the ``rows`` [B,H,Q,n] of ``x`` [B,H,N,D]: [B,H,Q,T+n,D]."""
    blocks, count = rows.shape[2:]
    taken = torch.take_along_dim(x, rows.flatten(2)[..., None], dim=2).unflatten(2, (blocks, count))
    before = x[:, :, None, :text].expand(-1, -1, blocks, -1, -1)
    return torch.cat([before, taken], dim=3)


def _text_first(seen: torch.Tensor, text: int) -> torch.Tensor:
    return torch.cat([torch.ones(*seen.shape[:-1], text, dtype=torch.bool, device=seen.device), seen], dim=-1)


def _selection_mask(chosen: torch.Tensor, grid: TokenGrid, size: tuple[int, int, int]) -> torch.Tensor:
    """The selection as a mask [B,H,V,V] (reference only)."""
    owner = _block_of(grid, size, chosen.device)
    allowed = torch.zeros(*chosen.shape[:3], int(owner.max()) + 1, dtype=torch.bool, device=chosen.device)
    allowed.scatter_(3, chosen, True)
    return allowed[:, :, owner][..., owner]


def _window_mask(grid: TokenGrid, size: tuple[int, int, int], device: torch.device) -> torch.Tensor:
    """The shifted windows as a mask [V,V] (reference only), from coordinates alone."""
    tokens = torch.arange(grid.video, device=device)
    axes = (tokens // grid.places, tokens // grid.width % grid.height, tokens % grid.width)
    same = torch.ones(grid.video, grid.video, dtype=torch.bool, device=device)
    for place, step, offset in zip(axes, size, _half(size), strict=True):
        number = (place + offset) // step
        same &= number[:, None] == number[None, :]
    return same
