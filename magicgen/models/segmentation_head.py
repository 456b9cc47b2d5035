"""The latent segmentation head: it predicts the latent of the mask video from the backbone's features.

MagicMotion's perception head (arXiv 2503.16421, section 3.4). It serves the training loss alone; sampling never runs
it, so it costs nothing there.
"""

from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.nn import functional as F

from magicgen.errors import MagicGenError


class LatentSegmentationHead(ModelMixin, ConfigMixin):
    """One 3x3 convolution per block's features, summed, upsampled by the patch size and projected to latent channels.

    Args:
        num_layers: blocks whose features are read.
        feature_channels: D, the width of the backbone.
        hidden_channels: width of the head.
        out_channels: channels of a latent.
        patch_size: patch size of the backbone, the factor of the upsampling.
    """

    @register_to_config
    def __init__(
        self,
        num_layers: int = 42,
        feature_channels: int = 3072,
        hidden_channels: int = 64,
        out_channels: int = 16,
        patch_size: int = 2,
        norm_groups: int = 16,
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(feature_channels, hidden_channels, 3, padding=1),
                nn.GroupNorm(norm_groups, hidden_channels),
                nn.ReLU(),
            )
            for _ in range(num_layers)
        )
        self.conv_out = nn.Conv2d(hidden_channels, out_channels, 1)

    def forward(self, features: Sequence[torch.Tensor], frames: int, height: int, width: int) -> torch.Tensor:
        """Predict the latent of the mask video.

        Args:
            features: per block (B, F * h/p * w/p, D), frame-major.
            frames, height, width: F, h, w of the latent.

        Returns:
            (B, F, out_channels, h, w).

        Raises:
            MagicGenError: another number of features than the head has branches.
        """
        if len(features) != len(self.convs):
            raise MagicGenError(f"The segmentation head reads {len(self.convs)} feature maps; got {len(features)}.")
        patch = self.config.patch_size
        batch, rows, columns = features[0].shape[0], height // patch, width // patch
        total = sum(
            conv(feature.reshape(batch * frames, rows, columns, -1).permute(0, 3, 1, 2))
            for conv, feature in zip(self.convs, features, strict=True)
        )
        # A 1x1 convolution and bilinear upsampling commute; this order does a quarter of the work.
        latent = F.interpolate(self.conv_out(total), scale_factor=float(patch), mode="bilinear", align_corners=False)
        return latent.unflatten(0, (batch, frames))
