"""Pictures of the report, as data inside the page: contact sheets with masks and boxes."""

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.raster import map_colour
from magicgen.control.rle import Rle
from magicgen.media import read_video

UInt8 = npt.NDArray[np.uint8]
_DIMMED = (120, 120, 120)
_KEPT_FRAME, _OTHER_FRAME = (47, 111, 219), (200, 200, 200)


def contact_sheet(root: Path, row: dict[str, Any], frames: int, width: int) -> str:
    """A strip of frames of a clip with every track's mask tinted and its box drawn, as a ``data:`` address of a JPEG.

    Frames of the sparse keep list carry a blue bar; tracks that the filters dropped are grey.
    """
    places = np.unique(np.linspace(0, row["frames"] - 1, frames).round().astype(int))
    video = read_video(root / row["file"]).frames[places]
    height = max(2, round(width * row["height"] / row["width"]))
    cells = []
    for frame, place in zip(video, places, strict=True):
        cell = np.asarray(cv2.resize(drawn(frame, row, int(place)), (width, height), interpolation=cv2.INTER_AREA))
        marked = place == 0 or place in row["keep_frames"]
        bar = np.full((6, width, 3), _KEPT_FRAME if marked else _OTHER_FRAME, np.uint8)
        cells.append(np.concatenate([cell, bar]))
    return as_address(np.concatenate(cells, axis=1))


def drawn(frame: UInt8, row: dict[str, Any], place: int) -> UInt8:
    """(H, W, 3) frame with the tracks of a row on it."""
    image = frame.copy()
    size = (row["height"], row["width"])
    line = max(2, min(size) // 120)
    for number, track in enumerate(row["tracks"]):
        rle = track["rle"][place]
        if rle is None:
            continue
        kept = track["track_id"] in row["kept_tracks"]
        colour = np.array(map_colour(number)) * 2 if kept else np.array(_DIMMED)
        mask = Rle(size, rle).decode()
        image[mask] = (0.55 * image[mask] + 0.45 * colour).astype(np.uint8)
        x0, y0, x1, y1 = (int(value) for value in track["boxes"][place])
        cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), tuple(int(part) for part in colour), line)
    return image


def as_address(image: UInt8, quality: int = 72) -> str:
    """A ``data:`` address of an image."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def swatches(tracks: Sequence[dict[str, Any]], kept: Sequence[int]) -> list[str]:
    """The CSS colour of every track on the sheets."""
    colours = [
        tuple(2 * part for part in map_colour(number)) if track["track_id"] in kept else _DIMMED
        for number, track in enumerate(tracks)
    ]
    return [f"rgb({red},{green},{blue})" for red, green, blue in colours]
