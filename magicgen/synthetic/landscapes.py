"""Storybook backgrounds: drawn places at a time of day, (H, W, 3) uint8 RGB."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from magicgen.synthetic.colours import NAMED_COLOURS, Colour, Images, random_colour, shade, varied
from magicgen.synthetic.geometry import Floats, f32
from magicgen.synthetic.textures import fractal_noise


@dataclass(frozen=True)
class Light:
    """A time of day: sky colours (top, horizon) and the tint that multiplies the land, each RGB."""

    sky: tuple[Colour, Colour]
    tint: tuple[float, float, float]


TIMES: dict[str, Light] = {
    "day": Light(((96, 168, 232), (206, 232, 246)), (1.0, 1.0, 1.0)),
    "morning": Light(((150, 196, 236), (252, 226, 196)), (1.02, 0.99, 0.94)),
    "evening": Light(((92, 90, 160), (250, 170, 110)), (0.92, 0.78, 0.74)),
    "night": Light(((18, 24, 62), (54, 64, 120)), (0.42, 0.48, 0.72)),
}


class Painter:
    """Draws in coordinates of the unit square (x right, y down) on a canvas of any size."""

    def __init__(self, rng: np.random.Generator, height: int, width: int, light: Light) -> None:
        self.rng, self.light = rng, light
        self.height, self.width = height, width
        self.image: Images = np.zeros((height, width, 3), np.uint8)

    def lit(self, colour: Colour) -> Colour:
        """The colour under the scene's light."""
        red, green, blue = (min(255.0, c * t) for c, t in zip(colour, self.light.tint, strict=True))
        return (red, green, blue)

    def polygon(self, points: Floats, colour: Colour) -> None:
        """Fill a polygon given as (n, 2) unit coordinates."""
        pixels = np.round(points * (self.width, self.height) * 16).astype(np.int32)
        cv2.fillPoly(self.image, [pixels], self.lit(colour), cv2.LINE_AA, 4)

    def disc(self, x: float, y: float, radius: float, colour: Colour, stretch: float = 1.0) -> None:
        """A disc with a radius in units of the height, ``stretch`` times as wide as high."""
        centre = (round(x * self.width * 16), round(y * self.height * 16))
        axes = (round(radius * stretch * self.height * 16), round(radius * self.height * 16))
        cv2.ellipse(self.image, centre, axes, 0, 0, 360, self.lit(colour), -1, cv2.LINE_AA, 4)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """A filled axis-parallel rectangle."""
        self.polygon(f32([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), colour)

    def gradient(self, y0: float, y1: float, top: Colour, bottom: Colour, lit: bool = True) -> None:
        """A vertical gradient over the full width between two heights."""
        first, last = int(y0 * self.height), max(int(y1 * self.height), int(y0 * self.height) + 1)
        ramp = np.linspace(0, 1, last - first, dtype=np.float32)[:, None]
        a, b = (self.lit(top), self.lit(bottom)) if lit else (top, bottom)
        band = np.asarray(a, np.float32) * (1 - ramp) + np.asarray(b, np.float32) * ramp
        self.image[first:last] = band[:, None].astype(np.uint8)[: self.height - first]

    def ridge(self, level: float, roughness: float, colour: Colour, octaves: int = 3, cells: float = 2.0) -> None:
        """Everything below a wavy horizon at height ``level``."""
        line = fractal_noise(self.rng, 8, 64, octaves, cells)[0]
        x = np.linspace(0, 1, 64, dtype=np.float32)
        y = level + roughness * (line - line.mean())
        outline = np.concatenate([np.stack([x, y], 1), f32([[1.0, 1.0], [0.0, 1.0]])])
        self.polygon(outline.astype(np.float32), colour)

    def cloud(self, x: float, y: float, size: float) -> None:
        """A few white discs."""
        for _ in range(5):
            dx, dy = self.rng.uniform(-1.6, 1.6) * size, self.rng.uniform(-0.3, 0.3) * size
            self.disc(
                x + dx * self.height / self.width, y + dy, size * self.rng.uniform(0.5, 0.9), (250, 250, 252), 1.5
            )

    def tree(self, x: float, base: float, size: float, conifer: bool, green: Colour) -> None:
        """A fir or a round-crowned tree standing at (x, base)."""
        aspect = self.height / self.width
        self.box(x - 0.05 * size * aspect, base - 0.5 * size, x + 0.05 * size * aspect, base, (112, 78, 52))
        if conifer:
            for level in range(3):
                top, half = base - size + 0.22 * size * level, (0.18 + 0.07 * level) * size * aspect
                triangle = [[x, top], [x + half, top + 0.36 * size], [x - half, top + 0.36 * size]]
                self.polygon(f32(triangle), shade(green, 0.92 + 0.08 * level))
            return
        for dx, dy, radius in ((-0.16, -0.6, 0.2), (0.16, -0.6, 0.2), (0.0, -0.75, 0.24), (0.0, -0.58, 0.2)):
            self.disc(x + dx * size * aspect, base + dy * size, radius * size, shade(green, 1 + 0.1 * (dy < -0.7)))

    def house(self, x: float, base: float, size: float) -> None:
        """A small house with a gable roof, a door and two windows."""
        half = 0.32 * size * self.height / self.width
        wall = varied(self.rng, NAMED_COLOURS[str(self.rng.choice(["white", "yellow", "pink", "teal", "silver"]))])
        roof = varied(self.rng, NAMED_COLOURS[str(self.rng.choice(["red", "brown", "purple", "blue"]))])
        self.box(x - half, base - 0.6 * size, x + half, base, wall)
        gable = [[x - 1.25 * half, base - 0.58 * size], [x + 1.25 * half, base - 0.58 * size], [x, base - size]]
        self.polygon(f32(gable), roof)
        self.box(x - 0.22 * half, base - 0.26 * size, x + 0.22 * half, base, shade(roof, 0.6))
        pane = (255, 232, 150) if self.light is TIMES["night"] else (170, 206, 226)
        for side in (-0.6, 0.6):
            self.box(x + (side - 0.2) * half, base - 0.46 * size, x + (side + 0.2) * half, base - 0.32 * size, pane)

    def sky(self, horizon: float) -> None:
        """Gradient, sun or moon with stars, clouds."""
        top, bottom = (varied(self.rng, colour, 14) for colour in self.light.sky)
        self.image[:] = f32(bottom).astype(np.uint8)
        self.gradient(0, horizon + 0.05, top, bottom, lit=False)
        x, y = self.rng.uniform(0.08, 0.92), self.rng.uniform(0.08, 0.25)
        if self.light is TIMES["night"]:
            for _ in range(40):
                sx, sy = self.rng.uniform(0, 1), self.rng.uniform(0, horizon)
                self.disc(sx, sy, self.rng.uniform(0.002, 0.006), (500, 500, 330))
            self.moon(x, y, 0.07)
        elif self.rng.random() < 0.6:
            self.disc(x, y, 0.06, (255, 226, 120))
        for _ in range(int(self.rng.integers(0, 4))):
            self.cloud(self.rng.uniform(0, 1), self.rng.uniform(0.05, horizon * 0.7), self.rng.uniform(0.03, 0.07))

    def moon(self, x: float, y: float, radius: float) -> None:
        """A crescent."""
        turn = np.linspace(0.25 * np.pi, 1.75 * np.pi, 30)
        outer = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        inner = np.stack([np.cos(turn) * 0.75 + 0.25, np.sin(turn) * 0.98], axis=1)[::-1]
        points = f32(np.concatenate([outer, inner])) * f32((radius * self.height / self.width, radius)) + f32((x, y))
        self.polygon(points, (560, 520, 330))

    def deck(self, top: float) -> None:
        """A wooden jetty towards the viewer, from height ``top`` to the lower border."""
        wood = varied(self.rng, (164, 120, 80), 18)
        self.box(0, top, 1, 1, wood)
        self.box(0, top, 1, top + 0.02, shade(wood, 1.25))
        for offset in np.linspace(-1.6, 1.6, 13):
            near, far = 0.5 + offset, 0.5 + 0.6 * offset
            self.polygon(f32([[far, top], [far + 0.004, top], [near + 0.008, 1], [near, 1]]), shade(wood, 0.7))

    def tufts(self, top: float, colour: Colour, count: int) -> None:
        """Blades of grass, larger towards the viewer."""
        aspect = self.height / self.width
        for y in np.sort(self.rng.uniform(top, 1.0, count)):
            x, size = self.rng.uniform(0, 1), 0.02 + 0.05 * (y - top)
            for lean in (-0.5, 0.0, 0.5):
                tip = [x + lean * size * aspect, y - size]
                blade = [[x - 0.15 * size * aspect, y], [x + 0.15 * size * aspect, y], tip]
                self.polygon(f32(blade), colour)

    def flowers(self, top: float, count: int) -> None:
        """Dots of bright petals."""
        for y in np.sort(self.rng.uniform(top, 1.0, count)):
            x, size = self.rng.uniform(0, 1), 0.006 + 0.016 * (y - top)
            self.disc(x, y, size, random_colour(self.rng))
            self.disc(x, y, size * 0.45, (250, 220, 90))


def _green(rng: np.random.Generator) -> Colour:
    return varied(rng, (96, 164, 78), 24)


def meadow(paint: Painter) -> None:
    """Hills, grass and flowers."""
    rng, green = paint.rng, _green(paint.rng)
    horizon = rng.uniform(0.38, 0.58)
    paint.sky(horizon)
    paint.ridge(horizon, 0.12, shade(green, 1.25))
    for _ in range(int(rng.integers(0, 5))):
        paint.tree(rng.uniform(0, 1), horizon + 0.06, rng.uniform(0.15, 0.35), rng.random() < 0.5, shade(green, 0.8))
    paint.ridge(horizon + 0.12, 0.1, green)
    paint.tufts(horizon + 0.2, shade(green, 0.78), 40)
    paint.flowers(horizon + 0.2, int(rng.integers(5, 40)))


def forest(paint: Painter) -> None:
    """Rows of trees on dark ground."""
    rng, green = paint.rng, varied(paint.rng, (66, 124, 70), 20)
    conifer = rng.random() < 0.6
    horizon = rng.uniform(0.45, 0.6)
    paint.sky(horizon)
    paint.ridge(horizon, 0.04, shade(green, 0.75))
    for row in range(3):
        base = horizon + 0.02 + 0.07 * row
        for x in np.linspace(-0.05, 1.05, int(rng.integers(6, 12))) + rng.uniform(-0.04, 0.04):
            size = rng.uniform(0.4, 0.6) * (0.8 + 0.25 * row)
            paint.tree(float(x) + rng.uniform(-0.04, 0.04), base, size, conifer, shade(green, 1.35 - 0.22 * row))
    paint.ridge(horizon + 0.14, 0.05, varied(rng, (104, 116, 64)))
    paint.tufts(horizon + 0.2, shade(green, 0.8), 45)


def _water(paint: Painter, top: float, bottom: float) -> None:
    paint.gradient(top, bottom, varied(paint.rng, (70, 150, 196)), varied(paint.rng, (40, 104, 168)))
    for y in np.sort(paint.rng.uniform(top, bottom, 30)):
        x, length = paint.rng.uniform(0, 1), paint.rng.uniform(0.02, 0.08)
        paint.box(x, y, x + length, y + 0.006, (150, 204, 228))


def sea(paint: Painter) -> None:
    """Open water behind a jetty, sometimes with an island or a sail."""
    rng = paint.rng
    horizon = rng.uniform(0.3, 0.5)
    paint.sky(horizon)
    if rng.random() < 0.5:
        paint.ridge(horizon - 0.02, 0.1, (120, 150, 130))
    _water(paint, horizon, 1.0)
    if rng.random() < 0.5:
        x, y = rng.uniform(0.1, 0.9), horizon + 0.04
        paint.polygon(f32([[x, y - 0.16], [x, y - 0.02], [x + 0.07, y - 0.02]]), (246, 244, 238))
        paint.polygon(
            f32([[x - 0.05, y - 0.01], [x + 0.08, y - 0.01], [x + 0.05, y + 0.03], [x - 0.02, y + 0.03]]), (150, 84, 56)
        )
    paint.deck(rng.uniform(0.68, 0.8))


def beach(paint: Painter) -> None:
    """Sand before the water."""
    rng = paint.rng
    horizon = rng.uniform(0.3, 0.42)
    paint.sky(horizon)
    _water(paint, horizon, horizon + 0.3)
    paint.ridge(horizon + rng.uniform(0.15, 0.25), 0.06, varied(rng, (238, 214, 160)), 2)
    for _ in range(60):
        paint.disc(rng.uniform(0, 1), rng.uniform(horizon + 0.3, 1), 0.005, varied(rng, (214, 188, 136), 20))


def mountains(paint: Painter) -> None:
    """Ridges of blue rock with meadow in front."""
    rng = paint.rng
    horizon = rng.uniform(0.42, 0.6)
    paint.sky(horizon)
    rock = varied(rng, (120, 130, 160), 20)
    for step in range(3):
        paint.ridge(horizon - 0.2 + 0.1 * step, 0.35 - 0.08 * step, shade(rock, 1.35 - 0.2 * step), 4, 3)
    paint.ridge(horizon + 0.1, 0.08, _green(rng))
    paint.tufts(horizon + 0.2, (70, 120, 60), 30)


def desert(paint: Painter) -> None:
    """Dunes and a few cacti."""
    rng = paint.rng
    horizon = rng.uniform(0.4, 0.6)
    paint.sky(horizon)
    sand = varied(rng, (226, 178, 108), 16)
    for step in range(3):
        paint.ridge(horizon + 0.13 * step, 0.12, shade(sand, 1.15 - 0.1 * step), 2)
    for _ in range(int(rng.integers(0, 4))):
        x, base, size = rng.uniform(0, 1), horizon + rng.uniform(0.1, 0.2), rng.uniform(0.08, 0.16)
        paint.box(x, base - size, x + 0.03, base, (84, 140, 84))
        paint.box(x - 0.04, base - 0.7 * size, x, base - 0.55 * size, (84, 140, 84))


def snow(paint: Painter) -> None:
    """White ground, firs, falling flakes."""
    rng = paint.rng
    horizon = rng.uniform(0.45, 0.6)
    paint.sky(horizon)
    paint.ridge(horizon, 0.15, (214, 224, 238))
    for _ in range(int(rng.integers(3, 9))):
        paint.tree(rng.uniform(0, 1), horizon + rng.uniform(0.04, 0.1), rng.uniform(0.25, 0.45), True, (92, 138, 122))
    paint.ridge(horizon + 0.1, 0.08, (240, 244, 250))
    for _ in range(50):
        paint.disc(rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.004, 0.009), (255, 255, 255))


