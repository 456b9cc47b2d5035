"""The motion draft: the first frame carried along the trajectory.

Every object's first-frame pixels are moved to where the tracks put them, over a background whose uncovered parts are
filled in. The model sees the draft as image latents and predicts what is to be added to it: matching background,
shading, turning, shadows. The idea is that of Wan-Move (features of the first frame copied along tracks) and
Time-to-Move (a crude animation as the start); here it is pixels, and the model also sees which of them are guesses.
"""

from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.inpaint import fill_holes
from magicgen.control.placement import Placement, place, shown_share
from magicgen.control.tracks import Level, Tracks

Image = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

# Pixels around a mask that still show the object: masks are rarely exact, and edges are blended.
RIM = 3


class DraftState(IntEnum):
    """Where a draft pixel comes from."""

    UNTOUCHED = 0
    CARRIED = 1
    HOLE = 2


@dataclass(frozen=True)
class Draft:
    """A crude animation.

    Attributes:
        frames: (T, H, W, 3) uint8; frame 0 is the photo itself.
        state: (T, H, W) uint8 of :class:`DraftState`.
        texture: (H, W, 3) float32 grey values that the smoothly filled holes lack; shown, not told to the network
            (:func:`magicgen.control.correction.with_texture`).
    """

    frames: Image
    state: Image
    texture: npt.NDArray[np.float32] | None = None


def motion_draft(first_frame: Image, tracks: Tracks, level: Level) -> Draft:
    """Carry the objects of a photo along their tracks.

    Args:
        first_frame: (H, W, 3) uint8, the size of the tracks.
        tracks: what every object does.
        level: how much of the tracks may be used.

    Returns:
        The draft. At the mask level silhouettes are those of the given masks; at the box levels those of the first
        mask, carried.
    """
    known = tracks.at_level(level)
    placement = place(known)
    footprint = uncovered(known)
    background = fill_holes(first_frame, footprint)
    frames = np.repeat(background[None], known.frames, axis=0)
    state = np.where(footprint, np.uint8(DraftState.HOLE), np.uint8(DraftState.UNTOUCHED))
    states = np.repeat(state[None], known.frames, axis=0)
    for index in range(len(known.names)):
        sprite = _Sprite(first_frame, known.first_masks[index])
        for t in range(1, known.frames):
            if placement.present[index, t]:
                outline = None if known.masks is None else known.masks[index, t]
                _paint(frames[t], states[t], first_frame, sprite, placement, (index, t), outline)
    frames[0] = first_frame
    states[0] = np.where(known.first_masks.any(axis=0), np.uint8(DraftState.CARRIED), np.uint8(DraftState.UNTOUCHED))
    return Draft(frames, states)


def uncovered(tracks: Tracks) -> Bools:
    """(H, W) bool: what the objects of the first frame hide, a rim included."""
    return _grown(np.asarray(tracks.first_masks.any(axis=0)), RIM)


class _Sprite:
    """An object's pixels with colours continued beyond its edge, so that no background is carried along."""

    def __init__(self, image: Image, mask: npt.NDArray[np.bool_]) -> None:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        pad = 6
        self.top, self.left = max(rows[0] - pad, 0), max(columns[0] - pad, 0)
        window = np.s_[self.top : rows[-1] + pad + 1, self.left : columns[-1] + pad + 1]
        self.mask = mask
        inside = mask[window]
        # The outermost pixels of an object are mixed with what lay behind it: colours come from one pixel further in.
        core = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8))
        if np.count_nonzero(core) < 0.3 * np.count_nonzero(inside):
            core = inside.astype(np.uint8)
        _, labels = cv2.distanceTransformWithLabels(1 - core, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
        nearest = np.zeros((labels.max() + 1, 3), dtype=np.uint8)
        nearest[labels[core > 0]] = image[window][core > 0]
        self.colours = nearest[labels]
        self.alpha = cv2.GaussianBlur(inside.astype(np.float32), (3, 3), 0.6)


def _paint(
    frame: Image,
    state: Image,
    first_frame: Image,
    sprite: _Sprite,
    placement: Placement,
    where: tuple[int, int],
    outline: npt.NDArray[np.bool_] | None,
) -> None:
    """Paint one object into one frame, in place."""
    matrix = placement.matrices[where]
    if np.abs(matrix - np.eye(2, 3)).max() < 0.02 and (outline is None or np.array_equal(outline, sprite.mask)):
        # An object at rest keeps its own pixels, with the blended edge that it has in the photo.
        rest = _grown(sprite.mask, RIM)
        frame[rest] = first_frame[rest]
        state[rest] = DraftState.CARRIED
        return
    window = _window(matrix, sprite, outline, frame.shape[:2])
    if window is None:
        return
    top, bottom, left, right = window
    local = matrix.copy()
    local[:, 2] += matrix[:, :2] @ (sprite.left, sprite.top) - (left, top)
    size = (right - left, bottom - top)
    colours = cv2.warpAffine(sprite.colours, local, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if outline is None:
        alpha = cv2.warpAffine(sprite.alpha, local, size, flags=cv2.INTER_LINEAR)
    else:
        alpha = cv2.GaussianBlur(outline[top:bottom, left:right].astype(np.float32), (3, 3), 0.6)
    alpha *= shown_share(placement.windows[where], window)
    area = np.s_[top:bottom, left:right]
    blend = alpha[..., None]
    frame[area] = np.rint(frame[area] * (1 - blend) + colours * blend).astype(np.uint8)
    state[area][alpha > 0.5] = DraftState.CARRIED


def _window(
    matrix: npt.NDArray[np.float64],
    sprite: _Sprite,
    outline: npt.NDArray[np.bool_] | None,
    size: tuple[int, int],
) -> tuple[int, int, int, int] | None:
    """(top, bottom, left, right) of the pixels that painting can touch, or None where the object is out of sight."""
    if outline is not None:
        rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
        low, high = np.array([columns[0], rows[0]]) - 2, np.array([columns[-1], rows[-1]]) + 3
    else:
        height, width = sprite.alpha.shape
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) + np.array([sprite.left, sprite.top])
        moved = corners @ matrix[:, :2].T + matrix[:, 2]
        low, high = np.floor(moved.min(axis=0)).astype(int), np.ceil(moved.max(axis=0)).astype(int) + 1
    left, top = np.maximum(low, 0)
    right, bottom = np.minimum(high, (size[1], size[0]))
    return None if left >= right or top >= bottom else (int(top), int(bottom), int(left), int(right))


def _grown(mask: npt.NDArray[np.bool_], pixels: int) -> npt.NDArray[np.bool_]:
    return cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=pixels).astype(np.bool_)
