"""A small network that reads the storybook world: which kind of character a crop shows, its colour, what it wears.

It judges generated stories (magicgen.evaluation.story); nothing is generated with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

CROP = 64


@dataclass
class Reading:
    """Logits of a batch: (B, kinds), (B, colours), (B, accessories with "none" first); ``features``: (B, width)."""

    kind: torch.Tensor
    colour: torch.Tensor
    accessory: torch.Tensor
    features: torch.Tensor


class StorybookReader(ModelMixin, ConfigMixin):
    """Crops (B, 3, 64, 64) in [-1, 1] -> :class:`Reading`.

    Args:
        kinds, colours, accessories: the words behind the logits, in order.
        widths: channels of the stages; each halves the size.
    """

    _supports_gradient_checkpointing = False

    @register_to_config
    def __init__(
        self,
        kinds: Sequence[str] = (),
        colours: Sequence[str] = (),
        accessories: Sequence[str] = (),
        widths: Sequence[int] = (24, 48, 96, 144),
    ) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = 3
        for width in widths:
            stages += [
                nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.SiLU(),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.SiLU(),
            ]
            before = width
        self.stages = nn.Sequential(*stages)
        # Four quarters of the crop keep what sits where: a hat above, a scarf in the middle.
        self.project = nn.Sequential(nn.Linear(4 * before, 128), nn.SiLU())
        self.kind, self.colour = nn.Linear(128, len(kinds)), nn.Linear(128, len(colours))
        self.accessory = nn.Linear(128, len(accessories) + 1)

    def forward(self, crops: torch.Tensor) -> Reading:
        """Read a batch of crops."""
        pooled = nn.functional.adaptive_avg_pool2d(self.stages(crops), 2).flatten(1)
        features = self.project(pooled)
        return Reading(self.kind(features), self.colour(features), self.accessory(features), features)
