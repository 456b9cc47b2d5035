"""Segment Anything on the objects that the embedded discovery finds: better outlines, the same idea of what moves."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from data_tools.annotators.embedded import EmbeddedAnnotator, followed
from data_tools.annotators.found import FoundTrack, UInt8
from data_tools.records import ClipFacts, Phrase
from data_tools.settings import SamPrompts
from magicgen.control.geometry import Box
from magicgen.control.tracks import boxes_from_masks
from magicgen.segmentation.protocol import Segmenter

Bools = npt.NDArray[np.bool_]
# A new outline that overlaps the found object less than this shows something else.
_SAME_OBJECT = 0.4


class SamAnnotator:
    """Prompts SAM with the box of every track on key frames and carries the masks on to the frames between.

    Raises:
        WeightsError: the checkpoint is missing or of another architecture.
    """

    def __init__(self, settings: SamPrompts, segmenter: Segmenter | None = None) -> None:
        self.settings = settings
        self.discovery = EmbeddedAnnotator()
        self.segmenter = segmenter or _sam(settings)

    def annotate(self, video: UInt8, facts: ClipFacts, phrases: Sequence[Phrase]) -> list[FoundTrack]:
        """Tracks of what moves, with refined masks."""
        found = self.discovery.annotate(video, facts, phrases)
        if not found:
            return []
        masks = np.stack([track.masks for track in found])
        for start in range(0, len(video), self.settings.every):
            end = min(start + self.settings.every, len(video))
            masks[:, start:end] = self._refined(video[start:end], masks[:, start:end])
        return [
            FoundTrack(mask, "flow+sam", track.phrase, track.score, track.confidence)
            for track, mask in zip(found, masks, strict=True)
        ]

    def _refined(self, video: UInt8, masks: Bools) -> Bools:
        """Masks (N, T, H, W) of a stretch that begins with a key frame. Objects that the key frame does not show, or
        that SAM sees otherwise, keep the masks they have."""
        self.segmenter.set_image(video[0])
        refined = masks.copy()
        better = [self._outline(mask[0]) for mask in masks]
        chosen = [index for index, mask in enumerate(better) if mask is not None]
        if chosen:
            first = np.stack([mask for mask in better if mask is not None])
            carried = followed(video, first)
            for index, track in zip(chosen, carried, strict=True):
                shown = track.any(axis=(1, 2))
                refined[index, shown] = track[shown]
        return refined

    def _outline(self, mask: Bools) -> Bools | None:
        if not mask.any():
            return None
        outline = self.segmenter.predict(box=Box(*boxes_from_masks(mask).tolist()), mask=mask).mask
        overlap = (outline & mask).sum() / max((outline | mask).sum(), 1)
        return outline if overlap >= _SAME_OBJECT else None


def _sam(settings: SamPrompts) -> Segmenter:
    from magicgen.segmentation.sam import SamSegmenter

    return SamSegmenter(settings.checkpoint, settings.device)
