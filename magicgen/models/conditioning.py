"""Latents that a model is conditioned on: videos encoded, drafts with what is known about their pixels."""

from typing import Any

import torch
from torch.nn import functional as F

# Channels that tell a model about a draft: the share of carried and of filled pixels in each quarter of a latent pixel,
# and one channel that says that there is a draft at all.
QUARTERS = 2
DRAFT_CHANNELS = 2 * QUARTERS * QUARTERS + 1
CARRIED, HOLE = 1, 2  # control.draft.DraftState


def to_signed(video: torch.Tensor) -> torch.Tensor:
    """(B, T, H, W, 3) uint8 -> (B, 3, T, H, W) float32 in [-1, 1]."""
    return video.permute(0, 4, 1, 2, 3).float().div(127.5).sub(1)


def encode_video(vae: Any, video: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Diffusion latents of a video.

    Args:
        vae: an autoencoder of the CogVideoX kind.
        video: (B, 3, T, H, W) in [-1, 1].
        generator: source of the posterior sample (learned autoencoders draw one, as CogVideoX does).

    Returns:
        (B, F, C, h, w).
    """
    latent = vae.encode(video.to(vae.dtype)).latent_dist.sample(generator)
    factor = vae.config.scaling_factor
    return (latent / factor if vae.config.invert_scale_latents else latent * factor).permute(0, 2, 1, 3, 4)


def decode_video(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """(B, F, C, h, w) -> (B, 3, T, H, W) about [-1, 1]."""
    factor = vae.config.scaling_factor
    latents = latents.permute(0, 2, 1, 3, 4) / factor
    return vae.decode(latents.to(vae.dtype)).sample


def draft_state_channels(state: torch.Tensor) -> torch.Tensor:
    """What is known about a draft's pixels, at latent resolution.

    Args:
        state: (B, T, H, W) uint8 of ``control.draft.DraftState``, T = 4n + 1.

    Returns:
        (B, n + 1, DRAFT_CHANNELS, H/8, W/8) float32 in [0, 1].
    """
    shares = torch.stack([state == CARRIED, state == HOLE], dim=1).float()
    first = F.avg_pool3d(shares[:, :, :1], (1, 4, 4))
    later = F.avg_pool3d(shares[:, :, 1:], (4, 4, 4)) if state.shape[1] > 1 else first[:, :, :0]
    pooled = torch.cat([first, later], dim=2)
    batch, kinds, frames, rows, columns = pooled.shape
    quarters = pooled.reshape(batch, kinds, frames, rows // QUARTERS, QUARTERS, columns // QUARTERS, QUARTERS)
    channels = quarters.permute(0, 2, 1, 4, 6, 3, 5).flatten(2, 4)
    return torch.cat([channels, torch.ones_like(channels[:, :, :1])], dim=2)


def correction_gate(state: torch.Tensor, reach: int) -> torch.Tensor:
    """Where a model may correct its draft: near what the draft moved or uncovered, and never on the given first frame.

    Args:
        state: (B, F, DRAFT_CHANNELS, h, w) of :func:`draft_state_channels`; all zero where there is no motion draft,
            and then the whole picture is open.
        reach: how many latent pixels beyond the touched ones (shadows reach further than their objects).

    Returns:
        (B, F, 1, h, w) float32 in [0, 1].
    """
    batch, frames, _, height, width = state.shape
    touched = (state[:, :, :-1].amax(dim=2) > 0).float().reshape(batch * frames, 1, height, width)
    near = F.max_pool2d(touched, 2 * reach + 1, stride=1, padding=reach)
    soft = F.avg_pool2d(near, 3, stride=1, padding=1, count_include_pad=False)
    known = state[:, :, -1:].float()
    gate = 1 - known * (1 - soft.reshape(batch, frames, 1, height, width))
    return torch.cat([torch.zeros_like(gate[:, :1]), gate[:, 1:]], dim=1)


def image_condition(
    image: torch.Tensor, frames: int, extra_channels: int, draft: torch.Tensor | None, state: torch.Tensor | None
) -> torch.Tensor:
    """The image half of the backbone's input.

    Args:
        image: (B, 1, C, h, w) latent of the first frame.
        frames: F.
        extra_channels: DRAFT_CHANNELS for models that know drafts, 0 for released ones.
        draft: (B, F, C, h, w) latents of the draft (without a motion draft, models that know drafts get the first frame
            held still), or None: the frames that CogVideoX leaves at zero stay zero.
        state: (B, F, DRAFT_CHANNELS, h, w), or None where nothing is known about the draft's pixels.

    Returns:
        (B, F, C + extra_channels, h, w); frame 0 always holds the image itself.
    """
    batch, _, channels, height, width = image.shape
    later = image.new_zeros(batch, frames - 1, channels, height, width) if draft is None else draft[:, 1:].to(image)
    latents = torch.cat([image, later], dim=1)
    if extra_channels == 0:
        return latents
    if state is None:
        state = image.new_zeros(batch, frames, extra_channels, height, width)
    return torch.cat([latents, state.to(image)], dim=2)


def pool_weights(weights: torch.Tensor) -> torch.Tensor:
    """Pixel weights (B, T, H, W) -> latent weights (B, n + 1, 1, H/8, W/8), the mean over each block."""
    first = F.avg_pool3d(weights[:, None, :1], (1, 8, 8))
    later = F.avg_pool3d(weights[:, None, 1:], (4, 8, 8)) if weights.shape[1] > 1 else first[:, :, :0]
    return torch.cat([first, later], dim=2).transpose(1, 2)
