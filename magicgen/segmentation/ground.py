"""How well the background explains each pixel, judged the more strictly the steadier it is known to be.

Before a background that stays as it was but for the camera's motion (drawn scenes, fixed cameras), a pixel that does
not fit in place shows something else, whatever its colour; before water, leaves or parallax, colours alone can tell.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from magicgen.segmentation.flow import Bools, Floats, squared_length
from magicgen.segmentation.layers import Layer

BLACK = np.array([16, 0, 0], np.float32)  # CIE Lab scales with light from here
FAR = 100.0  # squared Lab distance of a pixel that shows something else
AROUND = 61  # working pixels over which misfit is averaged where no plate tells
UNSTEADY = 0.15  # from here on a fit says something


@dataclass(frozen=True)
class GroundSettings:
    """How the background is judged.

    Attributes:
        sigma: standard deviation (Lab units) of a colour that fits a background that changes.
        steady_sigma: the same before a background that stays as it is.
        shade_sigma: least standard deviation of the colours in a shadow.
        shadow: chance that a pixel lies in a shadow, or was when its colour was learnt.
        darkest: lightness in a shadow, as a share of that beside it.
        histogram: weight of the colour histogram against the place, before a background that changes.
        outlier: share of pixels that nothing explains, before a background that changes.
        rest: bonus where a steady background looks as it did, so that objects do not stay by chance colours.
    """

    sigma: float = 9.0
    steady_sigma: float = 2.0
    shade_sigma: float = 5.0
    shadow: float = 0.3
    darkest: float = 0.5
    histogram: float = 0.5
    outlier: float = 0.02
    rest: float = 0.8


@dataclass(frozen=True)
class Ground:
    """The background's judgement of a frame, all (h, w) float32.

    Attributes:
        cost: minus log likelihood of the colours.
        fits: in [0, 1], how well they fit a background that is known here; 0 where it is not, or not steady.
        firm: in [0, 1], how much a misfit here means: known, and steady.
    """

    cost: Floats
    fits: Floats
    firm: Floats


def judge(layer: Layer, lab: Floats, typical: Floats, spread: Floats | None, settings: GroundSettings) -> Ground:
    """Judge a frame.

    Args:
        layer: the background, carried to the frame.
        lab: (h, w, 3) float32, the frame.
        typical: (h, w) float32 in [0, 1], how typical its colours are of the background.
        spread: (h, w) float32, squared Lab distance that the plate expects; NaN where it knows nothing. None: no plate.
    """
    kernel = np.ones((3, 3), np.uint8)
    low, high = cv2.erode(layer.colour, kernel), cv2.dilate(layer.colour, kernel)
    distance = squared_length(np.maximum(np.maximum(lab - high, low - lab), 0))
    sure = (cv2.erode(layer.seen, kernel) > 0.9) & (layer.known > 0.9)
    sigma = np.sqrt(2 * _expected(distance, sure, spread)).clip(settings.steady_sigma, settings.sigma)
    steady = (settings.sigma - sigma) / (settings.sigma - settings.steady_sigma)
    fits = np.exp(-distance / (2 * sigma**2))
    fits = np.maximum(fits, settings.shadow * _shaded(layer.colour, lab, sigma, settings))
    weight = settings.histogram * (1 - steady)
    likelihood = layer.known * ((1 - weight) * fits + weight * typical) + (1 - layer.known) * typical * 0.7
    firm = steady * layer.known
    cost = -np.log(likelihood + settings.outlier * (1 - 0.8 * firm)) - settings.rest * firm * fits
    known_fits = layer.known * fits * (steady > UNSTEADY)
    return Ground(cost.astype(np.float32), known_fits.astype(np.float32), firm.astype(np.float32))


def _expected(distance: Floats, sure: Bools, spread: Floats | None) -> Floats:
    """(h, w): the squared Lab distance that a pixel of the background has from its foreseen colour."""
    near = np.minimum(distance, FAR) * sure
    mean = float(near.sum() / max(sure.sum(), 1))
    size = (AROUND, AROUND)
    around = (cv2.blur(near, size) + 0.05 * mean) / (cv2.blur(sure.astype(np.float32), size) + 0.05)
    around = np.maximum(around, 0)  # running sums of floats may fall below
    if spread is None:
        return around
    common = float(np.median(distance[sure][::5])) if sure.sum() > 50 else FAR
    return np.where(np.isnan(spread), around, spread + 2 * common)


def _shaded(colour: Floats, lab: Floats, sigma: Floats, settings: GroundSettings) -> Floats:
    """(h, w) in [0, 1]: how well the frame shows the foreseen colours under less light, or under more."""
    light = (lab[..., 0] + BLACK[0]) / (colour[..., 0] + BLACK[0])
    light = light.clip(settings.darkest, 1 / settings.darkest)
    distance = squared_length(lab - (light[..., None] * (colour + BLACK) - BLACK))
    return np.exp(-distance / (2 * np.maximum(sigma, settings.shade_sigma) ** 2))
