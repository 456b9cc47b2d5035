"""Positions of latent patches: rotary embeddings, and released learned tables brought to other sizes."""

from typing import Any

import torch
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from torch.nn import functional as F

from magicgen.errors import MagicGenError


def rotary_embedding(
    config: Any, frames: int, height: int, width: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Cosine and sine tables (N, head_dim) for F x h x w latents, or None for models without rotary embeddings.

    The grid follows CogVideoX: fitted into the training size for 1.0 models, counted in patches for 1.5 models and
    wherever ``absolute_rotary_grid`` is set.
    """
    if not config.use_rotary_positional_embeddings:
        return None
    rows, columns = height // config.patch_size, width // config.patch_size
    if config.patch_size_t is not None or getattr(config, "absolute_rotary_grid", False):
        steps = frames if config.patch_size_t is None else -(-frames // config.patch_size_t)
        return get_3d_rotary_pos_embed(
            embed_dim=config.attention_head_dim,
            crops_coords=None,
            grid_size=(rows, columns),
            temporal_size=steps,
            grid_type="slice",
            max_size=(
                max(rows, config.sample_height // config.patch_size),
                max(columns, config.sample_width // config.patch_size),
            ),
            device=device,
        )
    crop = get_resize_crop_region_for_grid(
        (rows, columns), config.sample_width // config.patch_size, config.sample_height // config.patch_size
    )
    return get_3d_rotary_pos_embed(
        embed_dim=config.attention_head_dim,
        crops_coords=crop,
        grid_size=(rows, columns),
        temporal_size=frames,
        device=device,
    )


@torch.no_grad()
def interpolate_position_table(model: Any, frames: int, height: int, width: int) -> None:
    """Bring the learned position table of a released model to F x h x w latents (trilinear), in place.

    CogVideoX-5b-I2V and MagicMotion's branch carry a table learned for 13 x 60 x 90 latents: other heights and widths
    raise in diffusers, and other frame counts silently fall back to a table that was never trained with. Quality at
    other sizes is not studied by the authors.

    Raises:
        MagicGenError: the model has no learned table.
    """
    config, embed = model.config, model.patch_embed
    if not config.use_learned_positional_embeddings:
        raise MagicGenError("This model has no learned position table; it needs no interpolation.")
    text = config.max_text_seq_length
    grid = (
        (config.sample_frames - 1) // config.temporal_compression_ratio + 1,
        config.sample_height // config.patch_size,
        config.sample_width // config.patch_size,
    )
    target = (frames, height // config.patch_size, width // config.patch_size)
    table = embed.pos_embedding[:, text:].reshape(1, *grid, -1).permute(0, 4, 1, 2, 3)
    resized = F.interpolate(table.float(), size=target, mode="trilinear", align_corners=False)
    resized = resized.permute(0, 2, 3, 4, 1).flatten(1, 3).to(table.dtype)
    embed.register_buffer("pos_embedding", torch.cat([embed.pos_embedding[:, :text], resized], dim=1))
    sample = {
        "sample_frames": (frames - 1) * config.temporal_compression_ratio + 1,
        "sample_height": height,
        "sample_width": width,
    }
    model.register_to_config(**sample)
    for name, value in sample.items():
        setattr(embed, name, value)
