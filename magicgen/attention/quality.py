"""How close a planned result is to the dense one: PSNR, SSIM and, where its weights are at hand, LPIPS."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from magicgen.errors import PlanError

Pixels = npt.NDArray[Any]


def as_pixels(result: Any) -> Pixels:
    """A generated video as numpy: torch or numpy, any shape; uint8 in 0..255 or floats in [0, 1] (or latents)."""
    if isinstance(result, torch.Tensor):
        result = result.detach().float().cpu().numpy() if result.is_floating_point() else result.cpu().numpy()
    pixels = np.asarray(result)
    if pixels.dtype != np.uint8 and not np.issubdtype(pixels.dtype, np.floating):
        raise PlanError(f"the run returned {type(result).__name__} of {pixels.dtype}; expected a video, uint8 or float")
    if not np.isfinite(pixels).all():
        raise PlanError("the run returned values that are not numbers; the model or its settings are broken")
    return pixels


def psnr(result: Any, reference: Any) -> float:
    """Peak signal-to-noise ratio in dB; the peak is 255 for uint8, 1 for floats. Infinite for equal inputs."""
    a, b = as_pixels(result), as_pixels(reference)
    if a.shape != b.shape:
        raise PlanError(f"the runs returned different shapes: {a.shape} and {b.shape}; fix seed, size and frames")
    peak = 255.0 if b.dtype == np.uint8 else 1.0
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))


def ssim(result: Any, reference: Any) -> float:
    """Mean structural similarity over frames, (T,H,W,3) uint8 or float in [0, 1] (skimage's Gaussian variant)."""
    from skimage.metrics import structural_similarity

    a, b = as_pixels(result), as_pixels(reference)
    peak = 255 if b.dtype == np.uint8 else 1.0
    values = [
        structural_similarity(
            x, y, data_range=peak, channel_axis=-1, gaussian_weights=True, use_sample_covariance=False
        )
        for x, y in zip(a, b, strict=True)
    ]
    return float(np.mean(values))


def lpips_distance(result: Any, reference: Any) -> tuple[float | None, str]:
    """Mean LPIPS (AlexNet) over frames of uint8 (T,H,W,3) videos, or None and what is missing.

    Needs the package ``lpips`` and torchvision's AlexNet weights on disk; nothing is downloaded.
    """
    if importlib.util.find_spec("lpips") is None:
        return None, "LPIPS left out: the package lpips is not installed (pip install lpips)"
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not list(folder.glob("alexnet-*.pth")):
        return None, f"LPIPS left out: no AlexNet weights in {folder} (torchvision.models.alexnet fetches them)"
    lpips: Any = importlib.import_module("lpips")
    measure = lpips.LPIPS(net="alex", verbose=False)
    a, b = (torch.from_numpy(as_pixels(x)).permute(0, 3, 1, 2).float() / 127.5 - 1 for x in (result, reference))
    with torch.no_grad():
        return float(measure(a, b).mean()), "LPIPS: AlexNet"
