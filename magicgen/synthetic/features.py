"""Features that tell the kinds apart: ears, snouts, beaks, eyes, tails, hair, hats of office.

Each is drawn on a :class:`~magicgen.synthetic.puppet.Puppet` in the colours of a
:class:`~magicgen.synthetic.bodies.Paint`. Lengths are in body units (a character is about 1 high), angles in degrees.
"""

import numpy as np

from magicgen.synthetic.bodies import CREAM, DARK, Paint, arms, around, face, legs
from magicgen.synthetic.colours import NAMED_COLOURS, Colour, shade
from magicgen.synthetic.geometry import CIRCLE, f32, oval, wavy
from magicgen.synthetic.puppet import HEAD, Puppet
from magicgen.synthetic.skeleton import Point3


def _pair(
    puppet: Puppet,
    dx: float,
    dy: float,
    tip: tuple[float, float],
    r0: float,
    r1: float,
    colour: Colour,
    inner: Colour | None,
) -> None:
    """Two ears from the head outwards; ``tip`` is the offset of the end from the base."""
    rx, ry, _ = puppet.frame.head_radii
    for side in (-1, 1):
        base = around(puppet.head, side * dx * rx, dy * ry, 0)
        end = around(base, side * tip[0], tip[1], 0)
        puppet.limb(base, end, r0, r1, colour, 0.19)
        if inner is not None and puppet.seen((0, 0, 1))[2] > 0:
            mid = around(base, side * tip[0] * 0.2, tip[1] * 0.2, 0)
            puppet.limb(
                mid, around(base, side * tip[0] * 0.8, tip[1] * 0.8, 0), r0 * 0.5, r1 * 0.5, inner, 0.195, False
            )


def pointed_ears(puppet: Puppet, paint: Paint) -> None:
    """Upright triangular ears, darker inside."""
    _pair(puppet, 0.6, 0.72, (0.05, 0.15), 0.085, 0.014, paint.main, shade(paint.main, 0.5))


def round_ears(puppet: Puppet, paint: Paint) -> None:
    """Small round ears, lighter inside."""
    _pair(puppet, 0.68, 0.78, (0.02, 0.03), 0.075, 0.072, paint.main, shade(paint.main, 1.4))


def dark_round_ears(puppet: Puppet, paint: Paint) -> None:
    """Small round ears, dark whatever the fur."""
    _pair(puppet, 0.68, 0.78, (0.02, 0.03), 0.075, 0.072, DARK, None)


def huge_round_ears(puppet: Puppet, paint: Paint) -> None:
    """Large round ears, pink inside."""
    _pair(puppet, 0.8, 0.75, (0.04, 0.04), 0.115, 0.11, paint.main, (240, 170, 176))


def long_ears(puppet: Puppet, paint: Paint) -> None:
    """Long upright ears, pink inside."""
    _pair(puppet, 0.36, 0.85, (0.025, 0.24), 0.05, 0.04, paint.main, (244, 176, 180))


def floppy_ears(puppet: Puppet, paint: Paint) -> None:
    """Darker ears that hang down at the sides of the head."""
    _pair(puppet, 0.78, 0.62, (0.09, -0.2), 0.05, 0.07, shade(paint.main, 0.62), None)


def flap_ears(puppet: Puppet, paint: Paint) -> None:
    """Very large flat ears at the sides of the head, pink inside."""
    _pair(puppet, 0.95, 0.1, (0.09, -0.02), 0.15, 0.13, paint.main, (236, 176, 180))


def side_ears(puppet: Puppet, paint: Paint) -> None:
    """Small round ears at eye height, in the second colour."""
    _pair(puppet, 0.95, 0.1, (0.03, 0.0), 0.07, 0.065, paint.second, None)


def tufts(puppet: Puppet, paint: Paint) -> None:
    """Two pointed tufts of feathers above the eyes."""
    _pair(puppet, 0.55, 0.75, (0.07, 0.1), 0.06, 0.008, shade(paint.main, 0.8), None)


def _before(puppet: Puppet, bias: float) -> float:
    """Depth of what grows out of the face: before the head, or behind it when the character looks away."""
    return bias if puppet.seen((0, 0, 1))[2] > -0.15 else 0.05


