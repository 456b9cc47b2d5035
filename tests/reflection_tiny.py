"""The reflection classes at toy size."""

from pathlib import Path

import torch

from magicgen.models import BlockTransformAutoencoder, VideoTransformer
from magicgen.models.conditioning import DRAFT_CHANNELS
from magicgen.models.reflection import ReflectionAdapter, ReflectionNetwork

CHANNELS = 24


def small_base(seed: int = 0) -> VideoTransformer:
    """A backbone of two layers with random weights."""
    torch.manual_seed(seed)
    return VideoTransformer(
        num_attention_heads=1,
        attention_head_dim=64,
        in_channels=2 * CHANNELS + DRAFT_CHANNELS,
        out_channels=CHANNELS,
        num_layers=2,
        time_embed_dim=16,
        text_embed_dim=8,
        sample_width=6,
        sample_height=4,
        sample_frames=5,
        max_text_seq_length=6,
        use_rotary_positional_embeddings=True,
        predicts_residual=True,
        absolute_rotary_grid=True,
    ).eval()


def small_adapter(base: VideoTransformer, *, trained: bool = True, seed: int = 1) -> ReflectionAdapter:
    """An adapter; ``trained`` fills what starts at zero, so that every part speaks."""
    torch.manual_seed(seed)
    adapter = ReflectionAdapter.from_backbone(
        base,
        rank=4,
        prompt_tokens=2,
        prompt_layers=(0, 1),
        refiner_widths=(8, 12),
        refiner_blocks=(1, 1),
        working_side=32,
    )
    if trained:
        with torch.no_grad():
            for parameter in adapter.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.05)
            adapter.veil.weight.normal_(std=0.02)
    return adapter.eval()


def small_network(*, trained: bool = True) -> ReflectionNetwork:
    """Backbone, block transform and adapter."""
    base = small_base()
    vae = BlockTransformAutoencoder(latent_channels=CHANNELS)
    return ReflectionNetwork(base, vae, small_adapter(base, trained=trained)).eval()


def save_small_reflection(folder: Path) -> tuple[Path, Path]:
    """Backbone folder and adapter folder on disk."""
    network = small_network()
    network.base.save_pretrained(folder / "base" / "transformer")
    network.vae.save_pretrained(folder / "base" / "vae")
    (folder / "base" / "model_index.json").write_text('{"_class_name": "TrajectoryVideoPipeline"}')
    network.adapter.save_pretrained(folder / "adapter")
    return folder / "base", folder / "adapter"
