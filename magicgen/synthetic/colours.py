"""Named colours of the storybook world and random palettes."""

import colorsys

import numpy as np
import numpy.typing as npt

Colour = tuple[float, float, float]
Images = npt.NDArray[np.uint8]

NAMED_COLOURS: dict[str, Colour] = {
    "red": (204, 48, 44),
    "orange": (232, 128, 46),
    "yellow": (244, 208, 70),
    "green": (74, 156, 78),
    "blue": (58, 106, 196),
    "purple": (132, 76, 170),
    "pink": (240, 150, 180),
    "brown": (140, 92, 58),
    "black": (52, 50, 56),
    "white": (244, 240, 232),
    "gray": (140, 142, 148),
    "golden": (222, 172, 56),
    "teal": (48, 158, 156),
    "silver": (184, 192, 200),
}
"""RGB in [0, 255]."""


def shade(colour: Colour, factor: float) -> Colour:
    """Darker (factor < 1) or lighter towards white (factor > 1), RGB in [0, 255]."""
    red, green, blue = colour
    if factor <= 1:
        return (red * factor, green * factor, blue * factor)
    mix = min(factor - 1, 1)
    return (red + (255 - red) * mix, green + (255 - green) * mix, blue + (255 - blue) * mix)


def varied(rng: np.random.Generator, colour: Colour, amount: float = 12.0) -> Colour:
    """The colour with a little random variation per channel that keeps its name true."""
    red, green, blue = np.clip(np.asarray(colour) + rng.uniform(-amount, amount, 3), 0, 255)
    return (float(red), float(green), float(blue))


def nearest_name(colour: Colour) -> str:
    """The name of the closest named colour."""
    return min(
        NAMED_COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(NAMED_COLOURS[name], colour, strict=True))
    )


def random_colour(rng: np.random.Generator) -> Colour:
    """Any colour; saturated and pale, dark and bright ones alike."""
    hue, saturation, value = rng.random(), rng.beta(1.4, 1.2), 0.12 + 0.88 * rng.beta(1.8, 1.1)
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return (255 * red, 255 * green, 255 * blue)


def random_palette(rng: np.random.Generator, count: int) -> npt.NDArray[np.float32]:
    """(count, 3) float32 RGB in [0, 255]: related hues, or unrelated ones, with spread brightness."""
    if rng.random() < 0.35:
        return np.array([random_colour(rng) for _ in range(count)], np.float32)
    hue, spread = rng.random(), rng.uniform(0.02, 0.3)
    values = rng.permutation(np.linspace(rng.uniform(0.15, 0.5), rng.uniform(0.7, 1.0), count))
    colours = [
        colorsys.hsv_to_rgb((hue + rng.normal() * spread) % 1, rng.uniform(0.05, 0.9), float(value)) for value in values
    ]
    return (255 * np.array(colours)).astype(np.float32)