def _snout(puppet: Puppet, length: float, radii: Point3, colour: Colour, nose: Colour, nose_size: float) -> None:
    _, ry, rz = puppet.frame.head_radii
    centre = around(puppet.head, 0, -0.32 * ry, rz * 0.78 + length * 0.5)
    puppet.ball(centre, (radii[0], radii[1], radii[2] + length * 0.5), colour, _before(puppet, 0.33))
    tip = around(centre, 0, radii[1] * 0.45, radii[2] + length * 0.65)
    if puppet.seen((0, 0, 1))[2] > -0.25:
        puppet.ball(tip, (nose_size, nose_size * 0.75, nose_size * 0.8), nose, _before(puppet, 0.38), 0.0, False)


def fox_snout(puppet: Puppet, paint: Paint) -> None:
    """A long cream snout with a dark nose, and cream cheeks."""
    _snout(puppet, 0.11, (0.1, 0.075, 0.07), CREAM, DARK, 0.032)
    for side in (-1, 1):
        puppet.patch(side * 46, -26, oval(0.07, 0.06), CREAM, 0.04)


def dog_snout(puppet: Puppet, paint: Paint) -> None:
    """A broad snout in the second colour with a large dark nose."""
    _snout(puppet, 0.08, (0.105, 0.085, 0.07), paint.second, DARK, 0.042)


def short_snout(puppet: Puppet, paint: Paint) -> None:
    """A short snout, lighter than the fur, with a dark nose."""
    _snout(puppet, 0.02, (0.1, 0.07, 0.06), shade(paint.main, 1.5), DARK, 0.034)


def cat_snout(puppet: Puppet, paint: Paint) -> None:
    """A flat snout with a small pink nose and two whiskers on each side."""
    _snout(puppet, 0.0, (0.085, 0.055, 0.045), shade(paint.main, 1.6), (224, 120, 128), 0.02)
    for side in (-1, 1):
        for tilt in (-0.02, 0.02):
            whisker = f32([[0.0, 0.0], [side * 0.13, tilt], [side * 0.13, tilt + 0.008], [0.0, 0.008]])
            puppet.tag(side * 26, -22, whisker, DARK, 0.16)


def rabbit_snout(puppet: Puppet, paint: Paint) -> None:
    """A small cream snout with a pink nose and two white teeth in one piece."""
    _snout(puppet, 0.0, (0.075, 0.055, 0.045), CREAM, (230, 130, 140), 0.022)
    puppet.tag(
        0, -40, f32([[-0.026, 0.02], [0.026, 0.02], [0.026, -0.04], [-0.026, -0.04]]), (255, 255, 255), 0.12, True
    )


def pig_snout(puppet: Puppet, paint: Paint) -> None:
    """A round snout without a nose, with two nostrils."""
    _snout(puppet, 0.05, (0.085, 0.065, 0.05), shade(paint.main, 0.85), shade(paint.main, 0.85), 0.0)
    for side in (-1, 1):
        puppet.patch(side * 6, -16, oval(0.014, 0.02), shade(paint.main, 0.65), 0.26)


def trunk(puppet: Puppet, paint: Paint) -> None:
    """An elephant's trunk of three pieces, down and forwards."""
    _, ry, rz = puppet.frame.head_radii
    points = [
        (0.0, -0.25 * ry, 0.85 * rz),
        (0.0, -0.7 * ry, 1.25 * rz),
        (0.0, -1.15 * ry, 1.3 * rz),
        (0.0, -1.35 * ry, 1.6 * rz),
    ]
    radii = (0.07, 0.055, 0.045, 0.035)
    for index in range(3):
        start, end = around(puppet.head, *points[index]), around(puppet.head, *points[index + 1])
        puppet.limb(start, end, radii[index], radii[index + 1], paint.main, _before(puppet, 0.35 + 0.01 * index))


def beak(puppet: Puppet, paint: Paint) -> None:
    """A small pointed orange beak."""
    _, ry, rz = puppet.frame.head_radii
    base = around(puppet.head, 0, -0.15 * ry, 0.85 * rz)
    puppet.limb(base, around(base, 0, -0.06, 0.1), 0.05, 0.012, (240, 164, 52), _before(puppet, 0.36))


