"""Bodies of the cast: torso, limbs, head and face of animals, birds, people and robots."""

from dataclasses import dataclass
from enum import Enum

from magicgen.synthetic.colours import Colour, shade
from magicgen.synthetic.geometry import f32, oval
from magicgen.synthetic.puppet import Puppet
from magicgen.synthetic.skeleton import Point3

DARK: Colour = (44, 36, 40)
CREAM: Colour = (250, 240, 220)


class Marks(Enum):
    """What adorns the body: people wear buttons or stripes, animals spots or bands."""

    NONE = "none"
    DOTS = "dots"
    BANDS = "bands"


@dataclass(frozen=True)
class Paint:
    """Colours of one character: main (fur or clothes), second (belly, trousers), skin, hair; and its marks."""

    main: Colour
    second: Colour
    skin: Colour
    hair: Colour
    marks: Marks = Marks.NONE


def around(point: Point3, dx: float, dy: float, dz: float) -> Point3:
    """A point moved by (dx, dy, dz) in the puppet's own space."""
    return (point[0] + dx, point[1] + dy, point[2] + dz)


def joint(puppet: Puppet, index: int) -> Point3:
    """Where joint ``index`` of the skeleton is."""
    x, y, z = puppet.body[index]
    return (float(x), float(y), float(z))


def legs(puppet: Puppet, leg: Colour, foot: Colour, radius: float = 0.055, bias: float = 0.0) -> None:
    """Two legs with feet; a lower ``bias`` hides them behind a skirt."""
    for hip, knee, ankle in ((11, 13, 15), (12, 14, 16)):
        a, b, c = (joint(puppet, index) for index in (hip, knee, ankle))
        puppet.limb(b, c, radius * 0.92, radius * 0.85, leg, bias - 0.02)
        puppet.limb(a, b, radius, radius * 0.92, leg, bias - 0.01)
        puppet.ball(around(c, 0, -0.005, 0.03), (0.055, 0.036, 0.08), foot, bias + 0.02)


def arms(puppet: Puppet, sleeve: Colour, hand: Colour, radius: float = 0.046) -> None:
    """Two arms with hands."""
    for shoulder, elbow, wrist in ((4, 6, 8), (5, 7, 9)):
        a, b, c = (joint(puppet, index) for index in (shoulder, elbow, wrist))
        puppet.ball(c, (0.045, 0.045, 0.045), hand, 0.06)
        puppet.limb(b, c, radius * 0.95, radius * 0.85, sleeve, 0.065)
        puppet.limb(a, b, radius, radius * 0.95, sleeve, 0.07)


def face(puppet: Puppet, eye: float = 0.032, spread: float = 25.0, height: float = 8.0) -> None:
    """Two eyes with a shine, ``spread`` degrees to each side and ``height`` degrees up."""
    for side in (-1, 1):
        puppet.patch(side * spread, height, oval(eye, eye * 1.35), DARK, 0.06)
        shine = oval(eye * 0.36, eye * 0.42) + f32((eye * 0.3, eye * 0.5))
        puppet.patch(side * spread, height, shine, (255, 255, 255), 0.1)


def fur_marks(puppet: Puppet, paint: Paint) -> None:
    """Darker or lighter spots or bands on the fur of head and back."""
    radii = puppet.frame.torso_radii
    tone = shade(paint.main, 0.68 if sum(paint.main) > 330 else 1.35)
    match paint.marks:
        case Marks.NONE:
            return
        case Marks.DOTS:
            for azimuth, elevation, size in ((-62, 34, 0.06), (70, 50, 0.05), (150, 10, 0.08), (-130, -5, 0.065)):
                puppet.patch(azimuth, elevation, oval(size, size * 0.85), tone, 0.03)
            for azimuth, elevation in ((160, 25), (-150, -20), (110, -10), (-85, 15)):
                puppet.patch(
                    azimuth, elevation, oval(0.045, 0.05), tone, 0.02, False, puppet.torso, puppet.frame.torso_radii
                )
        case Marks.BANDS:
            for azimuth in (-14, 0, 14):
                puppet.patch(azimuth, 62, oval(0.014, 0.05), tone, 0.04)
            for azimuth in (90, 135, 180, -135, -90):
                for elevation in (-25, 10, 40):
                    band = oval(0.07, 0.014)
                    puppet.patch(azimuth, elevation, band, tone, 0.02, False, puppet.torso, radii)


def cloth_marks(puppet: Puppet, paint: Paint) -> None:
    """Buttons down the front, or stripes around the chest."""
    radii = puppet.frame.torso_radii
    match paint.marks:
        case Marks.NONE:
            return
        case Marks.DOTS:
            for elevation in (35, 5, -25):
                puppet.patch(
                    0, elevation, oval(0.016, 0.016), paint.second, 0.06, False, puppet.torso, puppet.frame.torso_radii
                )
        case Marks.BANDS:
            for height in (0.06, -0.01, -0.08):
                x, y, z = puppet.torso
                half = radii[0] * 0.92
                strip = f32([[-half, -0.014], [half, -0.014], [half, 0.014], [-half, 0.014]])
                puppet.card((x, y + height, z), strip, paint.second, 0.02, True, False)


def animal(puppet: Puppet, paint: Paint) -> None:
    """Furry body with a light belly, round head and dark eyes."""
    frame = puppet.frame
    legs(puppet, shade(paint.main, 0.95), shade(paint.main, 0.8))
    arms(puppet, shade(paint.main, 0.97), shade(paint.main, 0.8))
    puppet.ball(puppet.torso, frame.torso_radii, paint.main)
    belly = oval(frame.torso_radii[0] * 0.62, frame.torso_radii[1] * 0.7)
    puppet.patch(0, -8, belly, paint.second, 0.0, False, puppet.torso, frame.torso_radii)
    puppet.ball(puppet.head, frame.head_radii, paint.main, 0.2)
    fur_marks(puppet, paint)
    if sum(paint.main) < 270:
        for side in (-1, 1):
            puppet.patch(side * 25, 8, oval(0.046, 0.058), (250, 236, 170), 0.055)
    face(puppet)


