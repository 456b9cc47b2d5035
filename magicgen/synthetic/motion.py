"""Motion over a clip: paths of position, size and angle, parameterised by time in [0, 1]."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """How one object moves, sampled at T frames.

    Attributes:
        x, y: (T,) centre in units of the picture's width and height; outside [0, 1] where the object has left.
        scale: (T,) size factor against frame 0.
        angle: (T,) degrees counter-clockwise as seen, 0 on frame 0.
        stretch: (T, 2) factors along the object's own axes, 1 on frame 0.
        verb: caption word of the motion.
        distance: length of the way in units of the picture's shorter side.
    """

    x: Doubles
    y: Doubles
    scale: Doubles
    angle: Doubles
    stretch: Doubles
    verb: str
    distance: float


@dataclass(frozen=True)
class Wish:
    """What the scene asks of a motion: start (unit square), radius of the object (share of the shorter side),
    ``aspect`` = width / height of the picture, and whether it may leave, turn in the plane or change size."""

    start: tuple[float, float]
    radius: float
    aspect: float
    upright: bool
    leaves: bool
    turns: bool
    scales: bool


def ease(rng: np.random.Generator, times: Doubles) -> Doubles:
    """Progress from 0 to 1: even, speeding up, slowing down, smooth start and stop, or with a pause."""
    match int(rng.integers(5)):
        case 0:
            return times
        case 1:
            return times ** rng.uniform(1.4, 2.4)
        case 2:
            return 1 - (1 - times) ** rng.uniform(1.4, 2.4)
        case 3:
            return times * times * (3 - 2 * times)
        case _:
            start, stop = rng.uniform(0, 0.25), rng.uniform(0.7, 1.0)
            return np.clip((times - start) / (stop - start), 0, 1)


def _goal(rng: np.random.Generator, wish: Wish) -> tuple[float, float]:
    """A far enough goal: inside the picture with room for the object, or just outside when it leaves."""
    x0, y0 = wish.start
    half_x, half_y = wish.radius / max(wish.aspect, 1), wish.radius * min(wish.aspect, 1)
    for _ in range(20):
        direction = rng.uniform(0, 2 * np.pi)
        if wish.upright and rng.random() < 0.8:
            direction = rng.choice([0.0, np.pi]) + rng.normal() * 0.15
        dx, dy = float(np.cos(direction)), 0.8 * float(np.sin(direction))
        if wish.leaves:
            # the way until the whole object has crossed the border, and a little further
            reach = min(((dx > 0) + half_x * np.sign(dx) - x0) / dx, ((dy > 0) + half_y * np.sign(dy) - y0) / dy)
            if reach < 1.3:
                length = float(reach * rng.uniform(0.9, 1.4))
                return x0 + length * dx, y0 + length * dy
            continue
        length = rng.uniform(0.25, 0.75)
        x, y = x0 + length * dx, y0 + length * dy
        if 0.6 * half_x <= x <= 1 - 0.6 * half_x and 0.6 * half_y <= y <= 1 - 0.6 * half_y:
            return x, y
    return (1 - x0, 1 - y0)


def _line(rng: np.random.Generator, wish: Wish, times: Doubles) -> tuple[Doubles, Doubles, str]:
    x1, y1 = _goal(rng, wish)
    progress = ease(rng, times)
    return wish.start[0] + (x1 - wish.start[0]) * progress, wish.start[1] + (y1 - wish.start[1]) * progress, "moves"


def _curve(rng: np.random.Generator, wish: Wish, times: Doubles) -> tuple[Doubles, Doubles, str]:
    """A cubic Bezier curve with random handles."""
    x1, y1 = _goal(rng, wish)
    progress = ease(rng, times)
    ends = np.array([wish.start, wish.start, (x1, y1), (x1, y1)])
    ends[1:3] += rng.normal(0, 0.28, (2, 2)) * (1.0, 0.35 if wish.upright else 1.0)
    if not wish.leaves:
        ends[1:3] = np.clip(ends[1:3], 0.0, 1.0)
    p = progress[:, None]
    points = (1 - p) ** 3 * ends[0] + 3 * (1 - p) ** 2 * p * ends[1] + 3 * (1 - p) * p**2 * ends[2] + p**3 * ends[3]
    return points[:, 0], points[:, 1], "moves"


def _bounce(rng: np.random.Generator, wish: Wish, times: Doubles) -> tuple[Doubles, Doubles, str]:
    """A ball's way: hops that lose height, while drifting sideways."""
    x1, _ = _goal(rng, wish)
    hops, height = rng.uniform(1.5, 3.5), rng.uniform(0.15, 0.4)
    floor = wish.start[1]
    height = min(height, max(floor - wish.radius, 0.1))
    swing = np.abs(np.sin(np.pi * hops * times)) * (1 - 0.4 * times)
    return wish.start[0] + (x1 - wish.start[0]) * times, floor - height * swing, "bounces"


