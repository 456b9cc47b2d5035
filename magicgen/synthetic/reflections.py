"""Photos through glass, composed from two pictures with everything known: scene, reflection and where it lies.

Light adds before the camera's curve: ``decode(M) = a * decode(T) + R`` with an attenuation ``a`` below 1 for
each channel. What varies is the reflection: blurred or sharp, doubled by the two faces of the pane, all over the
picture or in a part of it, weak or stronger than the scene. Sources of the models: Zhang et al. 2018 (arXiv 1806.05376:
linear light, vignette, overflow taken off the reflection), Shih et al. 2015 (ghosts), Hu and Guo 2023 (arXiv
2308.10027: screen blending).

All pictures are (H, W, 3) float32 in [0, 1]; "sRGB" means gamma-coded with 2.2, "linear" means light.
"""

from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.synthetic.photos import photo_crop
from magicgen.synthetic.scene import SceneSettings, random_scene

Floats = npt.NDArray[np.float32]
GAMMA = 2.2
REFERENCE_SIDE = 300.0
"""Blur and ghost distances are given in pixels of a picture with this shorter side."""


class Look(Enum):
    """How a reflection looks; the value is its share of the samples."""

    DEFOCUSED = 0.5
    SHARP_PART = 0.25
    GHOST = 0.15
    SCREEN = 0.1


@dataclass(frozen=True)
class MixtureSettings:
    """Ranges of the composition, calibrated on real pairs (see docs/reflection.md).

    Attributes:
        clean: share of pictures without any reflection.
        strength: mean light of the reflection over that of the scene, drawn log-uniformly.
        attenuation: mean and deviation of ``a``, truncated to [0.4, 1].
        camera: whether noise and JPEG are added.
    """

    clean: float = 0.1
    strength: tuple[float, float] = (0.08, 1.6)
    attenuation: tuple[float, float] = (0.88, 0.1)
    camera: bool = True


@dataclass(frozen=True)
class Mixture:
    """A composed photo: ``mixture`` and ``transmission`` in sRGB, ``reflection`` the light that glass added, in sRGB,
    and ``attenuation`` (3,): ``decode(mixture) = attenuation * decode(transmission) + decode(reflection)`` up to
    clipping and camera noise."""

    mixture: Floats
    transmission: Floats
    reflection: Floats
    attenuation: Floats


def decode(srgb: Floats) -> Floats:
    """sRGB values to light."""
    return np.power(np.clip(srgb, 0, 1), GAMMA, dtype=np.float32)


def encode(light: Floats) -> Floats:
    """Light to sRGB values; more than the camera holds is clipped."""
    return np.power(np.clip(light, 0, 1), 1 / GAMMA, dtype=np.float32)


def compose(rng: np.random.Generator, scene: Floats, other: Floats, settings: MixtureSettings) -> Mixture:
    """Lay a random reflection of ``other`` over ``scene`` (both sRGB, of one size)."""
    if rng.random() < settings.clean:
        return _finished(rng, scene, np.zeros_like(scene), np.ones(3, np.float32), settings)
    light = decode(scene)
    attenuation = _attenuation(rng, settings)
    looks = tuple(Look)
    look = looks[int(rng.choice(len(looks), p=[each.value for each in looks]))]
    reflection = decode(other) * rng.uniform(0.7, 1.3, 3).astype(np.float32)
    reflection = _optics(rng, look, reflection) * _support(rng, look, scene.shape[:2])[..., None]
    wanted = float(np.exp(rng.uniform(*np.log(settings.strength)))) * float(light.mean() + 0.02)
    reflection *= np.float32(wanted / max(float(reflection.mean()), 1e-4))
    reflection = np.minimum(reflection, 1.5)
    if look is Look.SCREEN:
        # encode(1 - (1 - T)(1 - R)) written as light that is added
        scene_part, added = attenuation * light, np.minimum(reflection, 1)
        reflection = added * (1 - scene_part)
    else:
        reflection = _without_overflow(rng, attenuation * light, reflection)
    return _finished(rng, scene, reflection, attenuation, settings)


def transplant(
    rng: np.random.Generator, scene: Floats, reflection: Floats, settings: MixtureSettings, strength: float
) -> Mixture:
    """Lay a reflection layer taken from a real photo over another scene.

    Args:
        rng: random numbers.
        scene: sRGB.
        reflection: light of the layer, of the size of the scene.
        strength: factor on the layer.
        settings: as for :func:`compose`.
    """
    attenuation = _attenuation(rng, settings)
    return _finished(rng, scene, reflection * np.float32(strength), attenuation, settings)


def real_layer(mixture: Floats, transmission: Floats) -> tuple[Floats, Floats]:
    """The reflection of a real pair: its light (H, W, 3) and the attenuation (3,) of the glass.

    ``a`` is the tenth percentile of M / T where the scene is bright enough to tell (the glass adds light, it never
    takes any), at most 1; the layer is what is left over.
    """
    mixed, clear = decode(mixture), decode(transmission)
    attenuation = np.ones(3, np.float32)
    for channel in range(3):
        bright = clear[..., channel] > 0.02
        if bright.sum() > 100:
            ratio = mixed[..., channel][bright] / clear[..., channel][bright]
            attenuation[channel] = np.clip(np.percentile(ratio, 10), 0.4, 1)
    return np.maximum(mixed - attenuation * clear, 0), attenuation


