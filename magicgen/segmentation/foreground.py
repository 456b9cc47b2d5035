"""What moves in a video, learnt from the whole clip: motion says where, a small network what it looks like.

Motion marks an object only roughly and only where it shows. So a network is trained, from nothing, on frames spread
over the clip to tell the looks of what moves from the rest; motion and looks together, smoothed along the flow, start a
GrabCut in every frame (the idea of Papazoglou and Ferrari 2013, with a network instead of colour mixtures).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.segmentation.appearance import features
from magicgen.segmentation.colours import guided
from magicgen.segmentation.flow import FrameSequence, warp
from magicgen.segmentation.network import Network
from magicgen.segmentation.saliency import Saliency

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

LEAST_LEVEL = 0.12  # of motion that is taken for an object's
LOST = 0.4  # share of a probable part of which GrabCut must leave something
HALVES = (256, 384)  # examples of what moves and of the rest in a batch


@dataclass(frozen=True)
class ForegroundSettings:
    """``step``: working pixels a cell of the network; ``frames`` that it is trained on; steps of the ``rounds`` of
    training: after the first the labels are those that motion and network give together."""

    step: int = 3
    frames: int = 9
    rounds: tuple[int, ...] = (250, 120)
    hidden: int = 32
    rate: float = 3e-3


def find_foreground(
    sequence: FrameSequence, saliency: Saliency, settings: ForegroundSettings | None = None
) -> Floats | None:
    """(T, h, w) float32 probabilities of what moves, or None where nothing does."""
    settings = settings or ForegroundSettings()
    frames = len(saliency.moving)
    places = [_place(moving, evident) for moving, evident in zip(saliency.moving, saliency.evident, strict=True)]
    looks = _Looks(settings)
    chosen = np.unique(np.linspace(0, frames - 1, min(frames, settings.frames)).round().astype(int))
    if not looks.train([features(sequence.lab(t), settings.step) for t in chosen], [places[t] for t in chosen],
                       [saliency.evident[t] for t in chosen]):  # fmt: skip
        return None
    votes = [_upright(looks.judge(features(sequence.lab(t), settings.step), places[t]), sequence.size)
             for t in range(frames)]  # fmt: skip
    return np.stack([_sharpened(_steadied(votes, t, sequence), sequence.grey(t)) for t in range(frames)])


def _place(moving: Floats, evident: Floats) -> Floats:
    """(h, w) log odds that a pixel belongs to a moving object, by its motion alone."""
    level = _level(moving)
    odds = np.clip((moving - level) / (0.25 * level), -3.5, 3.5)
    return np.where(odds > 0, odds * evident, odds).astype(np.float32)


def _level(moving: Floats) -> float:
    scaled = np.clip(moving * 85, 0, 255).astype(np.uint8)
    level, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return max(level / 85, LEAST_LEVEL)


class _Looks:
    """The network: cells of frames -> log odds that they show what moves."""

    def __init__(self, settings: ForegroundSettings) -> None:
        self.settings = settings
        self._rng = np.random.default_rng(0)
        self._mean = self._spread = np.zeros(1, np.float32)
        self._network: Network | None = None

    def train(self, cells: Sequence[Floats], places: Sequence[Floats], evident: Sequence[Floats]) -> bool:
        """Returns whether anything moves."""
        size = cells[0].shape[1::-1]
        flat = np.concatenate([one.reshape(-1, one.shape[-1]) for one in cells])
        self._mean, self._spread = flat.mean(axis=0), flat.std(axis=0) + 0.01
        flat = (flat - self._mean) / self._spread
        odds, sure = (
            np.concatenate([cv2.resize(one, size, interpolation=cv2.INTER_AREA).ravel() for one in planes])
            for planes in (places, evident)
        )
        votes = odds
        for steps in self.settings.rounds:
            inside = 1 / (1 + np.exp(-votes)) - 0.5
            weight = np.where(np.abs(inside) > 0.15, np.abs(inside), 0)
            weight = np.where(inside > 0, weight * (0.02 + 0.98 * sure), weight)
            if (weight[inside > 0] > 0).sum() < 50 or not (weight[inside <= 0] > 0).any():
                return self._network is not None
            self._fit(flat, inside > 0, weight, steps)
            votes = odds + self._odds(flat)
        return True

    def judge(self, cells: Floats, place: Floats) -> Floats:
        """(rows, columns) float32 log odds by looks and place."""
        flat = (cells.reshape(-1, cells.shape[-1]) - self._mean) / self._spread
        return self._odds(flat).reshape(cells.shape[:2]) + cv2.resize(
            place, cells.shape[1::-1], interpolation=cv2.INTER_AREA
        )

    def _odds(self, flat: Floats) -> Floats:
        assert self._network is not None
        share = np.clip(self._network.shares(flat)[:, 1], 0.01, 0.99)
        return np.log(share / (1 - share))

    def _fit(self, flat: Floats, inside: Bools, weight: Floats, steps: int) -> None:
        if self._network is None:
            hidden = self.settings.hidden
            self._network = Network.random((flat.shape[1], hidden, hidden, 2), self._rng)
        pools = [np.flatnonzero((inside == kind) & (weight > 0)) for kind in (True, False)]
        sums = [np.cumsum(weight[pool]) for pool in pools]
        numbers = np.repeat([1, 0], HALVES)
        share = np.repeat([0.5 / count for count in HALVES], HALVES).astype(np.float32)
        for _ in range(steps):
            picked = [
                pool[np.minimum(np.searchsorted(total, self._rng.random(count) * total[-1]), len(pool) - 1)]
                for pool, total, count in zip(pools, sums, HALVES, strict=True)
            ]
            self._network.step(flat[np.concatenate(picked)], numbers, share, self.settings.rate)


def _upright(odds: Floats, size: tuple[int, int]) -> npt.NDArray[np.float16]:
    return cv2.resize(odds, (size[1], size[0]), interpolation=cv2.INTER_LINEAR).astype(np.float16)


def _steadied(votes: Sequence[npt.NDArray[np.float16]], frame: int, sequence: FrameSequence) -> Floats:
    """Log odds of a frame, with those of its neighbours carried along the flow."""
    own = votes[frame].astype(np.float32)
    total, weight = own.copy(), 1.0
    for other in (frame - 1, frame + 1):
        if 0 <= other < len(votes):
            total += 0.5 * warp(votes[other].astype(np.float32), sequence.backward(other, frame))
            weight += 0.5
    return total / weight


def _sharpened(odds: Floats, grey: Floats) -> Floats:
    return np.clip(guided(grey, (1 / (1 + np.exp(-odds))).astype(np.float32), 4, 1e-3), 0, 1).astype(np.float32)


def cut_out(picture: UInt8, chance: Floats, shrink: float = 0.5, iterations: int = 1) -> Bools:
    """Sharp outlines of what probably moves: GrabCut between what is sure and what is out of the question.

    Args:
        picture: (h, w, 3) uint8 RGB. chance: (h, w) float32 in [0, 1].
        shrink: size at which GrabCut works, as a share of the picture's. iterations: of GrabCut.
    """
    height, width = chance.shape
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small, rough = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (picture, chance))
    labels = np.where(rough > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    near = cv2.dilate((rough > 0.3).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    labels[~near] = cv2.GC_BGD
    labels[cv2.erode((rough > 0.9).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0] = cv2.GC_FGD
    window = _around(near, 15)
    cells = np.ascontiguousarray(labels[window])
    found = np.isin(cells, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if found.sum() < 20 or (~found).sum() < 20:
        return chance > 0.5
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(np.ascontiguousarray(small[window]), cells, None, np.zeros((1, 65)), np.zeros((1, 65)),
                    iterations, cv2.GC_INIT_WITH_MASK)  # fmt: skip
    except cv2.error:  # colour models without pixels
        return chance > 0.5
    whole = np.zeros(rough.shape, np.float32)
    whole[window] = np.isin(cells, (cv2.GC_FGD, cv2.GC_PR_FGD))
    large = cv2.resize(whole, (width, height), interpolation=cv2.INTER_LINEAR)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    return _with_lost_parts(guided(grey, large, 3, 1e-3) > 0.5, chance > 0.5)


def _with_lost_parts(found: Bools, probable: Bools) -> Bools:
    """GrabCut's answer, with the probable parts that it gave away nearly whole."""
    count, labels, facts, _ = cv2.connectedComponentsWithStats(probable.astype(np.uint8))
    left = np.bincount(labels[found], minlength=count)
    lost = left < LOST * facts[:, cv2.CC_STAT_AREA]
    lost[0] = False
    return np.asarray(found | lost[labels])


def _around(mask: Bools, pad: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, 1), slice(0, 1)
    top, left = max(0, rows[0] - pad), max(0, columns[0] - pad)
    return slice(top, rows[-1] + pad + 1), slice(left, columns[-1] + pad + 1)
