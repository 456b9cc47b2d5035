"""Bands as contiguous slices of keys and values: no gather, any device.

Measured on two x86 cores in fp32, PyTorch's CPU kernel reaches its full speed from 768 queries a call and 85 % of it
from 192. Tiles at both ends of a band share their window and are one long call; text keys are joined either by lying
right before the window or by merging two partial softmaxes, so that no window is copied.
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
    q, k, v = (line_up(x, grid, group) for x in (q, k, v))
    result = torch.empty(q.shape[0], q.shape[1], grid.video, q.shape[3], dtype=q.dtype, device=q.device)
    attend = _merged_tiles if _can_merge(q, k, v) else _joined_tiles
    attend(q, k, v, grid.text, group.plan.tiles, result)
    put_back(result, grid, group, out)


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
        put_heads(
            video.unflatten(2, (grid.frames, grid.places)),
            group.permuted,
            grid.from_token_major(result[:, split:]),
        )


def _can_merge(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> bool:
    """The CPU kernel hands out its log-sum-exp, but not the gradient through it."""
    needs_gradient = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    return q.device.type == "cpu" and not needs_gradient


def _joined_tiles(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, text: int, tiles: tuple[Tile, ...], result: torch.Tensor
) -> None:
    for tile in tiles:
        first, last = text + tile.first, text + tile.last
        keys, values = (torch.cat([x[:, :, :text], x[:, :, first:last]], dim=2) for x in (k, v))
        result[:, :, tile.start : tile.stop] = sdpa(q[:, :, text + tile.start : text + tile.stop], keys, values)


def _merged_tiles(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, text: int, tiles: tuple[Tile, ...], result: torch.Tensor
) -> None:
    partial = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    for tile in tiles:
        queries = q[:, :, text + tile.start : text + tile.stop]
        target = result[:, :, tile.start : tile.stop]
        if text == 0 or tile.first == 0:
            window = slice(tile.first, text + tile.last)
            target.copy_(sdpa(queries, k[:, :, window], v[:, :, window]))
            continue
        window = slice(text + tile.first, text + tile.last)
        output, log_sum = partial(queries, k[:, :, window], v[:, :, window])
        text_output, text_log_sum = _text_part(queries, k[:, :, :text], v[:, :, :text])
        weight = torch.sigmoid(text_log_sum - log_sum)[..., None].to(output.dtype)
        torch.lerp(output, text_output, weight, out=target)


def _text_part(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention to the text keys alone and its log-sum-exp [B,h,M] in fp32."""
    scores = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).float()
    log_sum = torch.logsumexp(scores, dim=-1)
    return torch.exp(scores - log_sum[..., None]).to(v.dtype) @ v, log_sum
