"""What the tracker remembers of every object and of the background, and how it moves to the next frame."""

from dataclasses import dataclass

import cv2
import numpy as np

from magicgen.segmentation.colours import histogram
from magicgen.segmentation.flow import (
    Floats,
    FrameFlow,
    Matrix,
    pixel_places,
    rigid_field,
    rigid_motion,
    squared_length,
    warp,
)

MATCH_SCALE = 0.5  # size of the pictures in which a lost motion is searched for
DARK_TRUNCATION = 30.0  # Lab distance from which a colour is simply wrong


@dataclass
class Layer:
    """One object, or the background, as the tracker knows it on the current frame.

    Attributes:
        seen: (h, w) float32 in [0, 1], probability that the pixel shows the layer.
        shape: (h, w) float32 in [0, 1], where the layer lies, hidden parts included.
        known: (h, w) float32 in [0, 1], where its colours have been seen.
        colour: (h, w, 3) float32 Lab, its colours; nearest guess where not known.
        motion: 2x3 map from the current frame to the last.
        histogram: its colours altogether, see :mod:`magicgen.segmentation.colours`.
    """

    seen: Floats
    shape: Floats
    known: Floats
    colour: Floats
    motion: Matrix
    histogram: Floats

    @classmethod
    def first(cls, lab: Floats, seen: Floats, *, background: bool) -> "Layer":
        """The layer on the frame whose mask is given."""
        shape = np.ones_like(seen) if background else seen
        known = (seen > 0.6).astype(np.float32)
        return cls(seen, shape.copy(), known, lab.copy(), np.eye(2, 3), histogram(lab, seen))

    def find_motion(self, flow: FrameFlow, lab: Floats, background: "Layer | None") -> None:
        """Choose the rigid motion that explains the new frame best: that of the flow, the last one, or a match.

        Args:
            flow: motion between the frames. lab: (h, w, 3), the new frame.
            background: already moved to the new frame; None for the background itself.
        """
        if background is None:
            self.motion = rigid_motion(flow, self.seen, self.motion, camera=True)
            return
        if not self.shape.max() > 0.3:
            return
        seen = self.seen if (self.seen > 0.5).sum() > 12 else self.shape
        candidates = [self.motion, rigid_motion(flow, self.seen, self.motion, camera=False), np.eye(2, 3)]
        costs = [self._misfit(motion, lab, background, seen) for motion in candidates]
        if min(costs) > 0.12:
            matched = _match(self.colour, (seen * self.known), lab, self.motion)
            if matched is not None:
                candidates.append(matched)
                costs.append(self._misfit(matched, lab, background, seen))
        self.motion = candidates[int(np.argmin(costs))]

    def _misfit(self, motion: Matrix, lab: Floats, background: "Layer", seen: Floats) -> float:
        """How badly the moved layer explains the frame, in [0, 1], less half of what the background fails to."""
        places = pixel_places(*seen.shape)[::2, ::2] + rigid_field(motion, seen.shape, 2)
        weight = cv2.remap(seen * self.known, places, None, cv2.INTER_LINEAR)
        inside = weight > 0.3
        if inside.sum() < 4:
            return 1.0
        moved = cv2.remap(self.colour, places, None, cv2.INTER_LINEAR)[inside]
        now = lab[::2, ::2][inside]
        own = _truncated(now - moved)
        other = _truncated(now - background.colour[::2, ::2][inside])
        lost = 1 - inside.sum() * 4 / max(float((seen * self.known > 0.3).sum()), 1.0)
        gain = 0.3 * other * background.known[::2, ::2][inside]
        return float((own - gain).mean() + 0.3) / 1.3 + 0.5 * max(0.0, lost)

    def moved(self, field: Floats) -> "Layer":
        """The layer carried along a (h, w, 2) backward field."""
        return Layer(
            warp(self.seen, field),
            warp(self.shape, field),
            warp(self.known, field),
            warp(self.colour, field),
            self.motion,
            self.histogram,
        )

    def set_back(self, mask: Floats, colour: Floats, weight: Floats) -> None:
        """Take (h, w) mask and (h, w, 3) Lab colours for the layer's own, by (h, w) ``weight`` in [0, 1]."""
        known = (mask > 0.9).astype(np.float32)
        self.seen = self.seen + weight * (mask - self.seen)
        self.shape = self.shape + weight * (mask - self.shape)
        self.known = self.known + weight * (known - self.known)
        self.colour = self.colour + (weight * known)[..., None] * (colour - self.colour)

    def learn(self, lab: Floats, background_seen: Floats, rate: float, *, background: bool) -> None:
        """Take over the colours and the shape that the labelled frame shows."""
        visible = self.seen > 0.5
        weight = np.where(visible, np.where(self.known > 0.5, rate, 1.0), 0.0).astype(np.float32)
        self.colour += weight[..., None] * (lab - self.colour)
        self.known = np.maximum(self.known, visible.astype(np.float32))
        if not background:
            self.shape = np.maximum(self.shape * (1 - background_seen), self.seen)
            # A layer that is nowhere seen keeps its memory for a while and fades.
            self.shape *= 0.98 if not visible.any() else 1.0
        if (self.seen > 0.7).sum() > 30:
            self.histogram = (0.95 * self.histogram + 0.05 * histogram(lab, self.seen)).astype(np.float32)


