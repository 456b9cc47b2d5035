"""Procedural textures, all (H, W, 3) uint8 RGB, drawn from a numpy Generator."""

from collections.abc import Callable

import cv2
import numpy as np

from magicgen.synthetic.colours import Images, random_palette
from magicgen.synthetic.geometry import Floats
from magicgen.synthetic.photos import photo_crop

Texture = Callable[[np.random.Generator, int, int], Images]


def fractal_noise(rng: np.random.Generator, height: int, width: int, octaves: int = 4, cells: float = 3.0) -> Floats:
    """Smooth noise of several octaves, (height, width) float32 in [0, 1]; ``cells`` across the shorter side."""
    total = np.zeros((height, width), np.float32)
    gain, frequency = 1.0, cells
    persistence = rng.uniform(0.35, 0.65)
    for _ in range(octaves):
        rows = max(2, round(frequency * height / min(height, width)) + 1)
        columns = max(2, round(frequency * width / min(height, width)) + 1)
        grid = rng.random((rows, columns), dtype=np.float32)
        total += gain * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        gain, frequency = gain * persistence, frequency * 2
        if frequency > min(height, width) / 2:
            break
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def coloured(values: Floats, colours: Floats) -> Images:
    """(H, W) in [0, 1] through a table of colours with linear interpolation between them."""
    stops = np.linspace(0, 255, len(colours))
    table = np.stack([np.interp(np.arange(256), stops, colours[:, channel]) for channel in range(3)], axis=1)
    return table.astype(np.uint8)[(np.clip(values, 0, 1) * 255).astype(np.uint8)]


def _grid(rng: np.random.Generator, height: int, width: int) -> tuple[Floats, Floats]:
    """Rotated coordinates in units of the shorter side, with a little smooth warping in half of the cases."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(min(height, width))
    angle = rng.uniform(0, np.pi) if rng.random() < 0.6 else 0.0
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = cosine * x + sine * y, cosine * y - sine * x
    if rng.random() < 0.4:
        u = u + np.float32(rng.uniform(0.02, 0.2)) * fractal_noise(rng, height, width, 2, 2.0)
    return u, v


def plain(rng: np.random.Generator, height: int, width: int) -> Images:
    """One colour, or a soft gradient between two close ones."""
    colours = random_palette(rng, 2)
    colours[1] = colours[0] + (colours[1] - colours[0]) * np.float32(rng.choice([0.0, 0.25, 0.6]))
    u, _ = _grid(rng, height, width)
    return coloured((u - u.min()) / max(float(np.ptp(u)), 1e-6), colours)


def noise(rng: np.random.Generator, height: int, width: int) -> Images:
    """Coloured multi-octave noise."""
    values = fractal_noise(rng, height, width, int(rng.integers(2, 7)), rng.uniform(1.5, 12))
    return coloured(values, random_palette(rng, int(rng.integers(2, 6))))


def stripes(rng: np.random.Generator, height: int, width: int) -> Images:
    """Hard or soft stripes of two to four colours."""
    u, _ = _grid(rng, height, width)
    colours = random_palette(rng, int(rng.integers(2, 5)))
    position = u * np.float32(rng.uniform(3, 14))
    if rng.random() < 0.3:
        return coloured((np.sin(position * 3) + 1) / 2, colours)
    return colours.astype(np.uint8)[np.floor(position).astype(np.int32) % len(colours)]


def checks(rng: np.random.Generator, height: int, width: int) -> Images:
    """A chessboard of two colours, sometimes three."""
    u, v = _grid(rng, height, width)
    size = np.float32(rng.uniform(3, 12))
    colours = random_palette(rng, 3).astype(np.uint8)
    index = (np.floor(u * size) + np.floor(v * size)).astype(np.int32) % int(rng.integers(2, 4))
    return colours[index]


def dots(rng: np.random.Generator, height: int, width: int) -> Images:
    """Round dots on a plain ground."""
    u, v = _grid(rng, height, width)
    size = np.float32(rng.uniform(3, 12))
    distance = np.hypot((u * size) % 1 - 0.5, (v * size) % 1 - 0.5)
    edge = 0.12 * size * 8 / min(height, width) + 0.02
    values = np.clip((np.float32(rng.uniform(0.18, 0.42)) - distance) / edge + 0.5, 0, 1)
    return coloured(values.astype(np.float32), random_palette(rng, 2))


def bricks(rng: np.random.Generator, height: int, width: int) -> Images:
    """A brick wall with mortar; every brick has its own tint."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(min(height, width))
    rows = np.float32(rng.uniform(4, 11))
    row = np.floor(y * rows)
    across = x * rows / np.float32(rng.uniform(1.6, 2.6)) + 0.5 * (row % 2)
    column = np.floor(across)
    tints = rng.normal(1, 0.09, (64, 64)).astype(np.float32)
    tint = tints[row.astype(np.int32) % 64, column.astype(np.int32) % 64]
    brick, mortar = random_palette(rng, 2)
    image = brick * (tint * (0.85 + 0.3 * fractal_noise(rng, height, width, 4, 12)))[..., None]
    is_mortar = ((y * rows) % 1 < 0.12) | (across % 1 < 0.06)
    image[is_mortar] = mortar
    return np.clip(image, 0, 255).astype(np.uint8)


