"""Separate objects, with lasting numbers, from what moves in every frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.segmentation.flow import FrameSequence, pixel_places

Bools = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int16]


@dataclass(frozen=True)
class LinkSettings:
    """``min_area`` of a new object and ``min_part`` of any part, as shares of the picture; ``gap``: working pixels that
    do not separate parts; ``overlap``: share of a part, or of an object, that makes the part the object's; ``memory``:
    frames for which a lost object is remembered where it would be."""

    min_area: float = 0.003
    min_part: float = 0.0005
    gap: int = 5
    overlap: float = 0.15
    memory: int = 6


def link(masks: Bools, start: int, sequence: FrameSequence, settings: LinkSettings | None = None) -> Numbers:
    """Numbers (T, h, w) of the objects in (T, h, w) masks, 0 the background; counted from frame ``start`` both ways.

    A part is the object whose pixels, carried along the flow from the frame before, it shows; where it shows several,
    every pixel goes to the nearest of them.
    """
    linker = _Linker(masks, sequence, settings or LinkSettings())
    linker.run(range(start, len(masks)))
    linker.run(range(start, -1, -1))
    return linker.numbers


class _Linker:
    def __init__(self, masks: Bools, sequence: FrameSequence, settings: LinkSettings) -> None:
        self.masks, self.sequence, self.settings = masks, sequence, settings
        self.numbers = np.zeros(masks.shape, np.int16)
        self.count = 0

    def run(self, order: Sequence[int]) -> None:
        """Number the frames in an order of neighbours; the first keeps numbers that it has."""
        first = order[0]
        if not self.numbers[first].any():
            self._number(first, np.zeros_like(self.numbers[first]))
        carried = self.numbers[first].copy()
        seen = dict.fromkeys(np.unique(carried[carried > 0]).tolist(), 0)
        for age, (last, this) in enumerate(pairwise(order), start=1):
            places = self.sequence.backward(last, this) + pixel_places(*carried.shape)
            carried = cv2.remap(carried, places, None, cv2.INTER_NEAREST)
            self._number(this, carried)
            now = self.numbers[this]
            present = np.unique(now[now > 0]).tolist()
            seen.update(dict.fromkeys(present, age))
            kept = [number for number, when in seen.items()
                    if number not in present and age - when <= self.settings.memory]  # fmt: skip
            carried = np.where(np.isin(carried, kept) & (now == 0), carried, now)

    def _number(self, frame: int, carried: Numbers) -> None:
        sizes = np.bincount(carried.ravel())
        plane = self.numbers[frame]
        for part in _parts(self.masks[frame], self.settings):
            area = int(part.sum())
            shared = np.bincount(carried[part], minlength=len(sizes))
            shared[0] = 0
            own = np.flatnonzero((shared > self.settings.overlap * area) | (shared > 0.5 * np.maximum(sizes, 1)))
            own = own[shared[own] > 0]
            if len(own) == 1:
                plane[part] = own[0]
            elif len(own) > 1:
                plane[part] = _nearest(np.where(np.isin(carried, own) & part, carried, 0))[part]
            elif area >= self.settings.min_area * part.size:
                self.count += 1
                plane[part] = self.count


def _parts(mask: Bools, settings: LinkSettings) -> list[Bools]:
    """Connected parts, the largest first; parts that a small gap separates are one."""
    byte = mask.astype(np.uint8)
    count, labels = cv2.connectedComponents(cv2.dilate(byte, np.ones((settings.gap, settings.gap), np.uint8)))
    labels = labels * byte
    areas = np.bincount(labels.ravel(), minlength=count)
    areas[0] = 0
    order = [index for index in np.argsort(-areas, kind="stable") if areas[index] > settings.min_part * mask.size]
    return [labels == index for index in order]


def _nearest(numbers: Numbers) -> Numbers:
    """Every pixel the number of the nearest numbered one."""
    _, cells = cv2.distanceTransformWithLabels(
        (numbers == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(cells.max() + 1, numbers.dtype)
    table[cells[numbers > 0]] = numbers[numbers > 0]
    return table[cells]