def random_picture(rng: np.random.Generator, height: int, width: int) -> Floats:
    """A picture that may stand for a scene or a reflection: a photo of scikit-image's or a drawn scene, sRGB."""
    if rng.random() < 0.65:
        return photo_crop(rng, height, width).astype(np.float32) / np.float32(255)
    return drawn_picture(rng, height, width)


def drawn_picture(rng: np.random.Generator, height: int, width: int) -> Floats:
    """A frame of a drawn scene, sRGB."""
    rows, columns = -(-height // 16) * 16, -(-width // 16) * 16
    clip = random_scene(rng, SceneSettings(frames=5, height=rows, width=columns, max_objects=5))
    frame = clip.video[int(rng.integers(len(clip.video)))][:height, :width]
    return np.ascontiguousarray(frame).astype(np.float32) / np.float32(255)


def random_mixture(rng: np.random.Generator, height: int, width: int, settings: MixtureSettings) -> Mixture:
    """A whole sample from nothing but a seed."""
    return compose(rng, random_picture(rng, height, width), random_picture(rng, height, width), settings)


def residual(mixture: Floats, transmission: Floats) -> Floats:
    """How much the glass changed a pixel: (H, W), mean absolute difference over the channels."""
    return np.abs(mixture - transmission).mean(axis=-1)


def _attenuation(rng: np.random.Generator, settings: MixtureSettings) -> Floats:
    mean, deviation = settings.attenuation
    base = np.clip(rng.normal(mean, deviation), 0.4, 1)
    tint = 0.3 if rng.random() < 0.05 else 0.05
    return np.clip(base + rng.uniform(-tint, tint, 3), 0.3, 1).astype(np.float32)


def _optics(rng: np.random.Generator, look: Look, light: Floats) -> Floats:
    """Defocus and ghosting of a reflection."""
    scale = min(light.shape[:2]) / REFERENCE_SIDE
    match look:
        case Look.DEFOCUSED:
            sigma = rng.uniform(1, 5)
        case Look.SCREEN:
            sigma = rng.uniform(2, 5)
        case Look.SHARP_PART:
            sigma = rng.uniform(0, 1)
        case Look.GHOST:
            sigma = rng.uniform(0, 1.5)
            angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(3, 8) * 1.4 * scale
            shift = np.array([[1, 0, distance * np.cos(angle)], [0, 1, distance * np.sin(angle)]], np.float32)
            moved = cv2.warpAffine(light, shift, light.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
            share = np.float32(rng.uniform(0.5, 0.85))
            light = share * light + (1 - share) * moved
    return _blurred(light, sigma * scale)


def _support(rng: np.random.Generator, look: Look, size: tuple[int, int]) -> Floats:
    """Where the pane reflects: (H, W) in [0, 1], a vignette or soft patches."""
    height, width = size
    if look is Look.SCREEN:
        return np.ones(size, np.float32)
    if look is Look.DEFOCUSED or rng.random() < 0.3:
        centre = rng.uniform(-0.1, 1.1, 2) * (height, width)
        spread = rng.uniform(0.25, 0.9) * max(size)
        rows = (np.arange(height, dtype=np.float32)[:, None] - centre[0]) / spread
        columns = (np.arange(width, dtype=np.float32)[None] - centre[1]) / spread
        return np.exp(-0.5 * (rows**2 + columns**2)).astype(np.float32)
    support = np.zeros(size, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        corners = int(rng.integers(4, 9))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radii = rng.uniform(0.4, 1, (corners, 1)) * rng.uniform(0.12, 0.5) * max(size)
        middle = rng.uniform(0, 1, 2) * (width, height)
        ring = middle + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        cv2.fillPoly(support, [np.round(ring).astype(np.int32)], float(rng.uniform(0.4, 1)))
    return _blurred(support, float(np.exp(rng.uniform(np.log(0.5), np.log(25)))) * min(size) / REFERENCE_SIDE)


def _without_overflow(rng: np.random.Generator, scene: Floats, reflection: Floats) -> Floats:
    """Take what would overflow the sensor off the reflection, as Zhang et al. do, so that little is clipped."""
    total = scene + reflection
    over = total > 1
    if not over.any():
        return reflection
    excess = np.array([total[..., c][over[..., c]].mean() - 1 if over[..., c].any() else 0 for c in range(3)])
    return np.maximum(reflection - (excess * rng.uniform(1.08, 1.18)).astype(np.float32), 0)


def _finished(
    rng: np.random.Generator, scene: Floats, reflection: Floats, attenuation: Floats, settings: MixtureSettings
) -> Mixture:
    mixture = encode(attenuation * decode(scene) + reflection)
    if settings.camera:
        mixture = _camera(rng, mixture)
    return Mixture(mixture, scene, encode(reflection), attenuation)


def _camera(rng: np.random.Generator, picture: Floats) -> Floats:
    """Noise and JPEG."""
    if rng.random() < 0.5:
        picture = picture + rng.normal(0, rng.uniform(0.001, 0.012), picture.shape).astype(np.float32)
    stored = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
        stored = np.asarray(cv2.imdecode(cv2.imencode(".jpg", stored, quality)[1], cv2.IMREAD_COLOR), np.uint8)
    return stored.astype(np.float32) / np.float32(255)


def _blurred(values: Floats, sigma: float) -> Floats:
    if sigma < 0.3:
        return values
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)
