"""Photos that visitors send: checked, copied into the visitor's folder, shown on the drawing area."""

import base64
import shutil
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from magicgen.errors import MediaError
from magicgen.media import read_image, resize

UInt8 = npt.NDArray[np.uint8]

MAX_PHOTO_SIDE = 8192
MAX_PHOTO_BYTES = 48 * 1024**2
SHOWN_SIDE = 1280


@dataclass(frozen=True)
class Photo:
    """A checked photo.

    Attributes:
        path: the file in the visitor's folder.
        size: (H, W) of the photo, upright.
        shown: (h, w, 3) uint8 RGB, at most 1280 pixels a side.
    """

    path: Path
    size: tuple[int, int]
    shown: UInt8

    def as_property(self) -> dict[str, Any]:
        """The ``picture`` property of a :func:`~magicgen.ui.canvas.make_canvas`."""
        return {"url": data_url(self.shown), "width": self.size[1], "height": self.size[0]}


def take_photo(source: Path, folder: Path) -> Photo:
    """Check a picture and copy it into ``folder``.

    Raises:
        MediaError: not a picture, damaged, too small, more than 48 MiB, or more than 8192 pixels a side.
    """
    if source.is_file() and source.stat().st_size > MAX_PHOTO_BYTES:
        raise MediaError(f"The photo has more than {MAX_PHOTO_BYTES // 1024**2} MiB; save it smaller, as a JPEG say.")
    try:
        pixels = read_image(source, max_side=MAX_PHOTO_SIDE)
    except MediaError as error:
        # The visitor knows the name of the file, not where the server put it.
        raise MediaError(str(error).replace(str(source), source.name)) from None
    target = folder / f"photo{source.suffix.lower() or '.png'}"
    if source.resolve() != target.resolve():
        shutil.copyfile(source, target)
    return Photo(target, (pixels.shape[0], pixels.shape[1]), shrunk(pixels))


def shrunk(pixels: UInt8, side: int = SHOWN_SIDE) -> UInt8:
    """A copy with at most ``side`` pixels a side."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    return pixels if scale >= 1 else resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))


def inside(path: str, folder: Path) -> Path:
    """A path that came from a browser, if it leads to a file inside ``folder``.

    Raises:
        MediaError: it does not.
    """
    try:
        target = Path(path).resolve()
        known = target.is_relative_to(folder.resolve()) and target.is_file()
    except (OSError, ValueError):
        known = False
    if not known:
        raise MediaError("The page named a file that was not uploaded here. Choose the photo again.")
    return target


def data_url(pixels: UInt8) -> str:
    """A picture as a ``data:`` address, JPEG of good quality."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=92, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
