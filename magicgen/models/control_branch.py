"""The control branch: a copy of backbone blocks that reads a condition map and returns residuals.

MagicMotion's trajectory ControlNet (arXiv 2503.16421, section 3.2), generalised in two ways: the condition may be any
latent map, and the branch may have fewer blocks than the base. In the paper's configuration (as many blocks as the
base, condition of as many channels as the latent) the state dict has the released key set.
"""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin
from diffusers.models.embeddings import CogVideoXPatchEmbed, TimestepEmbedding, Timesteps
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXBlock
from torch import nn

from magicgen.errors import MagicGenError
from magicgen.models.transformer import VideoTransformer, embed_time, run_block

# The entries of the backbone's configuration that decide the shape of a block or of an embedding.
SHARED_CONFIG = (
    "num_attention_heads",
    "attention_head_dim",
    "flip_sin_to_cos",
    "freq_shift",
    "time_embed_dim",
    "ofs_embed_dim",
    "text_embed_dim",
    "dropout",
    "attention_bias",
    "sample_width",
    "sample_height",
    "sample_frames",
    "patch_size",
    "patch_size_t",
    "temporal_compression_ratio",
    "max_text_seq_length",
    "activation_fn",
    "timestep_activation_fn",
    "norm_elementwise_affine",
    "norm_eps",
    "spatial_interpolation_scale",
    "temporal_interpolation_scale",
    "use_rotary_positional_embeddings",
    "use_learned_positional_embeddings",
    "patch_bias",
)


