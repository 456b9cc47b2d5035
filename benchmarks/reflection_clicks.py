"""Measures what a click means in real photos through glass: how likely a pixel shares the layer of the one clicked.

``python -m benchmarks.reflection_clicks PAIRS``, a folder with ``mixture/NAME`` and ``transmission/NAME``. In every
pair eight clicks fall somewhere in the largest part of each layer. Told is, for both layers, the share of pixels of
that layer by the distance that :func:`magicgen.control.guide.kinship` uses, and how much of the variance it explains,
beside the distance in the picture alone.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.guide import REACH, Layer, kinship
from magicgen.synthetic.reflection_guides import CLEAR, REFLECTED, random_click, regions
from magicgen.training.reflection_data import pair_names, read_pair

Doubles = npt.NDArray[np.float64]
SIDE, STEP, BINS, CLICKS = 128, 0.1, 60, 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for each layer; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for layer, parts in measured(options.pairs, np.random.default_rng(options.seed)).items():
        near, alike, same = (np.concatenate(values) for values in zip(*parts, strict=True))
        print(f"{layer.name.lower()}: {same.mean():.2f} of all pixels")
        alone, together = explained(near, same), explained(alike, same)
        print(f"  of the variance, distance explains {alone:.3f}, with colour {together:.3f}")
        for start in np.arange(0, 1, STEP):
            inside = (alike >= start) & (alike < start + STEP)
            print(f"  d = {start:.1f} to {start + STEP:.1f}: {same[inside].mean():.2f}")
    return 0


def measured(folder: Path, rng: np.random.Generator) -> dict[Layer, list[tuple[Doubles, Doubles, Doubles]]]:
    """The samples of all clicks in all pairs."""
    found: dict[Layer, list[tuple[Doubles, Doubles, Doubles]]] = {layer: [] for layer in Layer}
    for name in pair_names(folder):
        pair = read_pair(folder, name, SIDE)
        photo, scene = (np.asarray(part, np.float32) / np.float32(255) for part in (pair.mixture, pair.transmission))
        residual = np.abs(photo - scene).mean(axis=2)
        for _ in range(CLICKS):
            for layer, sample in samples(rng, photo, residual):
                found[layer].append(sample)
    return found


def samples(
    rng: np.random.Generator, photo: npt.NDArray[np.float32], residual: npt.NDArray[np.float32], count: int = 400
) -> Iterator[tuple[Layer, tuple[Doubles, Doubles, Doubles]]]:
    """For a click in the largest part of each layer: of ``count`` random pixels the distance from it (in shorter
    sides), the distance with colour, and whether they are of its layer."""
    height, width = residual.shape
    for layer in Layer:
        parts = regions(residual, layer).parts
        if not parts:
            continue
        click = random_click(rng, parts[0], layer)
        belongs = residual > REFLECTED if layer is Layer.REFLECTION else residual < CLEAR
        rows, columns = rng.integers(0, height, count), rng.integers(0, width, count)
        across, down = columns + 0.5 - click.x * width, rows + 0.5 - click.y * height
        likely = kinship(photo, click.x, click.y)[rows, columns].astype(np.float64)
        alike = REACH * np.sqrt(-np.log(np.maximum(likely, 1e-30)))
        yield layer, (np.hypot(across, down) / min(height, width), alike, belongs[rows, columns].astype(np.float64))


def explained(value: Doubles, same: Doubles) -> float:
    """Share of the variance of ``same`` that its means in equal groups along ``value`` explain."""
    edges = np.quantile(value, np.linspace(0, 1, BINS + 1)[1:-1])
    group = np.searchsorted(edges, value)
    means = np.array([same[group == index].mean() for index in range(BINS)])
    return float(1 - np.mean((same - means[group]) ** 2) / same.var())


if __name__ == "__main__":
    cv2.setNumThreads(1)
    raise SystemExit(main())
