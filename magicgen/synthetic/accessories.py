"""Things that a character wears or carries, each drawn on a Puppet in one colour."""

from collections.abc import Callable

import numpy as np

from magicgen.synthetic.colours import Colour, shade
from magicgen.synthetic.features import crown
from magicgen.synthetic.geometry import CIRCLE, f32, oval, wavy
from magicgen.synthetic.puppet import Puppet
from magicgen.synthetic.skeleton import Point3

Accessory = Callable[[Puppet, Colour], None]


def _top(puppet: Puppet, share: float) -> Point3:
    x, y, z = puppet.head
    return (x, y + puppet.frame.head_radii[1] * share, z)


def _hand(puppet: Puppet, index: int = 9) -> Point3:
    x, y, z = puppet.body[index]
    return (float(x), float(y), float(z))


def hat(puppet: Puppet, colour: Colour) -> None:
    """A top hat with a band."""
    rx = puppet.frame.head_radii[0]
    w = rx * 0.66
    top = _top(puppet, 0.8)
    puppet.card(top, f32([[-w, 0], [w, 0], [1.08 * w, 0.2], [-1.08 * w, 0.2]]), colour, 0.65)
    puppet.card(top, f32([[-w, 0.01], [w, 0.01], [w, 0.06], [-w, 0.06]]), shade(colour, 0.55), 0.66, False, False)
    puppet.card(top, oval(rx * 1.05, 0.032), colour, 0.655)


def cap(puppet: Puppet, colour: Colour) -> None:
    """A cap with a visor to the front."""
    rx, ry, rz = puppet.frame.head_radii
    dome = CIRCLE[:12] * f32((rx * 0.95, ry * 0.75))
    puppet.card(_top(puppet, 0.62), dome, colour, 0.65)
    x, y, _ = _top(puppet, 0.65)
    puppet.ball((x, y, rz * 0.85), (rx * 0.7, 0.025, 0.11), shade(colour, 0.75), 0.3)


def scarf(puppet: Puppet, colour: Colour) -> None:
    """A roll around the neck with one end hanging down."""
    neck = (0.0, puppet.frame.shoulder_y + 0.045 + puppet.pose.bob, 0.0)
    end = (0.08, neck[1] - 0.02, puppet.frame.torso_radii[2] * 0.95)
    puppet.limb(end, (0.1, end[1] - 0.2, end[2] + 0.01), 0.036, 0.045, shade(colour, 0.88), 0.12)
    puppet.ball(neck, (0.155, 0.05, 0.14), colour, 0.205)


def worn_crown(puppet: Puppet, colour: Colour) -> None:
    """A small crown."""
    crown(puppet, colour)


def glasses(puppet: Puppet, colour: Colour) -> None:
    """Two rims and a bridge."""
    outer, inner = oval(0.072, 0.072), CIRCLE[::-1] * f32((0.052, 0.052))
    rim = np.concatenate([outer, outer[:1], inner, inner[:1]])
    for side in (-1, 1):
        puppet.patch(side * 25, 7, rim, colour, 0.12)
    puppet.patch(0, 8, f32([[-0.035, 0], [0.035, 0], [0.035, 0.016], [-0.035, 0.016]]), colour, 0.12)


def bow(puppet: Puppet, colour: Colour) -> None:
    """A ribbon on one side of the head."""
    rx, ry, _ = puppet.frame.head_radii
    knot = (0.55 * rx, puppet.head[1] + 0.78 * ry, 0.06)
    wings = f32([[0.0, 0.0], [-0.11, 0.07], [-0.11, -0.06], [0.0, 0.0], [0.11, 0.07], [0.11, -0.06]])
    puppet.card(knot, wings, colour, 0.62)
    puppet.card(knot, oval(0.028, 0.028), shade(colour, 0.75), 0.63)


def cape(puppet: Puppet, colour: Colour) -> None:
    """A cloth from the shoulders down the back."""
    neck = puppet.frame.shoulder_y + 0.05 + puppet.pose.bob
    depth = puppet.frame.torso_radii[2] * 1.15
    cloth = f32([[-0.12, 0], [0.12, 0], [0.24, -0.36], [0.08, -0.4], [-0.08, -0.38], [-0.24, -0.36]])
    puppet.card((0.0, neck, -depth), cloth, colour, -0.02, True)
    puppet.card((0.0, neck - 0.01, depth), oval(0.13, 0.02), shade(colour, 0.8), 0.06, True)