def town(paint: Painter) -> None:
    """A row of houses along a street."""
    rng = paint.rng
    horizon = rng.uniform(0.5, 0.62)
    paint.sky(horizon)
    paint.ridge(horizon - 0.05, 0.1, (150, 178, 150))
    for x in np.linspace(0.02, 0.98, int(rng.integers(4, 7))):
        paint.house(float(x) + rng.uniform(-0.03, 0.03), horizon + 0.06, rng.uniform(0.35, 0.55))
    paint.gradient(horizon + 0.05, 1.0, (176, 168, 156), (150, 144, 138))
    for y in np.linspace(horizon + 0.1, 0.98, 7):
        for x in np.arange(0, 1, 0.09) + rng.uniform(0, 0.09):
            paint.disc(float(x), float(y), 0.012, (136, 130, 124), 2.0)


def castle(paint: Painter) -> None:
    """Towers with battlements on a hill."""
    rng = paint.rng
    horizon = rng.uniform(0.45, 0.58)
    paint.sky(horizon)
    paint.ridge(horizon, 0.1, (140, 180, 120))
    stone, roof = varied(rng, (176, 170, 170)), varied(rng, NAMED_COLOURS["red"])
    centre = rng.uniform(0.3, 0.7)
    paint.box(centre - 0.2, horizon - 0.18, centre + 0.2, horizon + 0.08, stone)
    for x, size in ((-0.22, 0.4), (0.22, 0.4), (-0.07, 0.5), (0.1, 0.36)):
        left, top = centre + x - 0.045, horizon + 0.08 - size
        paint.box(left, top, left + 0.09, horizon + 0.08, shade(stone, 0.94))
        paint.polygon(f32([[left - 0.015, top], [left + 0.105, top], [left + 0.045, top - 0.16]]), roof)
        paint.box(left + 0.03, top + 0.06, left + 0.06, top + 0.14, (70, 66, 80))
    paint.ridge(horizon + 0.1, 0.06, _green(rng))
    paint.tufts(horizon + 0.2, (70, 120, 60), 30)


