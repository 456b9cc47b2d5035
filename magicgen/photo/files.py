"""Photo files read and written without loss: 8 or 16 bits, transparency, EXIF and colour profile kept.

:func:`magicgen.media.read_image` gives models 8-bit sRGB. Here the pixels stay as they are in the file; only the EXIF
rotation is applied, because every later step wants the picture upright (the tag is then left out).
"""

import logging
import struct
import zlib
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.errors import MediaError
from magicgen.media import MAX_SIDE, check_output, read_with, write_bytes
from magicgen.pixels import without_profile

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
DEEP_SUFFIXES = (".png", ".tif", ".tiff")
ALPHA_SUFFIXES = (".png", ".webp", ".tif", ".tiff")
_ORIENTATION = 0x0112
_SUB_BLOCKS = (0x8769, 0x8825)
_BITS_PER_SAMPLE = 258
# Description, maker, model, software, date, artist, copyright.
_DESCRIBING = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
_ICC_TAG = 34675
# EXIF orientation -> (transpose, flip rows, flip columns), applied in this order.
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture and what came with it.

    Attributes:
        pixels: (H, W, 3) uint8 or uint16, RGB in the file's own colour space, upright.
        alpha: (H, W) of the same type, or None.
        exif: the EXIF block without rotation, or None.
        icc: the colour profile, or None (sRGB).
        grey: the file holds grey values only, and a grey result is written so.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    exif: bytes | None = None
    icc: bytes | None = None
    grey: bool = False

    @property
    def depth(self) -> int:
        """The largest value: 255 or 65535."""
        return int(np.iinfo(self.pixels.dtype).max)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])

    def with_pixels(self, pixels: Pixels) -> "Photo":
        """The same photo with other pixels of the same shape and type."""
        return replace(self, pixels=pixels)


def read_photo(path: str | Path, *, max_side: int = MAX_SIDE) -> Photo:
    """Read a photo.

    Greyscale comes as three equal channels; palettes and one-bit pictures become RGB, CMYK sRGB; of an animated picture
    the first frame is taken.

    Raises:
        MediaError: no such file, not a picture, damaged, too small or too large, or floating-point values.
    """
    return read_with(path, _decode, max_side)


def check_photo_output(path: Path, photo: Photo) -> None:
    """Make sure that ``path`` can hold the photo and can be written.

    Raises:
        MediaError: another ending is needed, or the place cannot be written.
    """
    check_output(path, SUFFIXES)
    suffix = path.suffix.lower()
    if photo.depth > 255 and suffix not in DEEP_SUFFIXES:
        raise MediaError(
            f"The photo has 16 bits a channel, which {suffix} files cannot hold; let the output end in .png or .tif."
        )
    if photo.alpha is not None and suffix not in ALPHA_SUFFIXES:
        raise MediaError(
            f"The photo has transparency, which {suffix} files cannot hold; let the output end in .png or .webp."
        )


def write_photo(path: Path, photo: Photo) -> Path:
    """Write a photo with its transparency, EXIF and profile; whole or not at all.

    JPEG is written with quality 95 and full colour resolution, WebP without loss.

    Raises:
        MediaError: see :func:`check_photo_output`.
    """
    check_photo_output(path, photo)
    suffix = path.suffix.lower()
    if photo.depth > 255:
        return write_bytes(path, _deep_png(photo) if suffix == ".png" else _deep_tiff(photo))
    return write_bytes(path, _shallow(photo, suffix))


def _decode(image: Any, source: Path) -> Photo:
    """From an open Pillow image whose size was checked."""
    from PIL import ImageOps

    exif = image.getexif()
    turn = int(exif.get(_ORIENTATION, 1))
    kept = _upright_exif(image, exif)
    icc = image.info.get("icc_profile")
    if _bits(image, source) > 8:
        return _decode_deep(source, turn, kept, icc)
    if image.mode in ("F", "I"):
        raise MediaError(f"{source} holds values of unknown range ({image.mode}); save it with 8 or 16 bits a channel.")
    grey = image.mode in ("L", "LA", "1")
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "CMYK":
        return Photo(np.array(without_profile(upright).convert("RGB"), np.uint8), None, kept, None)
    if "A" in upright.mode or "a" in upright.mode or "transparency" in upright.info:
        layered = np.asarray(upright.convert("RGBA"), np.uint8)
        return Photo(np.ascontiguousarray(layered[..., :3]), layered[..., 3].copy(), kept, icc, grey)
    return Photo(np.array(upright.convert("RGB"), np.uint8), None, kept, icc, grey)


