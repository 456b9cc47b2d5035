"""What glass adds, told by the statistics of every place: the automatic answer of reflection removal.

A reflection lifts the blacks around it, softens, and takes colour away. How much each of these signs should darken a
place is a linear sum over local statistics, whose few weights are solved for, not descended to: with a hundred scenes
to learn from, a sum that is drawn towards no change carries over to other photos better than a deep network, which
learns the scenes by heart. The dark channel is that of He, Sun and Tang 2009 ("Single image haze removal using dark
channel prior").
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

READING_SIDE = 48
"""Shorter side, in pixels, at which a picture is read; its sharpness is measured at twice that."""
WINDOWS = (1.5, 4.0, 10.0)
"""Reach of the local statistics, in pixels of the reading size."""
STATISTICS = 9 + 9 * len(WINDOWS)
LIMIT = 3.0
"""Statistics further from their mean than this many deviations count as this far."""


def read(picture: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) -> (B, 3, h, w) at the reading size, never larger than half the picture."""
    return F.avg_pool2d(_detailed(picture), 2)


def local_statistics(picture: torch.Tensor) -> torch.Tensor:
    """What each place of a picture looks like, the same for its mirror image.

    Args:
        picture: (B, 3, H, W) sRGB in [0, 1], sides of 2 or more.

    Returns:
        (B, STATISTICS, h, w): colour, smallest channel, saturation and squared grey; height, distance from the middle
        and from the border; and for each window mean and deviation of grey, dark channel, darkest and brightest grey,
        mean saturation and warmth, fine detail, and detail against deviation.
    """
    detailed = _detailed(picture.float())
    small = F.avg_pool2d(detailed, 2)
    sharp = detailed.mean(dim=1, keepdim=True)
    fine = F.avg_pool2d((sharp - _blurred(sharp, 1.0)).abs(), 2)
    grey, least = small.mean(dim=1, keepdim=True), small.amin(dim=1, keepdim=True)
    saturation = small.amax(dim=1, keepdim=True) - least
    warmth = small[:, :1] - small[:, 2:]
    parts = [small, least, saturation, grey.square(), _places(small)]
    for reach in WINDOWS:
        window = int(2 * reach) | 1
        mean, squared, colour, warm, detail = _blurred(
            torch.cat([grey, grey.square(), saturation, warmth, fine], dim=1), reach
        ).split(1, dim=1)
        deviation = (squared - mean.square()).clamp_min(0).sqrt()
        extremes = F.max_pool2d(torch.cat([-least, -grey, grey], dim=1), window, stride=1, padding=window // 2)
        dark, dim, bright = _blurred(extremes, reach / 2).split(1, dim=1)
        parts += [mean, deviation, -dark, -dim, bright, colour, warm, detail, detail / (deviation + 0.02)]
    return torch.cat(parts, dim=1)


class VeilEstimator(nn.Module):
    """The change that takes a reflection off, guessed for every place. No change before it is fitted.

    All its values are buffers: nothing here learns by gradients (see :mod:`magicgen.training.reflection_veil`).
    """

    centre: torch.Tensor
    spread: torch.Tensor
    weight: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(STATISTICS))
        self.register_buffer("spread", torch.ones(STATISTICS))
        self.register_buffer("weight", torch.zeros(1 + STATISTICS, 3))

    def terms(self, picture: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, h, w, 1 + STATISTICS): what is summed, at the reading size."""
        values = (local_statistics(picture).movedim(1, 3) - self.centre) / self.spread
        return torch.cat([torch.ones_like(values[..., :1]), values.clamp(-LIMIT, LIMIT)], dim=3)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) sRGB in [0, 1] -> the change of it, (B, 3, H, W)."""
        change = (self.terms(picture) @ self.weight).movedim(3, 1)
        return F.interpolate(change, size=picture.shape[2:], mode="bilinear", align_corners=False)


def _detailed(picture: torch.Tensor) -> torch.Tensor:
    """At twice the reading size: even sides, never enlarged."""
    sides = picture.shape[2:]
    scale = min(1.0, 2 * READING_SIDE / min(sides))
    rows, columns = (2 * max(1, round(side * scale / 2)) for side in sides)
    return F.interpolate(picture, size=(rows, columns), mode="area")


def _places(picture: torch.Tensor) -> torch.Tensor:
    """(B, 3, h, w): height from -0.5 to 0.5, distance from the middle column, distance from the border."""
    batch, _, rows, columns = picture.shape
    down = torch.linspace(-0.5, 0.5, rows, device=picture.device) if rows > 1 else picture.new_zeros(1)
    across = torch.linspace(-0.5, 0.5, columns, device=picture.device).abs() if columns > 1 else picture.new_zeros(1)
    height, middle = down[:, None].expand(rows, columns), across[None].expand(rows, columns)
    return torch.stack([height, middle, 0.5 - torch.maximum(height.abs(), middle)]).expand(batch, -1, -1, -1)


def _blurred(values: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian mean of every channel, (B, C, h, w); the border goes on."""
    radius = math.ceil(3 * sigma)
    line = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=values.device) / sigma) ** 2)
    line = line / line.sum()
    flat = F.pad(values.flatten(0, 1)[:, None], (radius, radius, radius, radius), mode="replicate")
    return F.conv2d(F.conv2d(flat, line[None, None, None]), line[None, None, :, None])[:, 0].unflatten(
        0, values.shape[:2]
    )