def backpack(puppet: Puppet, colour: Colour) -> None:
    """A bag on the back with two straps."""
    x, y, z = puppet.torso
    rx, ry, rz = puppet.frame.torso_radii
    puppet.ball((x, y + 0.03, z - rz * 1.15), (rx * 0.85, ry * 0.85, 0.09), colour, -0.03, 0.4)
    puppet.ball((x, y - 0.02, z - rz * 1.15 - 0.09), (rx * 0.55, ry * 0.36, 0.02), shade(colour, 0.75), -0.02, 0.4)
    strap = f32([[-0.016, -0.1], [0.016, -0.1], [0.016, 0.12], [-0.016, 0.12]])
    for side in (-1, 1):
        puppet.patch(side * 38, 10, strap, shade(colour, 0.75), 0.02, True, puppet.torso, (rx, ry, rz))


def balloon(puppet: Puppet, colour: Colour) -> None:
    """A balloon on a string."""
    x, y, z = _hand(puppet)
    ball = (x + 0.16, y + 0.72, z - 0.12)
    puppet.limb((x, y, z), (ball[0], ball[1] - 0.16, ball[2]), 0.006, 0.006, (90, 90, 90), 0.1, False)
    puppet.ball(ball, (0.125, 0.15, 0.125), colour, 0.12)
    puppet.ball((ball[0] - 0.04, ball[1] + 0.06, ball[2]), (0.03, 0.04, 0.03), shade(colour, 1.6), 0.25, 0.0, False)


def flower(puppet: Puppet, colour: Colour) -> None:
    """A flower in the hand."""
    x, y, z = _hand(puppet)
    head = (x + 0.03, y + 0.16, z + 0.02)
    puppet.limb((x, y - 0.04, z), head, 0.01, 0.01, (80, 150, 70), 0.15, False)
    puppet.card(head, wavy(30, 5, 0.35) * f32(0.06), colour, 0.16)
    puppet.card(head, oval(0.026, 0.026), (250, 214, 80), 0.17, False, False)


def umbrella(puppet: Puppet, colour: Colour) -> None:
    """An open umbrella above the head, held in one hand."""
    x, y, z = _hand(puppet)
    top = (x * 0.6, puppet.head[1] + puppet.frame.head_radii[1] + 0.16, z * 0.5)
    puppet.limb((x, y, z), top, 0.011, 0.011, (110, 80, 60), 0.1, False)
    turn = np.linspace(0, np.pi, 20)
    dome = np.stack([np.cos(turn) * 0.36, np.sin(turn) * 0.2], axis=1)
    edge = np.linspace(-0.36, 0.36, 19)
    rim = np.stack([edge, 0.03 * np.abs(np.sin(np.linspace(0, 4 * np.pi, 19)))], axis=1)
    puppet.card((top[0], top[1] - 0.12, top[2]), np.concatenate([dome, rim]).astype(np.float32), colour, 0.5)


def helmet(puppet: Puppet, colour: Colour) -> None:
    """A round helmet without visor."""
    rx, ry, _ = puppet.frame.head_radii
    puppet.card(_top(puppet, 0.3), CIRCLE[:12] * f32((rx * 1.08, ry * 0.86)), colour, 0.65)
    puppet.card(
        _top(puppet, 0.3),
        f32([[-rx * 1.12, -0.02], [rx * 1.12, -0.02], [rx * 1.12, 0.03], [-rx * 1.12, 0.03]]),
        shade(colour, 0.7),
        0.66,
    )


def wand(puppet: Puppet, colour: Colour) -> None:
    """A stick with a star."""
    x, y, z = _hand(puppet)
    tip = (x + 0.06, y + 0.2, z + 0.03)
    puppet.limb((x - 0.015, y - 0.05, z), tip, 0.012, 0.01, (110, 76, 50), 0.15, False)
    turn = np.linspace(0, 2 * np.pi, 10, endpoint=False) + np.pi / 2
    radius = np.where(np.arange(10) % 2 == 0, 0.075, 0.034)
    star = np.stack([np.cos(turn) * radius, np.sin(turn) * radius], axis=1).astype(np.float32)
    puppet.card(tip, star, colour, 0.16)


ACCESSORIES: dict[str, Accessory] = {
    "hat": hat,
    "cap": cap,
    "scarf": scarf,
    "crown": worn_crown,
    "glasses": glasses,
    "bow": bow,
    "cape": cape,
    "backpack": backpack,
    "balloon": balloon,
    "flower": flower,
    "umbrella": umbrella,
    "helmet": helmet,
    "wand": wand,
}
"""Caption word -> drawing."""
