"""Storybook pictures to order: given characters at given boxes in a given place, and whole stories of such panels."""

from dataclasses import dataclass, replace

import numpy as np

from magicgen.errors import ConfigError
from magicgen.synthetic.actors import CharacterActor, Place
from magicgen.synthetic.captions import listed, with_article
from magicgen.synthetic.characters import Design, build, random_design
from magicgen.synthetic.compose import GroundShadow
from magicgen.synthetic.geometry import Floats
from magicgen.synthetic.kinds import KINDS
from magicgen.synthetic.landscapes import PLACES, TIMES, draw_place
from magicgen.synthetic.plan import Background, ObjectPlan, ScenePlan, SceneSettings, place_words
from magicgen.synthetic.poses import Action, posed
from magicgen.synthetic.scene import EVALUATION_STREAM, SceneClip, render_scene

Box = tuple[float, float, float, float]
TOLD = (Action.STANDS, Action.WALKS, Action.WAVES, Action.JUMPS, Action.SITS, Action.DANCES, Action.TALKS)
"""Actions that a single picture can tell apart."""


YAWS = (0.0, 0.0, 35.0, -35.0, 90.0, -90.0)
"""View angles that stories use."""


@dataclass(frozen=True)
class Figure:
    """A character in a panel.

    Attributes:
        design: who it is.
        box: normalised [x0, y0, x1, y1]; the drawing keeps its aspect and stands on the middle of the lower edge.
        action: what it does.
        yaw: view angle in degrees: 0 front, 90 facing right, 180 back, -90 facing left.
    """

    design: Design
    box: Box
    action: Action = Action.STANDS
    yaw: float = 0.0

    @property
    def prompt(self) -> str:
        """The local prompt: who, what, which view."""
        return f"{with_article(self.design.phrase)} {self.action.value}{_view(self.yaw)}"


@dataclass(frozen=True)
class Panel:
    """One picture of a story; figures from back to front. ``ground`` seeds what the place looks like."""

    place: str
    time: str
    figures: tuple[Figure, ...]
    ground: int

    @property
    def caption(self) -> str:
        """Every figure with its side of the picture, then the place."""
        parts = [f"{figure.prompt}{_side(figure.box)}" for figure in self.figures]
        return f"{listed(parts)} {place_words(self.place, self.time)}"


def _view(yaw: float) -> str:
    turned = (yaw + 180) % 360 - 180
    if abs(turned) < 20:
        return ""
    if abs(turned) > 150:
        return " facing away"
    return " facing right" if turned > 0 else " facing left"


def _side(box: Box) -> str:
    middle = 0.5 * (box[0] + box[2])
    return " on the left" if middle < 0.4 else (" on the right" if middle > 0.6 else " in the middle")


def fitted(figure: Figure, settings: SceneSettings, phase: float) -> Place:
    """The place at which the drawing fills the box as far as its aspect allows."""
    x0, y0, x1, y1 = figure.box
    pose, outline = posed(figure.action, phase, figure.design.frame), _outline(figure, phase)
    (left, low), (right, high) = outline.min(axis=0), outline.max(axis=0)
    size = min((x1 - x0) * settings.width / (right - left), (y1 - y0) * settings.height / (high - low))
    # the body's own centre lies at x = 0, y = 1/2 of its unit height
    x = 0.5 * (x0 + x1) * settings.width - 0.5 * float(left + right) * size
    y = y1 * settings.height + (float(low) - 0.5) * size
    return Place(float(x), float(y), float(size), 0.0, figure.yaw, pose)


def tightened(figure: Figure, aspect: float) -> Figure:
    """The same figure with its box shrunk to what the drawing covers; ``aspect`` = width / height of the picture."""
    outline, place = _outline(figure, 1.2), fitted(figure, SceneSettings(height=1000, width=round(1000 * aspect)), 1.2)
    points = (outline * (1, -1) + (0, 0.5)) * place.size + (place.x, place.y)
    low, high = points.min(axis=0) / (1000 * aspect, 1000), points.max(axis=0) / (1000 * aspect, 1000)
    return replace(figure, box=(float(low[0]), float(low[1]), float(high[0]), float(high[1])))


def _outline(figure: Figure, phase: float) -> Floats:
    """(n, 2) points of all parts in body units."""
    puppet = build(figure.design, posed(figure.action, phase, figure.design.frame), figure.yaw)
    return np.concatenate([part.outline for part in puppet.parts])


