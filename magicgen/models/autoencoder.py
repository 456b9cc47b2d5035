"""A fixed orthonormal transform in place of a learned video autoencoder.

The picture is cut into blocks of 8 x 8 pixels (the first frame) or 4 frames x 8 x 8 pixels (every later group of four
frames, as CogVideoX's causal VAE groups them); each block goes through a three-dimensional DCT-II in YCbCr, and the
coefficients of largest variance are kept. It needs no training, takes milliseconds on a CPU, and its error is known:
what the dropped coefficients hold.

The interface is that of ``diffusers.AutoencoderKLCogVideoX``.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput

from magicgen.errors import MagicGenError

BLOCK = 8
GROUP = 4
# JPEG's full-range matrix (ITU-T T.871), rows made orthonormal by Gram-Schmidt so that errors keep their length.
LUMA = (0.299, 0.587, 0.114)


class FixedLatent:
    """The "posterior" of a deterministic encoder: its sample is its mode."""

    def __init__(self, latent: torch.Tensor) -> None:
        self.latent = latent

    def mode(self) -> torch.Tensor:
        """(B, C, F, h, w)."""
        return self.latent

    def sample(self, generator: torch.Generator | None = None) -> torch.Tensor:
        """The mode; no random number is drawn."""
        return self.latent


@dataclass(frozen=True)
class BlockStatistics:
    """Mean squares of the coefficients of a set of videos: (192,) for first frames, (768,) for groups."""

    first: torch.Tensor
    group: torch.Tensor


class BlockTransformAutoencoder(ModelMixin, ConfigMixin):
    """Block DCT with the largest-variance coefficients kept.

    Args:
        latent_channels: K, how many of the 768 coefficients of a group are kept (at most 192, so that the first frame
            is kept in full).
        whitening: exponent of the standard deviation by which a coefficient is divided; 0 leaves pixel units, 1 makes
            every channel of unit variance.
        scaling_factor: factor between this class's latents and the diffusion latents (1: they are the same).

    Buffers: ``first_index`` (K,), ``group_index`` (K,): which coefficient a channel holds; ``first_scale``,
    ``group_scale`` (K,): what it is divided by. Channels of first frames and of groups that hold the same spatial
    frequency have the same number.
    """

    _supports_gradient_checkpointing = False

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 192,
        whitening: float = 0.5,
        scaling_factor: float = 1.0,
        invert_scale_latents: bool = False,
        temporal_compression_ratio: int = GROUP,
        block_out_channels: tuple[int, ...] = (1, 1, 1, 1),
    ) -> None:
        super().__init__()
        if not 1 <= latent_channels <= 3 * BLOCK * BLOCK:
            raise MagicGenError(f"latent_channels must be 1 to {3 * BLOCK * BLOCK}; got {latent_channels}.")
        self.register_buffer("first_index", torch.arange(latent_channels))
        self.register_buffer("group_index", torch.arange(latent_channels))
        self.register_buffer("first_scale", torch.ones(latent_channels))
        self.register_buffer("group_scale", torch.ones(latent_channels))
        self.register_buffer("first_basis", _basis(1), persistent=False)
        self.register_buffer("group_basis", _basis(GROUP), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """The transform always runs in float32."""
        return torch.float32

    def fit(self, statistics: BlockStatistics) -> None:
        """Choose and scale the kept coefficients from measured mean squares, in place."""
        channels = self.config.latent_channels
        group = torch.argsort(statistics.group, descending=True, stable=True)[:channels]
        first = _aligned_first_index(group, statistics.first, channels)
        self.group_index.copy_(group)
        self.first_index.copy_(first)
        power = 0.5 * self.config.whitening
        for scale, energy in (
            (self.first_scale, statistics.first[first]),
            (self.group_scale, statistics.group[group]),
        ):
            raw = energy.clamp_min(1e-6) ** power
            # One factor for all channels keeps the mean variance of the latents at one.
            scale.copy_(raw * (energy / raw**2).mean().sqrt())

    def encode(self, x: torch.Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple[FixedLatent]:
        """(B, 3, T, H, W) in [-1, 1], T = 4n + 1, H and W multiples of 8 -> latents (B, K, n + 1, H/8, W/8) float32."""
        _, colours, frames, height, width = x.shape
        if colours != 3 or (frames - 1) % GROUP or height % BLOCK or width % BLOCK:
            raise MagicGenError(
                f"The autoencoder takes RGB videos of 4n + 1 frames with sides that are multiples of 8; got {frames} "
                f"frames of {height}x{width} with {colours} channels."
            )
        x = x.float()
        first = _blocks(x[:, :, :1], 1) @ self.first_basis[:, self.first_index] / self.first_scale
        parts = [first]
        if frames > 1:
            parts.append(_blocks(x[:, :, 1:], GROUP) @ self.group_basis[:, self.group_index] / self.group_scale)
        latent = torch.cat(parts, dim=1).permute(0, 4, 1, 2, 3).contiguous()
        posterior = FixedLatent(latent)
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(self, z: torch.Tensor, return_dict: bool = True) -> DecoderOutput | tuple[torch.Tensor]:
        """Latents (B, K, F, h, w) -> (B, 3, 4(F - 1) + 1, 8h, 8w) float32, about [-1, 1] (not clamped)."""
        tokens = z.float().permute(0, 2, 3, 4, 1)
        first = (tokens[:, :1] * self.first_scale) @ self.first_basis[:, self.first_index].T
        parts = [_unblocks(first, 1)]
        if tokens.shape[1] > 1:
            group = (tokens[:, 1:] * self.group_scale) @ self.group_basis[:, self.group_index].T
            parts.append(_unblocks(group, GROUP))
        video = torch.cat(parts, dim=2)
        return DecoderOutput(sample=video) if return_dict else (video,)

    def pixel_weights(self) -> torch.Tensor:
        """(2, K): what a unit of squared error in a channel of a first frame / a group is worth in squared pixels.

        The transform is orthonormal, so the weighted squared latent error is the squared error of the video in [-1, 1].
        """
        return torch.stack([self.first_scale, self.group_scale]) ** 2


@torch.no_grad()
def measure_blocks(videos: list[np.ndarray]) -> BlockStatistics:
    """Mean squares of all coefficients over videos (T, H, W, 3) uint8, T = 4n + 1, sides multiples of 8."""
    first, group = torch.zeros(192), torch.zeros(768)
    for video in videos:
        x = torch.from_numpy(video).float().div(127.5).sub(1).permute(3, 0, 1, 2)[None]
        first += (_blocks(x[:, :, :1], 1) @ _basis(1)).square().flatten(0, -2).mean(0)
        group += (_blocks(x[:, :, 1:], GROUP) @ _basis(GROUP)).square().flatten(0, -2).mean(0)
    return BlockStatistics(first / len(videos), group / len(videos))


def _dct(size: int) -> torch.Tensor:
    """Orthonormal DCT-II, (frequency, sample)."""
    sample = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi / size * (sample + 0.5)[None] * sample[:, None])
    matrix[0] *= math.sqrt(0.5)
    return matrix * math.sqrt(2 / size)


def _colour() -> torch.Tensor:
    """Orthonormal luma-chroma matrix, (component, RGB)."""
    luma = torch.tensor(LUMA, dtype=torch.float64)
    rows = torch.stack([luma, torch.tensor([0.0, 0, 1], dtype=torch.float64) - luma, torch.tensor([1.0, 0, 0]) - luma])
    return torch.linalg.qr(rows.T).Q.T


def _basis(frames: int) -> torch.Tensor:
    """(pixels of a block, coefficients): columns are basis videos, both in the order time, y, x, colour."""
    basis = torch.kron(torch.kron(torch.kron(_dct(frames), _dct(BLOCK)), _dct(BLOCK)), _colour())
    return basis.T.float().contiguous()


def _blocks(x: torch.Tensor, frames: int) -> torch.Tensor:
    """(B, 3, T, H, W) -> (B, T/frames, H/8, W/8, frames * 8 * 8 * 3)."""
    batch, colours, total, height, width = x.shape
    x = x.reshape(batch, colours, total // frames, frames, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return x.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4)


def _unblocks(blocks: torch.Tensor, frames: int) -> torch.Tensor:
    batch, groups, rows, columns, _ = blocks.shape
    x = blocks.reshape(batch, groups, rows, columns, frames, BLOCK, BLOCK, 3)
    return x.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(batch, 3, groups * frames, rows * BLOCK, columns * BLOCK)


def _aligned_first_index(group: torch.Tensor, energy: torch.Tensor, channels: int) -> torch.Tensor:
    # A group coefficient below 192 has temporal frequency 0 and the number of the same spatial one of a single frame.
    spatial = 3 * BLOCK * BLOCK
    wanted = set(torch.argsort(energy, descending=True, stable=True)[:channels].tolist())
    kept = [index if index < spatial and index in wanted else -1 for index in group.tolist()]
    rest = iter(sorted(wanted - set(kept), key=lambda index: -float(energy[index])))
    return torch.tensor([next(rest) if index < 0 else index for index in kept])
