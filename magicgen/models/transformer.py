"""The shared backbone: diffusers' CogVideoX transformer with control residuals and features for the segmentation head.

Its state dict has exactly the public CogVideoX keys, so the ``transformer`` folder of any CogVideoX release loads
strictly, and without control its output equals the stock model's bit for bit.

Sources: CogVideoX (arXiv 2408.06072) through ``diffusers.CogVideoXTransformer3DModel``; the place of the residuals
follows MagicMotion (arXiv 2503.16421, section 3.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import CogVideoXTransformer3DModel, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.utils import apply_lora_scale

from magicgen.attention.spatial_layers import add_spatial_sparse_layers
from magicgen.attention.tokens import TokenGrid
from magicgen.errors import MagicGenError
from magicgen.models.conditioning import correction_gate

# diffusers loads a component through the base class that it finds in the component's own module.
__all__ = ["ControlWeight", "ModelMixin", "VideoTransformer", "VideoTransformerOutput"]

ControlWeight = float | Sequence[float] | torch.Tensor


@dataclass
class VideoTransformerOutput(Transformer2DModelOutput):
    """Output of :class:`VideoTransformer`.

    Attributes:
        sample: (B, F, C_out, h, w), the prediction in the scheduler's parameterisation.
        features: one (B, F * h/p * w/p, D) tensor per block, after the control residual; None unless asked for.
    """

    features: tuple[torch.Tensor, ...] | None = None


class VideoTransformer(CogVideoXTransformer3DModel):
    """CogVideoX transformer steered by residuals.

    Four entries extend the stock configuration; all are off for released weights:

    * ``predicts_residual``: the second C_out input channels hold a draft of the answer, and the network predicts what
      is to be added to it. An untrained network then returns the draft itself.
    * ``correction_reach``: with it, and channels that say what the draft moved, corrections are confined to that many
      latent pixels around moved and uncovered places; everything else stays the photo's, exactly.
    * ``absolute_rotary_grid``: rotary positions count latent patches from the corner (as CogVideoX 1.5 does) instead of
      being fitted to the training size, so that neighbours stay neighbours at every resolution.
    * ``spatial_sparse``: layers with trained spatial sparse attention (:mod:`magicgen.attention.spatial_sparse`) and
      its block sizes, e.g. ``{"layers": [1, 3], "top": 8}``.
    """

    @register_to_config
    def __init__(
        self,
        num_attention_heads: int = 30,
        attention_head_dim: int = 64,
        in_channels: int = 16,
        out_channels: int | None = 16,
        flip_sin_to_cos: bool = True,
        freq_shift: int = 0,
        time_embed_dim: int = 512,
        ofs_embed_dim: int | None = None,
        text_embed_dim: int = 4096,
        num_layers: int = 30,
        dropout: float = 0.0,
        attention_bias: bool = True,
        sample_width: int = 90,
        sample_height: int = 60,
        sample_frames: int = 49,
        patch_size: int = 2,
        patch_size_t: int | None = None,
        temporal_compression_ratio: int = 4,
        max_text_seq_length: int = 226,
        activation_fn: str = "gelu-approximate",
        timestep_activation_fn: str = "silu",
        norm_elementwise_affine: bool = True,
        norm_eps: float = 1e-5,
        spatial_interpolation_scale: float = 1.875,
        temporal_interpolation_scale: float = 1.0,
        use_rotary_positional_embeddings: bool = False,
        use_learned_positional_embeddings: bool = False,
        patch_bias: bool = True,
        predicts_residual: bool = False,
        absolute_rotary_grid: bool = False,
        correction_reach: int | None = None,
        spatial_sparse: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            num_attention_heads=num_attention_heads,
            attention_head_dim=attention_head_dim,
            in_channels=in_channels,
            out_channels=out_channels,
            flip_sin_to_cos=flip_sin_to_cos,
            freq_shift=freq_shift,
            time_embed_dim=time_embed_dim,
            ofs_embed_dim=ofs_embed_dim,
            text_embed_dim=text_embed_dim,
            num_layers=num_layers,
            dropout=dropout,
            attention_bias=attention_bias,
            sample_width=sample_width,
            sample_height=sample_height,
            sample_frames=sample_frames,
            patch_size=patch_size,
            patch_size_t=patch_size_t,
            temporal_compression_ratio=temporal_compression_ratio,
            max_text_seq_length=max_text_seq_length,
            activation_fn=activation_fn,
            timestep_activation_fn=timestep_activation_fn,
            norm_elementwise_affine=norm_elementwise_affine,
            norm_eps=norm_eps,
            spatial_interpolation_scale=spatial_interpolation_scale,
            temporal_interpolation_scale=temporal_interpolation_scale,
            use_rotary_positional_embeddings=use_rotary_positional_embeddings,
            use_learned_positional_embeddings=use_learned_positional_embeddings,
            patch_bias=patch_bias,
        )
        if predicts_residual and in_channels < 2 * (out_channels or in_channels):
            raise MagicGenError(
                f"predicts_residual needs a draft beside the noisy latent: in_channels >= {2 * (out_channels or 0)}, "
                f"got {in_channels}."
            )
        self._spatial_layers = frozenset[int]()
        if spatial_sparse is not None:
            self._spatial_layers = add_spatial_sparse_layers(self, spatial_sparse)

    @apply_lora_scale("attention_kwargs")
    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        timestep_cond: torch.Tensor | None = None,
        ofs: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
        attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = True,
        control_states: Sequence[torch.Tensor] | None = None,
        control_weight: ControlWeight = 1.0,
        control_layers: Sequence[int] | None = None,
        return_features: bool = False,
    ) -> VideoTransformerOutput | tuple[Any, ...]:
        """Predict from noisy latents.

        Args:
            hidden_states: (B, F, C_in, h, w): noisy latent, image latent and, where configured, extra maps.
            encoder_hidden_states: (B, L, text_embed_dim) text embeddings.
            timestep: (B,) diffusion times in 0..999.
            timestep_cond, ofs, image_rotary_emb, attention_kwargs: as in diffusers.
            control_states: residuals (B, N, D) for the video tokens, one per entry of ``control_layers``; a shorter
                sequence controls only the first of them.
            control_weight: one factor for all residuals, or one for each.
            control_layers: the blocks after which residuals are added; by default 0, 1, 2, ...
            return_features: also return the video tokens after every block (for the segmentation head).

        Returns:
            :class:`VideoTransformerOutput`, or the tuple ``(sample,)`` / ``(sample, features)``.
        """
        frames, height, width = hidden_states.shape[1], hidden_states.shape[3], hidden_states.shape[4]
        embedding = embed_time(self, timestep, timestep_cond, ofs, hidden_states.dtype)
        tokens = self.embedding_dropout(self.patch_embed(encoder_hidden_states, hidden_states))
        text_length = encoder_hidden_states.shape[1]
        text, video = tokens[:, :text_length], tokens[:, text_length:]

        residuals = _residuals_by_layer(control_states, control_layers, control_weight, len(self.transformer_blocks))
        features: list[torch.Tensor] = []
        for index, block in enumerate(self.transformer_blocks):
            given = attention_kwargs
            if index in self._spatial_layers:
                given = {**(given or {}), "grid": token_grid(hidden_states, text_length, self.config)}
            video, text = run_block(self, block, video, text, embedding, image_rotary_emb, given)
            if index in residuals:
                weight, state = residuals[index]
                video = video + weight * state
            if return_features:
                features.append(video)

        video = self.norm_out(self.norm_final(video), temb=embedding)
        sample = unpatchify(self.proj_out(video), frames, height, width, self.config)
        if self.config.predicts_residual:
            sample = self._corrected(hidden_states, sample)
        collected = tuple(features) if return_features else None
        if not return_dict:
            return (sample,) if collected is None else (sample, collected)
        return VideoTransformerOutput(sample=sample, features=collected)

    def _corrected(self, given: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """The draft among the input channels (B, F, C_in, h, w), changed where the network may change it."""
        channels, reach = self.config.out_channels, self.config.correction_reach
        if reach is not None:
            change = change * correction_gate(given[:, :, 2 * channels :], reach).to(change)
        return change + given[:, :, channels : 2 * channels]


def embed_time(
    model: Any,
    timestep: torch.Tensor,
    timestep_cond: torch.Tensor | None,
    ofs: torch.Tensor | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Time (and, for CogVideoX 1.5, offset) embedding: (B,) -> (B, time_embed_dim) of ``dtype``."""
    embedding = model.time_embedding(model.time_proj(timestep).to(dtype), timestep_cond)
    if model.ofs_embedding is not None:
        embedding = embedding + model.ofs_embedding(model.ofs_proj(ofs).to(dtype))
    return embedding