def _orbit(rng: np.random.Generator, wish: Wish, times: Doubles) -> tuple[Doubles, Doubles, str]:
    """Part of a circle through the start."""
    centre = np.clip(np.asarray(wish.start) + rng.normal(0, 0.2, 2), 0.3, 0.7)
    offset = np.asarray(wish.start) - centre
    turn = rng.choice([-1, 1]) * rng.uniform(0.25, 0.8) * 2 * np.pi * ease(rng, times)
    x = centre[0] + offset[0] * np.cos(turn) - offset[1] * np.sin(turn)
    y = centre[1] + offset[0] * np.sin(turn) + offset[1] * np.cos(turn)
    return x, y, "moves"


def _there_and_back(rng: np.random.Generator, wish: Wish, times: Doubles) -> tuple[Doubles, Doubles, str]:
    """To the goal and part of the way back; with a goal outside the object leaves and returns."""
    x1, y1 = _goal(rng, wish)
    progress = np.sin(np.pi * times * rng.uniform(0.75, 1.0))
    return wish.start[0] + (x1 - wish.start[0]) * progress, wish.start[1] + (y1 - wish.start[1]) * progress, "returns"


PATHS: tuple[tuple[Callable[[np.random.Generator, Wish, Doubles], tuple[Doubles, Doubles, str]], float], ...] = (
    (_line, 0.36),
    (_curve, 0.32),
    (_bounce, 0.12),
    (_orbit, 0.08),
    (_there_and_back, 0.12),
)


def _stretch(rng: np.random.Generator, wish: Wish, times: Doubles) -> Doubles:
    """Shapes sometimes narrow like a card that turns, or grow longer along one axis; characters never."""
    factors = np.ones((len(times), 2))
    pick = rng.random()
    if wish.upright or pick > 0.3:
        return factors
    axis = int(rng.integers(2))
    if pick < 0.15:
        factors[:, axis] = 1 - rng.uniform(0.4, 0.75) * np.sin(np.pi * times * rng.uniform(0.5, 2)) ** 2
    else:
        factors[:, axis] = np.exp(rng.uniform(-0.6, 0.5) * ease(rng, times))
    return factors


def random_motion(rng: np.random.Generator, wish: Wish, times: Doubles) -> Motion:
    """A moving object's path, at ``times`` in [0, 1] with times[0] = 0."""
    shares = np.array([share for _, share in PATHS])
    path = PATHS[int(rng.choice(len(PATHS), p=shares / shares.sum()))][0]
    x, y, verb = path(rng, wish, times)
    scale, angle = np.ones_like(times), np.zeros_like(times)
    if wish.scales:
        factor = float(np.exp(rng.choice([-1, 1]) * rng.uniform(0.2, 0.65)))
        factor = min(factor, 0.95 / max(wish.radius * 2, 1e-3))
        scale = np.exp(np.log(factor) * ease(rng, times))
        verb = "grows" if factor > 1 else "shrinks"
    if wish.turns:
        amount = rng.uniform(6, 18) if wish.upright else rng.uniform(40, 270)
        progress = np.sin(2 * np.pi * times * rng.uniform(0.5, 1.5)) if wish.upright else ease(rng, times)
        angle = rng.choice([-1.0, 1.0]) * amount * progress
        verb = verb if wish.upright else "turns"
    steps = np.hypot(np.diff(x) * max(wish.aspect, 1), np.diff(y) / min(wish.aspect, 1))
    return Motion(x, y, scale, angle - angle[0], _stretch(rng, wish, times), verb, float(steps.sum()))


def standing(start: tuple[float, float], times: Doubles) -> Motion:
    """An object that keeps its place."""
    still = np.zeros_like(times)
    return Motion(
        still + start[0], still + start[1], np.ones_like(times), still, np.ones((len(times), 2)), "stands", 0.0
    )
