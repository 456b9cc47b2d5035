"""Follows masks through a video without any weights: the project's own mask tracker.

Every object is a *layer*: a template of its colours, a map of where it lies (hidden parts included) and a motion. So is
the background. In each frame the layers are carried along by dense optical flow where it can be trusted (forward and
backward flow agree) and by the layer's own rigid motion elsewhere; then they compete for every pixel by how well their
colours and motions explain it and by what a small network, trained on the first frame, takes it for, the costs being
smoothed along the picture's edges. What lost a pixel to another object is remembered behind it and can come back; what
lost it to the background is gone from there, until it is recognised.

Sources of the parts: dense inverse search flow (Kroeger et al. 2016), layers (Wang and Adelson 1994), cost-volume
filtering with the guided filter (Rhemann et al. 2011; He et al. 2010).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.errors import MediaError
from magicgen.segmentation.anchor import BLURS, Anchor
from magicgen.segmentation.appearance import Appearance
from magicgen.segmentation.colours import guided, shares
from magicgen.segmentation.flow import FrameFlow, FrameSequence, correcting_flow, rigid_field, squared_length, warp
from magicgen.segmentation.ground import Ground, GroundSettings, judge
from magicgen.segmentation.layers import Layer, render
from magicgen.segmentation.parts import filled, own_parts
from magicgen.segmentation.plate import Plate, PlateView, make_plate

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PropagateSettings:
    """How the tracker works.

    Attributes:
        working_side: shorter side in pixels at which masks are followed; larger and smaller videos are resized to it.
        enlarge: a small video is not made larger than this many times.
        draft: size of the first round, in which the background is found, as a share of the second.
        colour_sigma: standard deviation (Lab units) of a colour that fits an object's template.
        outlier: share of pixels that no template explains (shading, new views).
        amodal: weight of a layer's remembered shape beside the labels of the last frame.
        histogram: weight of the colour histograms against the templates.
        smooth_radius, smooth_eps: guided filter of the costs, in working pixels and squared grey values in [0, 1].
        growth: chance that a layer reaches a little beyond its shape, and as much again that it reaches further.
        foreign_growth: how many times as much more where the background cannot be what is seen.
        anywhere: chance that an object shows up anywhere.
        lost: chance that an object of which much is missing shows up where the background cannot be what is seen.
        least_look: smallest probability that the look of a pixel gives to a label.
        motion: weight of how far a pixel's flow is from a layer's own motion.
        firm: how much less looks and motion count against a background that is known to stay as it is.
        anchored: how much a rigid object's first mask counts against the carried one.
        held: how much less looks count where a rigid object shows its first colours.
        learning: share of the new frame in the templates where a layer is seen.
        speck: share of its last areas below which an object has gone; three pixels at least.
        ground: how the background is judged.
    """

    working_side: int = 320
    enlarge: float = 2.0
    draft: float = 0.4
    colour_sigma: float = 9.0
    outlier: float = 0.02
    amodal: float = 0.25
    histogram: float = 0.5
    growth: float = 0.03
    foreign_growth: float = 4.0
    anywhere: float = 1e-3
    lost: float = 0.03
    least_look: float = 0.02
    motion: float = 0.5
    firm: float = 0.7
    anchored: float = 0.9
    held: float = 0.8
    smooth_radius: int = 3
    smooth_eps: float = 1e-3
    learning: float = 0.7
    speck: float = 0.015
    ground: GroundSettings = field(default_factory=GroundSettings)


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
    visible = _visible(first_masks)
    # An object that the first frame does not show stays absent.
    shown = np.flatnonzero(visible.any(axis=(1, 2)))
    if not len(shown):
        return result
    side = min(settings.working_side, round(settings.enlarge * min(height, width)))
    sequence = FrameSequence(video, side)
    plate = _plate(sequence, video, visible[shown], settings)
    for frame, labels in follow(sequence, range(frames), sequence.shrink(visible[shown]), settings, plate):
        result[shown, frame] = _full_size(labels, height, width)
    return _without_specks(result, settings.speck)


def _plate(sequence: FrameSequence, video: UInt8, masks: Bools, settings: PropagateSettings) -> Plate:
    """A first round at a smaller size tells where the background is seen; the plate is made of what lies there."""
    height, width = sequence.size
    draft = FrameSequence(video, round(settings.draft * min(height, width)))
    soft = draft.shrink(masks)
    found = [np.clip(1 - soft.sum(axis=0), 0, 1)]
    found += [labels[0] for _, labels in follow(draft, range(len(video)), soft, settings, None)]
    return make_plate(sequence, [cv2.resize(plane, (width, height)) for plane in found])


def follow(
    sequence: FrameSequence,
    frames: Sequence[int],
    soft_masks: Floats,
    settings: PropagateSettings,
    plate: Plate | None,
) -> Iterator[tuple[int, Floats]]:
    """Label one neighbouring frame after the other, in either direction.

    Args:
        sequence: the video.
        frames: frame numbers, each the neighbour of the one before; the masks belong to the first.
        soft_masks: (N, h, w) float32 coverage at the working size, not overlapping, none empty.
        plate: the background of the clip at the working size, where it is known already.

    Yields:
        For every frame but the first its number and the (1 + N, h, w) probabilities of background and objects.
    """
    tracker = _LayerTracker(sequence.lab(frames[0]), soft_masks, settings)
    for last, this in pairwise(frames):
        view = None if plate is None else plate.view(this)
        yield this, tracker.step(sequence.flow(last, this), sequence.lab(this), sequence.grey(this), view)


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


def _without_specks(masks: Bools, share: float) -> Bools:
    """(N, T, H, W) masks, emptied where of an object that has gone at once only stray pixels are found."""
    for areas, frames in zip(masks.sum(axis=(2, 3)), masks, strict=True):
        lately = [int(areas[0])]
        for frame, area in enumerate(areas[1:].tolist(), start=1):
            if area < max(share * max(lately), 3):
                frames[frame] = False
            else:
                lately = [*lately[-3:], area]
    return masks


class _LayerTracker:
    """All layers on the current frame; the first is the background."""

    def __init__(self, lab: Floats, soft_masks: Floats, settings: PropagateSettings) -> None:
        self.settings = settings
        background = np.clip(1 - soft_masks.sum(axis=0), 0, 1)
        self.layers = [Layer.first(lab, background, background=True)]
        self.layers += [Layer.first(lab, mask, background=False) for mask in soft_masks]
        self.areas = [max(float(mask.sum()), 1.0) for mask in soft_masks]
        self.anchors = [Anchor(lab, mask, background) for mask in soft_masks]
        self.appearance = Appearance(lab, np.concatenate([background[None], soft_masks]))

    def step(self, flow: FrameFlow, lab: Floats, grey: Floats, view: PlateView | None) -> Floats:
        """Carry everything to the next frame and label it; returns (1 + N, h, w) probabilities."""
        size = grey.shape
        ground = self.layers[0]
        ground.find_motion(flow, lab, None)
        behind = ground.moved(rigid_field(ground.motion, size))
        for layer in self.layers[1:]:
            layer.find_motion(flow, lab, behind)
        foreseen = render(self._moved(None, size), lab)
        correction = correcting_flow(lab, foreseen)
        self.layers = self._moved(correction, size)
        spread = None if view is None else self._lay(view, lab)
        held = self._hold(lab)
        labels, judged = self._label(lab, grey, flow, spread, held)
        labels = own_parts(labels, self.layers, flow)
        labels = filled(labels, self.layers[0].seen, judged.fits)
        self.appearance.learn(labels)
        for index, (layer, seen) in enumerate(zip(self.layers, labels, strict=True)):
            layer.seen = seen
            layer.learn(lab, labels[0], self.settings.learning, background=index == 0)
        return labels

    def _moved(self, correction: Floats | None, size: tuple[int, ...]) -> list[Layer]:
        fields = (rigid_field(layer.motion, size) for layer in self.layers)
        if correction is not None:
            fields = (correction + warp(field, correction) for field in fields)
        return [layer.moved(field) for layer, field in zip(self.layers, fields, strict=True)]

    def _lay(self, view: PlateView, lab: Floats) -> Floats:
        """Put the plate, in this frame's exposure, behind everything; returns its spread, NaN where it is not known."""
        ground = self.layers[0]
        sure = view.known & (ground.seen > 0.95)
        shift = np.median((lab - view.colour)[sure][::7], axis=0) if sure.sum() > 100 else np.zeros(3, np.float32)
        ground.colour = np.where(view.known[..., None], view.colour + shift, ground.colour).astype(np.float32)
        ground.known = np.maximum(ground.known, view.known.astype(np.float32))
        return np.where(view.known, view.spread, np.float32(np.nan))

    def _hold(self, lab: Floats) -> Floats:
        """Set rigid objects back to what the first frame shows of them; returns (h, w) in [0, 1], where one is seen."""
        held = np.zeros(lab.shape[:2], np.float32)
        smooth = tuple(cv2.GaussianBlur(lab, (0, 0), blur) for blur in BLURS)
        seen = np.stack([layer.seen for layer in self.layers[1:]])
        together = seen.sum(axis=0)
        for layer, anchor, own in zip(self.layers[1:], self.anchors, seen, strict=True):
            anchor.carry(layer.motion)
            view = anchor.fit(smooth, np.clip(together - own, 0, 1))
            if view is None:
                continue
            weight = self.settings.anchored * view.rigid * view.told
            layer.set_back(view.mask, view.colour, weight)
            fits = np.exp(-squared_length(lab - view.colour) / (2 * self.settings.colour_sigma**2))
            held = np.maximum(held, view.rigid * view.mask * fits)
        return held

    def _label(
        self, lab: Floats, grey: Floats, flow: FrameFlow, spread: Floats | None, held: Floats
    ) -> tuple[Floats, Ground]:
        settings = self.settings
        typical = shares([layer.histogram for layer in self.layers], lab)
        ground = judge(self.layers[0], lab, typical[0], spread, settings.ground)
        prior = self._prior(ground.firm * (1 - ground.fits))
        cost = -np.log(prior / prior.sum(axis=0)) + self._look_cost(lab, ground.firm, held)
        cost[0] += ground.cost
        for index in range(1, len(cost)):
            cost[index] += self._colour_cost(self.layers[index], typical[index], lab)
        trust = settings.motion * flow.trust * (1 - settings.firm * ground.firm)
        for index, layer in enumerate(self.layers):
            strange = squared_length(flow.backward - rigid_field(layer.motion, grey.shape))
            cost[index] += trust * np.minimum(strange / 2, 3)
        cost = np.minimum(cost - cost.min(axis=0), 6)
        smooth = np.stack([guided(grey, plane, settings.smooth_radius, settings.smooth_eps) for plane in cost])
        posterior = np.exp(-(smooth - smooth.min(axis=0)) * 1.5)
        return (posterior / posterior.sum(axis=0)).astype(np.float32), ground

    def _prior(self, foreign: Floats) -> Floats:
        """(1 + N, h, w), not normalised: where the carried layers say that they lie.

        ``foreign``: (h, w) in [0, 1], where the background cannot be what is seen.
        """
        settings = self.settings
        seen = np.stack([layer.seen for layer in self.layers])
        shape = np.stack([np.full_like(seen[0], 0.5), *(layer.shape for layer in self.layers[1:])])
        left_over = np.clip(1 - seen.sum(axis=0), 0, 1)
        prior = seen + (settings.amodal + left_over) * shape
        prior = np.stack([cv2.GaussianBlur(plane, (0, 0), 1.0) for plane in prior])
        objects = seen[1:].sum(axis=0)
        for index, area in enumerate(self.areas, start=1):
            reach = cv2.blur(shape[index], (13, 13)) + cv2.blur(shape[index], (31, 31))
            prior[index] += settings.growth * reach * (1 + settings.foreign_growth * foreign) + settings.anywhere
            missing = 1 - min(1.0, float(seen[index].sum()) / area)
            prior[index] += settings.lost * missing * foreign * np.clip(1 - (objects - seen[index]), 0, 1)
        prior[0] += 0.02
        return prior

    def _look_cost(self, lab: Floats, firm: Floats, held: Floats) -> Floats:
        """(1 + N, h, w): what the network says, first of background or object, then of which object."""
        looks, least = self.appearance.judge(lab), self.settings.least_look
        some = np.maximum(1 - looks[0], 1e-6)
        weight = 1 - self.settings.firm * firm
        cost = np.empty_like(looks)
        cost[0] = -weight * np.log(np.maximum(looks[0], least))
        cost[1:] = -weight * np.log(np.maximum(some, least)) - np.log(np.maximum(looks[1:] / some, least))
        return cost * (1 - self.settings.held * held)

    def _colour_cost(self, layer: Layer, typical: Floats, lab: Floats) -> Floats:
        settings = self.settings
        kernel = np.ones((3, 3), np.uint8)
        above = lab - cv2.dilate(layer.colour, kernel)
        below = cv2.erode(layer.colour, kernel) - lab
        distance = squared_length(np.maximum(np.maximum(above, below), 0))
        fits = np.exp(-distance / (2 * settings.colour_sigma**2))
        likelihood = layer.known * ((1 - settings.histogram) * fits + settings.histogram * typical)
        likelihood += (1 - layer.known) * typical * 0.7
        return -np.log(likelihood + settings.outlier)
