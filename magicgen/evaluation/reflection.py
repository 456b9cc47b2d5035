"""Measures of reflection removal: PSNR, SSIM, baselines that know colours only, and paired differences.

The usual protocols compare 8-bit RGB pictures: at short side 420, or at the pictures' own size; both pictures of a pair
are brought to one size first (area mean), because resizing the truth moves PSNR by more than methods differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.synthetic.reflection_guides import REFLECTED

UInt8 = npt.NDArray[np.uint8]
Floats64 = npt.NDArray[np.float64]
RIDGE = 3.0
SSIM_WINDOW = 11


@dataclass(frozen=True)
class PictureScore:
    """One picture: PSNR in dB and SSIM against the truth; PSNR inside the reflection and outside, NaN where there is
    no such place."""

    psnr: float
    ssim: float
    inside: float
    outside: float


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % bootstrap interval over pictures."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def psnr(result: UInt8, truth: UInt8, where: npt.NDArray[np.bool_] | None = None) -> float:
    """Peak signal to noise ratio in dB over all pixels or a part (H, W); 100 for equal pictures, NaN for no pixel."""
    squared = (result.astype(np.float64) - truth) ** 2
    chosen = squared if where is None else squared[where]
    if chosen.size == 0:
        return float("nan")
    error = float(chosen.mean())
    return 100.0 if error == 0 else min(100.0, float(10 * np.log10(255**2 / error)))


def ssim(result: UInt8, truth: UInt8) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian windows of sigma 1.5, mean over the channels and over the
    windows that lie inside the picture. The same value as scikit-image's, in a tenth of the time."""
    margin = SSIM_WINDOW // 2
    one, two = result.astype(np.float64), truth.astype(np.float64)

    def mean(values: Floats64) -> Floats64:
        side = (SSIM_WINDOW, SSIM_WINDOW)
        return np.asarray(cv2.GaussianBlur(values, side, 1.5, borderType=cv2.BORDER_REFLECT), np.float64)

    mean_one, mean_two = mean(one), mean(two)
    spread = mean(one * one) + mean(two * two) - mean_one**2 - mean_two**2
    common = mean(one * two) - mean_one * mean_two
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_one * mean_two + c1) * (2 * common + c2)
    values = top / ((mean_one**2 + mean_two**2 + c1) * (spread + c2))
    inner = values[margin:-margin, margin:-margin]
    return float((inner if inner.size else values).mean())


def reflected_place(mixture: UInt8, truth: UInt8) -> npt.NDArray[np.bool_]:
    """Where the glass changed a pixel by more than a tenth: (H, W) bool."""
    apart = np.abs(mixture.astype(np.float32) - truth).mean(axis=2) / 255
    return np.asarray(apart > REFLECTED, np.bool_)


def score(result: UInt8, mixture: UInt8, truth: UInt8) -> PictureScore:
    """All measures of one picture; ``mixture`` tells inside from outside."""
    place = reflected_place(mixture, truth)
    return PictureScore(
        psnr(result, truth), ssim(result, truth), psnr(result, truth, place), psnr(result, truth, ~place)
    )


