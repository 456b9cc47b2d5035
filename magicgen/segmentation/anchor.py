"""The first frame's picture of an object, laid onto later frames: the masks of rigid things do not drift.

Every step of dense flow loses a little of an object's rim. Where one affine map of the first frame's picture explains
the object as it is now, the given mask is carried by that map instead. The map is followed by Gauss-Newton steps on all
Lab channels with weights that forgive what is covered (Lucas and Kanade 1981; Baker and Matthews 2004: the gradients
are those of the first frame and computed once).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from magicgen.segmentation.flow import Floats, Matrix, squared_length

POINTS = 1000  # of the object that are compared
BLURS = (3.0, 1.0)  # standard deviations in working pixels, one after the other
ROUNDS = 5
STILL = 0.03  # working pixels; a smaller step ends the rounds
TOLERANCE = 10.0  # Lab distance
LEAST_POINTS = 30
RIGID_FROM, RIGID_TO = 0.8, 0.92  # share of the object that its first picture explains


@dataclass(frozen=True)
class AnchorView:
    """The first frame's object on another frame.

    Attributes:
        mask: (h, w) float32, its given mask.
        told: (h, w) float32, where the first frame shows whether the object is there (not behind others, not outside).
        colour: (h, w, 3) float32 Lab.
        rigid: in (0, 1], how well all this explains the frame.
    """

    mask: Floats
    told: Floats
    colour: Floats
    rigid: float


class Anchor:
    """One object of the first frame and the affine map that takes it to the current one."""

    def __init__(self, lab: Floats, mask: Floats, background: Floats) -> None:
        """Args: (h, w, 3) Lab of the first frame; (h, w) float32 coverage by the object and by the background."""
        self._lab, self._mask = lab, mask
        self._told = ((mask + background) > 0.9).astype(np.float32)
        self._pose = np.eye(3)
        rows, columns = np.nonzero(cv2.erode((mask > 0.6).astype(np.uint8), np.ones((3, 3), np.uint8)))
        pick = np.linspace(0, len(rows) - 1, min(len(rows), POINTS)).astype(np.intp)
        self._points = np.stack([columns[pick], rows[pick]], axis=-1).astype(np.float32)
        self._levels: list[tuple[Floats, Floats]] = []
        if len(self._points) >= LEAST_POINTS:
            self._prepare()

    def carry(self, motion: Matrix) -> None:
        """Follow a 2x3 map from this frame to the last, as a first guess."""
        self._pose = np.linalg.inv(np.vstack([motion, [0, 0, 1]])) @ self._pose

    def fit(self, smooth: tuple[Floats, ...], others: Floats) -> AnchorView | None:
        """Lay the object onto a frame.

        Args:
            smooth: the frame's Lab, blurred by each of ``BLURS``.
            others: (h, w) float32, probability that another object is seen.

        Returns:
            None where the first picture does not explain the object (any more).
        """
        if not self._levels:
            return None
        before = self._explained(self._pose, smooth[-1], others)
        pose = self._fitted(smooth, others)
        share = self._explained(pose, smooth[-1], others)
        if share >= before - 0.01 and _sane(pose, self._pose):
            self._pose = pose
        else:
            share = before
        rigid = float(np.clip((share - RIGID_FROM) / (RIGID_TO - RIGID_FROM), 0, 1))
        if rigid == 0:
            return None
        size, place = (self._mask.shape[1], self._mask.shape[0]), self._pose[:2]
        mask, told, colour = (cv2.warpAffine(plane, place, size) for plane in (self._mask, self._told, self._lab))
        return AnchorView(mask, told, colour, rigid)

    def _prepare(self) -> None:
        centre = self._points.mean(axis=0)
        scale = max(float(self._points.std()), 1.0)
        self._centre = centre
        self._normal = np.array([[1 / scale, 0, -centre[0] / scale], [0, 1 / scale, -centre[1] / scale], [0, 0, 1]])
        self._back = np.linalg.inv(self._normal)
        near = (self._points - centre) / scale
        basis = np.column_stack([near, np.ones(len(near))]).astype(np.float32)[:, None]
        for blur in BLURS:
            smooth = cv2.GaussianBlur(self._lab, (0, 0), blur)
            across = _at(cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), self._points)
            down = _at(cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8), self._points)
            slopes = np.concatenate([across[..., None] * basis, down[..., None] * basis], axis=2)
            self._levels.append((_at(smooth, self._points), slopes.reshape(-1, 6)))

    def _fitted(self, smooth: tuple[Floats, ...], others: Floats) -> Matrix:
        pose = self._pose
        for (colours, slopes), picture in zip(self._levels, smooth, strict=True):
            for _ in range(ROUNDS):
                step = self._step(pose, colours, slopes, picture, others)
                if step is None:
                    break
                pose = pose @ step
                if np.abs(step[:2, 2] + (step[:2, :2] - np.eye(2)) @ self._centre).max() < STILL:
                    break
        return pose

    def _step(self, pose: Matrix, colours: Floats, slopes: Floats, picture: Floats, others: Floats) -> Matrix | None:
        """3x3 map on the first frame's side that improves the pose; None where too little is seen."""
        now = self._now(pose)
        error = _at(picture, now) - colours
        weight = _seen(now, others) / (1 + squared_length(error) / TOLERANCE**2)
        if weight.sum() < LEAST_POINTS / 2:
            return None
        weighted = slopes * np.repeat(weight, 3)[:, None]
        system = weighted.T @ slopes + 1e-3 * weight.sum() * np.diag([1, 1, 0.1] * 2)
        change = np.linalg.solve(system, weighted.T @ error.ravel()).reshape(2, 3)
        # The first picture moved by ``change`` looks as the frame does now, so the pose has to undo it.
        moved = np.eye(3)
        moved[:2] += change * self._normal[0, 0]
        return np.linalg.inv(self._back @ moved @ self._normal)

    def _now(self, pose: Matrix) -> Floats:
        return (self._points @ pose[:2, :2].T + pose[:2, 2]).astype(np.float32)

    def _explained(self, pose: Matrix, picture: Floats, others: Floats) -> float:
        """Share of the object's visible points that look as in the first frame."""
        now = self._now(pose)
        weight = _seen(now, others)
        if weight.sum() < LEAST_POINTS / 2:
            return 0.0
        error = squared_length(_at(picture, now) - self._levels[-1][0])
        return float((weight * np.exp(-error / (2 * TOLERANCE**2))).sum() / weight.sum())


def _sane(pose: Matrix, before: Matrix) -> bool:
    """No object grows by half or shrinks by more than a third within a frame."""
    sizes = np.linalg.svd(pose[:2, :2] @ np.linalg.inv(before[:2, :2]), compute_uv=False)
    return bool(sizes.max() < 1.5 and sizes.min() > 0.6)


def _seen(places: Floats, others: Floats) -> Floats:
    """(n,) weights of points: 0 outside the picture or behind other objects."""
    height, width = others.shape
    inside = (places >= 0).all(axis=1) & (places[:, 0] <= width - 1) & (places[:, 1] <= height - 1)
    return inside * (1 - _at(others, places))


def _at(plane: Floats, places: Floats) -> Floats:
    """Values of (h, w[, c]) at (n, 2) places -> (n[, c])."""
    return cv2.remap(plane, places[:, None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
