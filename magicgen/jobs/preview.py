"""A cheap picture of a latent: one linear map from channels to colours, fitted to the photo of the run itself.

A preview after every step must not cost a decoder call. ComfyUI and others ship one matrix for each autoencoder; here
it is found by least squares from the photo and its latent, so that it serves any autoencoder.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from magicgen.media import resize

UInt8 = npt.NDArray[np.uint8]

_RIDGE = 1e-3
_SIDE = 384


class LatentPreview:
    """Fits the map once; a call turns a latent (B, F, C, h, w) into frames side by side, (H, W, 3) uint8.

    Args:
        pipeline: a ``TrajectoryVideoPipeline``.
        picture: (H, W, 3) uint8, the first frame.
    """

    def __init__(self, pipeline: Any, picture: UInt8) -> None:
        import torch

        with torch.no_grad():
            latent = pipeline.encode(
                picture[None], torch.Generator("cpu").manual_seed(0), 1, pipeline._execution_device
            )
        features = _features(latent[0, 0].float().cpu().numpy())
        height, width = latent.shape[-2:]
        colours = resize(picture, height, width).reshape(-1, 3).astype(np.float32)
        scale = _RIDGE * len(features) * np.eye(features.shape[1], dtype=np.float32)
        self._map = np.linalg.solve(features.T @ features + scale, features.T @ colours)

    def __call__(self, latent: Any) -> UInt8:
        """The first, middle and last latent frame of the first video, side by side."""
        count = latent.shape[1]
        chosen = sorted({0, count // 2, count - 1})
        frames = []
        for index in chosen:
            values = latent[0, index].float().cpu().numpy()
            colours = (_features(values) @ self._map).reshape(*values.shape[-2:], 3)
            frames.append(np.clip(np.nan_to_num(colours), 0, 255).astype(np.uint8))
        strip = np.concatenate(frames, axis=1)
        factor = max(1, _SIDE // max(1, strip.shape[0]) // 2)
        return strip.repeat(factor, axis=0).repeat(factor, axis=1)


def _features(latent: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(C, h, w) -> (h * w, C + 1): the channels and a constant."""
    flat = latent.reshape(latent.shape[0], -1).T
    return np.concatenate([flat, np.ones((len(flat), 1), np.float32)], axis=1).astype(np.float32)
