"""Reflection removal on the shared backbone: an adapter that makes a video transformer separate two layers.

The mixture's latent becomes two latent frames, one for the transmission and one for the reflection; the backbone's own
blocks (with low-rank changes), time embedding and last norms work on them once, at one fixed time, and own projections
lead in and out. The transmission starts from the mixture itself: an untrained adapter answers with the photo.

The backbone is never changed: the low-rank sums are made beside it and handed to its blocks by
``torch.func.functional_call``, so that the same object goes on making videos.
"""

from dataclasses import dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from magicgen.errors import WeightsError
from magicgen.models.autoencoder import BLOCK, BlockTransformAutoencoder
from magicgen.models.conditioning import decode_video, encode_video
from magicgen.models.positions import rotary_embedding
from magicgen.models.prompt_block import GuidePromptBlock
from magicgen.models.refiner import GAMMA, LayerRefiner
from magicgen.models.transformer import VideoTransformer, embed_time, unpatchify
from magicgen.models.veil import VeilEstimator

LAYERS = 2  # transmission, reflection
AFFINE = 6  # a gain and an offset for each colour
ASSURED = 0.25
"""From this share of the picture on that a guide speaks of, the network's own answer replaces the automatic one."""
ADAPTED = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "ff.net.0.proj", "ff.net.2")


@dataclass(frozen=True)
class LayerPair:
    """Transmission and reflection, (B, 3, H, W) each, about [0, 1] and not clamped."""

    transmission: torch.Tensor
    reflection: torch.Tensor


class ReflectionAdapter(ModelMixin, ConfigMixin):
    """Everything that reflection removal adds to a backbone.

    Args:
        layers, width, feedforward, heads, time_embed_dim, latent_channels, patch_size: the backbone's.
        rank: of the changes to attention and feed-forward matrices.
        prompt_tokens: learned tokens in the place of text.
        prompt_layers: blocks after which a guide prompt block stands.
        refiner_widths, refiner_blocks, refiner_dropout: see :class:`LayerRefiner`.
        context: the backbone sees the picture this many times smaller than the refiner does.
        timestep: the fixed time at which the backbone is asked.
        working_side: shorter side, in pixels, at which it sees a picture.
    """

    @register_to_config
    def __init__(
        self,
        layers: int = 4,
        width: int = 256,
        feedforward: int = 1024,
        heads: int = 4,
        time_embed_dim: int = 128,
        latent_channels: int = 192,
        patch_size: int = 2,
        rank: int = 32,
        prompt_tokens: int = 4,
        prompt_layers: tuple[int, ...] = (1, 2),
        refiner_widths: tuple[int, ...] = (32, 64, 128),
        refiner_blocks: tuple[int, ...] = (1, 2, 2),
        refiner_dropout: float = 0.0,
        context: int = 2,
        timestep: int = 499,
        working_side: int = 160,
    ) -> None:
        super().__init__()
        patch = latent_channels * patch_size**2
        self.patch_in = nn.Conv2d(latent_channels, width, patch_size, stride=patch_size)
        self.guide_in = nn.Conv2d(2, width, patch_size, stride=patch_size, bias=False)
        nn.init.zeros_(self.guide_in.weight)
        self.role = nn.Parameter(torch.randn(LAYERS, 1, width) * 0.02)
        self.task = nn.Parameter(torch.zeros(time_embed_dim))
        self.prompt = nn.Parameter(torch.randn(1, prompt_tokens, width) * 0.02)
        sizes = {"ff.net.0.proj": (feedforward, width), "ff.net.2": (width, feedforward)}
        shapes = [sizes.get(name, (width, width)) for _ in range(layers) for name in ADAPTED]
        self.lower = nn.ParameterList(torch.randn(rank, columns) * columns**-0.5 for _, columns in shapes)
        self.upper = nn.ParameterList(torch.zeros(rows, rank) for rows, _ in shapes)
        self.prompt_blocks = nn.ModuleList(GuidePromptBlock(width, heads) for _ in prompt_layers)
        self.transmission_out = nn.Linear(width, patch + AFFINE)
        self.reflection_out = nn.Linear(width, patch)
        for head in (self.transmission_out, self.reflection_out):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.refiner = LayerRefiner(refiner_widths, refiner_blocks, dropout=refiner_dropout)
        self.veil = VeilEstimator()

    @classmethod
    def from_backbone(cls, base: VideoTransformer, **options: object) -> "ReflectionAdapter":
        """A fresh adapter that reads the mixture as the backbone reads a picture held still."""
        config = base.config
        width = config.num_attention_heads * config.attention_head_dim
        adapter = cls(
            layers=config.num_layers,
            width=width,
            feedforward=base.transformer_blocks[0].ff.net[2].in_features,
            heads=config.num_attention_heads,
            time_embed_dim=config.time_embed_dim,
            latent_channels=config.out_channels,
            patch_size=config.patch_size,
            **options,
        )
        weight, channels = base.patch_embed.proj.weight, config.out_channels
        with torch.no_grad():
            adapter.patch_in.weight.copy_(weight[:, :channels] + weight[:, channels : 2 * channels])
            if base.patch_embed.proj.bias is not None:
                adapter.patch_in.bias.copy_(base.patch_embed.proj.bias)
        return adapter

    def check(self, base: VideoTransformer) -> None:
        """Raises:
        WeightsError: the adapter was made for another backbone.
        """
        own, config = self.config, base.config
        width = config.num_attention_heads * config.attention_head_dim
        have = (config.num_layers, width, config.time_embed_dim, config.out_channels, config.patch_size)
        want = (own.layers, own.width, own.time_embed_dim, own.latent_channels, own.patch_size)
        if have != want or config.patch_size_t is not None:
            raise WeightsError(
                f"The reflection adapter fits a backbone with (layers, width, time width, channels, patch) = {want}; "
                f"this one has {have}. Give the backbone that it was trained on."
            )

    def block_weights(self, base: VideoTransformer) -> list[dict[str, torch.Tensor]]:
        """For each block of the backbone, its adapted matrices under the block's own names."""
        weights = []
        for index, block in enumerate(base.transformer_blocks):
            start = index * len(ADAPTED)
            weights.append(
                {
                    f"{name}.weight": block.get_parameter(f"{name}.weight")
                    + self.upper[start + place] @ self.lower[start + place]
                    for place, name in enumerate(ADAPTED)
                }
            )
        return weights


