"""What annotators hand over: tracks of found objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data_tools.records import NO_BOX, Box, ClipFacts, Phrase

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FoundTrack:
    """One object: ``masks`` (T, H, W) bool; confidence and forward-backward error by frame where they are known."""

    masks: Bools
    source: str
    phrase: str = ""
    score: float | None = None
    confidence: tuple[float | None, ...] | None = None
    forward_backward: tuple[float | None, ...] | None = None


class Annotator(Protocol):
    """Finds and follows objects."""

    def annotate(self, video: UInt8, facts: ClipFacts, phrases: Sequence[Phrase]) -> list[FoundTrack]:
        """(T, H, W, 3) uint8 RGB -> tracks, the most important first."""
        ...


def pixel_box(mask: Bools) -> Box:
    """(x0, y0, x1, y1) in pixels with exclusive maximum; NaN for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return NO_BOX
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def video_folder(facts: ClipFacts) -> Path:
    """The folder in which the source video lies."""
    return Path(facts.source_uri).parent
