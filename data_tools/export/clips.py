"""What an exporter is given, and what it has to offer."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from data_tools.store import from_row
from magicgen.control.tracks import Tracks, boxes_from_masks
from magicgen.media import atomic, read_video

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ExportClip:
    """A clip of a dataset with its kept tracks; pixels and masks are read when they are asked for."""

    root: Path
    row: dict[str, Any]

    @property
    def name(self) -> str:
        """The clip's id."""
        return str(self.row["clip_id"])

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return int(self.row["height"]), int(self.row["width"])

    @property
    def fps(self) -> float:
        """Frames per second."""
        return float(self.row["fps_num"]) / float(self.row["fps_den"])

    @property
    def file(self) -> Path:
        """The stored clip."""
        return self.root / str(self.row["file"])

    @cached_property
    def tracks(self) -> list[dict[str, Any]]:
        """The rows of the kept tracks."""
        return [track for track in self.row["tracks"] if track["track_id"] in self.row["kept_tracks"]]

    @cached_property
    def video(self) -> UInt8:
        """(T, H, W, 3) uint8 RGB."""
        return read_video(self.file).frames

    @cached_property
    def masks(self) -> Bools:
        """(N, T, H, W) bool."""
        from data_tools.stages.measure import decode_masks

        kept = [track for track in from_row(self.row).tracks if track.track_id in self.row["kept_tracks"]]
        empty = np.zeros((0, self.row["frames"], *self.size), np.bool_)
        return np.stack([decode_masks(track, self.size) for track in kept]) if kept else empty

    def as_tracks(self) -> Tracks:
        """The kept tracks as the rest of the house reads them."""
        names = tuple(f"{track['label']} {track['track_id']}" for track in self.tracks)
        return Tracks(names, self.masks[:, 0], boxes_from_masks(self.masks), self.masks)


class Exporter(Protocol):
    """Writes one format into one folder."""

    def add(self, clip: ExportClip) -> None:
        """Write a clip."""
        ...

    def close(self) -> None:
        """Write what stands once (lists, annotations)."""
        ...

    def masks_back(self, clip: ExportClip) -> Bools:
        """(N, T, H, W) masks of a clip, read from what was written."""
        ...


def copy_file(source: Path, target: Path) -> Path:
    """Copy, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic(target) as temporary:
        shutil.copyfile(source, temporary)
    return target


def labels_of(masks: Bools) -> UInt8:
    """(N, T, H, W) masks that do not overlap -> (T, H, W) numbers, 0 for the background."""
    labels = np.zeros(masks.shape[1:], np.uint8)
    for number, mask in enumerate(masks, start=1):
        labels[mask] = number
    return labels


def masks_of(labels: UInt8, count: int) -> Bools:
    """The reverse of :func:`labels_of`."""
    return (
        np.stack([labels == number for number in range(1, count + 1)]) if count else np.zeros((0, *labels.shape), bool)
    )