def _object(figure: Figure, settings: SceneSettings) -> ObjectPlan:
    times = np.linspace(0, 2 * np.pi, settings.frames, endpoint=False)
    first = fitted(figure, settings, 1.2)
    # standing actions breathe and wave over the frames without changing size or place
    places = tuple(replace(first, pose=posed(figure.action, 1.2 + t, figure.design.frame)) for t in times)
    design = figure.design
    return ObjectPlan(
        design.phrase,
        figure.action.value,
        design.colour,
        design.kind,
        CharacterActor(design),
        design,
        places,
        GroundShadow(0.35),
    )


def panel_scene(panel: Panel, settings: SceneSettings) -> SceneClip:
    """Draw a panel as a clip of ``settings.frames`` frames (1 gives a picture) with all its ground truth.

    Raises:
        ConfigError: an unknown place or time, or a box without area.
    """
    if panel.place not in PLACES or panel.time not in TIMES:
        raise ConfigError(
            f"No place {panel.place!r} at {panel.time!r}. Places: {', '.join(PLACES)}; times: {', '.join(TIMES)}."
        )
    for figure in panel.figures:
        x0, y0, x1, y1 = figure.box
        if not (x1 > x0 and y1 > y0):
            raise ConfigError(f"The box {figure.box} of {figure.design.phrase} needs x1 > x0 and y1 > y0.")
    ground = np.random.default_rng(panel.ground)
    image = draw_place(ground, settings.height, settings.width, panel.place, panel.time)
    objects = tuple(_object(figure, settings) for figure in panel.figures)
    background = Background(image, 0.0, place_words(panel.place, panel.time))
    clip = render_scene(ScenePlan(settings, objects, background, None, np.ones(settings.frames)))
    return replace(clip, caption=panel.caption)


@dataclass(frozen=True)
class Story:
    """A cast that appears again and again, and the panels."""

    cast: tuple[Design, ...]
    panels: tuple[Panel, ...]


def _boxes(rng: np.random.Generator, count: int, tall: list[float]) -> list[Box]:
    """Boxes side by side on the ground, in a random order, hardly overlapping; ``tall`` scales their heights."""
    slots = rng.permutation(count)
    width = 0.92 / count
    boxes = []
    for index in range(count):
        height = float(np.clip(rng.uniform(0.5, 0.75) * tall[index], 0.35, 0.85))
        centre = 0.04 + width * (slots[index] + 0.5) + rng.uniform(-0.12, 0.12) * width
        half = min(0.5 * width, 0.3) * rng.uniform(0.8, 1.0)
        bottom = rng.uniform(0.86, 0.97)
        boxes.append((float(centre - half), float(bottom - height), float(centre + half), float(bottom)))
    return boxes


def _cast(rng: np.random.Generator, count: int, held_out: bool) -> tuple[Design, ...]:
    """Characters that differ in kind."""
    kinds = rng.permutation(list(KINDS))[:count]
    return tuple(random_design(rng, held_out, str(kind)) for kind in kinds)


def random_story(
    rng: np.random.Generator, panels: int = 4, max_characters: int = 3, held_out: bool = False, aspect: float = 1.5
) -> Story:
    """A story of panels in one or two places, with one to ``max_characters`` characters, each in at least one panel.

    Boxes are tight around the drawings in a picture with ``aspect`` = width / height.
    """
    cast = _cast(rng, int(rng.integers(1, max_characters + 1)), held_out)
    where = [(str(rng.choice(list(PLACES))), str(rng.choice(list(TIMES))), int(rng.integers(2**31))) for _ in range(2)]
    change = int(rng.integers(1, panels + 1))
    told = []
    for index in range(panels):
        shown = [who for who in cast if rng.random() < 0.75] or [cast[index % len(cast)]]
        if index == 0:
            shown = list(cast)
        place, time, ground = where[int(index >= change)]
        boxes = _boxes(rng, len(shown), [1.15 if KINDS[who.kind].frame.head_y > 0.75 else 0.95 for who in shown])
        figures = [
            tightened(Figure(who, box, TOLD[int(rng.integers(len(TOLD)))], float(rng.choice(YAWS))), aspect)
            for who, box in zip(shown, boxes, strict=True)
        ]
        figures.sort(key=lambda figure: figure.box[3])
        told.append(Panel(place, time, tuple(figures), ground))
    return Story(cast, tuple(told))


def held_out_stories(count: int, seed: int, panels: int = 4, aspect: float = 1.5) -> list[Story]:
    """A fixed evaluation set: combinations of kind and accessory, and random streams, that training never sees."""
    seeds = [np.random.SeedSequence([EVALUATION_STREAM, seed, index, 1]) for index in range(count)]
    return [random_story(np.random.default_rng(words), panels, 3, True, aspect) for words in seeds]
