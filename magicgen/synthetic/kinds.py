"""The cast: which features make a fox a fox. Every kind is a body and a tuple of features drawn on a Puppet."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from magicgen.synthetic.colours import NAMED_COLOURS, Colour, shade
from magicgen.synthetic.puppet import CIRCLE, Puppet
from magicgen.synthetic.skeleton import Floats, Frame, Point3

DARK: Colour = (44, 36, 40)
CREAM: Colour = (250, 240, 220)


@dataclass(frozen=True)
class Paint:
    """Colours of one character: main (fur or clothes), second (belly, trousers), skin, hair."""

    main: Colour
    second: Colour
    skin: Colour
    hair: Colour


Feature = Callable[[Puppet, Paint], None]


def _oval(width: float, height: float) -> Floats:
    return CIRCLE * np.float32((width, height))


def _around(point: Point3, dx: float, dy: float, dz: float) -> Point3:
    return (point[0] + dx, point[1] + dy, point[2] + dz)


def _joint(puppet: Puppet, index: int) -> Point3:
    x, y, z = puppet.body[index]
    return (float(x), float(y), float(z))


# --- bodies -----------------------------------------------------------------------------------------------------------


def _legs(puppet: Puppet, leg: Colour, foot: Colour, radius: float = 0.055) -> None:
    for hip, knee, ankle in ((11, 13, 15), (12, 14, 16)):
        a, b, c = (_joint(puppet, index) for index in (hip, knee, ankle))
        puppet.limb(b, c, radius * 0.92, radius * 0.85, leg, -0.02)
        puppet.limb(a, b, radius, radius * 0.92, leg, -0.01)
        puppet.ball(_around(c, 0, -0.005, 0.03), (0.055, 0.036, 0.08), foot, 0.02)


def _arms(puppet: Puppet, sleeve: Colour, hand: Colour, radius: float = 0.046) -> None:
    for shoulder, elbow, wrist in ((4, 6, 8), (5, 7, 9)):
        a, b, c = (_joint(puppet, index) for index in (shoulder, elbow, wrist))
        puppet.ball(c, (0.045, 0.045, 0.045), hand, 0.06)
        puppet.limb(b, c, radius * 0.95, radius * 0.85, sleeve, 0.065)
        puppet.limb(a, b, radius, radius * 0.95, sleeve, 0.07)


def _face(puppet: Puppet, eye: float = 0.032, spread: float = 25.0, height: float = 8.0) -> None:
    for side in (-1, 1):
        puppet.patch(side * spread, height, _oval(eye, eye * 1.35), DARK, 0.06)
        shine = _oval(eye * 0.36, eye * 0.42) + np.float32((eye * 0.3, eye * 0.5))
        puppet.patch(side * spread, height, shine, (255, 255, 255), 0.062)


def animal(puppet: Puppet, paint: Paint) -> None:
    """Furry body with a light belly, round head and dark eyes."""
    frame = puppet.frame
    _legs(puppet, shade(paint.main, 0.95), shade(paint.main, 0.8))
    _arms(puppet, shade(paint.main, 0.97), shade(paint.main, 0.8))
    puppet.ball(puppet.torso, frame.torso_radii, paint.main)
    belly = _oval(frame.torso_radii[0] * 0.62, frame.torso_radii[1] * 0.7)
    puppet.patch(0, -8, belly, paint.second, 0.0, False, puppet.torso, frame.torso_radii)
    puppet.ball(puppet.head, frame.head_radii, paint.main, 0.2)
    _face(puppet)


def bird(puppet: Puppet, paint: Paint) -> None:
    """Egg-shaped body with wings instead of arms and big eyes."""
    frame = puppet.frame
    for index in (15, 16):
        foot = _joint(puppet, index)
        puppet.limb(_joint(puppet, index - 4), foot, 0.025, 0.025, (236, 152, 52), -0.02)
        puppet.ball(_around(foot, 0, -0.005, 0.035), (0.06, 0.03, 0.08), (236, 152, 52), 0.02)
    for shoulder, hand in ((4, 8), (5, 9)):
        puppet.limb(_joint(puppet, shoulder), _joint(puppet, hand), 0.075, 0.03, shade(paint.main, 0.82), 0.07)
    puppet.ball(puppet.torso, (frame.torso_radii[0] * 1.15, frame.torso_radii[1] * 1.12, frame.torso_radii[2] * 1.2), paint.main)  # fmt: skip
    belly = _oval(frame.torso_radii[0] * 0.8, frame.torso_radii[1] * 0.85)
    puppet.patch(0, -6, belly, paint.second, 0.0, False, puppet.torso, frame.torso_radii)
    puppet.ball(puppet.head, frame.head_radii, paint.main, 0.2)


def person(puppet: Puppet, paint: Paint) -> None:
    """Shirt and trousers, round head with a small smile."""
    frame = puppet.frame
    _legs(puppet, paint.second, DARK, 0.05)
    _arms(puppet, paint.main, paint.skin, 0.042)
    puppet.ball(puppet.torso, frame.torso_radii, paint.main, 0.0, 0.25)
    _person_head(puppet, paint)


def gowned(puppet: Puppet, paint: Paint) -> None:
    """A dress or robe that widens to the hem."""
    frame = puppet.frame
    _legs(puppet, paint.skin, DARK, 0.042)
    _arms(puppet, paint.main, paint.skin, 0.042)
    top, hem = frame.shoulder_y + 0.05 + puppet.pose.bob, 0.13 + puppet.pose.bob
    skirt = np.float32([[-0.1, top], [0.1, top], [0.15, 0.36], [0.215, hem], [0.1, hem - 0.02], [-0.1, hem - 0.02], [-0.215, hem], [-0.15, 0.36]])  # fmt: skip
    puppet.add(0.01, skirt, paint.main)
    belt = np.float32([[-0.135, 0.4], [0.135, 0.4], [0.145, 0.365], [-0.145, 0.365]]) + np.float32((0, puppet.pose.bob))
    puppet.add(0.015, belt, paint.second, False)
    _person_head(puppet, paint)


def _person_head(puppet: Puppet, paint: Paint) -> None:
    puppet.ball(puppet.head, puppet.frame.head_radii, paint.skin, 0.2)
    _face(puppet, 0.026, 24, 0)
    smile = np.float32([[-0.05, 0.01], [0, -0.02], [0.05, 0.01], [0, -0.035]])
    puppet.patch(0, -28, smile, (176, 66, 66), 0.06)
    for side in (-1, 1):
        puppet.patch(side * 42, -18, _oval(0.034, 0.024), (246, 160, 146), 0.055)


def robot_body(puppet: Puppet, paint: Paint) -> None:
    """Boxes, bolts, a lit face plate."""
    frame = puppet.frame
    steel: Colour = (130, 138, 150)
    _legs(puppet, steel, shade(paint.main, 0.7), 0.042)
    _arms(puppet, steel, shade(paint.main, 0.7), 0.036)
    puppet.ball(puppet.torso, frame.torso_radii, paint.main, 0.0, 0.7)
    panel = np.float32([[-0.08, -0.05], [0.08, -0.05], [0.08, 0.07], [-0.08, 0.07]])
    puppet.patch(0, 0, panel, paint.second, 0.0, True, puppet.torso, frame.torso_radii)
    for dx, colour in ((-0.04, (226, 60, 56)), (0.0, (240, 196, 60)), (0.04, (90, 190, 90))):
        puppet.patch(0, 0, _oval(0.014, 0.014) + np.float32((dx, 0.03)), colour, 0.01, False, puppet.torso, frame.torso_radii)  # fmt: skip
    puppet.ball(puppet.head, frame.head_radii, paint.main, 0.2, 0.65)
    plate = np.float32([[-0.15, -0.09], [0.15, -0.09], [0.15, 0.09], [-0.15, 0.09]])
    puppet.patch(0, 5, plate, (40, 52, 70), 0.05, True)
    for side in (-1, 1):
        puppet.patch(0, 5, _oval(0.04, 0.042) + np.float32((side * 0.075, 0.02)), (120, 236, 240), 0.06)
    mouth = np.float32([[-0.06, -0.06], [0.06, -0.06], [0.06, -0.04], [-0.06, -0.04]])
    puppet.patch(0, 5, mouth, (120, 236, 240), 0.06)
    top = _around(puppet.head, 0, frame.head_radii[1], 0)
    puppet.limb(top, _around(top, 0, 0.08, 0), 0.012, 0.012, steel, 0.19)
    puppet.ball(_around(top, 0, 0.1, 0), (0.03, 0.03, 0.03), (232, 64, 60), 0.21)


# --- features ---------------------------------------------------------------------------------------------------------


def _pair(puppet: Puppet, dx: float, dy: float, tip: tuple[float, float], r0: float, r1: float, colour: Colour, inner: Colour | None) -> None:  # fmt: skip
    """Two ears from the head outwards; ``tip`` is the offset of the end from the base."""
    rx, ry, _ = puppet.frame.head_radii
    for side in (-1, 1):
        base = _around(puppet.head, side * dx * rx, dy * ry, 0)
        end = _around(base, side * tip[0], tip[1], 0)
        puppet.limb(base, end, r0, r1, colour, 0.19)
        if inner is not None and puppet.seen((0, 0, 1))[2] > 0:
            mid = _around(base, side * tip[0] * 0.2, tip[1] * 0.2, 0)
            puppet.limb(
                mid, _around(base, side * tip[0] * 0.8, tip[1] * 0.8, 0), r0 * 0.5, r1 * 0.5, inner, 0.195, False
            )


def pointed_ears(puppet: Puppet, paint: Paint) -> None:
    _pair(puppet, 0.6, 0.72, (0.05, 0.15), 0.085, 0.014, paint.main, shade(paint.main, 0.5))


def round_ears(puppet: Puppet, paint: Paint) -> None:
    _pair(puppet, 0.68, 0.78, (0.02, 0.03), 0.075, 0.072, paint.main, shade(paint.main, 1.4))


def dark_round_ears(puppet: Puppet, paint: Paint) -> None:
    _pair(puppet, 0.68, 0.78, (0.02, 0.03), 0.075, 0.072, DARK, None)


def huge_round_ears(puppet: Puppet, paint: Paint) -> None:
    _pair(puppet, 0.8, 0.75, (0.04, 0.04), 0.115, 0.11, paint.main, (240, 170, 176))


def long_ears(puppet: Puppet, paint: Paint) -> None:
    _pair(puppet, 0.36, 0.85, (0.025, 0.24), 0.05, 0.04, paint.main, (244, 176, 180))


def floppy_ears(puppet: Puppet, paint: Paint) -> None:
    _pair(puppet, 0.78, 0.62, (0.09, -0.2), 0.05, 0.07, shade(paint.main, 0.62), None)


def flap_ears(puppet: Puppet, paint: Paint) -> None:
    _pair(puppet, 0.95, 0.1, (0.09, -0.02), 0.15, 0.13, paint.main, (236, 176, 180))


def side_ears(puppet: Puppet, paint: Paint) -> None:
    _pair(puppet, 0.95, 0.1, (0.03, 0.0), 0.07, 0.065, paint.second, None)


def tufts(puppet: Puppet, paint: Paint) -> None:
    _pair(puppet, 0.55, 0.75, (0.07, 0.1), 0.06, 0.008, shade(paint.main, 0.8), None)


def _snout(puppet: Puppet, length: float, radii: Point3, colour: Colour, nose: Colour, nose_size: float) -> None:
    _, ry, rz = puppet.frame.head_radii
    centre = _around(puppet.head, 0, -0.32 * ry, rz * 0.78 + length * 0.5)
    puppet.ball(centre, (radii[0], radii[1], radii[2] + length * 0.5), colour, 0.25)
    tip = _around(centre, 0, radii[1] * 0.45, radii[2] + length * 0.45)
    if puppet.seen((0, 0, 1))[2] > -0.25:
        puppet.ball(tip, (nose_size, nose_size * 0.75, nose_size * 0.8), nose, 0.3, 0.0, False)


def fox_snout(puppet: Puppet, paint: Paint) -> None:
    _snout(puppet, 0.11, (0.1, 0.075, 0.07), CREAM, DARK, 0.032)
    for side in (-1, 1):
        puppet.patch(side * 46, -26, _oval(0.07, 0.06), CREAM, 0.04)


def dog_snout(puppet: Puppet, paint: Paint) -> None:
    _snout(puppet, 0.08, (0.105, 0.085, 0.07), paint.second, DARK, 0.042)


def short_snout(puppet: Puppet, paint: Paint) -> None:
    _snout(puppet, 0.02, (0.1, 0.07, 0.06), shade(paint.main, 1.5), DARK, 0.034)


def cat_snout(puppet: Puppet, paint: Paint) -> None:
    _snout(puppet, 0.0, (0.085, 0.055, 0.045), shade(paint.main, 1.6), (224, 120, 128), 0.02)
    for side in (-1, 1):
        for tilt in (-0.02, 0.02):
            whisker = np.float32([[0, 0], [side * 0.13, tilt], [side * 0.13, tilt + 0.008], [0, 0.008]])
            puppet.patch(side * 26, -22, whisker, DARK, 0.16)


def rabbit_snout(puppet: Puppet, paint: Paint) -> None:
    _snout(puppet, 0.0, (0.075, 0.055, 0.045), CREAM, (230, 130, 140), 0.022)
    puppet.patch(0, -40, np.float32([[-0.026, 0.02], [0.026, 0.02], [0.026, -0.04], [-0.026, -0.04]]), (255, 255, 255), 0.12, True)  # fmt: skip


def pig_snout(puppet: Puppet, paint: Paint) -> None:
    _snout(puppet, 0.05, (0.085, 0.065, 0.05), shade(paint.main, 0.85), shade(paint.main, 0.85), 0.0)
    for side in (-1, 1):
        puppet.patch(side * 6, -16, _oval(0.014, 0.02), shade(paint.main, 0.45), 0.26)


def trunk(puppet: Puppet, paint: Paint) -> None:
    _, ry, rz = puppet.frame.head_radii
    points = [
        (0.0, -0.25 * ry, 0.85 * rz),
        (0.0, -0.7 * ry, 1.25 * rz),
        (0.0, -1.15 * ry, 1.3 * rz),
        (0.0, -1.35 * ry, 1.6 * rz),
    ]
    radii = (0.07, 0.055, 0.045, 0.035)
    for index in range(3):
        start, end = _around(puppet.head, *points[index]), _around(puppet.head, *points[index + 1])
        puppet.limb(start, end, radii[index], radii[index + 1], paint.main, 0.25 + 0.01 * index)


def beak(puppet: Puppet, paint: Paint) -> None:
    _, ry, rz = puppet.frame.head_radii
    base = _around(puppet.head, 0, -0.15 * ry, 0.85 * rz)
    puppet.limb(base, _around(base, 0, -0.06, 0.1), 0.05, 0.012, (240, 164, 52), 0.26)


def flat_beak(puppet: Puppet, paint: Paint) -> None:
    _, ry, rz = puppet.frame.head_radii
    puppet.ball(_around(puppet.head, 0, -0.3 * ry, 1.05 * rz), (0.11, 0.04, 0.12), (242, 156, 44), 0.26)


def owl_eyes(puppet: Puppet, paint: Paint) -> None:
    for side in (-1, 1):
        puppet.patch(side * 27, 6, _oval(0.105, 0.105), CREAM, 0.05, True)
        puppet.patch(side * 27, 6, _oval(0.07, 0.07), (246, 186, 60), 0.055)
        puppet.patch(side * 27, 6, _oval(0.042, 0.042), DARK, 0.06)


def bird_eyes(puppet: Puppet, paint: Paint) -> None:
    _face(puppet, 0.03, 28, 10)


def white_face(puppet: Puppet, paint: Paint) -> None:
    for side in (-1, 1):
        puppet.patch(side * 22, -4, _oval(0.11, 0.14), (250, 250, 250), 0.04)
    bird_eyes(puppet, paint)


def panda_patches(puppet: Puppet, paint: Paint) -> None:
    for side in (-1, 1):
        puppet.patch(side * 27, 6, _oval(0.062, 0.085), DARK, 0.05)
        puppet.patch(side * 25, 9, _oval(0.022, 0.026), (255, 255, 255), 0.07)
    _arms(puppet, DARK, DARK)
    _legs(puppet, DARK, DARK)


def frog_eyes(puppet: Puppet, paint: Paint) -> None:
    rx, ry, _ = puppet.frame.head_radii
    for side in (-1, 1):
        centre = _around(puppet.head, side * 0.55 * rx, 0.85 * ry, 0.03)
        puppet.ball(centre, (0.085, 0.085, 0.085), paint.main, 0.22)
        puppet.patch(0, 0, _oval(0.058, 0.058), (255, 255, 255), 0.26, True, centre, (0.08, 0.08, 0.08))
        puppet.patch(0, 0, _oval(0.028, 0.034), DARK, 0.27, False, centre, (0.08, 0.08, 0.08))
    mouth = np.float32([[-0.13, 0.03], [-0.07, -0.01], [0.07, -0.01], [0.13, 0.03], [0.07, -0.025], [-0.07, -0.025]])
    puppet.patch(0, -20, mouth, (70, 90, 50), 0.06)


def frog_body(puppet: Puppet, paint: Paint) -> None:
    """Like an animal without the small face; the eyes sit on top."""
    frame = puppet.frame
    _legs(puppet, paint.main, shade(paint.main, 0.8))
    _arms(puppet, paint.main, shade(paint.main, 0.8))
    puppet.ball(puppet.torso, frame.torso_radii, paint.main)
    belly = _oval(frame.torso_radii[0] * 0.62, frame.torso_radii[1] * 0.7)
    puppet.patch(0, -8, belly, paint.second, 0.0, False, puppet.torso, frame.torso_radii)
    puppet.ball(
        puppet.head, (frame.head_radii[0] * 1.05, frame.head_radii[1] * 0.85, frame.head_radii[2]), paint.main, 0.2
    )


def mane(puppet: Puppet, paint: Paint) -> None:
    wave = 1 + 0.09 * np.cos(np.linspace(0, 2 * np.pi * 11, 44, endpoint=False))
    turn = np.linspace(0, 2 * np.pi, 44, endpoint=False)
    ring = np.stack([np.cos(turn) * wave, np.sin(turn) * wave], axis=1).astype(np.float32) * np.float32(0.31)
    behind = 0.1 if puppet.seen((0, 0, 1))[2] > -0.3 else 0.35
    x, y, _ = puppet.seen(_around(puppet.head, 0, 0, -0.06))
    puppet.add(behind, ring + np.float32((x, y)), shade(paint.main, 0.55))


def wool(puppet: Puppet, paint: Paint) -> None:
    turn = np.linspace(0, 2 * np.pi, 44, endpoint=False)
    wave = 1 + 0.1 * np.abs(np.sin(turn * 5))
    puff = np.stack([np.cos(turn) * wave, np.sin(turn) * wave], axis=1).astype(np.float32)
    puppet.card(puppet.torso, puff * np.float32((0.2, 0.2)), paint.main, 0.03)
    puppet.card(_around(puppet.head, 0, 0.13, -0.02), puff * np.float32((0.15, 0.1)), paint.main, 0.3)


def _tail(puppet: Puppet, reach: float, rise: float, r0: float, r1: float, colour: Colour, tip: Colour | None) -> None:
    base = _around(puppet.torso, 0, -0.13, -puppet.frame.torso_radii[2] * 0.7)
    middle = _around(base, 0, rise * 0.3, -reach * 0.6)
    end = _around(base, 0, rise, -reach)
    puppet.limb(base, middle, r0 * 0.6, r0, colour, -0.02)
    puppet.limb(middle, end, r0, r1, colour, -0.02)
    if tip is not None:
        puppet.limb(_around(middle, 0, rise * 0.45, -reach * 0.25), end, r0 * 0.7, r1, tip, -0.015, False)


def bushy_tail(puppet: Puppet, paint: Paint) -> None:
    _tail(puppet, 0.26, 0.16, 0.085, 0.02, paint.main, CREAM)


def thin_tail(puppet: Puppet, paint: Paint) -> None:
    _tail(puppet, 0.22, 0.24, 0.024, 0.022, paint.main, None)


def mouse_tail(puppet: Puppet, paint: Paint) -> None:
    _tail(puppet, 0.28, 0.06, 0.014, 0.01, (230, 150, 156), None)


def tuft_tail(puppet: Puppet, paint: Paint) -> None:
    _tail(puppet, 0.24, 0.2, 0.02, 0.045, shade(paint.main, 0.7), None)


def puff_tail(puppet: Puppet, paint: Paint) -> None:
    puppet.ball(
        _around(puppet.torso, 0, -0.1, -puppet.frame.torso_radii[2] * 1.05), (0.065, 0.065, 0.065), CREAM, -0.02
    )


def _cap_of_hair(puppet: Puppet, colour: Colour, drop: float) -> None:
    """Hair seen from any side: a ball behind the face and a fringe over the brow."""
    rx, ry, rz = puppet.frame.head_radii
    puppet.ball(_around(puppet.head, 0, 0.03, -0.035), (rx * 1.07, ry * 1.06, rz * 1.04), colour, 0.12)
    facing = puppet.seen((0, 0, 1))[2]
    if facing < 0.0:
        # seen from behind the hair hides the head
        puppet.ball(
            _around(puppet.head, 0, 0.03, -0.035), (rx * 1.05, ry * (1.0 + drop), rz * 1.04), colour, 0.34, 0.0, False
        )
    turn = np.linspace(0.12 * np.pi, 0.88 * np.pi, 14)
    upper = np.stack([np.cos(turn) * rx * 1.03, np.sin(turn) * ry * 1.06], axis=1)
    lower = np.stack([np.cos(turn[::-1]) * rx * 0.9, 0.1 + np.sin(turn[::-1]) * ry * 0.42], axis=1)
    shift = puppet.seen((0, 0, -0.05))[0]
    x, y, _ = puppet.seen(puppet.head)
    fringe = np.concatenate([upper, lower]).astype(np.float32) + np.float32((x + shift, y))
    puppet.add(0.2 + rz * 0.9, fringe, colour, True)


def short_hair(puppet: Puppet, paint: Paint) -> None:
    _cap_of_hair(puppet, paint.hair, 0.0)


def long_hair(puppet: Puppet, paint: Paint) -> None:
    _cap_of_hair(puppet, paint.hair, 0.05)
    rx, ry, rz = puppet.frame.head_radii
    back = _around(puppet.head, 0, -0.12, -0.08)
    behind = 0.02 if puppet.seen((0, 0, 1))[2] > -0.05 else 0.33
    puppet.ball(back, (rx * 1.08, 0.24, 0.13), paint.hair, behind, 0.2)


def pigtails(puppet: Puppet, paint: Paint) -> None:
    _cap_of_hair(puppet, paint.hair, 0.02)
    rx, _, _ = puppet.frame.head_radii
    for side in (-1, 1):
        base = _around(puppet.head, side * rx * 1.02, -0.02, -0.03)
        puppet.limb(base, _around(base, side * 0.07, -0.17, -0.01), 0.055, 0.025, paint.hair, 0.22)
        puppet.ball(base, (0.03, 0.03, 0.03), paint.main, 0.24)


def beard(puppet: Puppet, paint: Paint) -> None:
    white = (240, 240, 244) if sum(paint.hair) > 330 else paint.hair
    shape = np.float32(
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
    puppet.patch(0, -30, shape, white, 0.08, True)


def wizard_hat(puppet: Puppet, paint: Paint) -> None:
    _cone(puppet, shade(paint.main, 0.75), paint.second)


def witch_hat(puppet: Puppet, paint: Paint) -> None:
    _cone(puppet, DARK, paint.main)


def _cone(puppet: Puppet, colour: Colour, band: Colour) -> None:
    rx, ry, _ = puppet.frame.head_radii
    top = _around(puppet.head, 0, ry * 0.62, 0)
    cone = np.float32([[-0.75 * rx, 0.0], [0.75 * rx, 0.0], [0.25 * rx, 0.22], [0.34 * rx, 0.33], [0.0, 0.24]])
    puppet.card(top, cone, colour, 0.45)
    puppet.card(
        top,
        np.float32([[-0.74 * rx, 0.01], [0.74 * rx, 0.01], [0.64 * rx, 0.06], [-0.62 * rx, 0.06]]),
        band,
        0.46,
        False,
        False,
    )
    puppet.card(top, _oval(rx * 1.32, 0.045), colour, 0.455)


def gold_crown(puppet: Puppet, paint: Paint) -> None:
    crown(puppet, NAMED_COLOURS["golden"])


def knight_helmet(puppet: Puppet, paint: Paint) -> None:
    rx, ry, rz = puppet.frame.head_radii
    steel: Colour = (172, 180, 192)
    puppet.ball(_around(puppet.head, 0, 0.03, -0.02), (rx * 1.1, ry * 1.12, rz * 1.08), steel, 0.1)
    half = CIRCLE[:12] * np.float32((rx * 1.1, ry * 1.1)) + np.float32((0, 0.04))
    puppet.card(puppet.head, half, steel, 0.42)
    if puppet.seen((0, 0, 1))[2] < -0.05:
        puppet.card(puppet.head, _oval(rx * 1.08, ry * 1.08), steel, 0.43)
    top = _around(puppet.head, 0, ry * 1.1, -0.03)
    puppet.limb(top, _around(top, 0, 0.1, -0.08), 0.02, 0.05, paint.main, 0.41)


def crown(puppet: Puppet, colour: Colour) -> None:
    """Five points and jewels on top of the head."""
    rx, ry, _ = puppet.frame.head_radii
    w = rx * 0.68
    points = np.float32(
        [[-w, 0], [w, 0], [1.15 * w, 0.14], [0.55 * w, 0.06], [0, 0.16], [-0.55 * w, 0.06], [-1.15 * w, 0.14]]
    )
    top = _around(puppet.head, 0, ry * 0.78, 0)
    puppet.card(top, points, colour, 0.45)
    for dx in (-0.5, 0.0, 0.5):
        puppet.card(top, _oval(0.014, 0.014) + np.float32((dx * w, 0.03)), (206, 60, 90), 0.46, False, False)


@dataclass(frozen=True)
class Kind:
    """One member of the cast. ``colours`` are its natural colours, any other may be asked for."""

    name: str
    body: Feature
    features: tuple[Feature, ...]
    colours: tuple[str, ...]
    frame: Frame = Frame()
    human: bool = False


_BIRD = Frame(
    head_y=0.68, torso_y=0.32, leg=0.12, hip_y=0.15, shoulder_y=0.44, shoulder_x=0.17, torso_radii=(0.19, 0.22, 0.17)
)
_PERSON = Frame(head_radii=(0.195, 0.195, 0.19), torso_radii=(0.135, 0.185, 0.1))
_ADULT = Frame(
    head_y=0.8, head_radii=(0.15, 0.16, 0.15), torso_y=0.46, torso_radii=(0.14, 0.2, 0.1), hip_y=0.3, leg=0.27, shoulder_y=0.58,
    shoulder_x=0.13, arm=0.28,
)  # fmt: skip
_FAT = Frame(torso_radii=(0.2, 0.21, 0.18), shoulder_x=0.165)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("fox", animal, (pointed_ears, fox_snout, bushy_tail), ("orange", "red", "brown", "white", "gray")),
        Kind("bear", animal, (round_ears, short_snout, puff_tail), ("brown", "black", "white", "golden"), _FAT),
        Kind("rabbit", animal, (long_ears, rabbit_snout, puff_tail), ("white", "gray", "brown", "pink")),
        Kind("cat", animal, (pointed_ears, cat_snout, thin_tail), ("black", "gray", "orange", "white", "brown")),
        Kind("dog", animal, (floppy_ears, dog_snout, thin_tail), ("brown", "golden", "white", "gray", "black")),
        Kind("mouse", animal, (huge_round_ears, rabbit_snout, mouse_tail), ("gray", "brown", "white")),
        Kind("pig", animal, (pointed_ears, pig_snout, puff_tail), ("pink",), _FAT),
        Kind("lion", animal, (mane, short_snout, tuft_tail), ("golden", "orange", "yellow")),
        Kind("panda", animal, (dark_round_ears, panda_patches, short_snout), ("white",), _FAT),
        Kind("frog", frog_body, (frog_eyes,), ("green", "teal", "blue"), Frame(torso_radii=(0.17, 0.18, 0.15))),
        Kind("monkey", animal, (side_ears, dog_snout, thin_tail), ("brown", "golden", "gray")),
        Kind("elephant", animal, (flap_ears, trunk, mouse_tail), ("gray", "blue", "pink"), _FAT),
        Kind("sheep", animal, (floppy_ears, wool), ("white", "black", "gray")),
        Kind("owl", bird, (tufts, owl_eyes, beak), ("brown", "gray", "purple", "white"), _BIRD),
        Kind("penguin", bird, (white_face, beak), ("black", "blue"), _BIRD),
        Kind("duck", bird, (bird_eyes, flat_beak), ("yellow", "white", "green"), _BIRD),
        Kind("robot", robot_body, (), ("silver", "blue", "red", "yellow", "teal"), Frame(head_radii=(0.2, 0.16, 0.18))),
        Kind("girl", gowned, (pigtails,), ("red", "blue", "pink", "yellow", "green"), _PERSON, True),
        Kind("boy", person, (short_hair,), ("blue", "green", "red", "orange", "teal"), _PERSON, True),
        Kind("woman", gowned, (long_hair,), ("purple", "teal", "red", "blue"), _ADULT, True),
        Kind("man", person, (short_hair,), ("brown", "blue", "gray", "green"), _ADULT, True),
        Kind("king", gowned, (short_hair, beard, gold_crown), ("red", "purple", "blue"), _ADULT, True),
        Kind("queen", gowned, (long_hair, gold_crown), ("purple", "pink", "blue"), _ADULT, True),
        Kind("princess", gowned, (long_hair, gold_crown), ("pink", "yellow", "blue"), _PERSON, True),
        Kind("wizard", gowned, (short_hair, beard, wizard_hat), ("blue", "purple", "green"), _ADULT, True),
        Kind("knight", person, (knight_helmet,), ("silver", "red", "blue"), _PERSON, True),
        Kind("witch", gowned, (long_hair, witch_hat), ("black", "purple", "green"), _PERSON, True),
    )
}
