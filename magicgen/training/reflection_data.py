"""Examples for the reflection adapter: real pairs, their layers laid over each other, and composed mixtures.

Example ``i`` is a pure function of (seed, i). All pictures of a batch have one size; its orientation is drawn for each
batch, and every fourth or so batch is made one octave larger, for the refiner.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from magicgen.errors import DatasetError
from magicgen.media import IMAGE_SUFFIXES, read_image
from magicgen.synthetic.photos import jitter, photo_crop
from magicgen.synthetic.reflection_guides import GuideShares, simulate_guide
from magicgen.synthetic.reflections import (
    Floats,
    Mixture,
    MixtureSettings,
    compose,
    decode,
    drawn_picture,
    encode,
    real_layer,
    residual,
    transplant,
)
from magicgen.training.examples import batches
from magicgen.training.reflection_options import ReflectionData

STORED_SIDES = 4
"""Pairs and photos are kept in memory with this many times the shorter side of the training pictures."""
BANK_SEED = 77_001


@dataclass(frozen=True)
class RealPair:
    """A photo through glass and the same scene without: (H, W, 3) uint8 sRGB each."""

    name: str
    mixture: np.ndarray
    transmission: np.ndarray


@dataclass(frozen=True)
class LayerBatch:
    """Float32 tensors: pictures (B, 3, H, W) sRGB, attenuation (B, 3), guide (B, 2, H, W)."""

    mixture: torch.Tensor
    transmission: torch.Tensor
    reflection: torch.Tensor
    attenuation: torch.Tensor
    guide: torch.Tensor


def pair_names(folder: Path) -> list[str]:
    """File names that are both in ``mixture`` and in ``transmission``, sorted.

    Raises:
        DatasetError: there are none.
    """
    first, second = folder / "mixture", folder / "transmission"
    if not (first.is_dir() and second.is_dir()):
        raise DatasetError(f"{folder} needs the folders 'mixture' and 'transmission' with files of the same names.")
    names = sorted(path.name for path in first.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    both = [name for name in names if (second / name).is_file()]
    if not both:
        raise DatasetError(f"{folder}: no picture is both in 'mixture' and in 'transmission'.")
    return both


def fold_names(names: list[str], folds: int, fold: int) -> list[str]:
    """The names of a fold: runs of neighbours, because pairs with near numbers often show the same scene."""
    bounds = np.linspace(0, len(names), folds + 1).round().astype(int)
    return names[bounds[fold] : bounds[fold + 1]]


def held_out_names(options: ReflectionData, names: list[str]) -> list[str]:
    """The names of all folds that a run must not see."""
    return [name for fold in options.held_out for name in fold_names(names, options.folds, fold)]


def load_pairs(options: ReflectionData) -> list[RealPair]:
    """The pairs that a run may train on."""
    if options.pairs is None:
        return []
    names = pair_names(options.pairs)
    held = held_out_names(options, names)
    side = STORED_SIDES * options.short_side
    return [read_pair(options.pairs, name, side) for name in names if name not in held]


def read_pair(folder: Path, name: str, short_side: int | None) -> RealPair:
    """Read a pair, both at the transmission's size or at the given shorter side."""
    mixture, transmission = read_image(folder / "mixture" / name), read_image(folder / "transmission" / name)
    height, width = transmission.shape[:2]
    if short_side is not None:
        scale = short_side / min(height, width)
        height, width = round(height * scale), round(width * scale)
    return RealPair(name, resized(mixture, height, width), resized(transmission, height, width))


def load_photos(folder: Path, side: int) -> list[np.ndarray]:
    """All pictures of a folder and its subfolders, in the order of their names, with that shorter side.

    Raises:
        DatasetError: there are none.
    """
    names = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not names:
        raise DatasetError(f"{folder} holds no pictures; data.photos is a folder of them, or is left out.")
    pictures = [read_image(path) for path in names]
    scales = [side / min(picture.shape[:2]) for picture in pictures]
    return [
        resized(picture, round(picture.shape[0] * scale), round(picture.shape[1] * scale))
        for picture, scale in zip(pictures, scales, strict=True)
    ]


def resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 or float32 at another size: area mean when shrinking, cubic when enlarging."""
    if picture.shape[:2] == (height, width):
        return picture
    method = cv2.INTER_AREA if height * width < picture.shape[0] * picture.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method))


class ReflectionExamples(Dataset):
    """Endless examples; see the module."""

    def __init__(self, options: ReflectionData, seed: int) -> None:
        self.options, self.seed = options, seed
        self.pairs = load_pairs(options)
        self.settings = MixtureSettings(clean=0)
        self.guides = GuideShares(none=(1 - options.guides) * _guided_share() / max(options.guides, 1e-6))
        self.bank: list[np.ndarray] = []
        self.photos = [] if options.photos is None else load_photos(options.photos, STORED_SIDES * options.short_side)

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of the batch that example ``index`` belongs to, before the octave."""
        step = index // self.options.batch_size
        short, long = self.options.short_side, self.options.long_side
        return (short, long) if np.random.default_rng([self.seed, step, 1]).random() < 0.65 else (long, short)

    def fine(self, index: int) -> bool:
        """Whether that batch is made an octave larger."""
        step = index // self.options.batch_size
        return bool(np.random.default_rng([self.seed, step, 2]).random() < self.options.fine_share)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.seed, index])
        height, width = self.size(index)
        if self.fine(index):
            height, width = 2 * height, 2 * width
        mixture = self.mixture(rng, height, width)
        guide = simulate_guide(rng, mixture.mixture, residual(mixture.mixture, mixture.transmission), self.guides)
        return {
            "mixture": mixture.mixture,
            "transmission": mixture.transmission,
            "reflection": mixture.reflection,
            "attenuation": mixture.attenuation,
            "guide": guide,
        }

    def mixture(self, rng: np.random.Generator, height: int, width: int) -> Mixture:
        """A random example of a random kind."""
        shares = self.options.shares
        kinds: list[tuple[float, Callable[..., Mixture]]] = [(shares.synthetic, self._synthetic)]
        if self.pairs:
            kinds += [
                (shares.real, self._real),
                (shares.transplanted, self._transplanted),
                (shares.composed, self._composed),
            ]
        if rng.random() < self.options.clean:
            return self._clean(rng, height, width)
        weights = np.array([share for share, _ in kinds]) if self.pairs else np.ones(1)
        make = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))][1]
        return make(rng, height, width)

    def _synthetic(self, rng: np.random.Generator, height: int, width: int) -> Mixture:
        scene, other = self._picture(rng, height, width), self._picture(rng, height, width)
        return compose(rng, scene, other, self.settings)

    def _clean(self, rng: np.random.Generator, height: int, width: int) -> Mixture:
        scene = self._scene(rng, height, width)
        return compose(rng, scene, scene, MixtureSettings(clean=1))

    def _composed(self, rng: np.random.Generator, height: int, width: int) -> Mixture:
        scene = self._scene(rng, height, width)
        if rng.random() < 0.2:
            other = self._picture(rng, height, width)
        else:
            both = self._cut(rng, self._pair(rng), height, width, largest=0.9)
            other = self._tone(rng)(both[int(rng.integers(2))])
        return compose(rng, scene, other, self.settings)

    def _transplanted(self, rng: np.random.Generator, height: int, width: int) -> Mixture:
        scene = self._scene(rng, height, width)
        layer = self._layer(rng, height, width)
        if rng.random() < 0.2:
            share = np.float32(rng.uniform(0.2, 0.8))
            layer = share * layer + (1 - share) * self._layer(rng, height, width)
        layer = np.asarray(cv2.GaussianBlur(layer, (0, 0), 0.7), np.float32)  # edges of pairs that are a pixel apart
        strength = float(np.exp(rng.uniform(-0.7, 0.4)))
        return transplant(rng, scene, layer, self.settings, strength)

    def _scene(self, rng: np.random.Generator, height: int, width: int) -> Floats:
        """What lies behind the glass: mostly the scene of a pair, sometimes what a pair mirrors, exposed as a photo of
        its own, or a picture that is from no pair."""
        kind = rng.random() if self.pairs else 0.0
        if kind < 0.1:
            return self._picture(rng, height, width)
        if kind > 0.25:
            return self._tone(rng)(self._cut(rng, self._pair(rng), height, width)[1])
        layer = self._layer(rng, height, width)
        return encode(layer * np.float32(rng.uniform(0.4, 1.1) / max(float(np.percentile(layer, 98)), 0.02)))

    def _layer(self, rng: np.random.Generator, height: int, width: int) -> Floats:
        """Light of a pair's reflection, of its own colours and strength."""
        tone = self._tone(rng)
        mixture, scene = self._cut(rng, self._pair(rng), height, width)
        return real_layer(tone(mixture), tone(scene))[0]

    def _real(self, rng: np.random.Generator, height: int, width: int) -> Mixture:
        tone = self._tone(rng)
        mixture, scene = (tone(cut) for cut in self._cut(rng, self._pair(rng), height, width))
        if rng.random() < 0.5:
            light, share = decode(scene), np.float32(rng.uniform(0.3, 1.25))
            mixture = encode(np.maximum(light + share * (decode(mixture) - light), 0))
        layer, attenuation = real_layer(mixture, scene)
        return Mixture(mixture, scene, encode(layer), attenuation)

    def _tone(self, rng: np.random.Generator) -> Callable[[Floats], Floats]:
        """Another exposure, contrast and white balance, the same for all pictures that it is given."""
        wide = self.options.tones
        gain = np.exp(wide * (rng.normal(0, 0.16) + rng.normal(0, 0.05, 3))).astype(np.float32)
        power = np.float32(np.exp(wide * rng.normal(0, 0.15)))
        order = rng.permutation(3) if rng.random() < 0.2 * wide else np.arange(3)
        return lambda srgb: np.clip(gain * np.power(srgb, power), 0, 1)[..., order]

    def _pair(self, rng: np.random.Generator) -> RealPair:
        return self.pairs[int(rng.integers(len(self.pairs)))]

    def _cut(
        self, rng: np.random.Generator, pair: RealPair, height: int, width: int, largest: float = 1.0
    ) -> tuple[Floats, Floats]:
        """The same random window of both pictures, flipped or not, at a size."""
        rows, columns = pair.mixture.shape[:2]
        scale = min(rows / height, columns / width) * rng.uniform(self.options.smallest, largest)
        squeeze = float(np.exp(rng.normal(0, 0.08)))
        high, wide = min(rows, round(height * scale * squeeze)), min(columns, round(width * scale / squeeze))
        top, left = int(rng.integers(rows - high + 1)), int(rng.integers(columns - wide + 1))
        flip, turn = rng.random() < 0.5, rng.random() < 0.1
        cuts = []
        for picture in (pair.mixture, pair.transmission):
            cut = resized(picture[top : top + high, left : left + wide], height, width)
            cut = cut[:, ::-1] if flip else cut
            cut = cut[::-1] if turn else cut
            cuts.append(np.ascontiguousarray(cut).astype(np.float32) / np.float32(255))
        return cuts[0], cuts[1]

    def _picture(self, rng: np.random.Generator, height: int, width: int) -> Floats:
        """A part of a photo of the folder (two in three, where given), of scikit-image's, or of a drawn scene."""
        if self.photos and rng.random() < 0.67:
            return self._part(rng, self.photos[int(rng.integers(len(self.photos)))], height, width)
        if rng.random() < 0.5:
            return photo_crop(rng, height, width).astype(np.float32) / np.float32(255)
        if not self.bank:
            self.bank = _drawn_scenes(self.options.bank, self.options.short_side, self.options.long_side)
        return self._part(rng, self.bank[int(rng.integers(len(self.bank)))], height, width)

    @staticmethod
    def _part(rng: np.random.Generator, source: np.ndarray, height: int, width: int) -> Floats:
        if (height < width) != (source.shape[0] < source.shape[1]):
            source = source[: source.shape[0], : source.shape[0]]
        rows, columns = source.shape[:2]
        scale = min(rows / height, columns / width) * rng.uniform(0.5, 1)
        high, wide = max(2, int(height * scale)), max(2, int(width * scale))
        top, left = int(rng.integers(rows - high + 1)), int(rng.integers(columns - wide + 1))
        cut = resized(source[top : top + high, left : left + wide], height, width)
        if rng.random() < 0.5:
            cut = cut[:, ::-1]
        return jitter(rng, np.ascontiguousarray(cut)).astype(np.float32) / np.float32(255)


def layer_batches(dataset: ReflectionExamples, start: int, stop: int) -> DataLoader:
    """Batches of the examples start..stop-1, in order."""
    return batches(dataset, dataset.options, start, stop, collate_layers)


def collate_layers(items: list[dict[str, np.ndarray]]) -> LayerBatch:
    """Stack examples, channels first."""

    def stacked(name: str) -> torch.Tensor:
        values = torch.from_numpy(np.stack([np.asarray(item[name], np.float32) for item in items]))
        return values if values.ndim == 2 else values.permute(0, 3, 1, 2).contiguous()

    fields: dict[str, Any] = {name: stacked(name) for name in items[0]}
    return LayerBatch(**fields)


def _drawn_scenes(count: int, short: int, long: int) -> list[np.ndarray]:
    """The same drawn scenes for every run and worker."""
    made = []
    for index in range(count):
        rng = np.random.default_rng([BANK_SEED, index])
        picture = drawn_picture(rng, -(-short * 5 // 64) * 16, -(-long * 5 // 64) * 16)
        made.append(np.round(picture * 255).astype(np.uint8))
    return made


def _guided_share() -> float:
    shares = GuideShares()
    return sum(value for name, value in vars(shares).items() if name != "none")
