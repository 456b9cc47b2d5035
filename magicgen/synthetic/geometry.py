"""Small shared pieces for polygons: array types, the unit circle, ovals."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]


def f32(values: npt.ArrayLike) -> Floats:
    """A float32 array."""
    return np.asarray(values, np.float32)


_TURN = np.linspace(0, 2 * np.pi, 22, endpoint=False)
CIRCLE: Floats = f32(np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1))
"""(22, 2) points of the unit circle, from the right over the top (y up) round; the first 12 are the upper half."""
HALF: Floats = CIRCLE[np.linspace(0, 11, 8).astype(int)]
"""Eight points of the upper half."""


def oval(width: float, height: float) -> Floats:
    """(22, 2) points of an ellipse with these half-axes."""
    return CIRCLE * f32((width, height))


def wavy(count: int, waves: int, depth: float, smooth: bool = False) -> Floats:
    """(count, 2) points of a unit circle with ``waves`` bumps: petals, a mane, wool (``smooth`` gives round puffs)."""
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = 1 + depth * (np.abs(np.sin(turn * waves / 2)) if smooth else np.cos(turn * waves))
    return f32(np.stack([np.cos(turn) * radius, np.sin(turn) * radius], axis=1))
