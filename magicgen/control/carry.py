"""Masks for objects that were drawn as boxes: the first mask carried along, as a motion draft carries the pixels."""

import cv2
import numpy as np

from magicgen.control.placement import Placement, place, shown_share
from magicgen.control.rle import encode_rle
from magicgen.control.tracks import Bools, Tracks
from magicgen.control.trajectory import MaskMotion, Trajectory, TrajectoryObject


def carry_masks(tracks: Tracks) -> Trajectory:
    """A trajectory of masks from tracks of boxes: every first mask is shifted, scaled and turned into the object's box
    of each frame (:func:`magicgen.control.placement.place`); nothing where it has left the picture.

    Raises:
        TrajectoryError: names that a trajectory cannot have.
    """
    placement = place(tracks)
    objects = []
    for index, name in enumerate(tracks.names):
        first = tracks.first_masks[index]
        later = (
            _moved(first, placement, (index, frame)) if placement.present[index, frame] else None
            for frame in range(1, tracks.frames)
        )
        masks = (encode_rle(first), *(None if mask is None or not mask.any() else encode_rle(mask) for mask in later))
        objects.append(TrajectoryObject(name, MaskMotion(masks)))
    return Trajectory(tracks.frames, tuple(objects))


def _moved(mask: Bools, placement: Placement, where: tuple[int, int]) -> Bools:
    height, width = mask.shape
    cover = cv2.warpAffine(mask.astype(np.float32), placement.matrices[where], (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(cover * shown_share(placement.windows[where], (0, height, 0, width)) >= 0.5)
