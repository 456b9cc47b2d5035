"""The story model: one backbone that draws a picture from text by region, a cast of references, a plate and a sketch.

A picture is one latent frame. A second frame holds the cast, up to three characters side by side, which the picture's
tokens reach through attention (identity shared by attention); the plate, the empty place, is the draft that the network
corrects; the sketch or the skeletons go through the control branch. Regional attention after EliGen (arXiv 2501.01097)
as DiffSynth-Studio publishes it: picture to picture stays full.
"""

from dataclasses import dataclass, replace

import torch
from torch import nn

from magicgen.attention.cast_memory import CastMemory, recalling, remembering
from magicgen.attention.regions import RegionPlan, regional_attention
from magicgen.errors import PlanError
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

    @property
    def lonely_cast(self) -> bool:
        """Whether the cast sees itself alone, so that it can be computed apart from the picture."""
        return self.plans is not None and len(self.plans) == 1 and self.base_ratio == 0

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

    def forward(
        self,
        noisy: torch.Tensor,
        timestep: torch.Tensor,
        given: StoryConditions,
        memory: CastMemory | None = None,
    ) -> torch.Tensor:
        """The clean picture (B, 1, C, h, w) from a noisy one; ``timestep``: (B,) in 0..999.

        ``memory``: of :meth:`remember_cast` at this timestep; the cast is then not computed again.
        """
        if memory is not None:
            return self._with_memory(noisy, timestep, given, memory)
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
            shown = torch.cat([frames, image, state], dim=2)
            output = self._steered(frames, shown, torch.cat([given.map, quiet], dim=1), timestep, given.text, rotary)
        return output[:, :1]

    def remember_cast(self, timestep: torch.Tensor, given: StoryConditions) -> CastMemory:
        """What the cast of ``given`` (B = 1) contributes at a ``timestep`` (1,), see :mod:`..attention.cast_memory`.

        Raises:
            PlanError: the conditions mix the cast with the picture.
        """
        if not given.lonely_cast:
            raise PlanError("the cast can be remembered only where it sees itself alone: one plan, no base_ratio")
        assert given.plans is not None
        quiet, known = torch.zeros_like(given.cast), given.cast_known.to(given.cast)
        state = torch.cat([torch.zeros_like(known), known], dim=2)
        with remembering((self.transformer, self.branch), given.plans[0]) as memory:
            self._drawn(quiet, torch.cat([quiet, given.cast, state], dim=2), quiet, timestep, given.text[:, :0], 1)
        return memory

    def _with_memory(
        self, noisy: torch.Tensor, timestep: torch.Tensor, given: StoryConditions, memory: CastMemory
    ) -> torch.Tensor:
        assert given.plans is not None
        told = given.plate_known.to(noisy).view(-1, 1, 1, 1, 1).expand(-1, 1, 1, *noisy.shape[3:])
        state = torch.cat([told, torch.zeros_like(told)], dim=2)
        with recalling((self.transformer, self.branch), given.plans[0], memory):
            return self._drawn(noisy, torch.cat([noisy, given.plate, state], dim=2), given.map, timestep, given.text, 0)

    def _drawn(
        self,
        noisy: torch.Tensor,
        frame: torch.Tensor,
        condition: torch.Tensor,
        timestep: torch.Tensor,
        text: torch.Tensor,
        place: int,
    ) -> torch.Tensor:
        """One frame (B, 1, ...) through branch and backbone; ``place``: 0 where it is the picture, 1 the cast."""
        height, width = noisy.shape[3:]
        rotary = rotary_embedding(self.transformer.config, 2, height, width, noisy.device)
        if rotary is not None:
            half = len(rotary[0]) // 2
            part = slice(place * half, (place + 1) * half)
            rotary = (rotary[0][part], rotary[1][part])
        return self._steered(noisy, frame, condition, timestep, text, rotary)

    def _steered(
        self,
        noisy: torch.Tensor,
        shown: torch.Tensor,
        condition: torch.Tensor,
        timestep: torch.Tensor,
        text: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> torch.Tensor:
        """Frames (B, F, C, h, w) through the branch and, with all that is ``shown`` beside them, the backbone."""
        control = self.branch(noisy, condition, text, timestep, image_rotary_emb=rotary)
        output: torch.Tensor = self.transformer(
            shown,
            text,
            timestep,
            image_rotary_emb=rotary,
            control_states=control,
            control_layers=self.branch.config.control_layers,
            return_dict=False,
        )[0]
        return output

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