def room(paint: Painter) -> None:
    """A wall with paper, a window, a picture, a floor and a rug."""
    rng = paint.rng
    horizon = rng.uniform(0.6, 0.72)
    wall, floor = shade(random_colour(rng), 1.45), varied(rng, (172, 122, 80), 24)
    paint.gradient(0, horizon, shade(wall, 1.1), wall)
    stripe = shade(wall, 0.93)
    for x in np.arange(0, 1, 0.1):
        paint.box(float(x), 0, float(x) + 0.04, horizon, stripe)
    paint.gradient(horizon, 1, floor, shade(floor, 0.8))
    for y in np.linspace(horizon, 1, 6):
        paint.box(0, float(y), 1, float(y) + 0.006, shade(floor, 0.7))
    paint.box(0, horizon - 0.03, 1, horizon, (240, 234, 224))
    x = rng.uniform(0.08, 0.65)
    paint.box(x, 0.1, x + 0.24, 0.48, (240, 236, 226))
    paint.box(x + 0.015, 0.125, x + 0.225, 0.455, paint.light.sky[1])
    paint.box(x + 0.114, 0.12, x + 0.126, 0.46, (240, 236, 226))
    x = (x + rng.uniform(0.32, 0.6)) % 0.85
    paint.box(x, 0.14, x + 0.13, 0.34, (150, 104, 60))
    paint.box(x + 0.012, 0.16, x + 0.118, 0.32, random_colour(rng))
    paint.disc(rng.uniform(0.3, 0.7), rng.uniform(0.84, 0.9), 0.09, random_colour(rng), 3.4)


PLACES: dict[str, Callable[[Painter], None]] = {
    "meadow": meadow,
    "forest": forest,
    "sea": sea,
    "beach": beach,
    "mountains": mountains,
    "desert": desert,
    "snow": snow,
    "town": town,
    "castle": castle,
    "room": room,
}


def paint_place(rng: np.random.Generator, height: int, width: int, place: str, time: str) -> Images:
    """A place of :data:`PLACES` at a time of :data:`TIMES`, in flat paint."""
    paint = Painter(rng, height, width, TIMES[time])
    PLACES[place](paint)
    return paint.image


def draw_place(rng: np.random.Generator, height: int, width: int, place: str, time: str) -> Images:
    """:func:`paint_place` with soft paper grain."""
    return grained(rng, paint_place(rng, height, width, place, time))


def grained(rng: np.random.Generator, image: Images) -> Images:
    """A picture on paper with a soft grain."""
    grain = 0.94 + 0.12 * fractal_noise(rng, image.shape[0], image.shape[1], 4, 8)
    return np.clip(image * grain[..., None], 0, 255).astype(np.uint8)
