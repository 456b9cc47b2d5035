"""The layout of the released MagicData: a clip, colour-coded mask pictures and box pictures per frame, one CSV."""

import csv
import io
from pathlib import Path

import numpy as np

from data_tools.export.clips import Bools, ExportClip, UInt8, copy_file
from magicgen.control.raster import draw_box, line_thickness, map_colour, rasterise
from magicgen.control.tracks import MaskLevel
from magicgen.media import read_image, write_bytes, write_image

_COLUMNS = ("video", "masks", "boxs", "text", "num_frames", "height", "width", "fps", "sparse_frames", "objects")


class MagicDataExporter:
    """``videos/CLIP.mp4``, ``masks/CLIP/annotated_frame_00000.png``, ``boxs/CLIP/...``, ``MagicData.csv``."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._rows: list[dict[str, object]] = []

    def add(self, clip: ExportClip) -> None:
        """Write the pictures of every frame."""
        video = copy_file(clip.file, self.out / "videos" / f"{clip.name}.mp4")
        tracks = clip.as_tracks()
        masks, boxes = self._folder("masks", clip), self._folder("boxs", clip)
        for number, picture in enumerate(rasterise(tracks, MaskLevel())):
            write_image(masks / f"annotated_frame_{number:05d}.png", picture)
            outlines = _outlines(tracks.boxes[:, number], clip.size)
            write_image(boxes / f"annotated_frame_{number:05d}.png", outlines)
        places = (video, masks, boxes)
        values = (
            *(str(place.relative_to(self.out)) for place in places),
            clip.row["caption"],
            clip.row["frames"],
            *clip.size,
            f"{clip.fps:g}",
            " ".join(str(frame) for frame in clip.row["keep_frames"]),
            "; ".join(track["label"] for track in clip.tracks),
        )
        self._rows.append(dict(zip(_COLUMNS, values, strict=True)))

    def close(self) -> None:
        """Write the CSV."""
        self.out.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_bytes(self.out / "MagicData.csv", text.getvalue().encode("utf-8"))

    def masks_back(self, clip: ExportClip) -> Bools:
        """Read the mask pictures by colour."""
        files = sorted((self.out / "masks" / clip.name).glob("*.png"))
        return masks_by_colour(np.stack([read_image(file) for file in files]), len(clip.tracks))

    def _folder(self, kind: str, clip: ExportClip) -> Path:
        folder = self.out / kind / clip.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def masks_by_colour(pictures: UInt8, count: int) -> Bools:
    """(T, H, W, 3) maps in exact colours -> (N, T, H, W) masks."""
    masks = [(pictures == np.array(map_colour(number), np.uint8)).all(axis=-1) for number in range(count)]
    return np.stack(masks) if masks else np.zeros((0, *pictures.shape[:3]), np.bool_)


def _outlines(boxes: np.ndarray, size: tuple[int, int]) -> UInt8:
    picture = np.zeros((*size, 3), np.uint8)
    for number, box in enumerate(boxes):
        draw_box(picture, box, map_colour(number), line_thickness(*size))
    return picture
