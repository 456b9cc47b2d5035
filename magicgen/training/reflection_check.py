"""How well a reflection adapter answers pairs while it learns: those that were held out, and as many of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from magicgen.training.reflection_data import RealPair, held_out_names, load_pairs, pair_names, read_pair, resized
from magicgen.training.reflection_options import ReflectionData


@dataclass(frozen=True)
class CheckResult:
    """Mean PSNR over the photo's in dB, and the share of pictures that became better; PSNR of clean scenes to
    themselves."""

    gain: float
    better: float
    clean: float


@dataclass(frozen=True, eq=False)
class PairCheck:
    """Whole pairs at the working size: (1, 3, h, w) mixtures and scenes."""

    pairs: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @classmethod
    def of(cls, pairs: Sequence[RealPair], side: int, step: int) -> "PairCheck":
        """At the shorter side ``side``, with sides that are multiples of ``step``."""
        return cls(tuple(_tensors(pair, side, step) for pair in pairs))

    @torch.no_grad()
    def __call__(self, answer: Callable[[torch.Tensor], torch.Tensor]) -> CheckResult:
        """Ask for results without a guide: ``answer`` takes a picture (1, 3, h, w) and gives its transmission."""
        gains, clean = [], []
        for mixture, scene in self.pairs:
            clear, untouched = answer(mixture), answer(scene)
            gains.append(_decibels(clear, scene) - _decibels(mixture, scene))
            clean.append(_decibels(untouched, scene))
        return CheckResult(float(np.mean(gains)), float(np.mean(np.array(gains) > 0)), float(np.mean(clean)))


def fold_checks(data: ReflectionData, side: int, step: int) -> tuple[PairCheck, PairCheck] | None:
    """Held-out pairs and as many of those that are trained on; None where nothing is held out."""
    if data.pairs is None or not data.held_out:
        return None
    held = held_out_names(data, pair_names(data.pairs))
    own = load_pairs(data)
    own = own[:: max(1, len(own) // len(held))]
    return (
        PairCheck.of([read_pair(data.pairs, name, 2 * side) for name in held], side, step),
        PairCheck.of(own, side, step),
    )


def _decibels(answer: torch.Tensor, scene: torch.Tensor) -> float:
    return float(-10 * (answer.clamp(0, 1) - scene).square().mean().clamp_min(1e-6).log10())


def _tensors(pair: RealPair, side: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = pair.mixture.shape[:2]
    scale = side / min(rows, columns)
    height, width = (step * max(1, round(length * scale / step)) for length in (rows, columns))
    both = (resized(picture, height, width) for picture in (pair.mixture, pair.transmission))
    first, second = (torch.from_numpy(each.transpose(2, 0, 1).copy())[None].float() / 255 for each in both)
    return first, second
