"""Masks as COCO run-length encodings, checked before they are decoded: the counts come from files of strangers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from magicgen.control.tracks import Bools
from magicgen.errors import TrajectoryError
from magicgen.media import MAX_PIXELS, MAX_SIDE


@dataclass(frozen=True)
class Rle:
    """A mask in COCO's compressed form: ``size`` (H, W) and ``counts``, runs of background and object in turn down the
    columns. Always decodable: the runs cover the picture exactly."""

    size: tuple[int, int]
    counts: str

    def __post_init__(self) -> None:
        _check_size(self.size)
        _check_runs(_runs(self.counts, self.size), self.size)

    def decode(self) -> Bools:
        """(H, W) bool."""
        runs = np.asarray(_runs(self.counts, self.size), dtype=np.int64)
        values = np.arange(len(runs)) % 2 == 1
        return np.ascontiguousarray(np.repeat(values, runs).reshape(self.size[1], self.size[0]).T)

    @property
    def area(self) -> int:
        """The number of pixels of the object."""
        return sum(_runs(self.counts, self.size)[1::2])

    def to_json(self) -> dict[str, Any]:
        """``{"size": [H, W], "counts": "..."}``, as COCO tools write it."""
        return {"size": list(self.size), "counts": self.counts}


def encode_rle(mask: Bools) -> Rle:
    """(H, W) bool -> its run-length encoding."""
    from pycocotools import mask as coco

    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return Rle((int(mask.shape[0]), int(mask.shape[1])), encoded["counts"].decode("ascii"))


def rle_from_json(value: object) -> Rle:
    """A COCO RLE from JSON: ``counts`` compressed (text) or plain (a list of run lengths).

    Raises:
        TrajectoryError: anything else, or runs that do not cover the picture exactly.
    """
    expected = 'expected a COCO RLE such as {"size": [height, width], "counts": "..."}'
    if not isinstance(value, dict) or set(value) != {"size", "counts"}:
        keys = f"the keys {sorted(map(str, value))}" if isinstance(value, dict) else f"{type(value).__name__}"
        raise TrajectoryError(f"{expected}; got {keys}")
    size, counts = value["size"], value["counts"]
    if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size)):
        raise TrajectoryError(f"{expected}; size is {str(size)[:80]}")
    shape = (size[0], size[1])
    _check_size(shape)
    if isinstance(counts, str):
        return Rle(shape, counts)
    if isinstance(counts, list) and all(type(run) is int for run in counts):
        _check_runs(counts, shape)
        values = np.arange(len(counts)) % 2 == 1
        return encode_rle(np.repeat(values, counts).reshape(shape[1], shape[0]).T)
    raise TrajectoryError(f"{expected}; counts is {type(counts).__name__}")


def _check_size(size: tuple[int, int]) -> None:
    height, width = size
    if min(size) < 1 or max(size) > MAX_SIDE or height * width > MAX_PIXELS:
        raise TrajectoryError(f"an RLE's size is [height, width] of 1 to {MAX_SIDE} pixels; got {str(list(size))[:80]}")


def _check_runs(runs: list[int], size: tuple[int, int]) -> None:
    height, width = size
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise TrajectoryError(
            f"the runs of an RLE of size [{height}, {width}] must be positive and add up to {height * width}; "
            f"got a sum of {str(sum(runs))[:40]}"
        )


def _runs(counts: str, size: tuple[int, int]) -> list[int]:
    """COCO's text form: every run in groups of five bits, lowest first, as characters from '0' on; bit 5 says that more
    follow, bit 4 of the last group is the sign; from the fourth run on, the difference to the run before the last."""
    limit = size[0] * size[1] + 1
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30 or len(runs) > limit:
            raise TrajectoryError(f"the counts of an RLE are damaged at {counts[:20]!r}... ({len(counts)} characters)")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    if shift:
        raise TrajectoryError(f"the counts of an RLE break off after {len(counts)} characters")
    return runs
