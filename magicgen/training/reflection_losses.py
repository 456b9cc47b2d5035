"""Losses of the two layers, in pixels through the decoder.

Sources: exclusion, Zhang et al. 2018 (arXiv 1806.05376, eq. 4); SSIM, Wang et al. 2004. The squared error enters by its
logarithm, as the decibels that it is judged by: pictures that are nearly right count as much as hard ones.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from magicgen.models.reflection import LayerPair
from magicgen.training.reflection_options import ReflectionLoss

GAMMA = 2.2


@dataclass(frozen=True)
class LayerTruth:
    """What is known about mixtures: (B, 3, H, W) sRGB each, attenuation (B, 3)."""

    mixture: torch.Tensor
    transmission: torch.Tensor
    reflection: torch.Tensor
    attenuation: torch.Tensor


def layer_loss(answer: LayerPair, truth: LayerTruth, weights: ReflectionLoss) -> torch.Tensor:
    """The whole loss of a solution, ()."""
    clear, target = answer.transmission, truth.transmission
    squared = (clear - target).square().flatten(1).mean(dim=1)
    loss = weights.decibel * (squared + weights.floor).log().mean()
    loss = loss + weights.absolute * (clear - target).abs().mean()
    loss = loss + weights.gradient * gradient_loss(clear, target)
    if weights.structure:
        loss = loss + weights.structure * (1 - structural_similarity(clear, target))
    apart = (answer.reflection - truth.reflection).abs().mean()
    loss = loss + weights.reflection * (apart + weights.gradient * gradient_loss(answer.reflection, truth.reflection))
    if weights.reconstruction:
        loss = loss + weights.reconstruction * reconstruction_loss(answer, truth)
    if weights.exclusion:
        loss = loss + weights.exclusion * exclusion_loss(answer)
    return loss


def gradient_loss(values: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the first differences, ()."""
    apart = values - target
    return apart.diff(dim=2).abs().mean() + apart.diff(dim=3).abs().mean()


def reconstruction_loss(answer: LayerPair, truth: LayerTruth) -> torch.Tensor:
    """The layers must add up, in light, to what the camera saw: mean |a T + R - M|, ()."""
    gain = truth.attenuation[:, :, None, None]
    total = gain * _light(answer.transmission) + _light(answer.reflection)
    # What the sensor clipped cannot be told.
    return (total.clamp_max(1) - _light(truth.mixture)).abs().mean()


def exclusion_loss(answer: LayerPair, levels: int = 3) -> torch.Tensor:
    """Edges should belong to one layer: product of squashed gradients at several scales, ()."""
    first, second = answer.transmission, answer.reflection
    total = first.new_zeros(())
    for level in range(levels):
        if level:
            first, second = F.avg_pool2d(first, 2), F.avg_pool2d(second, 2)
        for axis in (2, 3):
            one, two = first.diff(dim=axis), second.diff(dim=axis)
            scale = (one.abs().mean() / two.abs().mean().clamp_min(1e-6)).detach()
            product = torch.tanh(one).square() * torch.tanh(scale.clamp(0.1, 10) * two).square()
            total = total + (product.mean() + 1e-8).sqrt()
    return total / (2 * levels)


def structural_similarity(values: torch.Tensor, target: torch.Tensor, window: int = 7) -> torch.Tensor:
    """Mean SSIM over flat windows, ()."""

    def mean(x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(x, window, stride=2)

    one, two = mean(values), mean(target)
    spread_one = mean(values * values) - one * one
    spread_two = mean(target * target) - two * two
    common = mean(values * target) - one * two
    c1, c2 = 0.01**2, 0.03**2
    ratio = ((2 * one * two + c1) * (2 * common + c2)) / ((one * one + two * two + c1) * (spread_one + spread_two + c2))
    return ratio.mean()


def _light(srgb: torch.Tensor) -> torch.Tensor:
    return srgb.clamp(1e-3, 1.2) ** GAMMA
