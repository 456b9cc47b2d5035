"""What an open Pillow image holds, as arrays: rotation, colour profiles, transparency and 16-bit values settled."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from magicgen.errors import MediaError

UInt8 = npt.NDArray[np.uint8]


def to_rgb(image: Any, source: Path) -> UInt8:
    """An open Pillow image as (H, W, 3) uint8 sRGB: upright, profiles converted, transparency laid on white.

    Raises:
        MediaError: values of unknown range.
    """
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image)
    mode = upright.mode
    if mode.startswith("I"):
        return _from_deep(np.asarray(upright), source)
    if mode == "F":
        raise MediaError(f"{source} holds floating-point values of unknown range; save it with 8 or 16 bits a channel.")
    if "A" in mode or "a" in mode or "transparency" in upright.info:
        layered = upright.convert("RGBA")
        white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return np.array(Image.alpha_composite(white, layered).convert("RGB"), dtype=np.uint8)
    return np.array(without_profile(upright).convert("RGB"), dtype=np.uint8)


def to_mask(image: Any, source: Path) -> npt.NDArray[np.bool_]:
    """An open Pillow image as (H, W) bool: see :func:`magicgen.media.read_mask`."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if "A" in upright.mode or "a" in upright.mode or "transparency" in upright.info:
        alpha = np.asarray(upright.convert("RGBA"))[..., 3]
        if alpha.min() < 255:
            return alpha > 127
        upright = upright.convert("RGB")
    grey = np.asarray(upright if upright.mode[0] in "IF1L" else upright.convert("L")).astype(np.float32)
    return grey > max(float(grey.max()) / 2, 0.0)


def without_profile(image: Any) -> Any:
    """Convert an embedded colour profile to sRGB; a profile that cannot be used is ignored, as viewers do."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK"):
        return image
    from PIL import ImageCms

    try:
        own = ImageCms.ImageCmsProfile(BytesIO(profile))
        return ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def _from_deep(values: npt.NDArray[Any], source: Path) -> UInt8:
    """Grey values of 16 bits (0..65535) as RGB of 8 bits."""
    if values.min() < 0 or values.max() > 65535:
        raise MediaError(f"{source} holds grey values outside 0..65535; save it with 8 or 16 bits a channel.")
    grey = np.round(values.astype(np.float32) / 257).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
