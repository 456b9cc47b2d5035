"""MagicMotion's own form: a first frame, map videos of the three levels and a CSV, ready for its inference.

The maps are H.264 in RGB without loss, so that a colour stays one colour; every FFmpeg-based reader decodes it.
"""

import csv
import io
from fractions import Fraction
from pathlib import Path

import numpy as np

from data_tools.export.clips import Bools, ExportClip, UInt8
from data_tools.export.magicdata import masks_by_colour
from magicgen.control.raster import rasterise
from magicgen.control.tracks import BoxLevel, Level, MaskLevel, SparseBoxLevel, level_name
from magicgen.media import atomic, read_video, write_bytes, write_image

_COLUMNS = (
    "validation_prompt",
    "validation_images",
    "validation_trajectory_maps",
    "output_path",
    "controlnet_weights",
    "seed",
)


class MapVideoExporter:
    """``CLIP.png``, ``CLIP.mask.mp4``, ``CLIP.box.mp4``, ``CLIP.sparse_box.mp4`` and a CSV of each level."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._rows: dict[str, list[tuple[object, ...]]] = {"mask": [], "box": [], "sparse_box": []}

    def add(self, clip: ExportClip) -> None:
        """Write the first frame and the maps of all levels."""
        self.out.mkdir(parents=True, exist_ok=True)
        write_image(self.out / f"{clip.name}.png", clip.video[0])
        tracks = clip.as_tracks()
        levels: tuple[Level, ...] = (MaskLevel(), BoxLevel(), SparseBoxLevel(tuple(clip.row["keep_frames"])))
        for level in levels:
            name = level_name(level)
            write_exact(self.out / f"{clip.name}.{name}.mp4", rasterise(tracks, level), clip.fps)
            maps = f"{clip.name}.{name}.mp4"
            self._rows[name].append((clip.row["caption"], f"{clip.name}.png", maps, f"{clip.name}.mp4", 1.0, 42))

    def close(self) -> None:
        """Write the CSV files."""
        self.out.mkdir(parents=True, exist_ok=True)
        for name, rows in self._rows.items():
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows(rows)
            write_bytes(self.out / f"{name}.csv", text.getvalue().encode("utf-8"))

    def masks_back(self, clip: ExportClip) -> Bools:
        """Read the mask video by colour."""
        return masks_by_colour(read_video(self.out / f"{clip.name}.mask.mp4").frames, len(clip.tracks))


def write_exact(path: Path, frames: UInt8, fps: float) -> Path:
    """(T, H, W, 3) uint8 RGB as lossless RGB H.264."""
    import av

    with atomic(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        options = {"qp": "0", "preset": "veryfast", "threads": "1"}
        stream = container.add_stream("libx264rgb", rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "rgb24"
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
