"""What a video is scored by: overlap of tracked objects with the asked ones, and distance to the true pixels.

All of it is geometry and arithmetic on arrays; no models, no torch. Cases that MagicMotion (arXiv 2503.16421) leaves
open (objects that are not there) are settled in the docstrings, as DAVIS does it (Perazzi et al. 2016).
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.tracks import Tracks

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]

# Squared error below which two regions count as equal: 10 log10(255^2 / 1e-3) = 78 dB stands for "no difference".
LEAST_ERROR = 1e-3


def mask_iou(predicted: Bools, truth: Bools) -> Scores:
    """Intersection over union of masks (..., H, W) bool -> (...) float64 in [0, 1].

    An object that is nowhere in both scores 1 (it was rightly gone), one that is in only one of them 0.

    Raises:
        ValueError: different shapes.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"masks of different shapes: {predicted.shape} and {truth.shape}")
    union = (predicted | truth).sum(axis=(-2, -1), dtype=np.float64)
    shared = (predicted & truth).sum(axis=(-2, -1), dtype=np.float64)
    return np.where(union > 0, shared / np.maximum(union, 1), 1.0)


def box_iou(predicted: npt.NDArray[np.floating], truth: npt.NDArray[np.floating]) -> Scores:
    """Intersection over union of normalised boxes (..., 4) xyxy -> (...) float64 in [0, 1].

    What lies outside the picture cannot be seen and does not count: both boxes are clipped to it first. A box is absent
    if it has NaN or, once clipped, no area. Both absent scores 1, one absent 0.

    Raises:
        ValueError: different shapes, or not four numbers.
    """
    if predicted.shape != truth.shape or predicted.shape[-1] != 4:
        raise ValueError(f"boxes must be (..., 4) of one shape; got {predicted.shape} and {truth.shape}")
    first, second = within_picture(predicted), within_picture(truth)
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    union = _area(first) + _area(second) - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 1.0)


def within_picture(boxes: npt.NDArray[np.floating]) -> Scores:
    """Boxes (..., 4) clipped to the picture; absent ones as empty boxes at the origin."""
    absent = np.asarray(~np.isfinite(boxes).all(axis=-1))
    clipped = np.clip(np.where(absent[..., None], 0, boxes).astype(np.float64), 0, 1)
    empty = np.asarray((clipped[..., 2:] <= clipped[..., :2]).any(axis=-1))
    return np.where(empty[..., None], 0.0, clipped)


def _area(boxes: Scores) -> Scores:
    return np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)


def tracked_iou(
    found: Bools, truth: Bools, found_boxes: npt.NDArray[np.floating], boxes: npt.NDArray[np.floating]
) -> tuple[float, float]:
    """Mask-IoU and Box-IoU of tracked objects, mean over all objects and all frames but frame 0, which is given.

    Args:
        found, truth: (N, T, H, W) bool masks. found_boxes, boxes: (N, T, 4).

    Returns:
        Two numbers in [0, 1]; NaN for a single frame.
    """
    return finite_mean(mask_iou(found, truth)[:, 1:].ravel()), finite_mean(box_iou(found_boxes, boxes)[:, 1:].ravel())


def psnr(video: UInt8, truth: UInt8, region: Bools | None = None) -> float:
    """PSNR in dB of (T, H, W, 3) uint8 videos: one mean squared error over the pixels of ``region`` (T, H, W) bool, or
    over all. NaN where the region is empty; 78.1 dB stands for no difference.

    Raises:
        ValueError: different shapes.
    """
    if video.shape != truth.shape:
        raise ValueError(f"videos of different shapes: {video.shape} and {truth.shape}")
    if region is not None and not region.any():
        return float("nan")
    first, second = (video, truth) if region is None else (video[region], truth[region])
    return _decibels(float(np.square(first.astype(np.float32) - second).mean(dtype=np.float64)))


