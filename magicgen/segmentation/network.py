"""A small fully connected network on numpy: what an online tracker can train within a frame's time."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]


@dataclass
class Network:
    """Fully connected layers with leaky rectifiers, trained with Adam (Kingma and Ba 2015) on cross entropy."""

    weights: list[Floats]
    offsets: list[Floats]
    mean: list[Floats] = field(default_factory=list)
    square: list[Floats] = field(default_factory=list)
    steps: int = 0

    @classmethod
    def random(cls, sizes: tuple[int, ...], rng: np.random.Generator) -> "Network":
        """Untrained layers of these sizes, inputs first, labels last: He's scale (arXiv 1502.01852), offsets zero."""
        pairs = list(pairwise(sizes))
        weights = [(rng.standard_normal(pair) * np.sqrt(2 / pair[0])).astype(np.float32) for pair in pairs]
        offsets = [np.zeros(size, np.float32) for size in sizes[1:]]
        zeros = [np.zeros_like(values) for values in weights + offsets]
        return cls(weights, offsets, zeros, [values.copy() for values in zeros])

    def shares(self, cells: Floats) -> Floats:
        """(n, features) -> (n, labels) probabilities."""
        return _softmax(self._forward(cells)[-1])

    def step(self, cells: Floats, numbers: Indices, weights: Floats, rate: float, decay: float = 1e-3) -> None:
        """One step on (n, features) examples with their label numbers and (n,) weights."""
        values = self._forward(cells)
        slope = _softmax(values[-1])
        slope[np.arange(len(numbers)), numbers] -= 1
        slope *= weights[:, None]
        of_weights: list[Floats] = []
        of_offsets: list[Floats] = []
        for layer in reversed(range(len(self.weights))):
            of_weights.insert(0, values[layer].T @ slope + decay * self.weights[layer])
            of_offsets.insert(0, slope.sum(axis=0))
            if layer:
                slope = (slope @ self.weights[layer].T) * np.where(values[layer] > 0, 1, 0.05).astype(np.float32)
        self.steps += 1
        for index, (own, gradient) in enumerate(zip(self.weights + self.offsets, of_weights + of_offsets, strict=True)):
            self.mean[index] += 0.1 * (gradient - self.mean[index])
            self.square[index] += 0.01 * (gradient * gradient - self.square[index])
            mean = self.mean[index] / (1 - 0.9**self.steps)
            own -= rate * mean / (np.sqrt(self.square[index] / (1 - 0.99**self.steps)) + 1e-8)

    def _forward(self, cells: Floats) -> list[Floats]:
        values = [cells]
        for layer, (weights, offsets) in enumerate(zip(self.weights, self.offsets, strict=True)):
            cells = cells @ weights + offsets
            if layer < len(self.weights) - 1:
                cells = np.maximum(cells, 0.05 * cells)
            values.append(cells)
        return values


def _softmax(values: Floats) -> Floats:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
