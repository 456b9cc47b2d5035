"""A small network that reads the storybook world: which kind of character a crop shows, its colour, what it wears, and
the exact tints by which two figures of the same words differ.

It judges generated stories (magicgen.evaluation.story); nothing is generated with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

CROP = 64
PARTS = ("main", "second", "skin", "hair", "accessory")
"""What has a tint of its own: fur or clothes, belly or trousers, and of people skin and hair; what is worn."""


@dataclass
class Reading:
    """Logits of a batch: (B, kinds), (B, colours), (B, accessories with "none" first).

    ``tints``: (B, parts, 3) the RGB of every one of :data:`PARTS`, 0..1; those that a figure lacks mean nothing.
    """

    kind: torch.Tensor
    colour: torch.Tensor
    accessory: torch.Tensor
    tints: torch.Tensor


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
        self.tints = nn.Linear(128, 3 * len(PARTS))

    def forward(self, crops: torch.Tensor) -> Reading:
        """Read a batch of crops."""
        pooled = nn.functional.adaptive_avg_pool2d(self.stages(crops), 2).flatten(1)
        features = self.project(pooled)
        tints = self.tints(features).unflatten(1, (len(PARTS), 3))
        return Reading(self.kind(features), self.colour(features), self.accessory(features), tints)


def tint_distance(read: torch.Tensor, real: torch.Tensor, has: torch.Tensor) -> torch.Tensor:
    """(B,) mean difference in grey levels of 255 over the parts of a figure's body; what it wears is left out.

    Args:
        read, real: (B, parts, 3), 0..1. has: (B, parts) bool, the parts that a figure has.
    """
    body = has[:, :-1].to(read)
    off = (read - real).abs().mean(dim=2)[:, :-1] * body
    return 255 * off.sum(dim=1) / body.sum(dim=1)