def moved_region(tracks: Tracks) -> Bools:
    """(T, H, W) bool: moved and uncovered places.

    In every frame but frame 0 (where it is empty): the union, over the objects whose mask ever differs from their first
    one, of where the object was on frame 0 and where it is now.

    Raises:
        ValueError: the tracks have no masks beyond frame 0.
    """
    if tracks.masks is None:
        raise ValueError("moved regions need masks in every frame")
    moving = (tracks.masks != tracks.masks[:, :1]).any(axis=(1, 2, 3))
    region = (tracks.masks | tracks.masks[:, :1])[moving].any(axis=0)
    region[0] = False
    return np.asarray(region)


def background(tracks: Tracks, margin: int) -> Bools:
    """(T, H, W) bool: pixels further than ``margin`` from where any object was on frame 0 and from where it is now.

    An object is where its mask is or, for tracks without masks beyond frame 0, in its box; between the frames of a
    sparse track it may be anywhere in the boxes before and after. Empty on frame 0.
    """
    places = _box_places(tracks) if tracks.masks is None else tracks.masks
    taken = np.asarray((places | tracks.first_masks[:, None]).any(axis=0), dtype=np.uint8)
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    free = np.stack([cv2.dilate(plane, kernel) == 0 for plane in taken])
    free[0] = False
    return free


def _box_places(tracks: Tracks) -> Bools:
    """(N, T, H, W) bool: boxes, filled; a frame without a box gets those of the known frames around it."""
    height, width = tracks.size
    places = np.zeros((len(tracks.names), tracks.frames, height, width), np.bool_)
    for boxes, planes in zip(tracks.boxes, places, strict=True):
        known = np.flatnonzero(np.isfinite(boxes).all(axis=1))
        for frame in range(tracks.frames):
            before, after = known[known <= frame][-1:], known[known >= frame][:1]
            for source in {*before.tolist(), *after.tolist()}:
                x0, y0, x1, y1 = np.clip(boxes[source], -1, 2) * np.array([width, height, width, height])
                rows, columns = (
                    slice(max(0, int(y0)), max(0, int(np.ceil(y1)))),
                    slice(max(0, int(x0)), max(0, int(np.ceil(x1)))),
                )
                planes[frame, rows, columns] = True
    return places


def ssim(video: UInt8, truth: UInt8) -> float:
    """Structural similarity (Wang et al. 2004, 7 x 7 uniform window), mean over frames; videos (T, H, W, 3) uint8."""
    from skimage.metrics import structural_similarity

    pairs = zip(video, truth, strict=True)
    return float(np.mean([structural_similarity(a, b, channel_axis=-1) for a, b in pairs]))


def warping_error(video: UInt8) -> float:
    """Temporal consistency: how far each frame is from the next one carried back to it along the motion; 0 is steady.

    Mean absolute difference of grey values in 0..255, where forward and backward flow agree within a pixel (the warping
    error of Lai et al. 2018, arXiv 1808.00449, with dense inverse search flow). A frozen video has 0, so it is to be
    read beside the value of the ground truth. NaN for a single frame.
    """
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video]
    rows, columns = np.mgrid[: video.shape[1], : video.shape[2]].astype(np.float32)
    errors = []
    for first, second in pairwise(grey):
        forward, backward = flow.calc(first, second, None), flow.calc(second, first, None)
        x, y = columns + forward[..., 0], rows + forward[..., 1]
        returned = cv2.remap(backward, x, y, cv2.INTER_LINEAR)
        warped = cv2.remap(second, x, y, cv2.INTER_LINEAR).astype(np.float32)
        trusted = np.hypot(forward[..., 0] + returned[..., 0], forward[..., 1] + returned[..., 1]) < 1
        if trusted.any():
            errors.append(float(np.abs(warped - first)[trusted].mean()))
    return finite_mean(errors)


def finite_mean(values: Sequence[float] | Scores) -> float:
    """Mean of the numbers that are numbers; NaN where there is none."""
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    return float(numbers.mean()) if numbers.size else float("nan")


def _decibels(error: float) -> float:
    return float(10 * np.log10(255.0**2 / max(error, LEAST_ERROR)))
