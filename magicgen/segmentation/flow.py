"""Dense motion between the frames of a video at a working size: both directions, trust, rigid motion of a region."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FrameFlow:
    """Motion between the last frame and this one, in working pixels.

    Attributes:
        backward: (h, w, 2) float32, from this frame's pixel to where it was in the last.
        forward: (h, w, 2) float32, from the last frame's pixel to where it is now.
        trust: (h, w) float32 in [0, 1] on this frame: forward and backward flow agree.
        last_trust: the same on the last frame.
    """

    backward: Floats
    forward: Floats
    trust: Floats
    last_trust: Floats

    def blended(self, motion: Matrix, weight: Floats) -> Floats:
        """(h, w, 2) backward field: the dense flow where ``weight`` is 1, the rigid ``motion`` where it is 0."""
        rigid = rigid_field(motion, weight.shape)
        return rigid + weight[..., None] * (self.backward - rigid)


class FrameSequence:
    """A video at a working size: Lab colours, grey values and flow, computed when first asked for and kept."""

    def __init__(self, video: UInt8, working_side: int) -> None:
        height, width = video.shape[1:3]
        scale = working_side / min(height, width)
        self.size = (max(16, round(height * scale)), max(16, round(width * scale)))
        self.video = video
        self._dense = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._small: dict[int, UInt8] = {}
        self._flows: dict[int, tuple[Halves, Halves]] = {}

    def shrink(self, masks: Bools) -> Floats:
        """(N, H, W) bool -> (N, h, w) float32 coverage."""
        return np.stack([_resized(mask.astype(np.float32), self.size) for mask in masks])

    def picture(self, frame: int) -> UInt8:
        """(h, w, 3) uint8 RGB."""
        if frame not in self._small:
            self._small[frame] = _resized(self.video[frame], self.size)
        return self._small[frame]

    def lab(self, frame: int) -> Floats:
        """(h, w, 3) float32 CIE Lab: L in 0..100."""
        return cv2.cvtColor(self.picture(frame).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)

    def grey(self, frame: int) -> Floats:
        """(h, w) float32 in [0, 1]."""
        return cv2.cvtColor(self.picture(frame), cv2.COLOR_RGB2GRAY).astype(np.float32) / 255

    def flow(self, last: int, this: int) -> FrameFlow:
        """Motion from frame ``last`` to its neighbour ``this``, which may be the earlier one."""
        backward, forward = self.backward(last, this), self.backward(this, last)
        return FrameFlow(backward, forward, _agreement(backward, forward), _agreement(forward, backward))

    def backward(self, last: int, this: int) -> Floats:
        """(h, w, 2) float32, from the pixels of frame ``this`` to where they were in its neighbour ``last``."""
        early, late = min(last, this), max(last, this)
        if late not in self._flows:
            before, after = self._grey_bytes(early), self._grey_bytes(late)
            there, back = self._dense.calc(before, after, None), self._dense.calc(after, before, None)
            self._flows[late] = (there.astype(np.float16), back.astype(np.float16))
        return self._flows[late][last < this].astype(np.float32)

    def _grey_bytes(self, frame: int) -> UInt8:
        return cv2.cvtColor(self.picture(frame), cv2.COLOR_RGB2GRAY)


def correcting_flow(lab: Floats, foreseen: Floats) -> Floats:
    """(h, w, 2) float32: from each pixel of a frame to where the foreseen frame shows it; both (h, w, 3) Lab."""
    dense = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    light = [np.clip(picture[..., 0] * 2.55, 0, 255).astype(np.uint8) for picture in (lab, foreseen)]
    return dense.calc(light[0], light[1], None)


def warp(plane: Floats, field: Floats) -> Floats:
    """Values of ``plane`` at x + field(x); zero outside."""
    return cv2.remap(plane, field + pixel_places(*field.shape[:2]), None, cv2.INTER_LINEAR)


def rigid_field(motion: Matrix, size: tuple[int, ...], stride: int = 1) -> Floats:
    """(h, w, 2) displacement of the 2x3 map ``motion``; at every ``stride``-th pixel."""
    return cv2.transform(pixel_places(size[0], size[1])[::stride, ::stride], motion - np.eye(2, 3))


def squared_length(vectors: Floats) -> Floats:
    """(..., C) -> (...): several times faster than a sum over a short last axis."""
    return np.einsum("...c,...c->...", vectors, vectors)


def rigid_motion(flow: FrameFlow, region: Floats, last_motion: Matrix, *, camera: bool) -> Matrix:
    """2x3 map from this frame to the last that a region follows.

    Args:
        flow: motion between the frames.
        region: (h, w) float32, the region on the last frame.
        last_motion: what to assume where too little of the region is seen.
        camera: fit a full affine map to a large region; else translation, rotation and scale.
    """
    rows, columns = np.nonzero((region > 0.6) & (flow.last_trust > 0.5))
    if len(rows) < 12:
        return last_motion
    pick = np.linspace(0, len(rows) - 1, min(len(rows), 600)).astype(np.intp)
    rows, columns = rows[pick], columns[pick]
    last = np.stack([columns, rows], axis=-1).astype(np.float32)
    now = last + flow.forward[rows, columns]
    fit = cv2.estimateAffine2D if camera else cv2.estimateAffinePartial2D
    matrix, _ = fit(now, last, method=cv2.RANSAC, ransacReprojThreshold=1.5, maxIters=300, confidence=0.98)
    if matrix is None:
        matrix = np.eye(2, 3)
        matrix[:, 2] = np.median(last - now, axis=0)
    return matrix


def _agreement(there: Floats, back: Floats) -> Floats:
    return np.exp(squared_length(there + warp(back, there)) * -0.5)


@lru_cache(maxsize=4)
def pixel_places(height: int, width: int) -> Floats:
    """(height, width, 2) x and y of every pixel."""
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    places = np.dstack([columns, rows])
    places.flags.writeable = False
    return places


def _resized(picture: npt.NDArray, size: tuple[int, int]) -> npt.NDArray:
    interpolation = cv2.INTER_AREA if size[0] < picture.shape[0] else cv2.INTER_CUBIC
    if picture.dtype != np.uint8:
        interpolation = cv2.INTER_AREA if size[0] < picture.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(picture, (size[1], size[0]), interpolation=interpolation)