def flat_beak(puppet: Puppet, paint: Paint) -> None:
    """A wide flat orange beak."""
    _, ry, rz = puppet.frame.head_radii
    puppet.ball(around(puppet.head, 0, -0.3 * ry, 1.05 * rz), (0.11, 0.04, 0.12), (242, 156, 44), _before(puppet, 0.36))


def owl_eyes(puppet: Puppet, paint: Paint) -> None:
    """Large round eyes: cream discs, amber irises, dark pupils."""
    for side in (-1, 1):
        puppet.patch(side * 27, 6, oval(0.105, 0.105), CREAM, 0.05, True)
        puppet.patch(side * 27, 6, oval(0.07, 0.07), (246, 186, 60), 0.055)
        puppet.patch(side * 27, 6, oval(0.042, 0.042), DARK, 0.06)


def bird_eyes(puppet: Puppet, paint: Paint) -> None:
    """Two dark eyes far apart."""
    face(puppet, 0.03, 28, 10)


def white_face(puppet: Puppet, paint: Paint) -> None:
    """A white mask of two ovals, and :func:`bird_eyes` on it."""
    for side in (-1, 1):
        puppet.patch(side * 22, -4, oval(0.11, 0.14), (250, 250, 250), 0.04)
    bird_eyes(puppet, paint)


def panda_patches(puppet: Puppet, paint: Paint) -> None:
    """Dark patches around the eyes, dark arms and legs."""
    for side in (-1, 1):
        puppet.patch(side * 27, 6, oval(0.062, 0.085), DARK, 0.05)
        puppet.patch(side * 25, 9, oval(0.022, 0.026), (255, 255, 255), 0.1)
    arms(puppet, DARK, DARK)
    legs(puppet, DARK, DARK)


def frog_eyes(puppet: Puppet, paint: Paint) -> None:
    """Eyeballs on top of the head, and a wide mouth."""
    rx, ry, _ = puppet.frame.head_radii
    for side in (-1, 1):
        centre = around(puppet.head, side * 0.55 * rx, 0.85 * ry, 0.03)
        puppet.ball(centre, (0.085, 0.085, 0.085), paint.main, 0.22)
        puppet.patch(side * 22, 0, oval(0.058, 0.058), (255, 255, 255), 0.26, True, centre, (0.08, 0.08, 0.08))
        puppet.patch(side * 22, 0, oval(0.028, 0.034), DARK, 0.27, False, centre, (0.08, 0.08, 0.08))
    mouth = f32([[-0.13, 0.03], [-0.07, -0.01], [0.07, -0.01], [0.13, 0.03], [0.07, -0.025], [-0.07, -0.025]])
    puppet.patch(0, -20, mouth, (70, 90, 50), 0.06)


def frog_body(puppet: Puppet, paint: Paint) -> None:
    """Like an animal without the small face; the eyes sit on top."""
    frame = puppet.frame
    legs(puppet, paint.main, shade(paint.main, 0.8))
    arms(puppet, paint.main, shade(paint.main, 0.8))
    puppet.ball(puppet.torso, frame.torso_radii, paint.main)
    belly = oval(frame.torso_radii[0] * 0.62, frame.torso_radii[1] * 0.7)
    puppet.patch(0, -8, belly, paint.second, 0.0, False, puppet.torso, frame.torso_radii)
    puppet.ball(
        puppet.head, (frame.head_radii[0] * 1.05, frame.head_radii[1] * 0.85, frame.head_radii[2]), paint.main, 0.2
    )


def mane(puppet: Puppet, paint: Paint) -> None:
    """A jagged darker ring around the head; it covers the head when that looks away."""
    ring = wavy(44, 11, 0.09) * f32(0.31)
    behind = 0.1 if puppet.seen((0, 0, 1))[2] > -0.3 else 0.35
    x, y, _ = puppet.seen(around(puppet.head, 0, 0, -0.06))
    puppet.add(behind, ring + f32((x, y)), shade(paint.main, 0.55))


def wool(puppet: Puppet, paint: Paint) -> None:
    """Two puffs of wool, on the body and on top of the head."""
    puff = wavy(44, 10, 0.13, smooth=True)
    puppet.card(puppet.torso, puff * f32((0.2, 0.2)), paint.main, 0.03)
    puppet.card(around(puppet.head, 0, 0.17, -0.03), puff * f32((0.15, 0.085)), paint.main, 0.3)


