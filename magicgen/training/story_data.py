"""Batches for the story model; example ``i`` comes from (seed, i), whatever the batch or the worker."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from magicgen.attention.regions import RegionPlan
from magicgen.synthetic.story_examples import StoryPicture, StoryShares, random_picture
from magicgen.training.examples import batches
from magicgen.training.story_options import StoryData


@dataclass(frozen=True)
class StoryBatch:
    """B examples: pictures (B, H, W, 3) uint8, ``subjects`` (B, H, W) bool, ``cast_known`` (B, SLOTS) bool."""

    picture: torch.Tensor
    subjects: torch.Tensor
    plate: torch.Tensor
    plate_known: torch.Tensor
    cast: torch.Tensor
    cast_known: torch.Tensor
    condition: torch.Tensor
    boxes: torch.Tensor
    backgrounds: list[str]
    prompts: list[tuple[str, ...]]


class StoryExamples(Dataset):
    """Endless examples by number."""

    def __init__(self, options: StoryData, seed: int, shares: StoryShares | None = None) -> None:
        self.options, self.seed, self.shares = options, seed, shares or StoryShares()

    def __getitem__(self, index: int) -> StoryPicture:
        rng = np.random.default_rng([0x570, self.seed, index])
        return random_picture(rng, self.options.height, self.options.width, self.shares)


def story_batches(dataset: StoryExamples, start: int, stop: int) -> DataLoader:
    """Batches of the examples start..stop-1, in order."""
    return batches(dataset, dataset.options, start, stop, collate_pictures)


def collate_pictures(items: list[StoryPicture]) -> StoryBatch:
    """Stack examples; an unknown plate is black and marked."""

    def stacked(arrays: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(arrays))

    return StoryBatch(
        picture=stacked([item.picture for item in items]),
        subjects=stacked([item.subjects for item in items]),
        plate=stacked([_draft(item) for item in items]),
        plate_known=torch.tensor([item.plate is not None for item in items]),
        cast=stacked([item.cast for item in items]),
        cast_known=torch.tensor([item.cast_known for item in items]),
        condition=stacked([item.condition for item in items]),
        boxes=stacked([item.boxes for item in items]),
        backgrounds=[item.background for item in items],
        prompts=[item.prompts for item in items],
    )


def _draft(item: StoryPicture) -> np.ndarray:
    return np.zeros_like(item.picture) if item.draft is None else item.draft


def region_plans(boxes: torch.Tensor, rows: int, columns: int, words: int, local: int) -> tuple[RegionPlan, ...]:
    """One plan a picture from boxes (B, SLOTS, 4), NaN without a subject."""
    plans = []
    for picture in boxes.tolist():
        given = tuple(None if box[0] != box[0] else (box[0], box[1], box[2], box[3]) for box in picture)
        plans.append(RegionPlan(words, local, rows, columns, given))
    return tuple(plans)
