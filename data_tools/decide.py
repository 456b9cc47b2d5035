"""Filters: from stored scores to decisions. Cheap, and free of everything but numbers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.records import Decision, Score
from data_tools.settings import Band, Thresholds

Row = Mapping[str, Any]
_FRAMES = 5  # hashes of a clip
_BITS = np.array([value.bit_count() for value in range(256)], np.uint8)  # numpy's own count came with version 2
# What a decision needs of a row; reading no more keeps millions of rows cheap.
COLUMNS = (
    "clip_id", "source_sha256", "source_uri", "start_frame", "width", "height", "image_hash", "scores",
    "tracks.list.element.track_id", "tracks.list.element.first_frame", "tracks.list.element.area",
    "tracks.list.element.scores",
)  # fmt: skip


@dataclass(frozen=True)
class Decided:
    """A decision with the scores that only it knows."""

    clip_id: str
    decision: Decision
    derived: dict[str, Score]


def decide_all(rows: Iterable[Row], thresholds: Thresholds) -> list[Decided]:
    """Decisions for all rows of a dataset, in the order of source and frame, so that the first of two copies stays."""
    ordered = sorted(rows, key=lambda row: (row["source_uri"], row["start_frame"], row["clip_id"]))
    known = _Seen(len(ordered))
    digest = thresholds.digest()
    decided = []
    for row in ordered:
        tracks = [track for track in row["tracks"] if not track_failures(track["scores"], thresholds)]
        derived = _derived(row, tracks)
        derived["copy_distance"] = known.distance(row)
        reasons = clip_failures({**row["scores"], **derived}, thresholds)
        status = "rejected" if reasons else "kept"
        if not reasons:
            known.add(row)
        ids = tuple(int(track["track_id"]) for track in tracks)
        decided.append(Decided(row["clip_id"], Decision(status, tuple(reasons), ids, digest), derived))
    return decided


def track_failures(scores: Mapping[str, Score], thresholds: Thresholds) -> list[str]:
    """The names of the track filters that a track fails."""
    return _failures(scores, thresholds.tracks)


def clip_failures(scores: Mapping[str, Score], thresholds: Thresholds) -> list[str]:
    """The names of the clip filters that a clip fails."""
    return _failures(scores, thresholds.clips)


def _failures(scores: Mapping[str, Score], thresholds: Any) -> list[str]:
    bands: dict[str, Band] = {name: getattr(thresholds, name) for name in type(thresholds).model_fields}
    return [name for name, band in bands.items() if not band.holds(scores.get(name))]


def _derived(row: Row, tracks: list[Any]) -> dict[str, Score]:
    """The scores of :data:`data_tools.scores.DERIVED_SCORES` but for the copies."""
    if not tracks:
        return {"objects": 0.0, "objects_first_frame": 0.0, "area_share": None, "motion": None}
    frame = max(0, min(int(track["first_frame"]) for track in tracks))
    area = sum(track["area"][frame] for track in tracks) / (row["width"] * row["height"])
    residuals = [track["scores"]["residual"] for track in tracks if track["scores"]["residual"] is not None]
    return {
        "objects": float(len(tracks)),
        "objects_first_frame": float(sum(track["scores"]["first_frame"] for track in tracks)),
        "area_share": round(float(area), 6),
        "motion": max(residuals) if residuals else None,
    }


class _Seen:
    """The perceptual hashes of the clips kept so far; windows of one video are not compared with each other."""

    def __init__(self, capacity: int) -> None:
        self._hashes = np.zeros((capacity, _FRAMES), np.uint64)
        self._sources = np.zeros(capacity, dtype=object)
        self._count = 0

    def add(self, row: Row) -> None:
        self._hashes[self._count] = _hashes(row["image_hash"])
        self._sources[self._count] = row["source_sha256"]
        self._count += 1

    def distance(self, row: Row) -> Score:
        """The median over the frames of the Hamming distance to the most similar clip; None where there is none."""
        hashes = self._hashes[: self._count]
        others = hashes[self._sources[: self._count] != row["source_sha256"]]
        if not len(others):
            return None
        different = (others ^ _hashes(row["image_hash"])).view(np.uint8).reshape(len(others), _FRAMES, 8)
        return float(np.median(_BITS[different].sum(axis=2), axis=1).min())


def _hashes(text: str) -> npt.NDArray[np.uint64]:
    return np.array([int(part, 16) for part in text.split("-")], np.uint64)