def _tail(puppet: Puppet, reach: float, rise: float, r0: float, r1: float, colour: Colour, tip: Colour | None) -> None:
    base = around(puppet.torso, 0, -0.13, -puppet.frame.torso_radii[2] * 0.7)
    middle = around(base, 0, rise * 0.3, -reach * 0.6)
    end = around(base, 0, rise, -reach)
    puppet.limb(base, middle, r0 * 0.6, r0, colour, -0.02)
    puppet.limb(middle, end, r0, r1, colour, -0.02)
    if tip is not None:
        puppet.limb(around(middle, 0, rise * 0.45, -reach * 0.25), end, r0 * 0.7, r1, tip, -0.015, False)


def bushy_tail(puppet: Puppet, paint: Paint) -> None:
    """A thick tail with a cream tip."""
    _tail(puppet, 0.26, 0.16, 0.085, 0.02, paint.main, CREAM)


def thin_tail(puppet: Puppet, paint: Paint) -> None:
    """A thin raised tail."""
    _tail(puppet, 0.22, 0.24, 0.024, 0.022, paint.main, None)


def mouse_tail(puppet: Puppet, paint: Paint) -> None:
    """A very thin pink tail, almost level."""
    _tail(puppet, 0.28, 0.06, 0.014, 0.01, (230, 150, 156), None)


def tuft_tail(puppet: Puppet, paint: Paint) -> None:
    """A thin darker tail that ends in a tuft."""
    _tail(puppet, 0.24, 0.2, 0.02, 0.045, shade(paint.main, 0.7), None)


def puff_tail(puppet: Puppet, paint: Paint) -> None:
    """A cream ball low on the back."""
    puppet.ball(around(puppet.torso, 0, -0.1, -puppet.frame.torso_radii[2] * 1.05), (0.065, 0.065, 0.065), CREAM, -0.02)


def _cap_of_hair(puppet: Puppet, colour: Colour, drop: float) -> None:
    """Hair seen from any side: behind the face, over the back of the head, and a fringe over the brow."""
    rx, ry, rz = puppet.frame.head_radii
    puppet.ball(around(puppet.head, 0, 0.03, -0.035), (rx * 1.07, ry * 1.06, rz * 1.04), colour, 0.12)
    # the hairy half of the head is seen like the lit half of the moon: a crescent, a half, the full disc
    facing, side = puppet.seen((0, 0, 1))[2], -1.0 if puppet.seen((0, 0, 1))[0] >= 0 else 1.0
    turn = np.linspace(0.5 * np.pi, -0.5 * np.pi, 14)
    outer = np.stack([side * np.cos(turn), np.sin(turn)], axis=1)
    inner = np.stack([side * facing * np.cos(turn), np.sin(turn)], axis=1)[::-1]
    x, y, _ = puppet.seen(around(puppet.head, 0, 0.02, -0.03))
    moon = f32(np.concatenate([outer, inner])) * f32((rx * 1.05, ry * (1.03 + drop))) + f32((x, y))
    puppet.add(0.34, moon, colour)
    turn = np.linspace(0.12 * np.pi, 0.88 * np.pi, 14)
    upper = np.stack([np.cos(turn) * rx * 1.03, np.sin(turn) * ry * 1.06], axis=1)
    lower = np.stack([np.cos(turn[::-1]) * rx * 0.9, 0.1 + np.sin(turn[::-1]) * ry * 0.42], axis=1)
    shift = puppet.seen((0, 0, -0.05))[0]
    x, y, _ = puppet.seen(puppet.head)
    fringe = f32(np.concatenate([upper, lower])) + f32((x + shift, y))
    puppet.add(HEAD + rz * 0.9, fringe, colour)


def short_hair(puppet: Puppet, paint: Paint) -> None:
    """Hair over the back of the head with a fringe."""
    _cap_of_hair(puppet, paint.hair, 0.0)


def long_hair(puppet: Puppet, paint: Paint) -> None:
    """Hair with a fringe that falls to below the shoulders."""
    _cap_of_hair(puppet, paint.hair, 0.05)
    rx = puppet.frame.head_radii[0]
    back = around(puppet.head, 0, -0.12, -0.08)
    behind = 0.02 if puppet.seen((0, 0, 1))[2] > -0.05 else 0.33
    puppet.ball(back, (rx * 1.08, 0.24, 0.13), paint.hair, behind, 0.2)


