"""What boxes at a few frames say about all frames: a curve through them, and a small network that knows motion.

A body between two places seldom takes the straight way at an even pace. The curve gives it inertia; the network,
trained on the motions of synthetic scenes (:mod:`magicgen.training.box_paths`), adds what is usual between such
boxes: easing, arcs, hops, waiting. It needs numpy alone. It says nothing where an object rests between two known
frames, and nothing at the known frames themselves.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files

import numpy as np
import numpy.typing as npt

from magicgen.errors import WeightsError

Doubles = npt.NDArray[np.float64]
Frames = npt.NDArray[np.int_]

# An object rests between two known frames if its centre moves less than this share of the picture.
REST = 0.01
# The network speaks up fully where it moves by this much.
MOVING = 0.03
# The network may change the size of the curve's box by this share: it has seen few things as thin as a rocket.
RESIZE = 0.15
# Known frames that the network sees on each side of a gap.
SIDE = 3
FEATURES = 2 * SIDE * 6 + 7
PRESET = ("presets", "box_paths", "model.safetensors")


@dataclass(frozen=True)
class PathNetwork:
    """A multilayer perceptron: matrices (outputs, inputs) and biases (outputs,), float32, GELU in between.

    :data:`FEATURES` numbers in, 4 out: what is added to centre and size of the curve's box, in tenths of the picture.
    """

    matrices: tuple[npt.NDArray[np.float32], ...]
    biases: tuple[npt.NDArray[np.float32], ...]

    def __call__(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(n, FEATURES) -> (n, 4)."""
        x = features
        for index, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            x = (_gelu(x) if index else x) @ matrix.T + bias
        return x


def _gelu(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The approximation with a hyperbolic tangent (Hendrycks and Gimpel, arXiv 1606.08415)."""
    return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))), np.float32)


@cache
def shipped_paths() -> PathNetwork:
    """The network of the package.

    Raises:
        WeightsError: the installation is damaged.
    """
    from safetensors.numpy import load_file

    with as_file(files("magicgen").joinpath(*PRESET)) as path:
        if not path.is_file():
            raise WeightsError(f"{path} is missing from the installation; install magicgen again.")
        return as_network(load_file(path))


def as_network(tensors: dict[str, npt.NDArray[np.floating]]) -> PathNetwork:
    """``0.weight``, ``0.bias``, ``1.weight`` ... of any float type -> a network.

    Raises:
        WeightsError: these are not its tensors.
    """
    layers = len(tensors) // 2
    names = {f"{index}.{part}" for index in range(layers) for part in ("weight", "bias")}
    if not layers or names != set(tensors) or tensors["0.weight"].shape[1] != FEATURES:
        raise WeightsError(
            f"Expected layers '0.weight', '0.bias', ... of {FEATURES} inputs; got {sorted(tensors)} with "
            f"{[value.shape for value in tensors.values()]}."
        )
    return PathNetwork(
        tuple(tensors[f"{index}.weight"].astype(np.float32) for index in range(layers)),
        tuple(tensors[f"{index}.bias"].astype(np.float32) for index in range(layers)),
    )


def completed(knots: Frames, boxes: Doubles, count: int, network: PathNetwork) -> Doubles:
    """Boxes at few frames -> boxes at all.

    Before the first and after the last known frame the object holds still.

    Args:
        knots: (K,) increasing frame numbers.
        boxes: (K, 4) xyxy, normalised.
        count: T.
        network: what corrects the curve (:func:`curved`, the answer without a network).

    Returns:
        (T, 4) float64 xyxy; at the known frames the boxes given.
    """
    curve = curved(knots, boxes, count)
    inside = np.setdiff1d(np.arange(knots[0] + 1, knots[-1]), knots)
    if not len(inside):
        return curve
    change = 0.1 * network(path_features(knots, boxes, curve, inside)) * trust(knots, boxes, inside)[:, None]
    place = _placed(curve[inside])
    bound = RESIZE * place[:, 2:]
    centre, half = place[:, :2] + change[:, :2], (place[:, 2:] + change[:, 2:].clip(-bound, bound)) / 2
    curve[inside] = np.concatenate([centre - half, centre + half], axis=1)
    return curve


def _placed(boxes: Doubles) -> Doubles:
    """xyxy (n, 4) -> centre and size (n, 4)."""
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def curved(knots: Frames, boxes: Doubles, count: int) -> Doubles:
    """Boxes (K, 4) at few frames -> (count, 4) at all: what a body with inertia would do in between.

    Centres follow a natural cubic spline and rest where they rest between two knots, sizes a monotone cubic.
    """
    if len(knots) == 1:
        return np.repeat(boxes, count, axis=0)
    from scipy.interpolate import CubicSpline, PchipInterpolator  # a third of a second: not for who only opens the app

    times = np.clip(np.arange(count), knots[0], knots[-1])
    places = _placed(boxes)
    centres = places[:, :2]
    calm = PchipInterpolator(knots, places, axis=0)(times)
    path = CubicSpline(knots, centres, axis=0, bc_type="natural")(times) if len(knots) > 2 else calm[:, :2]
    part = np.clip(np.searchsorted(knots, times, side="right") - 1, 0, len(knots) - 2)
    resting = np.abs(np.diff(centres, axis=0)).max(axis=1)[part] < REST
    path = np.where(resting[:, None], calm[:, :2], path)
    return np.concatenate([path - calm[:, 2:] / 2, path + calm[:, 2:] / 2], axis=1)


def path_features(knots: Frames, boxes: Doubles, curve: Doubles, frames: Frames) -> npt.NDArray[np.float32]:
    """What the network is told of frames between known ones, relative to the curve's box there.

    Args:
        knots, boxes: as for :func:`completed`.
        curve: (T, 4), of :func:`curved`.
        frames: (n,), those asked for.

    Returns:
        (n, FEATURES) float32: for :data:`SIDE` known frames before and after, the way to its centre, how much larger
        its box is, the time to it in clip lengths, and whether there is one; then the share of the gap that has passed,
        the gap's length, the time in the clip, and centre and size of the curve's box.
    """
    length = max(len(curve) - 1, 1)
    here, there = _placed(curve[frames]), _placed(boxes)
    after = np.searchsorted(knots, frames, side="right")
    index = after[:, None] + np.arange(-SIDE, SIDE)
    known = (index >= 0) & (index < len(knots))
    index = index.clip(0, len(knots) - 1)
    away = (knots[index] - frames[:, None]) / length
    parts = [2 * (there[index] - here[:, None]), away[..., None], np.full((*index.shape, 1), 0.5)]
    around = (np.concatenate(parts, axis=2) * known[..., None]).reshape(len(frames), -1)
    left, gap = knots[after - 1], knots[after] - knots[after - 1]
    timing = np.stack([(frames - left) / gap, gap / length, frames / length], axis=1) - 0.5
    return np.concatenate([around, timing, here - (0.5, 0.5, 0.2, 0.2)], axis=1).astype(np.float32)


def trust(knots: Frames, boxes: Doubles, frames: Frames) -> npt.NDArray[np.float32]:
    """How far the network counts at ``frames`` (n,), in [0, 1]: little next to a known frame, nothing at rest."""
    after = np.searchsorted(knots, frames, side="right")
    left, right = knots[after - 1], knots[after]
    passed = (frames - left) / (right - left)
    moved = np.abs(boxes[after] - boxes[after - 1]).max(axis=1)
    awake = ((moved - REST) / (MOVING - REST)).clip(0, 1)
    return np.asarray((10 * passed * (1 - passed)).clip(0, 1) * awake, np.float32)
