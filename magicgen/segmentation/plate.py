"""The background of a whole clip without its objects: what lies behind them is taken from the frames that show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from magicgen.segmentation.flow import Bools, Floats, FrameSequence, Matrix, rigid_motion, squared_length

SAMPLES = 13  # frames that the plate is made of, spread over the clip
MOST_CANVAS = 2.5  # sides of the plate, in sides of a frame
AGREES = 144.0  # squared Lab distance up to which two frames show the same


@dataclass(frozen=True)
class PlateView:
    """What a frame would show without its objects.

    Attributes:
        colour: (h, w, 3) float32 Lab, in the exposure of the first frame.
        known: (h, w) bool, where any frame shows the background.
        spread: (h, w) float32, squared Lab distance from it at which the frames that agree show it.
    """

    colour: Floats
    known: Bools
    spread: Floats


@dataclass(frozen=True)
class Plate:
    """Background on a canvas that holds every frame; ``places`` are the 2x3 maps from the frames to it."""

    colour: Floats
    known: Floats
    spread: Floats
    places: tuple[Matrix, ...]
    size: tuple[int, int]

    def view(self, frame: int) -> PlateView:
        """The plate as a frame of the clip sees it."""
        size, place = (self.size[1], self.size[0]), self.places[frame]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        colour = cv2.warpAffine(self.colour, place, size, flags=flags)
        spread = cv2.warpAffine(self.spread, place, size, flags=flags)
        return PlateView(colour, cv2.warpAffine(self.known, place, size, flags=flags) > 0.9, np.maximum(spread, 0))


def make_plate(sequence: FrameSequence, background: Sequence[Floats]) -> Plate:
    """Lay the frames over each other along the camera's motion.

    Args:
        sequence: the video.
        background: for every frame (h, w) float32, probability that a pixel shows the background; that of frame 0 is
            given and therefore right.

    Returns:
        The plate. Frame 0 has the word wherever it shows the background, unless three quarters of the other frames
        disagree; elsewhere it is the median of the frames.
    """
    places, size = _canvas(_camera(sequence, background), sequence.size)
    pictures, views = _laid(sequence, background, places, size)
    colour = np.where(views[0][..., None], pictures[0], 0).astype(np.float32)
    count = np.stack(views).sum(axis=0)
    agreeing, spread = _agreement(pictures, views, colour)
    doubtful = (count > 0) & ~(views[0] & (agreeing >= 0.25 * count))
    if doubtful.any():
        colour[doubtful] = _median(pictures, views, doubtful)
        agreeing, spread = _agreement(pictures, views, colour)
    spread = np.where(agreeing >= 0.5 * count, spread / np.maximum(agreeing, 1), AGREES).astype(np.float32)
    known = (count > 0).astype(np.float32)
    return Plate(colour, known, cv2.blur(spread, (7, 7)), tuple(place[:2] for place in places), sequence.size)


def _camera(sequence: FrameSequence, background: Sequence[Floats]) -> list[Matrix]:
    """3x3 maps from every frame to the first."""
    places = [np.eye(3)]
    for (last, this), region in zip(pairwise(range(len(background))), background[:-1], strict=True):
        motion = rigid_motion(sequence.flow(last, this), region, np.eye(2, 3), camera=True)
        places.append(places[-1] @ np.vstack([motion, [0, 0, 1]]))
    return places


def _canvas(places: list[Matrix], frame: tuple[int, int]) -> tuple[list[Matrix], tuple[int, int]]:
    """Maps to a canvas that holds all frames, or as much of them as ``MOST_CANVAS`` allows; (width, height)."""
    height, width = frame
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
    reached = np.concatenate([(corners @ place.T)[:, :2] for place in places])
    most = MOST_CANVAS * np.array([width, height])
    low = np.maximum(np.floor(reached.min(axis=0)), -(most - [width, height]) / 2)
    high = np.minimum(np.ceil(reached.max(axis=0)), low + most)
    shift = np.eye(3)
    shift[:2, 2] = -low
    return [shift @ place for place in places], (int(high[0] - low[0]), int(high[1] - low[1]))


def _laid(
    sequence: FrameSequence, background: Sequence[Floats], places: list[Matrix], size: tuple[int, int]
) -> tuple[list[Floats], list[Bools]]:
    """Lab pictures of some frames on the canvas in the first one's exposure, and where they show the background."""
    pictures: list[Floats] = []
    views: list[Bools] = []
    for frame in np.unique(np.linspace(0, len(places) - 1, min(len(places), SAMPLES)).round().astype(int)).tolist():
        sure = cv2.erode((background[frame] > 0.9).astype(np.uint8), np.ones((7, 7), np.uint8)).astype(np.float32)
        seen = cv2.warpAffine(sure, places[frame][:2], size) > 0.99
        lab = cv2.warpAffine(sequence.lab(frame), places[frame][:2], size)
        if pictures:
            both = seen & views[0]
            if both.sum() > 200:
                lab -= np.median((lab - pictures[0])[both][::11], axis=0)
        pictures.append(lab)
        views.append(seen)
    return pictures, views


def _agreement(pictures: list[Floats], views: list[Bools], colour: Floats) -> tuple[Floats, Floats]:
    """How many frames show about the colour at each place, and the sum of their squared distances from it."""
    agreeing, spread = np.zeros(colour.shape[:2], np.float32), np.zeros(colour.shape[:2], np.float32)
    for picture, view in zip(pictures, views, strict=True):
        distance = squared_length(picture - colour)
        near = view & (distance < AGREES)
        agreeing += near
        spread += np.where(near, distance, 0)
    return agreeing, spread


def _median(pictures: list[Floats], views: list[Bools], places: Bools) -> Floats:
    """(n, 3): by channel, the median of those frames that show each of the places."""
    shown = zip(pictures, views, strict=True)
    samples = np.stack([np.where(view[places][:, None], picture[places], np.inf) for picture, view in shown])
    count = np.isfinite(samples[..., 0]).sum(axis=0)
    samples.sort(axis=0)
    return np.take_along_axis(samples, ((count - 1) // 2)[None, :, None], axis=0)[0]
