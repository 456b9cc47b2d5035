"""Finds what moves in a video, without any weights: motion that the camera does not explain, learnt, cut out, linked.

Motion of one's own marks moving things roughly (:mod:`saliency`); a small network trained on the clip itself adds what
they look like and GrabCut their outlines in every frame (:mod:`foreground`); connected parts get lasting numbers along
the flow, in both directions from the clearest frame, and objects that come later numbers of their own
(:mod:`instances`).
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.errors import MediaError
from magicgen.segmentation.flow import FrameSequence
from magicgen.segmentation.foreground import ForegroundSettings, cut_out, find_foreground
from magicgen.segmentation.instances import LinkSettings, link
from magicgen.segmentation.saliency import own_motion

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class DiscoverSettings:
    """How objects are found.

    Attributes:
        working_side: shorter side in pixels of the flow and the cut-outs.
        max_objects: most tracks.
        least_seen: share of the frames in which an object is seen at least.
        foreground, links: settings of the parts.
    """

    working_side: int = 240
    max_objects: int = 5
    least_seen: float = 0.1
    foreground: ForegroundSettings = field(default_factory=ForegroundSettings)
    links: LinkSettings = field(default_factory=LinkSettings)


@dataclass(frozen=True)
class FoundObject:
    """One moving object.

    Attributes:
        masks: (T, H, W) bool, empty where the object is not seen.
        scores: (T,) float32 in [0, 1]: how well the mask of the frame agrees with the motion found there.
    """

    masks: Bools
    scores: Floats


def discover_tracks(video: UInt8, settings: DiscoverSettings | None = None) -> list[FoundObject]:
    """Moving objects of a clip without cuts, the most salient first.

    Args:
        video: (T, H, W, 3) uint8 RGB; fewer than three frames hold no motion to judge, so nothing is found.
        settings: by default those that were measured best.

    Returns:
        Up to ``settings.max_objects`` tracks whose masks do not overlap. The same video gives the same tracks.

    Raises:
        MediaError: not a video of that form.
    """
    settings = settings or DiscoverSettings()
    if video.ndim != 4 or video.shape[-1] != 3 or video.dtype != np.uint8:
        raise MediaError(f"A video is (T, H, W, 3) uint8; got {video.dtype} {video.shape}.")
    if len(video) < 3:
        return []
    sequence = FrameSequence(video, settings.working_side)
    saliency = own_motion(sequence, len(video))
    chances = find_foreground(sequence, saliency, settings.foreground)
    if chances is None:
        return []
    masks = np.stack([cut_out(sequence.picture(frame), chance) for frame, chance in enumerate(chances)])
    clearest = int(np.argmax([moving[mask].sum() for moving, mask in zip(saliency.moving, masks, strict=True)]))
    numbers = link(masks, clearest, sequence, settings.links)
    return [_found(numbers == number, saliency.moving, video.shape[1:3])
            for number in _most_salient(numbers, saliency.moving, settings)]  # fmt: skip


def _most_salient(numbers: npt.NDArray[np.int16], moving: Floats, settings: DiscoverSettings) -> list[int]:
    """The numbers of the objects that move most, without those that are hardly seen."""
    count = int(numbers.max()) + 1
    weight, seen = np.zeros(count), np.zeros(count)
    for plane, motion in zip(numbers, moving, strict=True):
        weight += np.bincount(plane.ravel(), weights=motion.ravel(), minlength=count)
        seen += np.bincount(plane.ravel(), minlength=count) > 0
    order = np.argsort(-weight, kind="stable")
    kept = [int(n) for n in order if n > 0 and seen[n] >= max(2, settings.least_seen * len(numbers))]
    return kept[: settings.max_objects]


def _found(track: Bools, motion: Floats, size: tuple[int, int]) -> FoundObject:
    scores = [
        float(np.clip(plane[mask].mean(), 0, 1)) if mask.any() else 0.0
        for mask, plane in zip(track, motion, strict=True)
    ]
    masks = [cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) > 0.5 for mask in track]
    return FoundObject(np.stack(masks), np.array(scores, np.float32))
