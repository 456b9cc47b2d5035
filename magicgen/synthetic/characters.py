"""Designs of storybook characters and their drawing as polygons in any pose and view."""

from dataclasses import dataclass, replace

import numpy as np

from magicgen.synthetic.accessories import ACCESSORIES
from magicgen.synthetic.bodies import CREAM, Marks, Paint
from magicgen.synthetic.colours import NAMED_COLOURS, Colour, shade, varied
from magicgen.synthetic.kinds import KINDS, Kind
from magicgen.synthetic.puppet import Puppet
from magicgen.synthetic.skeleton import Frame, Point3, Pose

HAT_WEARERS = frozenset({"king", "queen", "princess", "wizard", "knight", "witch"})
GREY_HAIRED = frozenset({"man", "woman", "king", "queen", "wizard"})
ON_THE_HEAD = frozenset({"hat", "cap", "crown", "bow", "helmet"})
SKINS: tuple[Colour, ...] = ((252, 222, 196), (240, 196, 160), (206, 152, 112), (150, 100, 70), (104, 70, 52))
HAIRS: tuple[Colour, ...] = ((60, 44, 38), (122, 78, 46), (226, 182, 90), (196, 96, 48), (40, 38, 44), (220, 220, 224))


@dataclass(frozen=True)
class Design:
    """Everything that makes two pictures show the same character.

    Attributes:
        kind: key of :data:`~magicgen.synthetic.kinds.KINDS`.
        colour: name of the fur's, the shell's or the clothes' colour.
        accessory: key of :data:`~magicgen.synthetic.accessories.ACCESSORIES`, or None.
        accessory_colour: name of its colour.
        paint: exact colours. frame: exact proportions.
        accessory_paint: exact colour of the accessory.
    """

    kind: str
    colour: str
    accessory: str | None
    accessory_colour: str
    paint: Paint
    frame: Frame
    accessory_paint: Colour

    @property
    def phrase(self) -> str:
        """The words for it: ``red fox wearing a blue hat`` (without article)."""
        words = f"{self.kind} in {self.colour}" if KINDS[self.kind].human else f"{self.colour} {self.kind}"
        if self.accessory is None:
            return words
        article = "" if self.accessory == "glasses" else ("an " if self.accessory_colour == "orange" else "a ")
        return f"{words} with {article}{self.accessory_colour} {self.accessory}"


def is_held_out(kind: str, accessory: str, accessory_colour: str) -> bool:
    """Whether this combination is kept for evaluation: one in eight, by a fixed rule."""
    code = (
        7 * list(KINDS).index(kind)
        + 3 * list(ACCESSORIES).index(accessory)
        + list(NAMED_COLOURS).index(accessory_colour)
    )
    return code % 8 == 5


def _wears(rng: np.random.Generator, kind: str) -> tuple[str, str]:
    colour = str(rng.choice([name for name in NAMED_COLOURS if name not in ("brown", "gray")]))
    choices = [name for name in ACCESSORIES if not (kind in HAT_WEARERS and name in ON_THE_HEAD)]
    return choices[int(rng.integers(len(choices)))], colour


def random_design(rng: np.random.Generator, held_out: bool = False, kind: str | None = None) -> Design:
    """A character at random; combinations kept for evaluation appear only when ``held_out``."""
    names = tuple(KINDS)
    name = kind or names[int(rng.integers(len(names)))]
    usual = KINDS[name].colours
    colour = usual[int(rng.integers(len(usual)))] if rng.random() < 0.6 else str(rng.choice(list(NAMED_COLOURS)))
    bare = rng.random() < 0.25
    accessory, accessory_colour = _wears(rng, name)
    while is_held_out(name, accessory, accessory_colour) != held_out:
        accessory, accessory_colour = _wears(rng, name)
    return design(rng, name, colour, None if bare else accessory, accessory_colour)


def design(
    rng: np.random.Generator, kind: str, colour: str, accessory: str | None = None, accessory_colour: str = "red"
) -> Design:
    """A character by its words; what the words leave open (exact tints, proportions, skin, hair) comes from ``rng``."""
    entry = KINDS[kind]
    main = varied(rng, NAMED_COLOURS[colour])
    second = _second(rng, entry, main)
    skin = SKINS[int(rng.integers(len(SKINS)))]
    shades = HAIRS if kind in GREY_HAIRED else HAIRS[:-1]
    hair = varied(rng, shades[int(rng.integers(len(shades)))])
    girth, head = rng.uniform(0.9, 1.12), rng.uniform(0.94, 1.06)
    frame = replace(
        entry.frame,
        torso_radii=_scaled(entry.frame.torso_radii, girth, 1.0, girth),
        head_radii=_scaled(entry.frame.head_radii, head, head, head),
    )
    accent = varied(rng, NAMED_COLOURS[accessory_colour])
    marks = (Marks.NONE, Marks.NONE, Marks.DOTS, Marks.BANDS)[int(rng.integers(4))]
    return Design(kind, colour, accessory, accessory_colour, Paint(main, second, skin, hair, marks), frame, accent)


def _scaled(radii: Point3, x: float, y: float, z: float) -> Point3:
    return (radii[0] * x, radii[1] * y, radii[2] * z)


def _second(rng: np.random.Generator, entry: Kind, main: Colour) -> Colour:
    """Belly, face plate, belt or trousers."""
    if entry.human:
        names = ("blue", "brown", "black", "gray", "white", "golden")
        colour = NAMED_COLOURS[names[int(rng.integers(len(names)))]]
        return colour if sum(abs(a - b) for a, b in zip(colour, main, strict=True)) > 90 else shade(main, 0.5)
    return shade(main, 0.7) if sum(main) > 640 else (shade(main, 1.55) if rng.random() < 0.5 else CREAM)


def build(character: Design, pose: Pose, yaw: float) -> Puppet:
    """The puppet of a character in one pose; ``yaw`` in degrees, 0 front, 90 facing the viewer's right, 180 back."""
    puppet = Puppet(character.frame, pose, yaw)
    entry = KINDS[character.kind]
    entry.body(puppet, character.paint)
    for feature in entry.features:
        feature(puppet, character.paint)
    if character.accessory is not None:
        ACCESSORIES[character.accessory](puppet, character.accessory_paint)
    return puppet
