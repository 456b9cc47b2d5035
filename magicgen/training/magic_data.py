"""Datasets of ``magicgen-data`` as training data: random windows of the kept clips, in aspect buckets.

The files are described in docs/data.md: ``dataset.json`` names Parquet parts with a row a clip; masks are COCO RLE of
the stored clip's size, boxes follow from the masks.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from magicgen.control.rle import Rle
from magicgen.control.tracks import Tracks, boxes_from_masks
from magicgen.errors import DatasetError
from magicgen.media import fit, read_video
from magicgen.training.clips import Clip

FORMAT = 1  # of dataset.json; written by data_tools/dataset.py
_LISTED = ("clip_id", "file", "frames", "width", "height", "status")
_TRIES = 20


@dataclass(frozen=True)
class Entry:
    """A kept clip, and where its row stands."""

    part: str
    row: int
    frames: int
    aspect: float  # height / width


@dataclass(frozen=True)
class MagicDataClips:
    """Windows of a dataset's kept clips.

    Clip ``i`` depends on (seed, i) alone. All clips of a batch (``i // batch_size``) have the same length and size: the
    bucket of the batch is drawn by how many clips it holds. A clip belongs to every length that it is long enough for,
    there to the size with the aspect nearest to its own, and is cropped to it. Windows that show no kept object on
    their first frame are drawn again.

    Attributes:
        root: the dataset's folder.
        sizes: (height, width) of the buckets.
        largest_stride: frames are taken 1 to this many apart.
        lengths: further numbers of frames beside ``frames``.
    """

    root: Path
    frames: int
    sizes: tuple[tuple[int, int], ...]
    batch_size: int
    seed: int
    largest_stride: int = 3
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not any(self._buckets):
            raise DatasetError(
                f"{self.root} holds no kept clip of {self.frames} frames or more. Train with fewer 'data.frames', or "
                "relax the thresholds with 'magicgen-data refilter'."
            )

    @cached_property
    def _buckets(self) -> tuple[tuple[Entry, ...], ...]:
        """The entries of every shape."""
        buckets: dict[tuple[int, tuple[int, int]], list[Entry]] = {shape: [] for shape in self._shapes}
        for entry in kept_entries(self.root):
            for frames in {self.frames, *self.lengths}:
                if entry.frames >= frames:
                    buckets[frames, self.sizes[self._nearest(entry.aspect)]].append(entry)
        return tuple(tuple(bucket) for bucket in buckets.values())

    @property
    def _shapes(self) -> list[tuple[int, tuple[int, int]]]:
        """Frames and (height, width) of every bucket."""
        return [(frames, size) for frames in dict.fromkeys([self.frames, *self.lengths]) for size in self.sizes]

    def _nearest(self, aspect: float) -> int:
        distances = [abs(math.log(height / width / aspect)) for height, width in self.sizes]
        return int(np.argmin(distances))

    def clip(self, index: int) -> Clip:
        """Window ``index`` of this seed.

        Raises:
            DatasetError: a clip or row is damaged, or no window shows an object.
        """
        counts = np.array([len(bucket) for bucket in self._buckets], dtype=np.float64)
        draw = np.random.default_rng([self.seed, 11, index // self.batch_size])
        shape = int(draw.choice(len(counts), p=counts / counts.sum()))
        rng = np.random.default_rng([self.seed, 13, index])
        bucket, (frames, size) = self._buckets[shape], self._shapes[shape]
        for _ in range(_TRIES):
            clip = self._window(bucket[int(rng.integers(len(bucket)))], frames, size, rng)
            if clip is not None:
                return clip
        raise DatasetError(f"{self.root}: {_TRIES} windows in a row show no object on their first frame.")

    def _window(self, entry: Entry, frames: int, size: tuple[int, int], rng: np.random.Generator) -> Clip | None:
        longest = (entry.frames - 1) // max(frames - 1, 1)
        stride = int(rng.integers(1, min(longest, self.largest_stride) + 1))
        start = int(rng.integers(0, entry.frames - stride * (frames - 1)))
        return read_window(self.root, entry, range(start, start + stride * (frames - 1) + 1, stride), size)


def read_window(root: Path, entry: Entry, chosen: Sequence[int], size: tuple[int, int]) -> Clip | None:
    """The chosen frames of a kept clip, cropped to ``size`` (height, width), with the kept objects that are visible on
    the first of them; None where there is none.

    Raises:
        DatasetError: the clip or its row is damaged.
    """
    row = _read_row(root / entry.part, entry.row)
    tracks = [track for track in row["tracks"] if track["track_id"] in row["kept_tracks"]]
    tracks = [track for track in tracks if track["rle"][chosen[0]] is not None]
    if not tracks:
        return None
    picture = (row["height"], row["width"])
    masks = np.stack([[_fitted(track["rle"][t], picture, size) for t in chosen] for track in tracks])
    seen = np.asarray(masks[:, 0].any(axis=(1, 2)))
    if not seen.any():
        return None
    labels = _different([track["label"] for track, keep in zip(tracks, seen, strict=True) if keep])
    video = read_video(root / row["file"], max_frames=chosen[-1] + 1).frames[list(chosen)]
    masks = masks[seen]
    return Clip(fit(video, *size), Tracks(labels, masks[:, 0], boxes_from_masks(masks), masks), row["caption"] or "")


def kept_entries(root: Path) -> list[Entry]:
    """The kept clips of a dataset.

    Raises:
        DatasetError: no dataset there, a damaged one, or one of a format that this version does not know.
    """
    path = root / "dataset.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        check_format(path, index["format"])
        parts = [str(part["file"]) for part in index["parts"]]
    except FileNotFoundError:
        raise DatasetError(
            f"{root} holds no dataset (no dataset.json). Build one with 'magicgen-data build'."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is no dataset index ({error}).") from error
    entries = []
    for part in parts:
        rows = _parquet(root / part).read(columns=list(_LISTED)).to_pylist()
        entries += [
            Entry(part, number, row["frames"], row["height"] / row["width"])
            for number, row in enumerate(rows)
            if row["status"] == "kept"
        ]
    return entries


def check_format(path: Path, found: object) -> None:
    """Raises:
    DatasetError: ``found`` is not the format that is read here.
    """
    if found != FORMAT:
        raise DatasetError(
            f"{path} is of dataset format {found}; this version of magicgen reads format {FORMAT}. Build the dataset "
            "again with 'magicgen-data build', or use the version of magicgen that wrote it."
        )


def _parquet(path: Path) -> Any:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise DatasetError(
            "Datasets are read with pyarrow, which is not installed: pip install 'magicgen[data]'."
        ) from None
    try:
        return ParquetFile(path)
    except (OSError, ArrowException) as error:
        raise DatasetError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}).") from error


def _read_row(path: Path, number: int) -> dict[str, Any]:
    """Row ``number`` of a file; only its row group is read."""
    with _parquet(path) as file:
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if number < count:
                return dict(file.read_row_group(group).slice(number, 1).to_pylist()[0])
            number -= count
    raise DatasetError(f"{path} has fewer rows than its index says.")


def _fitted(rle: str | None, picture: tuple[int, int], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    if rle is None:
        return np.zeros(size, np.bool_)
    grey = np.repeat(Rle(picture, rle).decode()[..., None].astype(np.uint8) * 255, 3, axis=-1)
    return fit(grey, *size)[..., 0] > 127


def _different(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, numbered where one stands more than once."""
    return tuple(
        label if labels.count(label) == 1 else f"{label} {labels[: place + 1].count(label)}"
        for place, label in enumerate(labels)
    )
