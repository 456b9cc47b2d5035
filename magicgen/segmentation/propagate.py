"""Follows masks through a video without any weights: the project's own mask tracker.

Every object is a *layer*: a template of its colours, a map of where it lies (hidden parts included) and a motion. So is
the background. The layers foresee the next frame, each moved rigidly by whatever explains that frame best (dense flow,
its last motion, a search for its picture); dense flow between the foreseen and the real frame corrects what is not
rigid. Then they compete for every pixel by how well their colours explain it, the costs being smoothed along the
picture's edges. What lost a pixel to another object is remembered behind it and can come back; what lost it to the
background is gone from there.

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
from magicgen.segmentation.background import uncovered
from magicgen.segmentation.colours import guided, share
from magicgen.segmentation.flow import FrameFlow, FrameSequence, correcting_flow, rigid_motion
from magicgen.segmentation.layers import Layer, render

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

DARKEST_SHADOW = 0.5  # lightness in a shadow, as a share of that beside it
SHADOW_FIT = 0.3
LARGEST_COST = 6.0  # no single pixel outvotes its neighbours


@dataclass(frozen=True)
class PropagateSettings:
    """How the tracker works.

    Attributes:
        working_side: shorter side in pixels at which masks are followed; larger and smaller videos are resized to it.
        colour_sigma: standard deviation (Lab units) of a colour that fits its template.
        outlier, changing: share of the background's and of an object's pixels that the template does not explain
            (shading, new views).
        amodal: weight of a layer's remembered shape beside the labels of the last frame.
        histogram: weight of the colour histograms against the templates.
        smooth_radius, smooth_eps: guided filter of the costs, in working pixels and squared grey values in [0, 1].
        rest: bonus of the background where it looks as it did before, so that objects whose colours match by chance do
            not stay there.
        growth, more_growth: chance that a layer reaches a little beyond its shape, and more of it before a background
            that stays as it is.
        sharpness: of the labels: factor on the smoothed costs.
        learning: share of the new frame in the templates where a layer is seen.
    """

    working_side: int = 240
    colour_sigma: float = 9.0
    outlier: float = 0.015
    changing: float = 0.05
    amodal: float = 0.25
    histogram: float = 0.5
    rest: float = 0.8
    growth: float = 0.03
    more_growth: float = 0.09
    smooth_radius: int = 3
    smooth_eps: float = 1e-3
    sharpness: float = 1.5
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
    tracker.reveal(*uncovered(sequence, frames, soft_masks))
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
    """All layers on the current frame; the first is the background."""

    def __init__(self, lab: Floats, soft_masks: Floats, settings: PropagateSettings) -> None:
        self.settings = settings
        ground = np.clip(1 - soft_masks.sum(axis=0), 0, 1)
        self.layers = [Layer.first(lab, ground, background=True)]
        self.layers += [Layer.first(lab, mask, background=False) for mask in soft_masks]

    def reveal(self, found: Bools, colours: Floats) -> None:
        """Teach the background what lies behind the objects, see :func:`uncovered`."""
        ground = self.layers[0]
        ground.colour[found] = colours[found]
        ground.known[found] = 1

    def step(self, flow: FrameFlow, lab: Floats, grey: Floats) -> Floats:
        """Carry everything to the next frame and label it; returns (1 + N, h, w) probabilities."""
        ground = self.layers[0]
        ground.motion = rigid_motion(flow, ground.seen, ground.motion, camera=True)
        behind = ground.moved(None, background=True)
        for layer in self.layers[1:]:
            layer.find_motion(flow, lab, behind)
        foreseen = [behind, *(layer.moved(None, background=False) for layer in self.layers[1:])]
        correction = correcting_flow(lab, render(foreseen, lab))
        self.layers = [layer.moved(correction, background=layer is ground) for layer in self.layers]
        labels = self._label(lab, grey)
        for index, (layer, seen) in enumerate(zip(self.layers, labels, strict=True)):
            layer.seen = seen
            layer.learn(lab, labels[0], self.settings.learning, background=index == 0)
        return labels

    def _label(self, lab: Floats, grey: Floats) -> Floats:
        settings = self.settings
        fits = [_fit(layer, lab, settings.colour_sigma, shaded=index == 0) for index, layer in enumerate(self.layers)]
        steady = _steadiness(self.layers[0], fits[0])
        prior = self._prior(settings.growth + steady * settings.more_growth)
        cost = np.full(prior.shape, np.inf, np.float32)  # beyond its window a layer cannot win
        together = prior.sum(axis=0)
        for index, layer in enumerate(self.layers):
            place = (index, *layer.window)
            chance = prior[place] / together[layer.window]
            cost[place] = self._colour_cost(index, fits[index], lab, steady) - np.log(np.maximum(chance, 1e-5))
        cost = np.minimum(cost - cost.min(axis=0), LARGEST_COST)
        for index, layer in enumerate(self.layers):
            place = (index, *layer.window)
            if cost[place].size:
                guide = np.ascontiguousarray(grey[layer.window])
                cost[place] = guided(guide, cost[place], settings.smooth_radius, settings.smooth_eps)
        labels = np.exp(-(cost - cost.min(axis=0)) * settings.sharpness)
        return labels / labels.sum(axis=0)

    def _prior(self, growth: float) -> Floats:
        """(1 + N, h, w): what the carried labels and shapes expect before the colours are looked at."""
        left_over = np.clip(1 - sum(layer.seen for layer in self.layers), 0, 1)
        prior = np.zeros((len(self.layers), *left_over.shape), np.float32)
        for index, layer in enumerate(self.layers):
            window = layer.window
            shape = layer.shape[window] * (1.0 if index else 0.5)
            expected = layer.seen[window] + (self.settings.amodal + left_over[window]) * shape
            if expected.size:
                around = growth * cv2.blur(shape, (13, 13))
                prior[(index, *window)] = cv2.GaussianBlur(expected, (0, 0), 1.0) + around + 1e-4
        prior[0] += 0.02
        return prior

    def _colour_cost(self, index: int, fits: Floats, lab: Floats, steady: float) -> Floats:
        """Within the layer's window: minus log likelihood of the frame's colours, in the template's place or
        altogether. A background that is known to stay as it is must fit in place; an object may show a new side."""
        settings, layer = self.settings, self.layers[index]
        known, typical = layer.known[layer.window], share(layer.histogram, lab[layer.window])
        weight = settings.histogram * (1 - steady) if index == 0 else settings.histogram
        outlier = settings.outlier * (1 - 0.8 * steady) if index == 0 else settings.changing
        in_place = (1 - weight) * fits + weight * typical
        cost = -np.log(known * in_place + (1 - known) * 0.7 * typical + outlier)
        return cost - steady * settings.rest * known * fits if index == 0 else cost


def _fit(layer: Layer, lab: Floats, sigma: float, *, shaded: bool) -> Floats:
    """Within the layer's window, in [0, 1]: how well colours fit the template in a 3x3 neighbourhood. ``shaded``: the
    same colours in a shadow fit a little."""
    now, template = lab[layer.window], np.ascontiguousarray(layer.colour[layer.window])
    if not now.size:
        return np.zeros(now.shape[:2], np.float32)
    kernel = np.ones((3, 3), np.uint8)
    low, high = cv2.erode(template, kernel), cv2.dilate(template, kernel)
    beside = np.square(np.maximum(np.maximum(now - high, low - now), 0))
    fits = np.exp(-beside.sum(axis=-1) / (2 * sigma**2))
    if not shaded:
        return fits
    dark = np.square(np.maximum(DARKEST_SHADOW * low[..., 0] - now[..., 0], 0))
    in_shadow = np.exp(-(dark + beside[..., 1] + beside[..., 2]) / (2 * sigma**2)) * (now[..., 0] <= high[..., 0])
    return np.maximum(fits, SHADOW_FIT * in_shadow)


def _steadiness(ground: Layer, fits: Floats) -> float:
    """In [0, 1]: whether the background stays as it was but for the camera's motion (drawn scenes, fixed cameras), so
    that what does not fit it is something else."""
    sure = (ground.seen > 0.95) & (ground.known > 0.95)
    return float(np.clip((fits[sure].mean() - 0.8) / 0.15, 0, 1)) if sure.any() else 0.0
