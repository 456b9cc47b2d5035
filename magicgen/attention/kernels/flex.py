"""Bands through PyTorch's FlexAttention: a BlockMask built from block numbers, so no mask is ever evaluated densely.

Keys are laid out as video, then text, padded at the end only, which the kernel handles itself. Every block of a window
is full. One block may hold the last video keys and the first text keys together; queries whose window does not reach it
see only its text half, the single use of a mask function here.
"""

import shutil
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from magicgen.attention.kernels.heads import HeadGroup, put_heads, take_heads
from magicgen.attention.patterns import KEY_BLOCK, BandPlan
from magicgen.attention.tokens import TokenGrid

CPP_COMPILERS = ("g++", "clang++", "c++", "cl")


def flex_unavailable(device: torch.device, dtype: torch.dtype, head_dim: int, gradients: bool = False) -> str | None:
    """Why FlexAttention cannot run compiled here, or None. Uncompiled it would be far slower than dense attention."""
    if head_dim & (head_dim - 1):
        return f"head dimension {head_dim} is not a power of two"
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"no kernel for {dtype}"
    if device.type == "cpu":
        if gradients:
            return "no backward pass on a CPU"
        if not any(shutil.which(name) for name in CPP_COMPILERS):
            return f"no C++ compiler on this machine (looked for {', '.join(CPP_COMPILERS)})"
        return None
    return None if device.type in ("cuda", "xpu") else f"no kernel for device {device.type}"


@cache
def _compiled() -> Callable[..., torch.Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


def band_block_mask(plan: BandPlan, grid: TokenGrid, device: torch.device) -> Any:
    """The BlockMask of a band for video queries against keys laid out as video, text."""
    from torch.nn.attention.flex_attention import BlockMask

    mixed = grid.video // KEY_BLOCK if grid.video % KEY_BLOCK and grid.text else None
    after_video = list(range(-(-grid.video // KEY_BLOCK), -(-grid.total // KEY_BLOCK)))
    full: list[list[int]] = []
    partial: list[list[int]] = []
    for tile in plan.tiles:
        window = list(range(tile.first // KEY_BLOCK, -(-tile.last // KEY_BLOCK)))
        for _ in range(tile.start, tile.stop, KEY_BLOCK):
            full.append(window + after_video)
            partial.append([] if mixed is None or mixed in window else [mixed])
    video = grid.video

    def text_half(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        return kv >= video

    return BlockMask.from_kv_blocks(
        *_block_table(partial, grid, device),
        *_block_table(full, grid, device),
        BLOCK_SIZE=KEY_BLOCK,
        mask_mod=text_half if any(partial) else None,
        seq_lengths=(grid.video, grid.total),
    )


def _block_table(rows: list[list[int]], grid: TokenGrid, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    columns = -(-grid.total // KEY_BLOCK)
    counts = torch.tensor([len(row) for row in rows], dtype=torch.int32, device=device)
    table = torch.tensor([row + [0] * (columns - len(row)) for row in rows], dtype=torch.int32, device=device)
    return counts[None, None], table[None, None]


def bind_band(
    group: HeadGroup, grid: TokenGrid, device: torch.device
) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]:
    """A function (q, k, v, out) that writes the group's video rows; its BlockMask is made once, here."""
    assert isinstance(group.plan, BandPlan)
    block_mask = band_block_mask(group.plan, grid, device)
    attend = _compiled()

    def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor) -> None:
        q, k, v = (_line_up(x, grid, group) for x in (q, k, v))
        keys, values = (torch.cat([x[:, :, grid.text :], x[:, :, : grid.text]], dim=2) for x in (k, v))
        result = attend(q[:, :, grid.text :].contiguous(), keys, values, block_mask=block_mask)
        _put_back(result, grid, group, out)

    return run


def _line_up(x: torch.Tensor, grid: TokenGrid, group: HeadGroup) -> torch.Tensor:
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


def _put_back(result: torch.Tensor, grid: TokenGrid, group: HeadGroup, out: torch.Tensor) -> None:
    """Undoes :func:`_line_up` for the video rows ``result`` [B,h,V,D]."""
    split = len(group.straight)
    video = out[:, :, grid.text :]
    put_heads(video, group.straight, result[:, :split])
    if group.permuted:
        frames = video.unflatten(2, (grid.frames, grid.places))
        put_heads(frames, group.permuted, grid.from_token_major(result[:, split:]))
