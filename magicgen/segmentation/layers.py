"""What the tracker remembers of every object and of the background, and how it moves to the next frame."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.segmentation.colours import histogram
from magicgen.segmentation.flow import Floats, FrameFlow, Matrix, apply, pixel_grid, rigid_motion

MATCH_SCALE = 0.5  # size of the pictures in which a lost motion is searched for
MATCH_REACH = 0.2  # how far it is searched for, as a share of the longer side
WRONG = 30.0  # Lab distance from which a colour is simply wrong
GOOD_FIT = 0.25  # cost below which a motion explains the layer
SAMPLES = 500
Window = tuple[slice, slice]


@dataclass
class Layer:
    """One object, or the background, as the tracker knows it on the current frame.

    Attributes:
        seen: (h, w) float32 in [0, 1], probability that the pixel shows the layer.
        shape: (h, w) float32 in [0, 1], where the layer lies, hidden parts included.
        known: (h, w) float32 in [0, 1], where its colours have been seen.
        colour: (h, w, 3) float32 Lab, its colours; anything where not known.
        motion: 2x3 map from the current frame to the last.
        histogram: its colours altogether, see :mod:`magicgen.segmentation.colours`.
        window: the part of the frame that can show it; everything else is zero.
    """

    seen: Floats
    shape: Floats
    known: Floats
    colour: Floats
    motion: Matrix
    histogram: Floats
    window: Window

    @classmethod
    def first(cls, lab: Floats, seen: Floats, *, background: bool) -> "Layer":
        """The layer on the frame whose mask is given."""
        shape = np.ones_like(seen) if background else seen.copy()
        known = (seen > 0.6).astype(np.float32)
        everywhere = (slice(0, seen.shape[0]), slice(0, seen.shape[1]))
        return cls(seen, shape, known, lab.copy(), np.eye(2, 3), histogram(lab, seen), everywhere)

    def find_motion(self, flow: FrameFlow, lab: Floats, ground: "Layer") -> None:
        """Choose the motion that explains the new frame best: the last one, the background's, that of the flow, or a
        match of the layer's picture.

        Args:
            flow: motion between the frames. lab: (h, w, 3), the new frame.
            ground: the background, already moved to the new frame.
        """
        hidden = (self.seen > 0.5).sum() <= 12
        visible = self.shape if hidden else self.seen
        rows, columns = np.nonzero(visible * self.known > 0.4)
        if len(rows) < 12:
            return
        pick = np.linspace(0, len(rows) - 1, min(len(rows), SAMPLES)).astype(np.intp)
        points = np.stack([columns[pick], rows[pick]], axis=-1).astype(np.float32)
        colours = self.colour[rows[pick], columns[pick]]
        candidates = [self.motion, ground.motion, rigid_motion(flow, self.seen, self.motion, camera=False)]
        costs = [_misfit(motion, points, colours, lab, ground) for motion in candidates]
        if min(costs) > GOOD_FIT:
            matched = _match(self.colour, visible * self.known, lab, self.motion)
            candidates.append(matched)
            costs.append(_misfit(matched, points, colours, lab, ground))
        if not hidden or min(costs) < GOOD_FIT:  # behind something else it goes on as before
            self.motion = candidates[int(np.argmin(costs))]

    def moved(self, correction: Floats | None, *, background: bool) -> "Layer":
        """The layer on the next frame: by its motion after a (h, w, 2) correction of the pixels, if there is one."""
        size = self.seen.shape
        window = self.window if background else self._next_window()
        points = pixel_grid(size)[window]
        if correction is not None:
            points = points + correction[window]
        source = apply(self.motion, points)
        planes = np.zeros((*size, 6), np.float32)
        if source.size:
            planes[(*window, slice(0, 4))] = _sampled(np.dstack([self.colour, self.known]), source)
            planes[(*window, slice(4, 6))] = _sampled(np.dstack([self.seen, self.shape]), source)
        shape = np.ones_like(self.shape) if background else np.ascontiguousarray(planes[..., 5])
        colour, known = np.ascontiguousarray(planes[..., :3]), np.ascontiguousarray(planes[..., 3])
        seen = np.ascontiguousarray(planes[..., 4])
        return Layer(seen, shape, known, colour, self.motion, self.histogram, window)

    def _next_window(self) -> Window:
        """Where the shape can be on the next frame, with room for growth; empty where the layer has gone."""
        rows, columns = np.nonzero(np.maximum(self.shape, self.seen) > 0.05)
        if not len(rows):
            return slice(0, 0), slice(0, 0)
        x = np.array([columns.min(), columns.max()], np.float32)
        y = np.array([rows.min(), rows.max()], np.float32)
        corners = np.array([(x[i], y[j]) for i in (0, 1) for j in (0, 1)], np.float32)
        corners = apply(cv2.invertAffineTransform(self.motion), corners)
        room = 12 + 0.15 * float(np.ptp(corners, axis=0).max())
        low, high = np.floor(corners.min(axis=0) - room), np.ceil(corners.max(axis=0) + room)
        top, bottom = np.clip((low[1], high[1]), 0, self.seen.shape[0]).astype(int)
        left, right = np.clip((low[0], high[0]), 0, self.seen.shape[1]).astype(int)
        return slice(top, bottom), slice(left, right)

    def learn(self, lab: Floats, ground_seen: Floats, rate: float, *, background: bool) -> None:
        """Take over the colours and the shape that the labelled frame shows."""
        window = self.window
        visible = self.seen[window] > 0.7  # unsure pixels would teach their mistakes
        weight = np.where(visible, np.where(self.known[window] > 0.5, rate, 1.0), 0.0).astype(np.float32)
        self.colour[window] += weight[..., None] * (lab[window] - self.colour[window])
        self.known[window] = np.maximum(self.known[window], visible)
        if not background:
            self.shape[window] = np.maximum(self.shape[window] * (1 - ground_seen[window]), self.seen[window])
            if not visible.any():
                self.shape *= 0.97  # what nobody sees any more is forgotten in the end
        if (self.seen[window] > 0.7).sum() > 30:
            self.histogram = 0.95 * self.histogram + 0.05 * histogram(lab[window], self.seen[window])


def render(layers: list[Layer], lab: Floats) -> Floats:
    """(h, w, 3) Lab: the frame as the moved layers foresee it; ``lab``, the frame itself, where none of them knows."""
    picture, best = lab.copy(), np.full(lab.shape[:2], 0.05, np.float32)
    for layer in layers:
        window = layer.window
        weight = layer.seen[window] * layer.known[window]
        if layer is layers[0]:
            weight = np.maximum(weight, 0.2 * layer.known)
        wins = weight > best[window]
        best[window][wins] = weight[wins]
        picture[window][wins] = layer.colour[window][wins]
    return picture


def _sampled(planes: Floats, source: Floats) -> Floats:
    return cv2.remap(planes, source, None, cv2.INTER_LINEAR)


def _misfit(motion: Matrix, points: Floats, colours: Floats, lab: Floats, ground: Layer) -> float:
    """How badly a moved layer explains the new frame, in [0, 1], less part of what the background fails to explain.

    ``points`` (n, 2) and their ``colours`` (n, 3) are of the layer on the last frame.
    """
    now = np.rint(apply(cv2.invertAffineTransform(motion), points)).astype(np.intp)
    height, width = lab.shape[:2]
    inside = (now[:, 0] >= 0) & (now[:, 0] < width) & (now[:, 1] >= 0) & (now[:, 1] < height)
    cost = np.full(len(points), 0.6, np.float32)
    place = (now[inside, 1], now[inside, 0])
    own = np.minimum(np.linalg.norm(lab[place] - colours[inside], axis=-1) / WRONG, 1)
    other = np.minimum(np.linalg.norm(lab[place] - ground.colour[place], axis=-1) / WRONG, 1)
    cost[inside] = own - 0.3 * other * ground.known[place] + 0.3
    return float(cost.mean()) / 1.3


def _match(colour: Floats, weight: Floats, lab: Floats, motion: Matrix) -> Matrix:
    """The translation under which the visible colours reappear in the new frame best."""
    sized: list[npt.NDArray] = [
        cv2.resize(plane, None, fx=MATCH_SCALE, fy=MATCH_SCALE, interpolation=cv2.INTER_AREA)
        for plane in (colour, weight, lab)
    ]
    template, mask, frame = sized
    rows, columns = np.nonzero(mask > 0.3)
    if len(rows) < 4:
        return motion
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    reach = round(MATCH_REACH * max(frame.shape[:2]))
    nowhere = (-100.0, 0.0, 0.0)
    padded = cv2.copyMakeBorder(frame, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=nowhere)
    area = np.ascontiguousarray(padded[top : bottom + 2 * reach, left : right + 2 * reach])
    patch = np.ascontiguousarray(template[top:bottom, left:right])
    cover = (mask[top:bottom, left:right] > 0.3).astype(np.float32)
    error = cv2.matchTemplate(area, patch, cv2.TM_SQDIFF, mask=np.repeat(cover[..., None], 3, axis=2))
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    far = np.square(down + motion[1, 2] * MATCH_SCALE) + np.square(across + motion[0, 2] * MATCH_SCALE)
    row, column = divmod(int(np.argmin(error / cover.sum() + 0.3 * far)), error.shape[1])
    found = np.eye(2, 3)
    found[:, 2] = ((reach - column) / MATCH_SCALE, (reach - row) / MATCH_SCALE)
    return found
