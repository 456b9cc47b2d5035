"""Losses: diffusion on the clean latent, and the latent segmentation loss.

MagicMotion (arXiv 2503.16421, section 3.4): L = L_diffusion + lambda * L_seg, the first on the clean latent recovered
from the network's output, the second between the head's prediction and the latent of the mask video.
"""

from dataclasses import dataclass

import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler, FlowMatchEulerDiscreteScheduler

from magicgen.sampling import Scheduler

# Added to a draft's error so that clips in which nothing moves do not count without bound.
SMALLEST_DRAFT_ERROR = 0.01


@dataclass(frozen=True)
class NoisyLatents:
    """A batch on its way to the network.

    Attributes:
        latents: (B, F, C, h, w) noisy.
        timesteps: (B,) float32, 0..999.
        signal: (B, 1, 1, 1, 1) factor of the clean latent in ``latents``.
        noise: (B, 1, 1, 1, 1) factor of the noise.
    """

    latents: torch.Tensor
    timesteps: torch.Tensor
    signal: torch.Tensor
    noise: torch.Tensor


def draw_timesteps(generator: torch.Generator, count: int, pure_noise: float, last: int = 999) -> torch.Tensor:
    """(count,) int64: ``last`` with probability ``pure_noise``, else uniform.

    At low noise the input gives the answer away; a sampler starts from pure noise, and what it sees there decides.
    """
    uniform = torch.randint(0, last + 1, (count,), generator=generator)
    pure = torch.rand(count, generator=generator) < pure_noise
    return torch.where(pure, torch.full_like(uniform, last), uniform)


def add_noise(scheduler: Scheduler, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> NoisyLatents:
    """Mix clean latents with noise by the scheduler's schedule."""
    shape = (-1, 1, 1, 1, 1)
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        sigma = (timesteps.float() + 1) / scheduler.config.num_train_timesteps
        signal, amount, times = 1 - sigma, sigma, sigma * scheduler.config.num_train_timesteps
    else:
        alpha = scheduler.alphas_cumprod.to(clean.device)[timesteps]
        signal, amount, times = alpha.sqrt(), (1 - alpha).sqrt(), timesteps.float()
    signal, amount = signal.to(clean).reshape(shape), amount.to(clean).reshape(shape)
    return NoisyLatents(signal * clean + amount * noise, times, signal, amount)


def recovered_clean(scheduler: Scheduler, output: torch.Tensor, noisy: NoisyLatents) -> torch.Tensor:
    """The clean latent that the network's output stands for (batched form of ``sampling.clean_prediction``)."""
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        return noisy.latents - noisy.noise * output
    assert isinstance(scheduler, CogVideoXDDIMScheduler | CogVideoXDPMScheduler)
    match scheduler.config.prediction_type:
        case "sample":
            return output
        case "v_prediction":
            return noisy.signal * noisy.latents - noisy.noise * output
        case _:
            return (noisy.latents - noisy.noise * output) / noisy.signal.clamp_min(1e-4)


def diffusion_loss(
    predicted: torch.Tensor,
    clean: torch.Tensor,
    channel_weights: torch.Tensor,
    region_weights: torch.Tensor,
    draft: torch.Tensor | None = None,
) -> torch.Tensor:
    """Weighted mean squared error of the clean latent, ().

    With a draft, every example's error is divided by the error of its draft: 1 means no better than the draft. Clips
    with rough drafts would drown the others otherwise, and the logarithm of the error (PSNR) is what is judged.

    Args:
        predicted, clean: (B, F, C, h, w).
        channel_weights: (F, C) worth of a channel; ones for learned autoencoders.
        region_weights: (B, F, 1, h, w) worth of a place.
        draft: (B, F, C, h, w) what the network corrects, or None.
    """
    weights = channel_weights[None, :, :, None, None] * region_weights
    error = _weighted_error(predicted, clean, weights)
    if draft is not None:
        error = error / (_weighted_error(draft, clean, weights) + SMALLEST_DRAFT_ERROR)
    return error.mean()


def _weighted_error(predicted: torch.Tensor, clean: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(B,) mean squared error under weights."""
    error = (predicted.float() - clean.float()).square() * weights
    return error.flatten(1).sum(1) / weights.expand_as(error).flatten(1).sum(1)


def segmentation_loss(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error between the head's latent and the mask video's latent, ()."""
    return (predicted.float() - target.float()).square().mean()
