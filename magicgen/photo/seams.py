"""Closes the seams of a marked region: where a mark ends, the picture goes on.

What glass adds ends at the border of what a person marked, and so does what a network takes off there. Neither step
belongs to the scene. The picture is put together again from its own gradients without those across such borders, as
in Poisson image editing (Perez et al. 2003) and in user-assisted separation of reflections (Levin and Weiss 2007, which
asks for the edges of each layer instead): inside of a mark the light finds its level from what is around it.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
DARK = 0.02
"""Added to values before their logarithm is taken, in which glass that dims and light that fades are shifts."""
SEAM = 2.0
"""A gradient across a border at which the map changes by 1 / SEAM between two pixels is no longer believed at all."""
HOLD = 0.05
"""How much a marked pixel holds on to its value, where one that is not marked has 1: levels float near borders, and
all over small things, but not in the middle of large ones."""
SIDE = 128
"""Shorter side, in pixels, of the pictures that these are meant for (up to half as much again)."""
SMALLEST_STEP, MOST_STEPS = 1e-4, 200


def close_seams(picture: Floats, marked: Floats, fineness: float = 1.0) -> Floats:
    """A picture without steps at the borders of what is marked.

    Args:
        picture: (h, w, 3) float32 sRGB in [0, 1].
        marked: (h, w) float32 in [0, 1].
        fineness: how many times finer than :data:`SIDE` the picture is.

    Returns:
        (h, w, 3) float32 in [0, 1]; where nothing is marked near, the picture's own values up to rounding.
    """
    levels = np.log(picture + DARK)
    across = np.diff(levels, axis=1) * _believed(marked, 1, fineness)[..., None]
    down = np.diff(levels, axis=0) * _believed(marked, 0, fineness)[..., None]
    hold = (1 - np.float32(1 - min(1.0, HOLD / fineness**2)) * marked)[..., None]
    wanted = _divergence(across, down) + hold * levels
    return np.clip(np.exp(_solved(levels, wanted, hold)) - DARK, 0, 1).astype(np.float32)


def _believed(marked: Floats, axis: int, fineness: float) -> Floats:
    """How far each gradient along an axis belongs to the scene."""
    return np.clip(1 - SEAM * fineness * np.abs(np.diff(marked, axis=axis)), 0, 1).astype(np.float32)


def _divergence(across: Floats, down: Floats) -> Floats:
    """The transpose of the gradient: (h, w - 1, C), (h - 1, w, C) -> (h, w, C)."""
    flow_across = np.pad(across, ((0, 0), (1, 1), (0, 0)))
    flow_down = np.pad(down, ((1, 1), (0, 0), (0, 0)))
    return np.asarray(-np.diff(flow_across, axis=1) - np.diff(flow_down, axis=0), np.float32)


def _solved(start: Floats, wanted: Floats, hold: Floats) -> Floats:
    """``x`` with ``hold * x - laplacian(x) = wanted``, by conjugate gradients for all colours at once; memory is a few
    copies of the picture."""

    def applied(x: Floats) -> Floats:
        return hold * x + _divergence(np.diff(x, axis=1), np.diff(x, axis=0))

    x = start.copy()
    rest = wanted - applied(x)
    heading, size = rest, float((rest * rest).sum())
    enough = SMALLEST_STEP**2 * float((wanted * wanted).sum())
    for _ in range(MOST_STEPS):
        if size <= enough:
            break
        turned = applied(heading)
        step = size / float((heading * turned).sum())
        x += step * heading
        rest = rest - step * turned
        before, size = size, float((rest * rest).sum())
        heading = rest + size / before * heading
    return x