def bootstrap(values: Sequence[float], seed: int = 0, rounds: int = 10_000) -> Interval:
    """Mean and 95 % interval of paired differences, by resampling pictures."""
    data = np.asarray(values, np.float64)
    data = data[np.isfinite(data)]
    if data.size == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    means = data[rng.integers(0, len(data), (rounds, len(data)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(data.mean()), float(low), float(high))


def best_colour_fit(mixture: UInt8, truth: UInt8) -> UInt8:
    """The best gain and offset for each channel, *knowing the truth*: what no colour correction can pass."""
    result = np.empty_like(mixture)
    for channel in range(3):
        source = mixture[..., channel].astype(np.float64).ravel()
        columns = np.stack([source, np.ones_like(source)], axis=1)
        fit = np.linalg.lstsq(columns, truth[..., channel].astype(np.float64).ravel(), rcond=None)[0]
        result[..., channel] = _rounded(columns @ fit).reshape(mixture.shape[:2])
    return result


@dataclass(frozen=True, eq=False)
class ColourCorrector:
    """The *causal* colour-only baseline: gain and offset of each channel guessed from statistics of the photo alone, by
    ridge regression on training pairs.

    Attributes:
        centre, spread: (F,) of the features; weights: (F + 1, 6).
    """

    centre: Floats64
    spread: Floats64
    weights: Floats64

    @classmethod
    def fitted(cls, pairs: Sequence[tuple[UInt8, UInt8]], ridge: float = RIDGE) -> "ColourCorrector":
        """Fit on (mixture, truth) pairs."""
        features = np.stack([colour_features(mixture) for mixture, _ in pairs])
        targets = np.stack([_channel_fits(mixture, truth) for mixture, truth in pairs])
        centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
        columns = np.concatenate([(features - centre) / spread, np.ones((len(pairs), 1))], axis=1)
        penalty = ridge * len(pairs) / 10 * np.eye(columns.shape[1])
        penalty[-1, -1] = 0
        weights = np.linalg.solve(columns.T @ columns + penalty, columns.T @ targets)
        return cls(centre, spread, weights)

    def __call__(self, mixture: UInt8) -> UInt8:
        """The corrected photo."""
        features = np.append((colour_features(mixture) - self.centre) / self.spread, 1.0)
        gain, offset = (features @ self.weights).reshape(2, 3)
        centred = mixture.astype(np.float64) - 127.5
        return _rounded(centred * gain + 127.5 + offset)


@dataclass(frozen=True)
class Darkening:
    """The plainest causal baseline: one offset (in 8-bit steps) taken off every photo, the one that gains most PSNR on
    training pairs. Glass adds light, so a little darkness is right more often than not."""

    offset: int

    @classmethod
    def fitted(cls, pairs: Sequence[tuple[UInt8, UInt8]]) -> "Darkening":
        """Try 0 to 20 on small copies of (mixture, truth) pairs."""
        small = [resized_pair(mixture, truth, 48) for mixture, truth in pairs]
        gains = [np.mean([psnr(cls(offset)(mixture), truth) for mixture, truth in small]) for offset in range(21)]
        return cls(int(np.argmax(gains)))

    def __call__(self, mixture: UInt8) -> UInt8:
        """The darker photo."""
        return np.maximum(mixture.astype(np.int16) - self.offset, 0).astype(np.uint8)


def colour_features(mixture: UInt8) -> Floats64:
    """Statistics that a colour correction may look at: percentiles, mean and deviation of each channel, (18,)."""
    flat = mixture.reshape(-1, 3).astype(np.float64)
    parts = [np.percentile(flat, level, axis=0) for level in (1, 10, 50, 90)]
    return np.concatenate([*parts, flat.mean(axis=0), flat.std(axis=0)])


def resized_pair(mixture: UInt8, truth: UInt8, short_side: int | None) -> tuple[UInt8, UInt8]:
    """Both pictures at the truth's size, or with that shorter side."""
    height, width = truth.shape[:2]
    if short_side is not None:
        scale = short_side / min(height, width)
        height, width = round(height * scale), round(width * scale)
    return _resized(mixture, height, width), _resized(truth, height, width)


def _channel_fits(mixture: UInt8, truth: UInt8) -> Floats64:
    """Best gains and offsets about mid grey, (6,), drawn towards no change where a channel is nearly even."""
    gains, offsets = [], []
    for channel in range(3):
        source = mixture[..., channel].astype(np.float64).ravel() - 127.5
        target = truth[..., channel].astype(np.float64).ravel() - 127.5
        variance = source.var() + 25.0
        gain = (np.mean((source - source.mean()) * (target - target.mean())) + 25.0) / variance
        gains.append(gain)
        offsets.append(target.mean() - gain * source.mean())
    return np.array(gains + offsets)


def _resized(picture: UInt8, height: int, width: int) -> UInt8:
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = height * width < picture.shape[0] * picture.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method), np.uint8)


def _rounded(values: Floats64) -> UInt8:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