def bird(puppet: Puppet, paint: Paint) -> None:
    """Egg-shaped body with wings instead of arms and big eyes."""
    frame = puppet.frame
    for index in (15, 16):
        foot = joint(puppet, index)
        puppet.limb(joint(puppet, index - 4), foot, 0.025, 0.025, (236, 152, 52), -0.02)
        puppet.ball(around(foot, 0, -0.005, 0.035), (0.06, 0.03, 0.08), (236, 152, 52), 0.02)
    for shoulder, hand in ((4, 8), (5, 9)):
        puppet.limb(joint(puppet, shoulder), joint(puppet, hand), 0.075, 0.03, shade(paint.main, 0.82), 0.07)
    puppet.ball(
        puppet.torso, (frame.torso_radii[0] * 1.15, frame.torso_radii[1] * 1.12, frame.torso_radii[2] * 1.2), paint.main
    )
    belly = oval(frame.torso_radii[0] * 0.8, frame.torso_radii[1] * 0.85)
    puppet.patch(0, -6, belly, paint.second, 0.0, False, puppet.torso, frame.torso_radii)
    puppet.ball(puppet.head, frame.head_radii, paint.main, 0.2)


def person(puppet: Puppet, paint: Paint) -> None:
    """Shirt and trousers, round head with a small smile."""
    frame = puppet.frame
    legs(puppet, paint.second, DARK, 0.05)
    arms(puppet, paint.main, paint.skin, 0.042)
    puppet.ball(puppet.torso, frame.torso_radii, paint.main, 0.0, 0.25)
    cloth_marks(puppet, paint)
    _person_head(puppet, paint)


def gowned(puppet: Puppet, paint: Paint) -> None:
    """A dress or robe that widens to the hem."""
    frame = puppet.frame
    legs(puppet, paint.skin, DARK, 0.042, -0.12)
    arms(puppet, paint.main, paint.skin, 0.042)
    top, hem = frame.shoulder_y + 0.05 + puppet.pose.bob, 0.13 + puppet.pose.bob
    skirt = f32(
        [
            [-0.1, top],
            [0.1, top],
            [0.15, 0.36],
            [0.215, hem],
            [0.1, hem - 0.02],
            [-0.1, hem - 0.02],
            [-0.215, hem],
            [-0.15, 0.36],
        ]
    )
    puppet.add(0.01, skirt, paint.main)
    belt = f32([[-0.135, 0.4], [0.135, 0.4], [0.145, 0.365], [-0.145, 0.365]]) + f32((0, puppet.pose.bob))
    puppet.add(0.015, belt, paint.second, False)
    if paint.marks is Marks.DOTS:
        cloth_marks(puppet, paint)
    _person_head(puppet, paint)


def _person_head(puppet: Puppet, paint: Paint) -> None:
    puppet.ball(puppet.head, puppet.frame.head_radii, paint.skin, 0.2)
    face(puppet, 0.026, 24, 0)
    smile = f32([[-0.05, 0.01], [0, -0.02], [0.05, 0.01], [0, -0.035]])
    puppet.patch(0, -28, smile, (176, 66, 66), 0.06)
    for side in (-1, 1):
        puppet.patch(side * 42, -18, oval(0.034, 0.024), (246, 160, 146), 0.055)


def robot_body(puppet: Puppet, paint: Paint) -> None:
    """Boxes, bolts, a lit face plate."""
    frame = puppet.frame
    steel: Colour = (130, 138, 150)
    legs(puppet, steel, shade(paint.main, 0.7), 0.042)
    arms(puppet, steel, shade(paint.main, 0.7), 0.036)
    puppet.ball(puppet.torso, frame.torso_radii, paint.main, 0.0, 0.7)
    panel = f32([[-0.08, -0.05], [0.08, -0.05], [0.08, 0.07], [-0.08, 0.07]])
    puppet.patch(0, 0, panel, paint.second, 0.0, True, puppet.torso, frame.torso_radii)
    for dx, colour in ((-0.04, (226, 60, 56)), (0.0, (240, 196, 60)), (0.04, (90, 190, 90))):
        puppet.patch(0, 0, oval(0.014, 0.014) + f32((dx, 0.03)), colour, 0.01, False, puppet.torso, frame.torso_radii)
    puppet.ball(puppet.head, frame.head_radii, paint.main, 0.2, 0.65)
    plate = f32([[-0.15, -0.09], [0.15, -0.09], [0.15, 0.09], [-0.15, 0.09]])
    puppet.patch(0, 5, plate, (40, 52, 70), 0.05, True)
    for side in (-1, 1):
        puppet.patch(0, 5, oval(0.04, 0.042) + f32((side * 0.075, 0.02)), (120, 236, 240), 0.1)
    mouth = f32([[-0.06, -0.06], [0.06, -0.06], [0.06, -0.04], [-0.06, -0.04]])
    puppet.patch(0, 5, mouth, (120, 236, 240), 0.1)
    top = around(puppet.head, 0, frame.head_radii[1], 0)
    puppet.limb(top, around(top, 0, 0.08, 0), 0.012, 0.012, steel, 0.19)
    puppet.ball(around(top, 0, 0.1, 0), (0.03, 0.03, 0.03), (232, 64, 60), 0.21)
