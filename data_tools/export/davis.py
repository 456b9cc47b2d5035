"""DAVIS 2017: JPEG frames, palette PNG with object numbers, a list of sequences."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from data_tools.export.clips import Bools, ExportClip, UInt8, labels_of, masks_of
from magicgen.errors import DatasetError
from magicgen.media import write_bytes, write_image, write_json

_SIZE = "480p"


class DavisExporter:
    """``JPEGImages/480p/CLIP/00000.jpg``, ``Annotations/480p/CLIP/00000.png``, ``ImageSets/2017/all.txt``."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._names: list[str] = []
        self._labels: dict[str, list[str]] = {}

    def add(self, clip: ExportClip) -> None:
        """Write frames and label pictures.

        Raises:
            DatasetError: more than 255 objects; a palette has no room for them.
        """
        if len(clip.tracks) > 255:
            raise DatasetError(f"Clip {clip.name} has {len(clip.tracks)} objects; a palette PNG holds 255.")
        frames, labels = self.out / "JPEGImages" / _SIZE / clip.name, self._folder(clip)
        frames.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for number, (frame, label) in enumerate(zip(clip.video, labels_of(clip.masks), strict=True)):
            write_image(frames / f"{number:05d}.jpg", frame)
            write_bytes(labels / f"{number:05d}.png", palette_png(label))
        self._names.append(clip.name)
        self._labels[clip.name] = [track["label"] for track in clip.tracks]

    def close(self) -> None:
        """Write the list of sequences and the names of the objects."""
        sets = self.out / "ImageSets" / "2017"
        sets.mkdir(parents=True, exist_ok=True)
        write_bytes(sets / "all.txt", "".join(f"{name}\n" for name in self._names).encode())
        write_json(self.out / "labels.json", self._labels)

    def masks_back(self, clip: ExportClip) -> Bools:
        """Read the label pictures."""
        files = sorted(self._folder(clip).glob("*.png"))
        return masks_of(np.stack([np.asarray(Image.open(file)) for file in files]), len(clip.tracks))

    def _folder(self, clip: ExportClip) -> Path:
        return self.out / "Annotations" / _SIZE / clip.name


def palette_png(labels: UInt8) -> bytes:
    """(H, W) object numbers as an indexed PNG in the colours of PASCAL VOC and DAVIS."""
    image = Image.fromarray(labels, mode="P") if labels.dtype == np.uint8 else Image.fromarray(labels)
    image.putpalette([part for number in range(256) for part in _colour(number)])
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _colour(number: int) -> tuple[int, int, int]:
    """The bits of the number, three at a time, become the high bits of red, green and blue."""
    red = green = blue = 0
    for shift in range(7, -1, -1):
        red |= (number & 1) << shift
        green |= (number >> 1 & 1) << shift
        blue |= (number >> 2 & 1) << shift
        number >>= 3
    return red, green, blue