def _bits(image: Any, source: Path) -> int:
    """Bits a channel, which Pillow hides for colour pictures."""
    if image.format == "PNG":
        with open(source, "rb") as handle:
            return handle.read(25)[24]
    if image.format == "TIFF":
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (8,))
        return int(max(bits) if isinstance(bits, tuple) else bits)
    return 16 if image.mode.startswith("I;16") else 8


def _decode_deep(source: Path, turn: int, exif: bytes | None, icc: bytes | None) -> Photo:
    values = cv2.imdecode(np.fromfile(source, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        kind = "unknown" if values is None else str(values.dtype)
        raise MediaError(f"{source} holds values of the type {kind}; save it with 8 or 16 bits a channel.")
    transpose, flip_rows, flip_columns = _TURNS.get(turn, (False, False, False))
    values = values.swapaxes(0, 1) if transpose else values
    values = values[::-1] if flip_rows else values
    values = values[:, ::-1] if flip_columns else values
    if values.ndim == 2:
        return Photo(np.repeat(values[..., None], 3, axis=2), None, exif, icc, True)
    alpha = np.ascontiguousarray(values[..., 3]) if values.shape[2] == 4 else None
    return Photo(np.ascontiguousarray(values[..., 2::-1]), alpha, exif, icc)


def _upright_exif(image: Any, exif: Any) -> bytes | None:
    """The EXIF block without what describes the pixels' storage (in TIFF files) and without the rotation."""
    from PIL import Image

    kept = Image.Exif()
    for tag, value in exif.items():
        if image.format != "TIFF" or tag in _DESCRIBING:
            kept[tag] = value
    # Sub-blocks (exposure, lens, place) are written only if they have been read.
    for block in _SUB_BLOCKS:
        inner = exif.get_ifd(block)
        if inner:
            kept[block] = dict(inner)
    kept.pop(_ORIENTATION, None)
    if not kept:
        return None
    try:
        return bytes(kept.tobytes())
    except (OSError, ValueError, TypeError, struct.error):
        _log.warning("the EXIF tags of this picture are damaged and are left out")
        return None


def _shallow(photo: Photo, suffix: str) -> bytes:
    from PIL import Image

    pixels: Any = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if photo.grey and _is_grey(photo.pixels):
        image = image.convert("L" if photo.alpha is None else "LA")
    options: dict[str, Any] = {}
    match suffix:
        case ".png":
            kind = "PNG"
        case ".webp":
            kind, options = "WEBP", {"lossless": True, "exact": True}
        case ".tif" | ".tiff":
            kind = "TIFF"  # uncompressed: libtiff refuses EXIF blocks that Pillow's own writer takes
        case _:
            kind, options = "JPEG", {"quality": 95, "subsampling": 0}
    if photo.exif is not None:
        options["exif"] = photo.exif
    if photo.icc is not None:
        options["icc_profile"] = photo.icc
    buffer = BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _deep_png(photo: Photo) -> bytes:
    encoded = cv2.imencode(".png", _bgr(photo), [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()
    header_end = 8 + 25  # signature and IHDR
    extra = b""
    if photo.icc is not None:
        extra += _chunk(b"iCCP", b"profile\0\0" + zlib.compress(photo.icc))
    if photo.exif is not None:
        extra += _chunk(b"eXIf", photo.exif.removeprefix(b"Exif\0\0"))
    return encoded[:header_end] + extra + encoded[header_end:]


def _deep_tiff(photo: Photo) -> bytes:
    import tifffile

    if photo.exif is not None:
        _log.warning("EXIF tags are not kept in 16-bit TIFF files; write a .png to keep them")
    pixels: Any = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
    tags = [] if photo.icc is None else [(_ICC_TAG, 7, len(photo.icc), photo.icc, True)]
    extra: dict[str, Any] = {} if photo.alpha is None else {"extrasamples": ["unassalpha"]}
    buffer = BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="rgb", compression="zlib", extratags=tags, metadata=None, **extra)
    return buffer.getvalue()


def _bgr(photo: Photo) -> Any:
    if photo.alpha is None:
        return np.ascontiguousarray(photo.pixels[..., ::-1])
    return np.dstack([photo.pixels[..., ::-1], photo.alpha])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _is_grey(pixels: Pixels) -> bool:
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())
