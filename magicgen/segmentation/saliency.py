"""How much every pixel of a video moves on its own: dense flow that the camera does not explain.

The camera is a homography between neighbouring frames. What the flow leaves over is gathered along the flow from both
directions, so that a short rest does not hide an object. Flow guesses where the picture is smooth (sky, water, tarmac);
so it counts less where the camera's motion explains the picture as well as the flow does. What runs along the picture's
border is a wall, water or sky at another depth than most of the picture; only what rises above it counts.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.segmentation.flow import FrameSequence, pixel_places, warp

Floats = npt.NDArray[np.float32]

KEPT = 0.75  # of what was gathered so far, a frame
CHANGE_BLUR = 2.0  # working pixels
REACH = 8.0  # working pixels to which evidence for motion counts around it
LEVELS = 12  # of motion, at each of which connected parts are looked at
ALONG_BORDER = 1.5  # border pixels over the root of the area from which a part runs along the border


@dataclass(frozen=True)
class Saliency:
    """Motion of one's own.

    Attributes:
        moving: (T, h, w) float32 in [0, 3]: length of the motion in units of its usual size in the frame.
        evident: (T, h, w) float32 in [0, 1]: how far the pictures show that this motion is real.
    """

    moving: Floats
    evident: Floats


def own_motion(sequence: FrameSequence, frames: int, floor: float = 0.15) -> Saliency:
    """Saliency of the first ``frames`` frames (two at least); motion without evidence keeps ``floor`` of its size."""
    planes = [_left_over(sequence, frame) for frame in range(1, frames)]
    gathered = _gathered(np.stack([planes[0], *planes]), sequence)
    evident = np.stack([_evident(plane) for plane in gathered[..., 1]])
    moving = gathered[..., 0] * (floor + (1 - floor) * evident)
    return Saliency(np.stack([_off_border(plane) for plane in moving]), evident)


def _left_over(sequence: FrameSequence, frame: int) -> Floats:
    """(h, w, 2): length of the motion that the camera leaves over, and how much worse the camera explains the frame."""
    field = sequence.backward(frame - 1, frame)
    camera = _camera(field)
    length = np.linalg.norm(field - camera, axis=-1)
    usual = np.median(length)
    spread = np.median(np.abs(length - usual))
    moving = np.clip((length - usual) / (4 * spread + 0.5), 0, 3)
    last, now = sequence.grey(frame - 1), sequence.grey(frame)
    by_camera, by_flow = (
        cv2.GaussianBlur(np.abs(warp(last, way) - now), (0, 0), CHANGE_BLUR) for way in (camera, field)
    )
    return np.dstack([moving, np.maximum(by_camera - by_flow, 0)]).astype(np.float32)


def _camera(field: Floats) -> Floats:
    """(h, w, 2) motion of the camera: the homography that most of the flow follows."""
    height, width = field.shape[:2]
    rows, columns = (axis.ravel() for axis in np.mgrid[4:height:8, 4:width:8])
    here = np.stack([columns, rows], axis=-1).astype(np.float32)
    matrix = None
    if len(here) >= 4:
        there = here + field[rows, columns]
        matrix, _ = cv2.findHomography(here, there, cv2.RANSAC, 1.0, maxIters=500, confidence=0.99)
    if matrix is None:
        return np.zeros_like(field)
    places = pixel_places(height, width)
    moved = cv2.perspectiveTransform(places.reshape(-1, 1, 2), matrix).reshape(places.shape)
    return np.asarray(moved - places, np.float32)


def _gathered(planes: Floats, sequence: FrameSequence) -> Floats:
    """(T, h, w, C) values collected along the flow from both directions."""
    result = np.zeros_like(planes)
    frames = len(planes)
    for order in (range(frames), range(frames - 1, -1, -1)):
        carried, last = planes[order[0]], order[0]
        for frame in order:
            if frame != last:
                carried = (1 - KEPT) * planes[frame] + KEPT * warp(carried, sequence.backward(last, frame))
            result[frame] += carried / 2
            last = frame
    return result


def _evident(change: Floats) -> Floats:
    """Worse explanation by the camera -> how far motion is evident, by what the frame's clearest motion changes."""
    least = float(np.clip(0.5 * np.quantile(change, 0.97), 0.003, 0.03))
    evident = np.clip(change / least, 0, 1)
    around = np.clip(2 * cv2.GaussianBlur(evident, (0, 0), REACH), 0, 1)
    return np.maximum(evident, around).astype(np.float32)


def _off_border(moving: Floats) -> Floats:
    """Motion without the levels at which it is part of something that runs along the border."""
    height, width = moving.shape
    small = cv2.resize(moving, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    step = float(np.quantile(small, 0.995)) / LEVELS
    kept = np.zeros_like(small)
    for level in range(LEVELS):
        above = small > max(level * step, 1e-3)
        kept += step * (above & ~_along_border(above))
    return np.minimum(cv2.resize(kept, (width, height), interpolation=cv2.INTER_LINEAR), moving)


def _along_border(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The connected parts that run along the picture's border."""
    count, labels, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    rim = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    along = np.bincount(rim, minlength=count) > ALONG_BORDER * np.sqrt(facts[:, cv2.CC_STAT_AREA])
    along[0] = False
    return np.asarray(along[labels])
