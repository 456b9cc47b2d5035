"""Follows masks through a video without any weights: the project's own mask tracker.

Every object is a *layer*: a template of its colours, a map of where it lies (hidden parts included) and a motion. So is
the background. In each frame the layers are carried along by dense optical flow where it can be trusted (forward and
backward flow agree) and by the layer's own rigid motion elsewhere; then they compete for every pixel by how well their
colours explain it, the costs being smoothed along the picture's edges. What lost a pixel to another object is
remembered behind it and can come back; what lost it to the background is gone from there.

Sources of the parts: dense inverse search flow (Kroeger et al. 2016), layers (Wang and Adelson 1994), cost-volume
filtering with the guided filter (Rhemann et al. 2011; He et al. 2010).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.errors import MediaError
from magicgen.segmentation.flow import FrameFlow, FrameSequence, rigid_motion, warp

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PropagateSettings:
    """How the tracker works.

    Attributes:
        working_side: shorter side in pixels at which masks are followed; larger and smaller videos are resized to it.
        colour_sigma: standard deviation (Lab units) of a colour that fits its template.
        outlier: share of pixels that no template explains (shading, new views).
        amodal: weight of a layer's remembered shape beside the labels of the last frame.
        histogram: weight of the colour histograms against the templates.
        smooth_radius, smooth_eps: guided filter of the costs, in working pixels and squared grey values in [0, 1].
        learning: share of the new frame in the templates where a layer is seen.
    """

    working_side: int = 240
    colour_sigma: float = 9.0
    outlier: float = 0.02
    amodal: float = 0.25
    histogram: float = 0.5
    smooth_radius: int = 3
    smooth_eps: float = 1e-3
    learning: float = 0.7


def propagate_masks(video: UInt8, first_masks: Bools, settings: PropagateSettings | None = None) -> Bools:
    """Follow the masks of frame 0 through a video.

    Args:
        video: (T, H, W, 3) uint8 RGB.
        first_masks: (N, H, W) bool, the visible masks on frame 0; where they overlap the later object is in front.
        settings: by default those that were measured best.

    Returns:
        (N, T, H, W) bool, visible masks that do not overlap; empty where an object is hidden or out of the picture.
        Frame 0 is what was given. The same input gives the same bytes.

    Raises:
        MediaError: shapes or types that do not fit together.
    """
    settings = settings or PropagateSettings()
    _check(video, first_masks)
    frames, height, width = video.shape[:3]
    result = np.zeros((len(first_masks), frames, height, width), np.bool_)
    if not len(first_masks):
        return result
    result[:, 0] = first_masks
    sequence = FrameSequence(video, settings.working_side)
    for frame, labels in follow(sequence, range(frames), sequence.shrink(_visible(first_masks)), settings):
        result[:, frame] = _full_size(labels, height, width)
    return result


def follow(
    sequence: FrameSequence, frames: Sequence[int], soft_masks: Floats, settings: PropagateSettings
) -> Iterator[tuple[int, Floats]]:
    """Label one neighbouring frame after the other, in either direction.

    Args:
        sequence: the video.
        frames: frame numbers, each the neighbour of the one before; the masks belong to the first.
        soft_masks: (N, h, w) float32 coverage at the working size, not overlapping.

    Yields:
        For every frame but the first its number and the (1 + N, h, w) probabilities of background and objects.
    """
    tracker = _LayerTracker(sequence.lab(frames[0]), soft_masks, settings)
    for last, this in pairwise(frames):
        yield this, tracker.step(sequence.flow(last, this), sequence.lab(this), sequence.grey(this))


def _check(video: UInt8, first_masks: Bools) -> None:
    if video.ndim != 4 or video.shape[-1] != 3 or video.dtype != np.uint8:
        raise MediaError(f"A video is (T, H, W, 3) uint8; got {video.dtype} {video.shape}.")
    if first_masks.ndim != 3 or first_masks.dtype != np.bool_ or first_masks.shape[1:] != video.shape[1:3]:
        raise MediaError(
            f"First masks are (N, H, W) bool of the video's size {video.shape[1:3]}; "
            f"got {first_masks.dtype} {first_masks.shape}."
        )


def _visible(masks: Bools) -> Bools:
    """Masks without overlap: the later object covers the earlier."""
    visible = masks.copy()
    for index in range(len(masks) - 1):
        visible[index] &= ~masks[index + 1 :].any(axis=0)
    return visible


def _full_size(posterior: Floats, height: int, width: int) -> Bools:
    """(1 + N, h, w) label probabilities -> (N, H, W) masks."""
    large = np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in posterior])
    best = large.argmax(axis=0)
    return np.stack([best == index for index in range(1, len(posterior))])


class _LayerTracker:
    """State of all layers; index 0 is the background, then the objects.

    Attributes:
        posterior: (1 + N, h, w) float32, probability that the pixel shows the layer.
        shape: (1 + N, h, w) float32 in [0, 1], where the layer lies, hidden or not.
        known: (1 + N, h, w) float32 in [0, 1], where its colours have been seen.
        colour: (1 + N, h, w, 3) float32 Lab, its colours.
        motion: 2x3 maps from this frame to the last, of every layer.
    """

    def __init__(self, lab: Floats, soft_masks: Floats, settings: PropagateSettings) -> None:
        self.settings = settings
        background = np.clip(1 - soft_masks.sum(axis=0), 0, 1)
        self.posterior: Floats = np.concatenate([background[None], soft_masks]).astype(np.float32)
        self.shape = self.posterior.copy()
        self.shape[0] = 1
        self.known: Floats = (self.posterior > 0.5).astype(np.float32)
        self.colour: Floats = np.repeat(lab[None], len(self.posterior), axis=0)
        self.motion = [np.eye(2, 3) for _ in self.posterior]
        self.histograms = [_histogram(lab, weight) for weight in self.posterior]

    def step(self, flow: FrameFlow, lab: Floats, grey: Floats) -> Floats:
        """Carry everything to the next frame and label it."""
        visible = self._carry(flow)
        self.posterior = self._label(visible, flow, lab, grey)
        self._learn(lab)
        return self.posterior

    def _carry(self, flow: FrameFlow) -> Floats:
        """Moves shape, colours and labels; returns the carried labels."""
        carried = np.empty_like(self.posterior)
        for index in range(len(self.posterior)):
            seen = self.posterior[index]
            self.motion[index] = rigid_motion(flow, seen, self.motion[index], camera=index == 0)
            dense = warp(seen, flow.backward) * flow.trust
            field = flow.blended(self.motion[index], dense)
            carried[index] = warp(seen, field)
            self.shape[index] = warp(self.shape[index], field) if index else 1
            self.known[index] = warp(self.known[index], field)
            self.colour[index] = warp(self.colour[index], field)
        return carried

    def _label(self, carried: Floats, flow: FrameFlow, lab: Floats, grey: Floats) -> Floats:
        settings = self.settings
        trust = flow.trust[None]
        amodal = np.clip(settings.amodal + (1 - trust), 0, 1)
        prior = (1 - amodal) * carried + amodal * self.shape * 0.5
        prior = np.stack([cv2.GaussianBlur(plane, (0, 0), 1.0) for plane in prior]) + 0.01
        prior /= prior.sum(axis=0)
        cost = -np.log(prior)
        for index in range(len(cost)):
            cost[index] += self._colour_cost(index, lab)
        cost -= cost.min(axis=0)
        cost = np.minimum(cost, 6)
        smooth = np.stack([_guided(grey, plane, settings.smooth_radius, settings.smooth_eps) for plane in cost])
        posterior = np.exp(-(smooth - smooth.min(axis=0)) * 1.5)
        return (posterior / posterior.sum(axis=0)).astype(np.float32)

    def _colour_cost(self, index: int, lab: Floats) -> Floats:
        settings = self.settings
        template = self.colour[index]
        kernel = np.ones((3, 3), np.uint8)
        above = lab - cv2.dilate(template, kernel)
        below = cv2.erode(template, kernel) - lab
        distance = np.square(np.maximum(np.maximum(above, below), 0)).sum(axis=-1)
        fits = np.exp(-distance / (2 * settings.colour_sigma**2))
        histogram = _look_up(self.histograms[index], lab)
        known = self.known[index]
        likelihood = known * ((1 - settings.histogram) * fits + settings.histogram * histogram)
        likelihood += (1 - known) * histogram * 0.7
        return -np.log(likelihood + settings.outlier)

    def _learn(self, lab: Floats) -> None:
        rate = self.settings.learning
        background = self.posterior[0]
        for index, seen in enumerate(self.posterior):
            weight = np.where(seen > 0.5, rate + (1 - rate) * (self.known[index] < 0.5), 0).astype(np.float32)
            self.colour[index] += weight[..., None] * (lab - self.colour[index])
            self.known[index] = np.maximum(self.known[index], seen > 0.5)
            if index:
                self.shape[index] = np.maximum(self.shape[index] * (1 - background), seen)
            if (seen > 0.7).sum() > 30:
                self.histograms[index] = 0.95 * self.histograms[index] + 0.05 * _histogram(lab, seen)


BINS = 12


def _bins(lab: Floats) -> npt.NDArray[np.intp]:
    light = np.clip(lab[..., 0] * (BINS / 100), 0, BINS - 1).astype(np.intp)
    rest = np.clip((lab[..., 1:] + 96) * (BINS / 192), 0, BINS - 1).astype(np.intp)
    return (light * BINS + rest[..., 0]) * BINS + rest[..., 1]


def _histogram(lab: Floats, weight: Floats) -> Floats:
    """Share of the layer in the colours near each bin, scaled so that its most frequent colours have 1."""
    counts = np.bincount(_bins(lab).ravel(), weights=weight.ravel(), minlength=BINS**3).reshape(BINS, BINS, BINS)
    kernel = np.array([0.25, 0.5, 0.25])
    for axis in range(3):
        counts = np.apply_along_axis(np.convolve, axis, counts, kernel, "same")
    return (counts / max(float(counts.sum()), 1e-6)).astype(np.float32)


def _look_up(histogram: Floats, lab: Floats) -> Floats:
    value = histogram.ravel()[_bins(lab)]
    return value / (value + 0.01)


def _guided(guide: Floats, plane: Floats, radius: int, eps: float) -> Floats:
    """Guided filter (He et al. 2010) with a grey guide in [0, 1]."""
    size = (2 * radius + 1, 2 * radius + 1)
    mean_i, mean_p = cv2.blur(guide, size), cv2.blur(plane, size)
    variance = cv2.blur(guide * guide, size) - mean_i * mean_i
    slope = (cv2.blur(guide * plane, size) - mean_i * mean_p) / (variance + eps)
    offset = mean_p - slope * mean_i
    return cv2.blur(slope, size) * guide + cv2.blur(offset, size)
