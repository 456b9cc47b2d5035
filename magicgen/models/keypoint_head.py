"""A small network that finds the joints of a drawn character: heat maps and their centres of mass.

Integral regression of coordinates from heat maps after Sun et al. (arXiv 1711.08229).
"""

from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.nn import functional as F

CROP = 64


class KeypointHead(ModelMixin, ConfigMixin):
    """Crops (B, 3, 64, 64) in [-1, 1] -> joints (B, joints, 2), x and y from 0 to 1 across the crop.

    Args:
        joints: names, in the order of the output.
        widths: channels of the stages; each halves the size, and the maps have that of the second one.
        features: channels in which the stages meet.
    """

    _supports_gradient_checkpointing = False

    @register_to_config
    def __init__(
        self, joints: Sequence[str] = (), widths: Sequence[int] = (24, 48, 96, 128), features: int = 64
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        before = 3
        for width in widths:
            self.stages.append(
                nn.Sequential(
                    nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.SiLU()
                )
            )
            before = width
        self.laterals = nn.ModuleList(nn.Conv2d(width, features, 1) for width in widths[1:])
        self.mix = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1, bias=False), nn.BatchNorm2d(features), nn.SiLU()
        )
        self.maps = nn.Conv2d(features, len(joints), 1)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Find the joints of a batch of crops."""
        levels = []
        for stage in self.stages:
            crops = stage(crops)
            levels.append(crops)
        met: torch.Tensor | None = None
        for lateral, level in zip(reversed(self.laterals), reversed(levels[1:]), strict=True):
            told = lateral(level)
            met = told if met is None else told + F.interpolate(met, size=told.shape[-2:], mode="nearest")
        maps = self.maps(self.mix(met))
        rows, columns = maps.shape[-2:]
        share = maps.flatten(2).softmax(-1).view_as(maps)
        x = (torch.arange(columns, device=maps.device) + 0.5) / columns
        y = (torch.arange(rows, device=maps.device) + 0.5) / rows
        return torch.stack([(share.sum(2) * x).sum(-1), (share.sum(3) * y).sum(-1)], dim=-1)
