"""The convolutional network that separates the layers at pixel level, from the backbone's draft.

It looks at a picture in patches of four pixels, so that sharpness (a scene in focus, a reflection out of it) is seen by
its first layer and most of its work is done at a sixteenth of the pixels and fewer. How much light the glass added
shows only in the whole photo (lifted blacks, a cast, low contrast), so its coarsest level is told the photo's own
statistics. It runs on whole pictures and on large tiles, and is recursive: the solution of a coarse picture, enlarged,
is the draft of a finer one.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from magicgen.models.prompt_block import GuidePromptBlock

PATCH = 4
LAYERS = 2
AFFINE = 6  # a gain and an offset for each colour
GAMMA = 2.2
TOE = 5e-3
"""Light below which the camera's curve goes on as a line, so that too much taken off can be learnt from."""


class ChannelNorm(nn.Module):
    """Layer norm over the channels of every place, so that statistics are the same on whole pictures and on tiles."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width, 1, 1))
        self.shift = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same, in single precision."""
        x = x.float()
        spread, mean = torch.var_mean(x, dim=1, keepdim=True, correction=0)
        return (x - mean) * (spread + 1e-5).rsqrt() * self.gain + self.shift


class ResidualBlock(nn.Module):
    """Norm and two 3 x 3 convolutions around a GELU, added to the input with a small learned scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.scale = nn.Parameter(torch.full((width, 1, 1), 0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same."""
        return x + self.scale * self.second(F.gelu(self.first(self.norm(x))))


class PhotoContext(nn.Module):
    """Mean and deviation of every channel over the whole picture, as a scale and a shift of the channels; the identity
    at the start.

    Args:
        width: C.
        dropout: share of the statistics that training leaves out.
    """

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.first = nn.Linear(2 * width, width)
        self.second = nn.Linear(width, 2 * width)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same."""
        spread, mean = torch.var_mean(x.float().flatten(2), dim=2, correction=0)
        told = self.drop(torch.cat([mean, (spread + 1e-5).sqrt()], dim=1))
        scale, shift = self.second(F.gelu(self.first(told)))[:, :, None, None].chunk(2, dim=1)
        return x * (1 + scale) + shift


class LayerRefiner(nn.Module):
    """U-Net over mixture, draft layers and guide, with a guide prompt block at its coarsest level.

    The transmission is changed in light, where glass acts: a smooth gain gives back what the pane swallowed, and the
    light of the reflection, a smooth field and single pixels, is taken off. Both do nothing at the start.

    Args:
        widths: channels at 1/4, 1/8, 1/16 ... of the picture; the last must be divisible by ``heads``.
        blocks: residual blocks of each level on the way down and again on the way up; of the last one, in the middle.
        heads: of the guide prompt block.
        dropout: of the photo's statistics, in training.
    """

    def __init__(
        self,
        widths: Sequence[int] = (48, 96, 128),
        blocks: Sequence[int] = (1, 2, 3),
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        cells = PATCH**2
        self.intro = nn.Conv2d(9 * cells, widths[0], 3, padding=1)
        # Without bias and zero at the start: a guide of zeros adds exactly nothing.
        self.guide = nn.Conv2d(2 * cells, widths[0], 3, padding=1, bias=False)
        nn.init.zeros_(self.guide.weight)
        pairs = list(pairwise(widths))
        sides = list(zip(widths, blocks, strict=True))
        self.down_blocks = nn.ModuleList(_blocks(width, count) for width, count in sides[:-1])
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.context = PhotoContext(widths[-1], dropout)
        self.middle = _blocks(*sides[-1])
        self.prompt = GuidePromptBlock(widths[-1], heads, LAYERS)
        self.ups = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairs)
        self.up_blocks = nn.ModuleList(_blocks(width, count) for width, count in sides[:-1])
        self.outro = nn.Conv2d(widths[0], AFFINE + 6 * cells, 3, padding=1)
        nn.init.zeros_(self.outro.weight)
        nn.init.zeros_(self.outro.bias)  # type: ignore[arg-type]
        self.step = PATCH * 2 ** (len(widths) - 1)

    def forward(
        self, mixture: torch.Tensor, transmission: torch.Tensor, reflection: torch.Tensor, guide: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Correct a draft.

        Args:
            mixture, transmission, reflection: (B, 3, H, W) about [0, 1], sides multiples of ``step``.
            guide: (B, 2, H, W) in [0, 1]: reflection, transmission.

        Returns:
            Transmission and reflection, (B, 3, H, W) each, not clamped.
        """
        stacked = torch.cat([mixture - 0.5, transmission - mixture, reflection], dim=1)
        x = self.intro(F.pixel_unshuffle(stacked, PATCH)) + self.guide(F.pixel_unshuffle(guide, PATCH))
        skips = []
        for block, down in zip(self.down_blocks, self.downs, strict=True):
            x = block(x)
            skips.append(x)
            x = down(x)
        x = self._prompted(self.middle(self.context(x)), guide)
        for block, up, skip in reversed(list(zip(self.up_blocks, self.ups, skips, strict=True))):
            x = block(F.pixel_shuffle(up(x), 2) + skip)
        out = self.outro(F.gelu(x)).float()
        fields = F.interpolate(out[:, :AFFINE], size=mixture.shape[2:], mode="bilinear", align_corners=False)
        detail = F.pixel_shuffle(out[:, AFFINE:], PATCH)
        light = transmission.clamp(0, 1) ** GAMMA
        left = light * torch.exp(fields[:, :3]) - fields[:, 3:] - detail[:, :3]
        return transmission + (_coded(left) - _coded(light)), reflection + detail[:, 3:]

    def _prompted(self, x: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        """Let the guide speak at the coarsest level: the marked places ask, the whole picture answers."""
        # The guide's channel order is reflection, transmission; the layers' order is transmission, reflection.
        shares = F.adaptive_avg_pool2d(guide, (x.shape[2], x.shape[3])).flatten(2).flip(1)
        tokens = x.flatten(2).transpose(1, 2)[:, None].expand(-1, LAYERS, -1, -1)
        return self.prompt(tokens, shares).mean(dim=1).transpose(1, 2).reshape(x.shape)


def _coded(light: torch.Tensor) -> torch.Tensor:
    """Light to sRGB values, a line below the toe."""
    curve = light.clamp_min(TOE) ** (1 / GAMMA)
    return curve + (light - TOE).clamp_max(0) * (TOE ** (1 / GAMMA - 1) / GAMMA)


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))
