"""The default without weights: moving objects by flow, learnt looks and GrabCut. Low quality; tracks say 'flow'."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from data_tools.annotators.found import FoundTrack, UInt8
from data_tools.records import ClipFacts, Phrase


class EmbeddedAnnotator:
    """Discovery by camera-compensated motion, masks by GrabCut, numbers along the flow (magicgen.segmentation)."""

    def annotate(self, video: UInt8, facts: ClipFacts, phrases: Sequence[Phrase]) -> list[FoundTrack]:
        """Tracks of what moves. A phrase names a track only where there is one of each: motion does not read."""
        from magicgen.segmentation.discover import discover_tracks

        found = discover_tracks(video)
        phrase = phrases[0].text if len(found) == len(phrases) == 1 else ""
        return [
            FoundTrack(
                masks=one.masks,
                source="flow",
                phrase=phrase,
                score=float(one.scores[one.masks.any(axis=(1, 2))].mean()) if one.masks.any() else None,
                confidence=tuple(float(score) for score in one.scores),
            )
            for one in found
        ]


def followed(video: UInt8, first: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(T, H, W, 3) video and (N, H, W) masks of its first frame -> (N, T, H, W) masks."""
    from magicgen.segmentation.propagate import propagate_masks

    return propagate_masks(video, first)