def _truncated(colours: Floats) -> Floats:
    """Lab differences (..., 3) -> how wrong they are, in [0, 1]."""
    return np.minimum(np.sqrt(squared_length(colours)) / DARK_TRUNCATION, 1)


def render(layers: list[Layer], lab: Floats) -> Floats:
    """(h, w, 3) Lab: the frame as the moved layers foresee it; ``lab``, the frame itself, where none of them knows."""
    weights = np.stack([layer.seen * layer.known for layer in layers])
    weights[0] = np.maximum(weights[0], 0.2 * layers[0].known)
    best = weights.argmax(axis=0)
    picture = lab.copy()
    for index, layer in enumerate(layers):
        mine = (best == index) & (weights[index] > 0.05)
        picture[mine] = layer.colour[mine]
    return picture


def _match(colour: Floats, weight: Floats, lab: Floats, motion: Matrix) -> Matrix | None:
    """The translation under which the visible colours reappear in the new frame; not farther than 0.2 of its sides."""
    small = [cv2.resize(plane, None, fx=MATCH_SCALE, fy=MATCH_SCALE, interpolation=cv2.INTER_AREA)
             for plane in (colour, weight, lab)]  # fmt: skip
    template, mask, frame = small
    rows, columns = np.nonzero(mask > 0.3)
    if len(rows) < 12:
        return None
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    reach = round(0.2 * max(frame.shape[:2]))
    padded = cv2.copyMakeBorder(frame, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=(-100.0, 0.0, 0.0))
    area = padded[top : bottom + 2 * reach, left : right + 2 * reach]
    patch = np.ascontiguousarray(template[top:bottom, left:right])
    cover = np.repeat(np.where(mask > 0.3, mask, 0)[top:bottom, left:right, None], 3, axis=2).astype(np.float32)
    error = cv2.matchTemplate(np.ascontiguousarray(area), patch, cv2.TM_SQDIFF, mask=cover)
    per_pixel = error / max(float(np.square(cover[..., 0]).sum()), 1e-3)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    far = np.square(dy + motion[1, 2] * MATCH_SCALE) + np.square(dx + motion[0, 2] * MATCH_SCALE)
    best = int(np.argmin(per_pixel + 0.3 * far / MATCH_SCALE))
    row, column = divmod(best, per_pixel.shape[1])
    found = np.eye(2, 3)
    found[:, 2] = (-(column - reach) / MATCH_SCALE, -(row - reach) / MATCH_SCALE)
    return found