def run_block(
    model: Any,
    block: torch.nn.Module,
    video: torch.Tensor,
    text: torch.Tensor,
    embedding: torch.Tensor,
    rotary: tuple[torch.Tensor, torch.Tensor] | None,
    attention_kwargs: dict[str, Any] | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One CogVideoX block, checkpointed where the model is told to: (video, text) -> (video, text)."""
    if torch.is_grad_enabled() and model.gradient_checkpointing:
        return model._gradient_checkpointing_func(block, video, text, embedding, rotary, attention_kwargs)
    return block(
        hidden_states=video,
        encoder_hidden_states=text,
        temb=embedding,
        image_rotary_emb=rotary,
        attention_kwargs=attention_kwargs,
    )


def token_grid(latents: torch.Tensor, text: int, config: Any) -> TokenGrid:
    """The token sequence of latents (B, F, C, h, w) with ``text`` text tokens."""
    frames, _, height, width = latents.shape[1:]
    p, p_t = config.patch_size, config.patch_size_t or 1
    return TokenGrid(text, -(-frames // p_t), height // p, width // p)


def unpatchify(tokens: torch.Tensor, frames: int, height: int, width: int, config: Any) -> torch.Tensor:
    """Projected tokens (B, N, p*p*(p_t)*C) -> latents (B, F, C, h, w), the order of diffusers."""
    batch, p, p_t = tokens.shape[0], config.patch_size, config.patch_size_t
    if p_t is None:
        output = tokens.reshape(batch, frames, height // p, width // p, -1, p, p)
        return output.permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4)
    output = tokens.reshape(batch, (frames + p_t - 1) // p_t, height // p, width // p, -1, p_t, p, p)
    return output.permute(0, 1, 5, 4, 2, 6, 3, 7).flatten(6, 7).flatten(4, 5).flatten(1, 2)


def _residuals_by_layer(
    states: Sequence[torch.Tensor] | None,
    layers: Sequence[int] | None,
    weight: ControlWeight,
    num_layers: int,
) -> dict[int, tuple[float | torch.Tensor, torch.Tensor]]:
    if states is None:
        return {}
    layers = range(len(states)) if layers is None else layers
    if len(states) > len(layers) or any(not 0 <= layer < num_layers for layer in layers):
        raise MagicGenError(
            f"{len(states)} control states for the blocks {list(layers)} do not fit a model of {num_layers} blocks."
        )
    if isinstance(weight, int | float) or (isinstance(weight, torch.Tensor) and weight.ndim == 0):
        weights: Sequence[float] | torch.Tensor = [weight] * len(states)  # type: ignore[list-item]
    else:
        weights = weight
    if len(weights) < len(states):
        raise MagicGenError(f"{len(states)} control states need as many control weights; got {len(weights)}.")
    return {layer: (weights[index], state) for index, (layer, state) in enumerate(zip(layers, states, strict=False))}
