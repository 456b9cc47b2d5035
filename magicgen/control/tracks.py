"""Tracks: what every object does in every frame, as arrays. The form that models, drafts and measures read.

A :class:`~magicgen.control.trajectory.Trajectory` is what a person wrote; ``Tracks`` is the same thing resolved at a
pixel size and a frame count. Synthetic scenes, datasets and benchmarks produce ``Tracks`` directly.
"""

from dataclasses import dataclass
from typing import assert_never

import numpy as np
import numpy.typing as npt

from magicgen.errors import TrajectoryError

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class MaskLevel:
    """Stage 1 of MagicMotion: a mask of every object in every frame."""


@dataclass(frozen=True)
class BoxLevel:
    """Stage 2: the mask on frame 0, a box in every other frame."""


@dataclass(frozen=True)
class SparseBoxLevel:
    """Stage 3: the mask on frame 0 and boxes in fewer than ten other frames.

    ``frames`` are the frame indices that keep their box; frame 0 is always kept as a mask and need not be listed.
    """

    frames: tuple[int, ...]

    def __post_init__(self) -> None:
        kept = [frame for frame in self.frames if frame != 0]
        if len(kept) >= 10 or len(set(kept)) != len(kept) or any(frame < 0 for frame in kept):
            raise TrajectoryError(
                f"A sparse-box trajectory keeps fewer than ten different frames besides frame 0; got "
                f"{list(self.frames)}."
            )


Level = MaskLevel | BoxLevel | SparseBoxLevel


def paper_levels(frames: int) -> tuple[MaskLevel, BoxLevel, SparseBoxLevel]:
    """Mask, box, and the sparse level of MagicMotion's public demos: frame 1, the middle and the last frame."""
    return MaskLevel(), BoxLevel(), SparseBoxLevel(tuple(sorted({1, frames // 2, frames - 1})))


def level_name(level: Level) -> str:
    """``mask``, ``box`` or ``sparse_box``: the word used in files and on the command line."""
    match level:
        case MaskLevel():
            return "mask"
        case BoxLevel():
            return "box"
        case SparseBoxLevel():
            return "sparse_box"
        case _:
            assert_never(level)


@dataclass(frozen=True)
class Tracks:
    """N objects over T frames at H x W pixels.

    Attributes:
        names: N different names.
        first_masks: (N, H, W) bool, the visible mask of every object on frame 0; masks of different objects do not
            overlap, the later object lies in front.
        boxes: (N, T, 4) float32, normalised ``[x0, y0, x1, y1]`` with exclusive maximum, origin top left; may reach
            outside [0, 1] where an object leaves the picture; a row of NaN where the object is absent.
        masks: (N, T, H, W) bool visible masks, or None where only boxes are known.
        angles: (N, T) float32, rotation in degrees (counter-clockwise as seen) against frame 0, or None.
    """

    names: tuple[str, ...]
    first_masks: Bools
    boxes: Floats
    masks: Bools | None = None
    angles: Floats | None = None

    def __post_init__(self) -> None:
        objects = len(self.names)
        if self.first_masks.ndim != 3 or self.first_masks.shape[0] != objects or self.first_masks.dtype != np.bool_:
            raise TrajectoryError(
                f"first_masks must be (N, H, W) bool for {objects} objects; got {self.first_masks.dtype} "
                f"{self.first_masks.shape}."
            )
        if self.boxes.ndim != 3 or self.boxes.shape[0] != objects or self.boxes.shape[2] != 4:
            raise TrajectoryError(f"boxes must be (N, T, 4) for {objects} objects; got {self.boxes.shape}.")
        expected = (objects, self.frames, *self.size)
        if self.masks is not None and self.masks.shape != expected:
            raise TrajectoryError(f"masks must be {expected}; got {self.masks.shape}.")
        if self.angles is not None and self.angles.shape != expected[:2]:
            raise TrajectoryError(f"angles must be {expected[:2]}; got {self.angles.shape}.")

    @property
    def frames(self) -> int:
        """T, the number of frames."""
        return int(self.boxes.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return int(self.first_masks.shape[1]), int(self.first_masks.shape[2])

    @property
    def still(self) -> bool:
        """Whether every object of a clip of several frames is in all of them what and where it is on frame 0."""
        parts = [self.boxes, *(part for part in (self.masks, self.angles) if part is not None)]
        same = (np.array_equal(part, np.repeat(part[:, :1], self.frames, axis=1)) for part in parts[1:])
        boxes = np.array_equal(self.boxes, np.repeat(self.boxes[:, :1], self.frames, axis=1), equal_nan=True)
        return self.frames > 1 and boxes and all(same)

    def at_level(self, level: Level) -> "Tracks":
        """The same tracks with only what the level lets a model know: masks beyond frame 0 dropped at the box levels,
        boxes of unlisted frames set to NaN at the sparse level (frame 0 keeps its box)."""
        match level:
            case MaskLevel():
                if self.masks is None:
                    raise TrajectoryError(
                        "The mask level needs a mask of every object in every frame; this trajectory has boxes only. "
                        "Use --level box, or give 'masks'."
                    )
                return self
            case BoxLevel():
                return Tracks(self.names, self.first_masks, self.boxes, None, self.angles)
            case SparseBoxLevel():
                keep = sorted({0, *level.frames})
                if keep[-1] >= self.frames:
                    raise TrajectoryError(f"Sparse frame {keep[-1]} is outside the {self.frames} frames.")
                boxes = np.full_like(self.boxes, np.nan)
                boxes[:, keep] = self.boxes[:, keep]
                return Tracks(self.names, self.first_masks, boxes, None, self.angles)
            case _:
                assert_never(level)


def boxes_from_masks(masks: Bools) -> Floats:
    """Bounding boxes of masks: (..., H, W) bool -> (..., 4) float32 normalised xyxy, NaN where a mask is empty."""
    height, width = masks.shape[-2:]
    rows, columns = np.asarray(masks.any(axis=-1)), np.asarray(masks.any(axis=-2))
    present = rows.any(axis=-1)
    y0, y1 = rows.argmax(axis=-1), height - rows[..., ::-1].argmax(axis=-1)
    x0, x1 = columns.argmax(axis=-1), width - columns[..., ::-1].argmax(axis=-1)
    boxes = np.stack([x0 / width, y0 / height, x1 / width, y1 / height], axis=-1).astype(np.float32)
    boxes[~present] = np.nan
    return boxes