class ReflectionNetwork(nn.Module):
    """Backbone, autoencoder and adapter together. Only the adapter has trainable parameters.

    Args:
        base: the shared backbone, which stays as it is.
        vae: the fixed block transform that it was trained with.
        adapter: see :class:`ReflectionAdapter`.

    Raises:
        WeightsError: the parts do not fit each other.
    """

    def __init__(self, base: VideoTransformer, vae: BlockTransformAutoencoder, adapter: ReflectionAdapter) -> None:
        super().__init__()
        adapter.check(base)
        self.base = base.requires_grad_(False)
        self.vae = vae.requires_grad_(False)
        self.adapter = adapter
        self.step = BLOCK * adapter.config.patch_size

    def encode(self, mixture: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in [0, 1] -> latents (B, C, h, w) of the smaller picture that the backbone sees. Independent of
        the guide."""
        small = F.interpolate(mixture, size=self.context_size(mixture), mode="area")
        return encode_video(self.vae, small[:, :, None] * 2 - 1)[:, 0]

    def context_size(self, mixture: torch.Tensor) -> tuple[int, int]:
        """(h, w) at which the backbone sees a picture: multiples of ``step`` near its size over ``context``."""
        cell = self.step * self.adapter.config.context
        rows, columns = (self.step * max(1, round(side / cell)) for side in mixture.shape[2:])
        return rows, columns

    def draft(self, mixture: torch.Tensor, guide: torch.Tensor, latent: torch.Tensor | None = None) -> LayerPair:
        """One step of the backbone: the two layers of a whole picture, before refinement.

        Args:
            mixture: (B, 3, H, W) in [0, 1].
            guide: (B, 2, H, W) in [0, 1]: reflection, transmission.
            latent: of :meth:`encode`, if there already.
        """
        adapter, base = self.adapter, self.base
        latent = self.encode(mixture) if latent is None else latent
        batch, height, width = latent.shape[0], latent.shape[2], latent.shape[3]
        pooled = F.adaptive_avg_pool2d(guide, (height, width))
        frame = adapter.patch_in(latent) + adapter.guide_in(pooled)
        rows, columns = frame.shape[2:]
        tokens = frame.flatten(2).transpose(1, 2)[:, None] + adapter.role
        time = torch.full((batch,), adapter.config.timestep, device=latent.device)
        embedding = embed_time(base, time, None, None, latent.dtype) + adapter.task
        rotary = rotary_embedding(base.config, LAYERS, height, width, latent.device)
        # The guide's channel order is reflection, transmission; the frames' order is transmission, reflection.
        shares = F.avg_pool2d(pooled, adapter.config.patch_size).flatten(2).flip(1)
        video = self._blocks(tokens, adapter.prompt.expand(batch, -1, -1), embedding, rotary, shares)
        video = base.norm_out(base.norm_final(video), temb=embedding).unflatten(1, (LAYERS, -1))
        out = adapter.transmission_out(video[:, 0])
        patches = torch.stack([out[..., :-AFFINE], adapter.reflection_out(video[:, 1])], dim=1)
        latents = unpatchify(patches.flatten(1, 2), LAYERS, height, width, base.config)
        change = decode_video(self.vae, latents.flatten(0, 1)[:, None])[:, :, 0].unflatten(0, (batch, LAYERS)) / 2
        fields = out[..., -AFFINE:].transpose(1, 2).reshape(batch, AFFINE, rows, columns)
        change, fields = (
            F.interpolate(values, size=mixture.shape[2:], mode="bilinear", align_corners=False)
            for values in (change.flatten(1, 2), fields)
        )
        transmission = mixture * (1 + fields[:, :3]) + fields[:, 3:] + change[:, :3]
        return LayerPair(transmission, change[:, 3:])

    def refine(self, mixture: torch.Tensor, draft: LayerPair, guide: torch.Tensor) -> LayerPair:
        """Correct a draft at pixel level."""
        return LayerPair(*self.adapter.refiner(mixture, draft.transmission, draft.reflection, guide))

    def automatic(self, mixture: torch.Tensor) -> LayerPair:
        """The answer without any guide: (B, 3, H, W) in [0, 1] -> layers that add up to it in light."""
        clear = (mixture + self.adapter.veil(mixture)).clamp(0, 1)
        return LayerPair(clear, (mixture**GAMMA - clear**GAMMA).clamp_min(0) ** (1 / GAMMA))

    def guided(
        self,
        mixture: torch.Tensor,
        unasked: LayerPair,
        answer: LayerPair,
        guide: torch.Tensor,
        followed: torch.Tensor | None = None,
    ) -> LayerPair:
        """The automatic answer and what a guide adds to it. The more of the picture a guide speaks of, the more the
        network's answer counts as it stands.

        Args:
            mixture: (B, 3, H, W) in [0, 1].
            unasked: the network's layers without any guide.
            answer: its layers with the guide.
            guide: (B, 2, H, W) in [0, 1].
            followed: (B, 1, H, W), share of the way from the automatic answer to the guided one, 0 to 1; all of it
                when None.
        """
        told = guide.amax(dim=1).mean(dim=(1, 2))[:, None, None, None]
        silent = (1 - told / ASSURED).clamp_min(0)
        automatic = self.automatic(mixture)
        guided = answer.transmission + silent * (automatic.transmission - unasked.transmission)
        if followed is None:
            return LayerPair(guided, answer.reflection)
        return LayerPair(
            torch.lerp(automatic.transmission, guided, followed),
            torch.lerp(automatic.reflection, answer.reflection, followed),
        )

    def _blocks(
        self,
        tokens: torch.Tensor,
        text: torch.Tensor,
        embedding: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor] | None,
        shares: torch.Tensor,
    ) -> torch.Tensor:
        """All blocks: (B, L, N, D) -> (B, L * N, D)."""
        prompt_blocks = dict(zip(self.adapter.config.prompt_layers, self.adapter.prompt_blocks, strict=True))
        video = tokens.flatten(1, 2)
        adapted = self.adapter.block_weights(self.base)
        for index, (block, weights) in enumerate(zip(self.base.transformer_blocks, adapted, strict=True)):
            inputs = {
                "hidden_states": video,
                "encoder_hidden_states": text,
                "temb": embedding,
                "image_rotary_emb": rotary,
            }
            video, text = functional_call(block, weights, args=(), kwargs=inputs)
            if index in prompt_blocks:
                video = prompt_blocks[index](video.unflatten(1, (LAYERS, -1)), shares).flatten(1, 2)
        return video


def enlarged(coarse: LayerPair, coarse_mixture: torch.Tensor, mixture: torch.Tensor) -> LayerPair:
    """A solution of a small picture as the draft of a larger one: what was changed is enlarged, the detail is the
    larger picture's own."""
    size = mixture.shape[2:]

    def grown(values: torch.Tensor) -> torch.Tensor:
        return F.interpolate(values, size=size, mode="bicubic", align_corners=False)

    return LayerPair(mixture + grown(coarse.transmission - coarse_mixture), grown(coarse.reflection))
