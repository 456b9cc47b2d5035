"""A small convolutional network that corrects a solution of the layers at pixel level.

It is fully convolutional, so it runs on whole pictures and on tiles, and recursive: the solution of a coarse picture,
enlarged, is the draft of a finer one.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions around a GELU; the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same."""
        return x + self.second(F.gelu(self.first(x)))


class LayerRefiner(nn.Module):
    """U-Net over mixture, draft layers and guide.

    Args:
        widths: channels at 1/2, 1/4, 1/8 ... of the picture.
        blocks: residual blocks at the coarsest level; the others have one on the way down and one on the way up.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 96, 128), blocks: int = 2) -> None:
        super().__init__()
        self.intro = nn.Conv2d(36, widths[0], 3, padding=1)
        # Without bias and zero at the start: a guide of zeros adds exactly nothing.
        self.guide = nn.Conv2d(8, widths[0], 3, padding=1, bias=False)
        nn.init.zeros_(self.guide.weight)
        pairs = list(pairwise(widths))
        self.down_blocks = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.middle = nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(blocks)))
        self.ups = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairs)
        self.up_blocks = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.outro = nn.Conv2d(widths[0], 24, 3, padding=1)
        nn.init.zeros_(self.outro.weight)
        nn.init.zeros_(self.outro.bias)  # type: ignore[arg-type]
        self.step = 2 ** len(widths)

    def forward(
        self, mixture: torch.Tensor, transmission: torch.Tensor, reflection: torch.Tensor, guide: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Correct a draft.

        Args:
            mixture, transmission, reflection: (B, 3, H, W) about [0, 1], sides multiples of ``step``.
            guide: (B, 2, H, W) in [0, 1].

        Returns:
            Transmission and reflection, (B, 3, H, W) each, not clamped.
        """
        stacked = F.pixel_unshuffle(torch.cat([mixture, transmission, reflection], dim=1) - 0.5, 2)
        x = self.intro(stacked) + self.guide(F.pixel_unshuffle(guide, 2))
        skips = []
        for block, down in zip(self.down_blocks, self.downs, strict=True):
            x = block(x)
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for block, up, skip in reversed(list(zip(self.up_blocks, self.ups, skips, strict=True))):
            x = block(F.pixel_shuffle(up(x), 2) + skip)
        change = F.pixel_shuffle(self.outro(F.gelu(x)), 2)
        return transmission + change[:, :3], reflection + change[:, 3:]
