"""``validate``: does a dataset hold what it promises?"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.annotators.found import pixel_box
from data_tools.dataset import read_index
from data_tools.stages.ingest import file_digest
from data_tools.store import read_groups
from magicgen.control.rle import Rle
from magicgen.errors import MagicGenError
from magicgen.media import read_video
from magicgen.progress import Report, Stage, silent


@dataclass(frozen=True)
class Validation:
    """What was looked at, every fault in words, and the hash of the dataset's content."""

    clips: int
    faults: tuple[str, ...]
    content: str


def validate(root: Path, report: Report = silent) -> Validation:
    """Check the parts' hashes, every clip's bytes and frames, every mask, box and area.

    Raises:
        DatasetError: there is no dataset.
    """
    index = read_index(root)
    progress = Stage(report, "Checking clips", sum(part["rows"] for part in index.parts))
    faults: list[str] = []
    ids: set[str] = set()
    count = 0
    for part in index.parts:
        path = root / part["file"]
        if not path.is_file() or file_digest(path) != part["sha256"]:
            faults.append(f"{part['file']}: missing or changed since it was written")
            continue
        for group in read_groups(path):
            for row in group:
                count += 1
                if row["clip_id"] in ids:
                    faults.append(f"clip {row['clip_id']}: stands twice")
                ids.add(row["clip_id"])
                faults += [f"clip {row['clip_id']}: {fault}" for fault in _row_faults(root, row)]
                progress.advance()
    if count != index.counts["clips"]:
        faults.append(f"dataset.json counts {index.counts['clips']} clips; {count} can be read")
    content = hashlib.sha256("".join(part["sha256"] for part in index.parts).encode()).hexdigest()
    return Validation(count, tuple(faults), content)


def _row_faults(root: Path, row: dict[str, Any]) -> list[str]:
    path = root / row["file"]
    if not path.is_file():
        return [f"{row['file']} is missing"]
    faults = [] if file_digest(path) == row["sha256"] else [f"{row['file']} has changed since it was written"]
    try:
        shape = read_video(path).frames.shape[:3]
    except MagicGenError as error:
        return [*faults, str(error)]
    expected = (row["frames"], row["height"], row["width"])
    if shape != expected:
        faults.append(f"{row['file']} has (frames, height, width) {shape}; expected {expected}")
    if not all(0 < frame < row["frames"] for frame in row["keep_frames"]):
        faults.append(f"keep_frames {row['keep_frames']} lie outside the clip")
    covered = np.zeros(expected, np.uint8)
    for track in row["tracks"]:
        faults += [f"track {track['track_id']}: {fault}" for fault in _track_faults(track, expected, covered)]
    if covered.max(initial=0) > 1:
        faults.append("masks of different objects overlap")
    return faults


def _track_faults(track: dict[str, Any], size: tuple[int, int, int], covered: np.ndarray) -> list[str]:
    frames, height, width = size
    if any(len(track[name]) != frames for name in ("rle", "boxes", "area", "confidence", "forward_backward")):
        return [f"a list is not {frames} long"]
    faults = []
    for frame, (rle, box, area) in enumerate(zip(track["rle"], track["boxes"], track["area"], strict=True)):
        try:
            mask = np.zeros((height, width), np.bool_) if rle is None else Rle((height, width), rle).decode()
        except MagicGenError as error:
            faults.append(f"frame {frame}: {error}")
            continue
        covered[frame] += mask
        if not np.array_equal(np.array(box, np.float32), np.array(pixel_box(mask), np.float32), equal_nan=True):
            faults.append(f"frame {frame}: the box {box} is not around the mask")
        if int(mask.sum()) != area:
            faults.append(f"frame {frame}: the area {area} is not the mask's {int(mask.sum())}")
    return faults
