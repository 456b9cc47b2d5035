"""What lies behind the objects of a frame, learnt from neighbouring frames in which they have moved on."""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.segmentation.flow import Floats, FrameSequence, apply, pixel_grid, rigid_motion

Bools = npt.NDArray[np.bool_]

LOOK_AHEAD = 24  # frames; farther ones are no longer aligned well
SAMPLES = 12  # of them
STEADY = 7.0  # Lab distance within which samples of the same background agree
OWN_COLOUR = 10.0  # Lab distance from which a colour is surely not the object's own


def uncovered(sequence: FrameSequence, frames: Sequence[int], objects: Floats) -> tuple[Bools, Floats]:
    """Colours behind the objects of the first of ``frames``, seen in the frames that follow.

    The frames are aligned by the camera's motion (an affine map from frame to frame); the colour that a place shows
    most often, other than the object's own, is taken for the background.

    Args:
        sequence: the video.
        frames: neighbouring frame numbers.
        objects: (N, h, w) float32 coverage on the first frame.

    Returns:
        (h, w) bool, where the background was found; (h, w, 3) float32 Lab, its colours there.
    """
    covered = objects.max(axis=0) > 0.02
    first = sequence.lab(frames[0])
    found, colours = np.zeros_like(covered), first.copy()
    near = list(frames[: LOOK_AHEAD + 1])
    if len(near) < 4 or not covered.any():
        return found, colours
    rows, columns = np.nonzero(covered)
    window = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    points, inside = pixel_grid(covered.shape)[window], covered[window]
    chosen = {near[index] for index in np.linspace(1, len(near) - 1, min(SAMPLES, len(near) - 1)).astype(int)}
    to_first, samples = np.eye(3), []
    region = 1 - objects.max(axis=0)
    for last, this in pairwise(near):
        step = np.vstack([rigid_motion(sequence.flow(last, this), region, np.eye(2, 3), camera=True), (0, 0, 1)])
        to_first = to_first @ step
        region = np.ones_like(region)
        if this in chosen:
            place = apply(cv2.invertAffineTransform(to_first[:2]), points)
            picture = cv2.remap(sequence.lab(this), place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            samples.append(picture[inside])
    colours[covered], found[covered] = _commonest(np.stack(samples), first[covered])
    return found, colours


def _commonest(samples: Floats, own: Floats) -> tuple[Floats, Bools]:
    """Of (S, n, 3) samples those that most others resemble, not counting what looks like the object itself, and whether
    they are common enough: at least a quarter of all and half of those that count."""
    alike = np.linalg.norm(samples[:, None] - samples[None], axis=-1) < STEADY
    counts = np.linalg.norm(samples - own, axis=-1) > OWN_COLOUR
    votes = (alike & counts[None]).sum(axis=1) * counts
    best = votes.argmax(axis=0)
    most = votes.max(axis=0)
    enough = (most >= max(2.0, len(samples) / 4)) & (2 * most >= counts.sum(axis=0))
    return np.take_along_axis(samples, best[None, :, None], axis=0)[0], enough
