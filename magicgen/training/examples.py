"""Training examples: a clip with its tracks at one level, turned into the pixel arrays that the loop encodes.

Example ``i`` of a run depends on (seed, i) alone, so a resumed run sees exactly the data that an undisturbed one sees.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from magicgen.control.draft import motion_draft
from magicgen.control.raster import rasterise
from magicgen.control.tracks import BoxLevel, Level, MaskLevel, SparseBoxLevel, Tracks
from magicgen.training.clips import Clip, ClipSource
from magicgen.training.options import DataOptions, LevelShares


@dataclass(frozen=True)
class Batch:
    """Pixels of B examples; every video is (B, T, H, W, 3) uint8."""

    video: torch.Tensor
    draft: torch.Tensor
    state: torch.Tensor  # (B, T, H, W) uint8
    map: torch.Tensor
    mask_map: torch.Tensor
    region: torch.Tensor  # (B, T, H, W) bool: moved or uncovered
    keep_draft: torch.Tensor  # (B,) bool
    keep_map: torch.Tensor  # (B,) bool
    captions: tuple[str, ...]


class TrajectoryExamples(Dataset):
    """Example ``i``: scene ``i // levels_per_scene`` at a level drawn for ``i``."""

    def __init__(self, source: ClipSource, options: DataOptions, seed: int, levels_per_scene: int = 1) -> None:
        self.source, self.options, self.seed, self.levels_per_scene = source, options, seed, levels_per_scene
        self._last: tuple[int, Clip] | None = None

    def __getitem__(self, index: int) -> dict[str, np.ndarray | str | bool]:
        number = index // self.levels_per_scene
        if self._last is None or self._last[0] != number:
            self._last = (number, self.source.clip(number))
        clip = self._last[1]
        rng = np.random.default_rng([self.seed, 7, index])
        level = draw_level(rng, self.options.levels, clip.tracks.frames)
        draft = motion_draft(clip.video[0], clip.tracks, level)
        return {
            "video": clip.video,
            "draft": draft.frames,
            "state": draft.state,
            "map": rasterise(clip.tracks, level),
            "mask_map": rasterise(clip.tracks, MaskLevel()),
            "region": moved_region(clip.tracks),
            "keep_draft": bool(rng.random() >= self.options.drop_draft),
            "keep_map": bool(rng.random() >= self.options.drop_map),
            "caption": clip.caption if rng.random() >= self.options.drop_prompt else "",
        }


def draw_level(rng: np.random.Generator, shares: LevelShares, frames: int) -> Level:
    """A random level; the sparse one keeps the last frame, often frame 1, and up to seven more, as public demos do."""
    weights = np.array([shares.mask, shares.box, shares.sparse_box])
    match int(rng.choice(3, p=weights / weights.sum())):
        case 0:
            return MaskLevel()
        case 1:
            return BoxLevel()
        case _:
            inner = rng.choice(np.arange(1, frames - 1), size=min(int(rng.integers(0, 8)), frames - 2), replace=False)
            kept = {frames - 1, *inner.tolist(), *([1] if rng.random() < 0.5 else [])}
            return SparseBoxLevel(tuple(sorted(kept)))


def moved_region(tracks: Tracks) -> npt.NDArray[np.bool_]:
    """(T, H, W) bool: where an object was on frame 0 or is now, without the objects that have not moved."""
    if tracks.masks is None:
        raise ValueError("moved regions need masks in every frame")
    moving = (tracks.masks != tracks.masks[:, :1]).any(axis=(2, 3))
    either = (tracks.masks | tracks.masks[:, :1]) & moving[:, :, None, None]
    return either.any(axis=0)


class OrderedSampler(Sampler[int]):
    """Indices ``start``, ``start`` + 1, ... of a run, interleaved over processes."""

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.stop))

    def __len__(self) -> int:
        return self.stop - self.start


def collate(items: Sequence[dict[str, np.ndarray | str | bool]]) -> Batch:
    """Stack examples."""

    def stacked(name: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([np.asarray(item[name]) for item in items]))

    return Batch(
        video=stacked("video"),
        draft=stacked("draft"),
        state=stacked("state"),
        map=stacked("map"),
        mask_map=stacked("mask_map"),
        region=stacked("region"),
        keep_draft=stacked("keep_draft"),
        keep_map=stacked("keep_map"),
        captions=tuple(str(item["caption"]) for item in items),
    )


def start_worker(_: int) -> None:
    """One thread per data worker: parallel workers must not fight for cores."""
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


class BatchOptions(Protocol):
    """Of data: examples in a batch, and processes that make them (0: this one does)."""

    @property
    def batch_size(self) -> int:
        """At least 1."""
        ...

    @property
    def workers(self) -> int:
        """At least 0."""
        ...


def batches(
    dataset: Dataset, options: BatchOptions, start: int, stop: int, stacked: Callable[..., Any] = collate
) -> DataLoader:
    """Batches of the examples start..stop-1, in order; ``stacked`` makes one of a list of examples."""
    return DataLoader(
        dataset,
        batch_size=options.batch_size,
        sampler=OrderedSampler(start, stop),
        num_workers=options.workers,
        collate_fn=stacked,
        worker_init_fn=start_worker,
        prefetch_factor=4 if options.workers else None,
        # A fork of a process whose OpenMP threads have run can hang in the child.
        multiprocessing_context="spawn" if options.workers else None,
    )
