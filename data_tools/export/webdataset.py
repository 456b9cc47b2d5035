"""WebDataset: tar files of samples (``CLIP.mp4``, ``CLIP.json``) for streaming; the JSON is the row."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.export.clips import Bools, ExportClip
from data_tools.store import from_row
from magicgen.media import atomic

_SHARD_BYTES = 1_000_000_000


class WebDatasetExporter:
    """``shard-000000.tar`` and on, about a gigabyte each; the same clips give the same bytes."""

    def __init__(self, out: Path, shard_bytes: int = _SHARD_BYTES) -> None:
        self.out, self.shard_bytes = out, shard_bytes
        self._waiting: list[ExportClip] = []
        self._bytes = self._shards = 0

    def add(self, clip: ExportClip) -> None:
        """Collect clips until a shard is full."""
        self._waiting.append(ExportClip(clip.root, clip.row))  # without the pixels that others may have read
        self._bytes += clip.file.stat().st_size
        if self._bytes >= self.shard_bytes:
            self._flush()

    def close(self) -> None:
        """Write the last shard."""
        if self._waiting:
            self._flush()

    def masks_back(self, clip: ExportClip) -> Bools:
        """Read the row from its shard."""
        for path in sorted(self.out.glob("shard-*.tar")):
            with tarfile.open(path) as archive:
                if f"{clip.name}.json" in archive.getnames():
                    member = archive.extractfile(f"{clip.name}.json")
                    assert member is not None
                    return ExportClip(clip.root, _with_gaps(json.load(member))).masks
        raise KeyError(clip.name)

    def _flush(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        with atomic(self.out / f"shard-{self._shards:06d}.tar") as temporary, tarfile.open(temporary, "w") as archive:
            for clip in self._waiting:
                text = json.dumps(_without_gaps(clip.row), ensure_ascii=False, sort_keys=True)
                _add(archive, f"{clip.name}.json", text.encode())
                _add(archive, f"{clip.name}.mp4", clip.file.read_bytes())
        self._waiting, self._bytes, self._shards = [], 0, self._shards + 1


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    archive.addfile(entry, io.BytesIO(content))


def _without_gaps(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON knows it: the boxes of hidden objects are null."""
    tracks = [
        {**track, "boxes": [None if np.isnan(box[0]) else [float(v) for v in box] for box in track["boxes"]]}
        for track in row["tracks"]
    ]
    return {**row, "tracks": tracks}


def _with_gaps(row: dict[str, Any]) -> dict[str, Any]:
    gap = [float("nan")] * 4
    tracks = [{**track, "boxes": [box or gap for box in track["boxes"]]} for track in row["tracks"]]
    from_row({**row, "tracks": tracks})  # a row that the store would not take must not pass unnoticed
    return {**row, "tracks": tracks}
