"""What every object of a video looks like: a small network, trained on the first frame while the video is followed.

Dense flow forgets: every step loses a little of an object's rim, and what is lost never comes back. So the tracker
also asks, for every pixel, which object its neighbourhood resembles. The answer comes from a network of two hidden
layers on hand-made features, trained from nothing on the frame whose masks are given and adapted on pixels of later
frames that are beyond doubt (the idea of online adaptation: Voigtlaender and Leibe 2017). The first frame stays in
every batch, so that mistakes do not teach themselves.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.segmentation.network import Network

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

LAB_SCALE = np.array([30, 15, 15], np.float32)
COLOUR_BLURS = (1.5, 4.0, 9.0)
EDGE_BLURS = (1.5, 4.0)


@dataclass(frozen=True)
class AppearanceSettings:
    """How the network is made and trained.

    Attributes:
        step: working pixels per cell of the features.
        hidden: units of each of the two hidden layers.
        first_steps, first_rate: training on the first frame.
        steps, rate: training after every later frame.
        batch: examples of an object; the background has twice as many.
        fresh: examples from later frames, as a share of those from the first.
        memory: later frames that are remembered.
        margin: cells around the objects in which nothing is taken for background beyond doubt.
    """

    step: int = 2
    hidden: int = 32
    first_steps: int = 150
    first_rate: float = 3e-3
    steps: int = 6
    rate: float = 1e-3
    batch: int = 256
    fresh: float = 0.5
    memory: int = 10
    margin: int = 9


def features(lab: Floats, step: int) -> Floats:
    """(h / step, w / step, 21) float32: colour, its means and spread around, strength and direction of edges around.

    Args:
        lab: (h, w, 3) float32 CIE Lab.
    """
    lab = lab / LAB_SCALE
    size = (max(1, round(lab.shape[1] / step)), max(1, round(lab.shape[0] / step)))
    colour = cv2.resize(lab, size, interpolation=cv2.INTER_AREA)
    planes = [colour, *(cv2.GaussianBlur(colour, (0, 0), sigma) for sigma in COLOUR_BLURS)]
    light = np.ascontiguousarray(lab[..., 0])
    across, down = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    strength = np.sqrt(across * across + down * down) + 1e-6
    # Twice the edge's angle: both sides of an edge say the same.
    edges = np.dstack([strength, (across * across - down * down) / strength, 2 * across * down / strength])
    edges = cv2.resize(edges, size, interpolation=cv2.INTER_AREA)
    planes += [2 * cv2.GaussianBlur(edges, (0, 0), sigma) for sigma in EDGE_BLURS]
    spread = cv2.GaussianBlur(colour * colour, (0, 0), 3) - cv2.GaussianBlur(colour, (0, 0), 3) ** 2
    planes.append(2 * np.sqrt(np.maximum(spread, 0)))
    return np.dstack(planes).astype(np.float32)


class Appearance:
    """Tells background and objects apart by their looks; the same pictures and masks give the same answers."""

    def __init__(self, lab: Floats, labels: Floats, settings: AppearanceSettings | None = None) -> None:
        """Train on the first frame.

        Args:
            lab: (h, w, 3) float32 Lab.
            labels: (1 + N, h, w) float32 coverage by the background and the objects, none of them empty.
        """
        self.settings = settings or AppearanceSettings()
        self._rng = np.random.default_rng(0)
        cells = features(lab, self.settings.step)
        self._size = cells.shape[:2]
        flat = cells.reshape(-1, cells.shape[-1])
        self._mean, self._spread = flat.mean(axis=0), flat.std(axis=0) + 0.01
        self._cells = (flat - self._mean) / self._spread
        self._first = [self._cells[_surest(plane)] for plane in self._shrunk(labels)]
        self._recent: list[list[Floats]] = [[] for _ in labels]
        hidden = self.settings.hidden
        self._network = Network.random((flat.shape[1], hidden, hidden, len(labels)), self._rng)
        for _ in range(self.settings.first_steps):
            self._train(self.settings.first_rate, fresh=False)

    def judge(self, lab: Floats) -> Floats:
        """(1 + N, h, w) float32: how much the surroundings of every pixel look like each label; sums to 1."""
        cells = features(lab, self.settings.step)
        self._cells = (cells.reshape(-1, cells.shape[-1]) - self._mean) / self._spread
        shares = self._network.shares(self._cells).T.reshape(-1, *self._size)
        size = (lab.shape[1], lab.shape[0])
        return np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in shares])

    def learn(self, labels: Floats) -> None:
        """Take up what the frame judged last shows beyond doubt; ``labels`` (1 + N, h, w) probabilities."""
        settings = self.settings
        shrunk = self._shrunk(labels)
        reach = np.ones((2 * settings.margin + 1,) * 2, np.uint8)
        sure = [cv2.dilate(1 - shrunk[0], reach) < 0.1]
        sure += [cv2.erode(plane, np.ones((5, 5), np.uint8)) > 0.85 for plane in shrunk[1:]]
        for cells, memory in zip(sure, self._recent, strict=True):
            found = np.flatnonzero(cells.ravel())
            if len(found) > 20:
                memory.append(self._cells[self._rng.choice(found, min(len(found), 600), replace=False)])
                del memory[: -settings.memory]
        for _ in range(settings.steps):
            self._train(settings.rate, fresh=True)

    def _shrunk(self, labels: Floats) -> list[Floats]:
        size = (self._size[1], self._size[0])
        return [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in labels]

    def _train(self, rate: float, *, fresh: bool) -> None:
        examples, numbers = [], []
        for number, (first, recent) in enumerate(zip(self._first, self._recent, strict=True)):
            if not len(first):
                continue
            pools = [(first, self.settings.batch if number else 2 * self.settings.batch)]
            if fresh and recent:
                pools.append((recent[self._rng.integers(len(recent))], int(pools[0][1] * self.settings.fresh)))
            for pool, count in pools:
                examples.append(pool[self._rng.integers(0, len(pool), count)])
                numbers.append(np.full(count, number))
        chosen = np.concatenate(numbers)
        weights = 1 / np.bincount(chosen, minlength=len(self._first))[chosen].astype(np.float32)
        self._network.step(np.concatenate(examples), chosen, weights / weights.sum(), rate)


def _surest(plane: Floats) -> Indices:
    """Cells that a label covers, at least partly where it covers none whole."""
    return np.flatnonzero(plane.ravel() > min(0.9, 0.6 * float(plane.max())))
