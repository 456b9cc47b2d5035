"""COCO video instance segmentation (as YouTube-VIS and SA-Co): one JSON file, masks as RLE by frame."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.export.clips import Bools, ExportClip, copy_file
from magicgen.control.rle import rle_from_json
from magicgen.media import write_json


class CocoVisExporter:
    """``videos/CLIP.mp4`` and ``annotations.json``."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._videos: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._categories: dict[str, int] = {}

    def add(self, clip: ExportClip) -> None:
        """Copy the clip and collect its annotations."""
        file = copy_file(clip.file, self.out / "videos" / f"{clip.name}.mp4")
        height, width = clip.size
        frame = {"height": height, "width": width, "length": clip.row["frames"]}
        number = len(self._videos) + 1
        path = str(file.relative_to(self.out))
        self._videos.append({"id": number, "name": clip.name, "file_name": path, "fps": clip.fps, **frame})
        for track in clip.tracks:
            category = self._categories.setdefault(track["phrase"] or "object", len(self._categories) + 1)
            rles = [None if counts is None else {"size": [height, width], "counts": counts} for counts in track["rle"]]
            boxes = [
                None if counts is None else _corner_and_size(box)
                for counts, box in zip(track["rle"], track["boxes"], strict=True)
            ]
            areas = [area or None for area in track["area"]]
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "video_id": number,
                    "category_id": category,
                    "track_id": track["track_id"],
                    "iscrowd": 0,
                    "segmentations": rles,
                    "bboxes": boxes,
                    "areas": areas,
                    **frame,
                }
            )

    def close(self) -> None:
        """Write the annotations."""
        self.out.mkdir(parents=True, exist_ok=True)
        categories = [{"id": number, "name": name} for name, number in self._categories.items()]
        content = {"videos": self._videos, "annotations": self._annotations, "categories": categories}
        write_json(self.out / "annotations.json", {"info": {"description": "magicgen-data"}, "licenses": [], **content})

    def masks_back(self, clip: ExportClip) -> Bools:
        """Read the annotations of one clip."""
        value = json.loads((self.out / "annotations.json").read_text(encoding="utf-8"))
        number = next(video["id"] for video in value["videos"] if video["name"] == clip.name)
        mine = [entry for entry in value["annotations"] if entry["video_id"] == number]
        empty = np.zeros(clip.size, np.bool_)
        masks = [[empty if rle is None else rle_from_json(rle).decode() for rle in e["segmentations"]] for e in mine]
        return np.array(masks, np.bool_).reshape(len(mine), clip.row["frames"], *clip.size)


def _corner_and_size(box: list[float]) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]
