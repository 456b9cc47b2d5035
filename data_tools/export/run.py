"""``export``: a dataset into another format, checked by reading it back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.dataset import read_index, rows_of
from data_tools.export.clips import ExportClip, Exporter
from data_tools.export.coco import CocoVisExporter
from data_tools.export.davis import DavisExporter
from data_tools.export.magicdata import MagicDataExporter
from data_tools.export.maps import MapVideoExporter
from data_tools.export.webdataset import WebDatasetExporter
from magicgen.errors import DatasetError, GenerationFailed
from magicgen.progress import Report, Stage, silent

FORMATS: dict[str, Callable[[Path], Exporter]] = {
    "magicdata": MagicDataExporter,
    "webdataset": WebDatasetExporter,
    "coco-vis": CocoVisExporter,
    "davis": DavisExporter,
    "maps": MapVideoExporter,
}


@dataclass(frozen=True)
class ExportRequest:
    """What to export: the dataset, the format's name, the folder, rejected clips too, and whether to read back."""

    root: Path
    format: str
    out: Path
    rejected: bool = False
    verify: bool = False


def export(request: ExportRequest, report: Report = silent) -> int:
    """Write all kept clips; returns their number.

    Raises:
        DatasetError: no dataset, no such format, or the folder is in use.
        MediaError: the folder cannot be written.
        GenerationFailed: with ``verify``, a mask or box that was read back differs.
    """
    if request.format not in FORMATS:
        raise DatasetError(f"There is no format {request.format!r}. Expected one of {', '.join(FORMATS)}.")
    if request.out.exists() and (not request.out.is_dir() or any(request.out.iterdir())):
        raise DatasetError(f"{request.out} is in use. Give a new or empty folder.")
    index = read_index(request.root)
    exporter = FORMATS[request.format](request.out)
    progress = Stage(report, f"Exporting {request.format}", index.counts["clips" if request.rejected else "kept"])
    for row in _rows(request):
        exporter.add(ExportClip(request.root, row))
        progress.advance()
    exporter.close()
    if request.verify:
        _verify(exporter, request, report)
    return progress.step


def _rows(request: ExportRequest) -> Iterator[dict[str, Any]]:
    rows = rows_of(request.root, kept_only=not request.rejected)
    return (row for row in rows if row["kept_tracks"])


def _verify(exporter: Exporter, request: ExportRequest, report: Report) -> None:
    progress = Stage(report, "Reading back", None)
    for row in _rows(request):
        clip = ExportClip(request.root, row)
        masks = exporter.masks_back(clip)
        if not np.array_equal(masks, clip.masks):
            raise GenerationFailed(f"{request.out}: the masks of clip {clip.name} differ from the dataset's.")
        boxes = np.array([track["boxes"] for track in clip.tracks], np.float32)
        if not np.array_equal(boxes_of(masks), boxes, equal_nan=True):
            raise GenerationFailed(f"{request.out}: the boxes of clip {clip.name} differ from the dataset's.")
        progress.advance()


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """(N, T, H, W) masks -> (N, T, 4) float32 pixel boxes as the store has them."""
    from data_tools.annotators.found import pixel_box

    return np.array([[pixel_box(mask) for mask in track] for track in masks], np.float32)
