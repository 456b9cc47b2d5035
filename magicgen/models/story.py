"""The story model: one backbone that draws a picture from text by region, a cast of references, a plate and a sketch.

A picture is one latent frame. A second frame holds the cast, up to three characters side by side, which the picture's
tokens reach through attention (identity shared by attention); the plate, the empty place, is the draft that the network
corrects; the sketch or the skeletons go through the control branch. Regional attention after EliGen (arXiv 2501.01097)
as DiffSynth-Studio publishes it: picture to picture stays full.
"""

from dataclasses import dataclass, replace

import torch
from torch import nn

from magicgen.attention.regions import RegionPlan, regional_attention
from magicgen.models.autoencoder import BlockTransformAutoencoder
from magicgen.models.conditioning import encode_video
from magicgen.models.control_branch import ControlBranch
from magicgen.models.positions import rotary_embedding
from magicgen.models.text_encoder import WordTextEncoder
from magicgen.models.transformer import VideoTransformer

STATE_CHANNELS = 2
"""What is told beside plate and cast: whether a plate is given, and where the cast is."""


@dataclass(frozen=True)
class StoryConditions:
    """What a batch of pictures is made from; C latent channels, h x w latent pixels.

    Attributes:
        plate: (B, 1, C, h, w) latent of the empty place, zero where unknown. plate_known: (B,) 0 or 1.
        cast: (B, 1, C, h, w) latent of the references, zero where unknown. cast_known: (B, 1, 1, h, w) 0 or 1.
        map: (B, 1, C, h, w) latent of the sketch or skeletons.
        text: (B, L, D) embeddings: the global prompt, then the local ones.
        plans: who may look at whom: one plan for all, or one a picture; None for no regions.
        base_ratio: share of attention without regions that is mixed in.
    """

    plate: torch.Tensor
    plate_known: torch.Tensor
    cast: torch.Tensor
    cast_known: torch.Tensor
    map: torch.Tensor
    text: torch.Tensor
    plans: tuple[RegionPlan, ...] | None
    base_ratio: float = 0.0

    def repeated(self, count: int) -> "StoryConditions":
        """The conditions of one picture (B = 1) for ``count`` pictures."""
        tensors = {
            name: getattr(self, name).expand(count, *getattr(self, name).shape[1:])
            for name in ("plate", "plate_known", "cast", "cast_known", "map", "text")
        }
        return replace(self, **tensors)


class StoryNetwork(nn.Module):
    """Backbone, control branch and text encoder as one denoiser of pictures."""

    def __init__(
        self,
        transformer: VideoTransformer,
        branch: ControlBranch,
        text_encoder: WordTextEncoder,
        vae: BlockTransformAutoencoder,
    ) -> None:
        super().__init__()
        self.transformer, self.branch, self.text_encoder = transformer, branch, text_encoder
        self.vae = vae.requires_grad_(False)

    def forward(self, noisy: torch.Tensor, timestep: torch.Tensor, given: StoryConditions) -> torch.Tensor:
        """The clean picture (B, 1, C, h, w) from a noisy one; ``timestep``: (B,) in 0..999."""
        quiet = torch.zeros_like(noisy)
        batch, _, _, height, width = noisy.shape
        told = given.plate_known.to(noisy).view(batch, 1, 1, 1, 1).expand(batch, 1, 1, height, width)
        nothing = torch.zeros_like(told)
        frames = torch.cat([noisy, quiet], dim=1)
        image = torch.cat([given.plate, given.cast], dim=1)
        state = torch.cat(
            [torch.cat([told, nothing], dim=2), torch.cat([nothing, given.cast_known.to(noisy)], dim=2)], dim=1
        )
        rotary = rotary_embedding(self.transformer.config, 2, height, width, noisy.device)
        with regional_attention((self.transformer, self.branch), given.plans, given.base_ratio):
            control = self.branch(
                frames, torch.cat([given.map, quiet], dim=1), given.text, timestep, image_rotary_emb=rotary
            )
            output = self.transformer(
                torch.cat([frames, image, state], dim=2),
                given.text,
                timestep,
                image_rotary_emb=rotary,
                control_states=control,
                control_layers=self.branch.config.control_layers,
                return_dict=False,
            )[0]
        return output[:, :1]

    def embed(self, background: list[str], prompts: list[tuple[str, ...]], words: int, local: int) -> torch.Tensor:
        """Text embeddings (B, words + n * local, D) of global and local prompts."""
        device = self.text_encoder.positions.device
        told = self.text_encoder(self.text_encoder.tokens(background)[:, :words].to(device))
        parts = [told]
        for each in zip(*prompts, strict=True):
            parts.append(self.text_encoder(self.text_encoder.tokens(list(each))[:, :local].to(device)))
        return torch.cat(parts, dim=1)

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 1, C, H/8, W/8)."""
        return encode_video(self.vae, pictures[:, :, None])
