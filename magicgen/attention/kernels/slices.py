"""Bands as contiguous slices of keys and values: no gather, any device.

Measured on two x86 cores in fp32, PyTorch's CPU kernel reaches its full speed from 768 queries a call and 85 % of it
from 192, so tiles at both ends of a band, which share their window, are one long call. The text keys are brought to
each window instead of each window to the text: windows only move to the right, so the rows just before a window are no
longer needed and take a copy of the text.
"""

import torch

from magicgen.attention.kernels.dense import sdpa
from magicgen.attention.kernels.heads import HeadGroup, put_heads, take_heads
from magicgen.attention.patterns import BandPlan, Tile
from magicgen.attention.tokens import TokenGrid


def run_band(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grid: TokenGrid, group: HeadGroup, out: torch.Tensor
) -> None:
    """Video rows of a band group. ``q``, ``k``, ``v``, ``out``: [B,H,N,D]; writes the group's heads of ``out``."""
    assert isinstance(group.plan, BandPlan)
    needs_gradient = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    q, k, v = (line_up(x, grid, group) for x in (q, k, v))
    if needs_gradient:
        parts = _joined_tiles(q, k, v, grid.text, group.plan.tiles)
    else:
        parts = _sliding_tiles(q, k, v, grid.text, group.plan.tiles, own=bool(group.permuted))
    split, video = len(group.straight), out[:, :, grid.text :]
    if group.straight:
        for tile, part in zip(group.plan.tiles, parts, strict=True):
            put_heads(video[:, :, tile.start : tile.stop], group.straight, part[:, :split])
    if group.permuted:
        _put_permuted(torch.cat([part[:, split:] for part in parts], dim=2), grid, group, video)


def line_up(x: torch.Tensor, grid: TokenGrid, group: HeadGroup) -> torch.Tensor:
    """The group's heads of ``x`` [B,H,N,D], straight ones first, permuted ones with token-major video."""
    if not group.permuted:
        return take_heads(x, group.straight)
    lined = torch.empty(x.shape[0], len(group.heads), *x.shape[2:], dtype=x.dtype, device=x.device)
    split = len(group.straight)
    if group.straight:
        lined[:, :split] = take_heads(x, group.straight)
    source = take_heads(x, group.permuted)
    lined[:, split:, : grid.text] = source[:, :, : grid.text]
    target = lined[:, split:, grid.text :].unflatten(2, (grid.places, grid.frames))
    target.copy_(grid.to_token_major(source[:, :, grid.text :]))
    return lined


def put_back(result: torch.Tensor, grid: TokenGrid, group: HeadGroup, out: torch.Tensor) -> None:
    """Undoes :func:`line_up` for the video rows ``result`` [B,h,V,D]."""
    split = len(group.straight)
    video = out[:, :, grid.text :]
    put_heads(video, group.straight, result[:, :split])
    if group.permuted:
        _put_permuted(result[:, split:], grid, group, video)


def _put_permuted(result: torch.Tensor, grid: TokenGrid, group: HeadGroup, video: torch.Tensor) -> None:
    put_heads(video.unflatten(2, (grid.frames, grid.places)), group.permuted, grid.from_token_major(result))


def _joined_tiles(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, text: int, tiles: tuple[Tile, ...]
) -> list[torch.Tensor]:
    """Text and window joined anew for every tile: nothing is overwritten, so gradients flow."""
    parts = []
    for tile in tiles:
        window = slice(text + tile.first, text + tile.last)
        keys, values = (torch.cat([x[:, :, :text], x[:, :, window]], dim=2) for x in (k, v))
        parts.append(sdpa(q[:, :, text + tile.start : text + tile.stop], keys, values))
    return parts


def _sliding_tiles(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, text: int, tiles: tuple[Tile, ...], *, own: bool
) -> list[torch.Tensor]:
    """Text written right before every window. ``own``: ``k`` and ``v`` are already copies that may be overwritten."""
    text_k, text_v = k[:, :, :text].clone(), v[:, :, :text].clone()
    if text and not own and tiles[-1].first:
        k, v = k.clone(), v.clone()
    parts = []
    for tile in tiles:
        # Rows count from the text in front: a window at key `first` starts at row text + first, its text at row first.
        if tile.first:
            k[:, :, tile.first : tile.first + text] = text_k
            v[:, :, tile.first : tile.first + text] = text_v
        window = slice(tile.first, text + tile.last)
        parts.append(sdpa(q[:, :, text + tile.start : text + tile.stop], k[:, :, window], v[:, :, window]))
    return parts