class ControlBranch(ModelMixin, AttentionMixin, ConfigMixin, PeftAdapterMixin):
    """Blocks of the backbone over noisy latent + condition latent, one zero-initialised projection each.

    Args (beside those of the backbone):
        in_channels: channels of the noisy latent plus those of the condition.
        control_layers: for every block of the branch, the block of the base that receives its residual.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["CogVideoXBlock", "CogVideoXPatchEmbed"]  # noqa: RUF012 (read by diffusers on the class)

    @register_to_config
    def __init__(
        self,
        control_layers: Sequence[int] = tuple(range(42)),
        num_attention_heads: int = 48,
        attention_head_dim: int = 64,
        in_channels: int = 32,
        flip_sin_to_cos: bool = True,
        freq_shift: int = 0,
        time_embed_dim: int = 512,
        ofs_embed_dim: int | None = None,
        text_embed_dim: int = 4096,
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
        use_rotary_positional_embeddings: bool = True,
        use_learned_positional_embeddings: bool = True,
        patch_bias: bool = True,
    ) -> None:
        super().__init__()
        width = num_attention_heads * attention_head_dim
        self.patch_embed = CogVideoXPatchEmbed(
            patch_size=patch_size,
            patch_size_t=patch_size_t,
            in_channels=in_channels,
            embed_dim=width,
            text_embed_dim=text_embed_dim,
            bias=patch_bias,
            sample_width=sample_width,
            sample_height=sample_height,
            sample_frames=sample_frames,
            temporal_compression_ratio=temporal_compression_ratio,
            max_text_seq_length=max_text_seq_length,
            spatial_interpolation_scale=spatial_interpolation_scale,
            temporal_interpolation_scale=temporal_interpolation_scale,
            use_positional_embeddings=not use_rotary_positional_embeddings,
            use_learned_positional_embeddings=use_learned_positional_embeddings,
        )
        self.embedding_dropout = nn.Dropout(dropout)
        self.time_proj = Timesteps(width, flip_sin_to_cos, freq_shift)
        self.time_embedding = TimestepEmbedding(width, time_embed_dim, timestep_activation_fn)
        self.ofs_proj = Timesteps(ofs_embed_dim, flip_sin_to_cos, freq_shift) if ofs_embed_dim else None
        self.ofs_embedding = (
            TimestepEmbedding(ofs_embed_dim, ofs_embed_dim, timestep_activation_fn) if ofs_embed_dim else None
        )
        self.transformer_blocks = nn.ModuleList(
            CogVideoXBlock(
                dim=width,
                num_attention_heads=num_attention_heads,
                attention_head_dim=attention_head_dim,
                time_embed_dim=time_embed_dim,
                dropout=dropout,
                activation_fn=activation_fn,
                attention_bias=attention_bias,
                norm_elementwise_affine=norm_elementwise_affine,
                norm_eps=norm_eps,
            )
            for _ in control_layers
        )
        projectors = [nn.Linear(width, width) for _ in control_layers]
        self.out_projectors = nn.ModuleList(projectors)
        for projector in projectors:
            nn.init.zeros_(projector.weight)
            nn.init.zeros_(projector.bias)
        self.gradient_checkpointing = False

    def forward(
        self,
        hidden_states: torch.Tensor,
        condition: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        timestep_cond: torch.Tensor | None = None,
        ofs: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Residuals for the backbone.

        Args:
            hidden_states: (B, F, C, h, w) noisy latent (only the noise half: the image latent is not fed).
            condition: (B, F, C_cond, h, w) latent of the condition map.
            encoder_hidden_states, timestep, ofs, image_rotary_emb: as in the backbone.

        Returns:
            One (B, N, D) tensor of projected video tokens per entry of ``config.control_layers``.
        """
        if hidden_states.shape[:2] != condition.shape[:2] or hidden_states.shape[3:] != condition.shape[3:]:
            raise MagicGenError(
                f"The condition has the shape {tuple(condition.shape)}, the latent {tuple(hidden_states.shape)}: "
                "batch, frames, height and width have to be the same."
            )
        embedding = embed_time(self, timestep, timestep_cond, ofs, hidden_states.dtype)
        tokens = self.patch_embed(encoder_hidden_states, torch.cat([hidden_states, condition], dim=2))
        tokens = self.embedding_dropout(tokens)
        text_length = encoder_hidden_states.shape[1]
        text, video = tokens[:, :text_length], tokens[:, text_length:]
        states = []
        for block, project in zip(self.transformer_blocks, self.out_projectors, strict=True):
            video, text = run_block(self, block, video, text, embedding, image_rotary_emb, attention_kwargs)
            states.append(project(video))
        return tuple(states)

    @classmethod
    def from_transformer(
        cls,
        transformer: VideoTransformer,
        control_layers: Sequence[int] | None = None,
        condition_channels: int | None = None,
    ) -> "ControlBranch":
        """A fresh branch: blocks and embeddings copied from the base, projections zero.

        Args:
            transformer: the base.
            control_layers: base blocks that are copied and receive residuals; all by default (the paper's choice).
            condition_channels: channels of the condition latent; by default as many as the noisy latent has.
        """
        config = transformer.config
        layers = tuple(range(config.num_layers)) if control_layers is None else tuple(control_layers)
        latent = config.out_channels
        condition = latent if condition_channels is None else condition_channels
        branch = cls(
            control_layers=layers,
            in_channels=latent + condition,
            **{name: getattr(config, name) for name in SHARED_CONFIG},
        )
        branch.time_embedding.load_state_dict(transformer.time_embedding.state_dict())
        if branch.ofs_embedding is not None:
            branch.ofs_embedding.load_state_dict(transformer.ofs_embedding.state_dict())
        for block, layer in zip(branch.transformer_blocks, layers, strict=True):
            # Trained sparse attention of the base has no counterpart here: the branch attends densely.
            state = transformer.transformer_blocks[layer].state_dict()
            block.load_state_dict({name: value for name, value in state.items() if ".spatial_sparse." not in name})
        _copy_patch_embedding(transformer, branch, latent)
        return branch


@torch.no_grad()
def _copy_patch_embedding(transformer: VideoTransformer, branch: ControlBranch, latent: int) -> None:
    # Input channels that mean the same are copied (the noisy latent and, where the sizes agree, the second half, as the
    # paper's whole copy does); channels without a counterpart keep their small random start.
    source, target = transformer.patch_embed.state_dict(), branch.patch_embed.state_dict()
    for name, tensor in source.items():
        if tensor.shape == target[name].shape:
            target[name].copy_(tensor)
        elif name == "proj.weight" and tensor.ndim == 4:
            target[name][:, :latent].copy_(tensor[:, :latent])
    branch.patch_embed.load_state_dict(target)
