"""Dense motion between the frames of a video at a working size: both directions, and the rigid motion of a region."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Matrix = npt.NDArray[np.float64]

LARGEST_ENLARGEMENT = 1.5  # of small videos: flow needs pixels, but a larger picture shows nothing new
SAMPLES = 600
MOST_KEPT = 300  # frames whose flow is kept, about a megabyte each


@dataclass(frozen=True)
class FrameFlow:
    """Motion between the last frame and this one, in working pixels.

    Attributes:
        backward: (h, w, 2) float32, from this frame's pixel to where it was in the last.
        forward: (h, w, 2) float32, from the last frame's pixel to where it is now.
    """

    backward: Floats
    forward: Floats


class FrameSequence:
    """A video at a working size: Lab colours, grey values and flow, computed when first asked for and kept.

    Args:
        video: (T, H, W, 3) uint8 RGB.
        working_side: shorter side in pixels; small videos are enlarged by 1.5 at most.
    """

    def __init__(self, video: UInt8, working_side: int) -> None:
        height, width = video.shape[1:3]
        scale = min(working_side / min(height, width), LARGEST_ENLARGEMENT)
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
            _make_room(self._small)
            self._small[frame] = _resized(self.video[frame], self.size)
        return self._small[frame]

    def lab(self, frame: int) -> Floats:
        """(h, w, 3) float32 CIE Lab: L in 0..100."""
        return cv2.cvtColor(self.picture(frame).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)

    def grey(self, frame: int) -> Floats:
        """(h, w) float32 in [0, 1]."""
        return self._grey_bytes(frame).astype(np.float32) / np.float32(255)

    def flow(self, last: int, this: int) -> FrameFlow:
        """Motion from frame ``last`` to its neighbour ``this``, which may be the earlier one."""
        early, late = min(last, this), max(last, this)
        if late not in self._flows:
            before, after = self._grey_bytes(early), self._grey_bytes(late)
            there, back = self._dense.calc(before, after, None), self._dense.calc(after, before, None)
            _make_room(self._flows)
            self._flows[late] = (there.astype(np.float16), back.astype(np.float16))
        there, back = (field.astype(np.float32) for field in self._flows[late])
        forward, backward = (there, back) if last < this else (back, there)
        return FrameFlow(backward, forward)

    def _grey_bytes(self, frame: int) -> UInt8:
        return cv2.cvtColor(self.picture(frame), cv2.COLOR_RGB2GRAY)


def correcting_flow(lab: Floats, foreseen: Floats) -> Floats:
    """(h, w, 2) float32: from each pixel of a frame to where the foreseen frame shows it; both (h, w, 3) Lab."""
    dense = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    light = [np.clip(picture[..., 0] * 2.55, 0, 255).astype(np.uint8) for picture in (lab, foreseen)]
    return dense.calc(light[0], light[1], None)


def pixel_grid(size: tuple[int, ...]) -> Floats:
    """(h, w, 2) float32, the (x, y) of every pixel."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    return np.dstack([columns, rows])


def warp(plane: Floats, field: Floats) -> Floats:
    """Values of ``plane`` at x + field(x); zero outside."""
    return cv2.remap(plane, pixel_grid(field.shape) + field, None, cv2.INTER_LINEAR)


def apply(motion: Matrix, points: Floats) -> Floats:
    """(..., 2) points moved by a 2x3 map."""
    return points @ motion[:, :2].T.astype(np.float32) + motion[:, 2].astype(np.float32)


def rigid_motion(flow: FrameFlow, region: Floats, last_motion: Matrix, *, camera: bool) -> Matrix:
    """2x3 map from this frame to the last that a region follows.

    Args:
        flow: motion between the frames.
        region: (h, w) float32, the region on the last frame.
        last_motion: what to assume where too little of the region is seen or can be trusted (forward and backward
            flow disagree).
        camera: fit a full affine map to a large region; else translation, rotation and scale.
    """
    rows, columns = np.nonzero(region > 0.6)
    if len(rows) < 12:
        return last_motion
    pick = np.linspace(0, len(rows) - 1, min(len(rows), SAMPLES)).astype(np.intp)
    rows, columns = rows[pick], columns[pick]
    last = np.stack([columns, rows], axis=-1).astype(np.float32)
    now = last + flow.forward[rows, columns]
    back = cv2.remap(flow.backward, now[:, None], None, cv2.INTER_LINEAR)[:, 0]
    agrees = np.linalg.norm(now + back - last, axis=-1) < 1.2
    if agrees.sum() < 8:
        return last_motion
    last, now = last[agrees], now[agrees]
    fit = cv2.estimateAffine2D if camera else cv2.estimateAffinePartial2D
    matrix, _ = fit(now, last, method=cv2.RANSAC, ransacReprojThreshold=1.5, maxIters=200, confidence=0.98)
    if matrix is None:
        matrix = np.eye(2, 3)
        matrix[:, 2] = np.median(last - now, axis=0)
    return matrix


def _make_room(kept: dict[int, Any]) -> None:
    """Drop the oldest entry of a full memory."""
    if len(kept) >= MOST_KEPT:
        del kept[next(iter(kept))]


def _resized(picture: npt.NDArray, size: tuple[int, int]) -> npt.NDArray:
    enlarging = cv2.INTER_CUBIC if picture.dtype == np.uint8 else cv2.INTER_LINEAR
    interpolation = cv2.INTER_AREA if size[0] < picture.shape[0] else enlarging
    return cv2.resize(picture, (size[1], size[0]), interpolation=interpolation)
