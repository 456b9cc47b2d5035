"""Solves for the weights of the veil estimator: a ridge regression on pairs, on pairs varied, and on clean scenes.

The squared error of each picture counts in shares of what it was before. Its logarithm, the decibels that results are
judged by, would reward a bold guess that is right for one scene; this rewards what helps most scenes.
"""

from collections.abc import Iterator

import numpy as np
import torch

from magicgen.models.veil import VeilEstimator, local_statistics, read
from magicgen.training.reflection_data import ReflectionExamples
from magicgen.training.reflection_options import ReflectionData, VeilOptions

SHORT, LONG = 96, 128


class _Sums:
    """Weighted normal equations of a least squares problem: means over pictures."""

    def __init__(self, veil: VeilEstimator) -> None:
        size = len(veil.weight)
        self.veil, self.count, self.importance = veil, 0, 0.0
        self._gram = torch.zeros(size, size, dtype=torch.float64)
        self._right = torch.zeros(size, 3, dtype=torch.float64)

    def add(self, mixture: torch.Tensor, truth: torch.Tensor, floor: float) -> None:
        """A picture, (1, 3, H, W) each."""
        terms = self.veil.terms(mixture).flatten(0, 2)
        change = (read(truth) - read(mixture)).movedim(1, 3).flatten(0, 2)
        importance = 1 / (float(change.square().mean()) + floor)
        self._gram += (terms.T @ terms).double() * (importance / len(terms))
        self._right += (terms.T @ change).double() * (importance / len(terms))
        self.importance += importance
        self.count += 1

    def mean(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Both sides of the equations."""
        return self._gram / self.count, self._right / self.count


@torch.no_grad()
def fit_veil(veil: VeilEstimator, options: VeilOptions, data: ReflectionData, seed: int) -> None:
    """Set the estimator's buffers from the pairs that a run may train on.

    Args:
        veil: the estimator, on the CPU; changed in place.
        options: weights of the parts.
        data: folder of pairs, and the folds that are held out.
        seed: of the varied examples.
    """
    examples = ReflectionExamples(_varied(options, data), seed)
    pairs = [(_tensor(pair.mixture), _tensor(pair.transmission)) for pair in examples.pairs]
    statistics = torch.cat([local_statistics(mixture).flatten(2)[0] for mixture, _ in pairs], dim=1)
    veil.centre.copy_(statistics.mean(dim=1))
    veil.spread.copy_(statistics.std(dim=1) + 1e-3)
    own, clean, varied = (_Sums(veil) for _ in range(3))
    for mixture, truth in pairs:
        own.add(mixture, truth, options.floor)
        clean.add(truth, truth, options.floor)
    for mixture, truth in _drawn(examples, options.examples):
        varied.add(mixture, truth, options.floor)
    (gram, right), (more, more_right), (still, _) = own.mean(), varied.mean(), clean.mean()
    gram, right = gram + options.varied * more + options.clean * still, right + options.varied * more_right
    penalty = torch.full((len(veil.weight),), options.ridge * own.importance / own.count, dtype=torch.float64)
    penalty[0] = 0
    veil.weight.copy_(torch.linalg.solve(gram + penalty.diag(), right))


def _varied(options: VeilOptions, data: ReflectionData) -> ReflectionData:
    changes = {
        "short_side": SHORT,
        "long_side": LONG,
        "fine_share": 0.0,
        "clean": 0.0,
        "guides": 0.0,
        "tones": options.tones,
        "smallest": options.smallest,
        "shares": options.shares,
    }
    return data.model_copy(update=changes)


def _drawn(examples: ReflectionExamples, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for index in range(count):
        rng = np.random.default_rng([examples.seed, index])
        made = examples.mixture(rng, *examples.size(index))
        yield _tensor(made.mixture), _tensor(made.transmission)


def _tensor(picture: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8, or float32 in [0, 1] -> (1, 3, H, W) float32."""
    values = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
    return values.float() / 255 if picture.dtype == np.uint8 else values.float()