def marble(rng: np.random.Generator, height: int, width: int) -> Images:
    """Veins: a sine bent by noise; wood where the veins are many and straight."""
    u, v = _grid(rng, height, width)
    bend = fractal_noise(rng, height, width, 5, rng.uniform(2, 5))
    values = np.sin((u * rng.uniform(2, 12) + v * rng.uniform(0, 2) + bend * rng.uniform(0.4, 3)) * 2 * np.pi)
    return coloured((values.astype(np.float32) + 1) / 2, random_palette(rng, int(rng.integers(2, 5))))


def waves(rng: np.random.Generator, height: int, width: int) -> Images:
    """Interfering ripples."""
    u, v = _grid(rng, height, width)
    total = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(2, 5))):
        fx, fy = rng.normal(0, 6, 2)
        total += np.sin(2 * np.pi * (np.float32(fx) * u + np.float32(fy) * v)).astype(np.float32)
    return coloured(
        (total - total.min()) / max(float(np.ptp(total)), 1e-6), random_palette(rng, int(rng.integers(2, 5)))
    )


def cells(rng: np.random.Generator, height: int, width: int) -> Images:
    """Cobbles: every pixel takes the colour of its nearest random point, darker towards the border."""
    count = int(rng.integers(12, 140))
    seeds = np.full((height, width), 255, np.uint8)
    seeds[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    distance, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    colours = random_palette(rng, 5)[rng.integers(0, 5, int(labels.max()) + 1)]
    image = colours[labels]
    if rng.random() < 0.7:
        image = image * (1 - 0.6 * np.clip(distance / max(float(distance.max()), 1), 0, 1))[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


def leaves(rng: np.random.Generator, height: int, width: int) -> Images:
    """Overlapping discs and boxes of every size: the edges and scales of natural pictures ("dead leaves")."""
    image = coloured(fractal_noise(rng, height, width), random_palette(rng, 3))
    colours = random_palette(rng, 12)
    short = min(height, width)
    # sizes follow a power law with exponent -3 as in natural pictures
    sizes = short * 0.5 / np.sqrt(1 + rng.random(int(rng.integers(80, 260))) * 900)
    for size in rng.permutation(np.maximum(sizes, 1.5)):
        colour = np.clip(colours[rng.integers(12)] * rng.uniform(0.7, 1.2), 0, 255).tolist()
        x, y = int(rng.integers(width)), int(rng.integers(height))
        radius, flat = max(1, int(size)), max(1, int(size * rng.uniform(0.4, 1)))
        if rng.random() < 0.6:
            cv2.ellipse(image, (x, y), (radius, flat), float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
        else:
            corners = cv2.boxPoints(((x, y), (2.0 * radius, 2.0 * flat), float(rng.uniform(0, 90))))
            cv2.fillConvexPoly(image, corners.astype(np.int32), colour, cv2.LINE_AA)
    light = 0.7 + 0.6 * fractal_noise(rng, height, width, 5, rng.uniform(2, 8))
    return np.clip(image * light[..., None], 0, 255).astype(np.uint8)


def mixed(rng: np.random.Generator, height: int, width: int) -> Images:
    """Two textures meeting along a ragged border: ground and wall, water and shore."""
    pair = [_SIMPLE[int(rng.integers(len(_SIMPLE)))](rng, height, width) for _ in range(2)]
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None] if rng.random() < 0.6 else np.float32(0.5)
    field = fractal_noise(rng, height, width, 4, rng.uniform(1.5, 4)) * np.float32(rng.uniform(0.2, 1.0)) + ramp
    share = np.clip((field - np.median(field)) * np.float32(rng.choice([4.0, 60.0])) + 0.5, 0, 1)[..., None]
    return (pair[0] * (1 - share) + pair[1] * share).astype(np.uint8)


_SIMPLE: tuple[Texture, ...] = (plain, noise, stripes, checks, dots, bricks, marble, cells, leaves)


def collage(rng: np.random.Generator, height: int, width: int) -> Images:
    """Dozens of random ellipses, boxes and strokes over each other: edges of every direction."""
    image = np.empty((height, width, 3), np.uint8)
    colours = random_palette(rng, 8)
    image[:] = colours[0]
    for _ in range(int(rng.integers(15, 60))):
        colour = tuple(float(c) for c in colours[rng.integers(8)])
        x, y = int(rng.integers(width)), int(rng.integers(height))
        a, b = (rng.uniform(0.02, 0.25, 2) * min(height, width)).astype(int) + 1
        match int(rng.integers(3)):
            case 0:
                cv2.ellipse(
                    image, (x, y), (int(a), int(b)), float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA
                )
            case 1:
                corners = cv2.boxPoints(((x, y), (2.0 * a, 2.0 * b), float(rng.uniform(0, 90))))
                cv2.fillConvexPoly(image, corners.astype(np.int32), colour, cv2.LINE_AA)
            case _:
                end = (x + int(rng.integers(-3 * a, 3 * a + 1)), y + int(rng.integers(-3 * b, 3 * b + 1)))
                cv2.line(image, (x, y), end, colour, int(rng.integers(1, 6)), cv2.LINE_AA)
    return image


PROCEDURAL: dict[str, Texture] = {
    "plain": plain,
    "noisy": noise,
    "striped": stripes,
    "checked": checks,
    "dotted": dots,
    "brick": bricks,
    "marbled": marble,
    "spotted": cells,
    "colorful": collage,
    "textured": leaves,
    "wavy": waves,
    "shaded": mixed,
}
"""Caption word -> texture."""


def random_texture(
    rng: np.random.Generator, height: int, width: int, photo_share: float, held_out: bool = False
) -> tuple[str, Images]:
    """A texture and its caption word; ``photo_share`` of them are parts of photos."""
    if rng.random() < photo_share:
        name, image = "photo", photo_crop(rng, height, width, held_out)
    else:
        names = tuple(PROCEDURAL)
        name = names[int(rng.integers(len(names)))]
        image = PROCEDURAL[name](rng, height, width)
    if rng.random() < 0.25:
        grain = fractal_noise(rng, height, width, 5, 6) * 0.4 + 0.8
        image = np.clip(image * grain[..., None], 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        radius = 1 + 2 * int(rng.integers(1, max(2, min(height, width) // 24)))
        image = cv2.blur(cv2.blur(image, (radius, radius)), (radius, radius))
    return name, image