def pigtails(puppet: Puppet, paint: Paint) -> None:
    """Hair with a fringe and two tails, tied in the main colour."""
    _cap_of_hair(puppet, paint.hair, 0.02)
    rx, _, _ = puppet.frame.head_radii
    for side in (-1, 1):
        base = around(puppet.head, side * rx * 0.98, -0.03, -0.09)
        puppet.limb(base, around(base, side * 0.07, -0.17, -0.01), 0.055, 0.025, paint.hair, 0.22)
        puppet.ball(base, (0.03, 0.03, 0.03), paint.main, 0.24)


def beard(puppet: Puppet, paint: Paint) -> None:
    """A full beard, white where the hair is light."""
    white = (240, 240, 244) if sum(paint.hair) > 330 else paint.hair
    shape = f32(
        [
            [-0.15, 0.04],
            [-0.06, 0.0],
            [0.0, 0.025],
            [0.06, 0.0],
            [0.15, 0.04],
            [0.12, -0.1],
            [0.0, -0.22],
            [-0.12, -0.1],
        ]
    )
    puppet.tag(0, -30, shape, white, 0.08, True)


def wizard_hat(puppet: Puppet, paint: Paint) -> None:
    """A bent pointed hat in the darker main colour with a band in the second."""
    _cone(puppet, shade(paint.main, 0.75), paint.second)


def witch_hat(puppet: Puppet, paint: Paint) -> None:
    """A bent pointed dark hat with a band in the main colour."""
    _cone(puppet, DARK, paint.main)


def _cone(puppet: Puppet, colour: Colour, band: Colour) -> None:
    rx, ry, _ = puppet.frame.head_radii
    top = around(puppet.head, 0, ry * 0.62, 0)
    cone = f32([[-0.75 * rx, 0.0], [0.75 * rx, 0.0], [0.25 * rx, 0.22], [0.34 * rx, 0.33], [0.0, 0.24]])
    puppet.card(top, cone, colour, 0.65)
    puppet.card(
        top,
        f32([[-0.74 * rx, 0.01], [0.74 * rx, 0.01], [0.64 * rx, 0.06], [-0.62 * rx, 0.06]]),
        band,
        0.66,
        False,
        False,
    )
    puppet.card(top, oval(rx * 1.32, 0.045), colour, 0.655)


def gold_crown(puppet: Puppet, paint: Paint) -> None:
    """A golden :func:`crown`."""
    crown(puppet, NAMED_COLOURS["golden"])


def knight_helmet(puppet: Puppet, paint: Paint) -> None:
    """A steel helmet, open at the face, with a plume in the main colour."""
    rx, ry, rz = puppet.frame.head_radii
    steel: Colour = (172, 180, 192)
    puppet.ball(around(puppet.head, 0, 0.03, -0.02), (rx * 1.1, ry * 1.12, rz * 1.08), steel, 0.1)
    half = CIRCLE[:12] * f32((rx * 1.1, ry * 1.1)) + f32((0, 0.04))
    puppet.card(puppet.head, half, steel, 0.62)
    if puppet.seen((0, 0, 1))[2] < -0.05:
        puppet.card(puppet.head, oval(rx * 1.08, ry * 1.08), steel, 0.63)
    top = around(puppet.head, 0, ry * 1.1, -0.03)
    puppet.limb(top, around(top, 0, 0.1, -0.08), 0.02, 0.05, paint.main, 0.61)


def crown(puppet: Puppet, colour: Colour) -> None:
    """Five points and jewels on top of the head."""
    rx, ry, _ = puppet.frame.head_radii
    w = rx * 0.68
    points = f32([[-w, 0], [w, 0], [1.15 * w, 0.14], [0.55 * w, 0.06], [0, 0.16], [-0.55 * w, 0.06], [-1.15 * w, 0.14]])
    top = around(puppet.head, 0, ry * 0.78, 0)
    puppet.card(top, points, colour, 0.65)
    for dx in (-0.5, 0.0, 0.5):
        puppet.card(top, oval(0.014, 0.014) + f32((dx * w, 0.03)), (206, 60, 90), 0.66, False, False)
