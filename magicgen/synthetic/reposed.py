"""A character's front view moved into another pose and view: the draft that the story model corrects.

The picture is cut along the average skeleton into head, trunk, arms and legs. Limbs follow their bones; head and trunk
are turned as if painted on upright cylinders, whose far side takes the colour of the near edge. What only another view
shows (a tail, a snout from the side) is left to the model.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.synthetic.geometry import Floats
from magicgen.synthetic.skeleton import Frame

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
NECK, PELVIS = 3, 10
ARMS, LEGS = ((4, 8), (5, 9)), ((11, 15), (12, 16))
ARM_REACH, LEG_REACH = 0.055, 0.13
"""Half-widths of limbs, in heights of the body."""
SIDEWAYS = 60.0
"""Degrees from which what sticks out beside the head is no longer drawn: it has turned in front of it."""
NEAR_EDGE = 75.0
"""Degrees from the middle of the front view beyond which its colours are too squeezed to be used."""
TRUNK_REACH = 0.15
RIM = 2.0
"""Pixels of outline along an edge that give no colour."""
_FRAME = Frame()


@dataclass(frozen=True, eq=False)
class _Layer:
    """A part: for every new pixel where its colour lies in the front view (``x``, ``y``), and how much covers it."""

    x: Floats
    y: Floats
    share: Floats


def reposed(
    picture: UInt8, mask: Bools, source: Floats, target: Floats, yaw: float, size: float
) -> tuple[UInt8, Floats]:
    """The figure of a front view in another pose: (h, w, 3) uint8 colours and (h, w) float32 coverage in [0, 1].

    Args:
        picture: (h, w, 3) uint8, the character standing, from the front.
        mask: (h, w) bool, where it is.
        source, target: (17, 3) normalised joints of the average body in the picture, and where they are to be.
        yaw: degrees, the new view: 0 front, 90 facing the viewer's right, 180 back.
        size: height of the body in pixels.
    """
    height, width = mask.shape
    scale = np.array((width, height), np.float32)
    before, after = source[:, :2] * scale, target[:, :2] * scale
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    neck, hips, middle = before[NECK, 1] + 0.03 * size, before[LEGS[0][0], 1], before[PELVIS, 0]
    arms = [mask & (rows >= neck) & _hanging(bone, before, rows, columns, size) for bone in ARMS]
    bare = mask & ~arms[0] & ~arms[1]
    body = mask & (rows >= neck) & (rows < hips) & (bare | (np.abs(columns - middle) < TRUNK_REACH * size))
    sides = (columns < middle, columns >= middle)
    legs = [bare & (rows >= hips - 0.04 * size) & side for side in sides]
    far, near = (0, 1) if yaw <= 0 else (1, 0)
    layers = [
        _limb(arms[far], before, after, ARMS[far], 2 * ARM_REACH * size, rows, columns),
        _limb(legs[far], before, after, LEGS[far], LEG_REACH * size, rows, columns),
        _limb(legs[near], before, after, LEGS[near], LEG_REACH * size, rows, columns),
        _turned(body, body & bare, before, after, PELVIS, _FRAME.torso_radii[0] * size, yaw, rows, columns),
        _limb(arms[near], before, after, ARMS[near], 2 * ARM_REACH * size, rows, columns),
        _head(mask & (rows < neck), before, after, size, yaw, rows, columns),
    ]
    colours, cover = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
    for layer in layers:
        drawn, share = _sampled(picture.astype(np.float32), layer.x, layer.y), layer.share
        colours = colours * (1 - share[..., None]) + drawn * share[..., None]
        cover = cover + share * (1 - cover)
    spread = colours / np.maximum(cover, 1e-3)[..., None]
    return np.clip(np.round(spread), 0, 255).astype(np.uint8), cover


def _sampled(values: Floats, x: Floats, y: Floats) -> Floats:
    """Values at old pixels; nothing where these lie outside or are NaN."""
    x, y = np.nan_to_num(x, nan=-9), np.nan_to_num(y, nan=-9)
    return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), np.float32)


def _hanging(bone: tuple[int, int], before: Floats, rows: Floats, columns: Floats, size: float) -> Bools:
    """Pixels of a hanging arm: along its bone and a little beyond its hand; beside the trunk it may be thick."""
    along, across, length = _bone(before[bone[0]], before[bone[1]], rows, columns)
    outside = np.abs(columns - before[PELVIS, 0]) > TRUNK_REACH * size
    reach = np.where(outside, 2 * ARM_REACH, ARM_REACH) * size
    return np.asarray((along > -0.1 * length) & (along < 1.4 * length) & (np.abs(across) < reach))


def _bone(a: Floats, b: Floats, rows: Floats, columns: Floats) -> tuple[Floats, Floats, float]:
    """Pixels from ``a`` along the way to ``b`` and across it, and its length."""
    way = b - a
    length = max(float(np.hypot(way[0], way[1])), 1e-3)
    x, y = columns - np.float32(a[0]), rows - np.float32(a[1])
    ux, uy = np.float32(way[0] / length), np.float32(way[1] / length)
    return x * ux + y * uy, y * ux - x * uy, length


def _limb(
    region: Bools, before: Floats, after: Floats, bone: tuple[int, int], reach: float, rows: Floats, columns: Floats
) -> _Layer:
    """A limb laid along its bone's new place; foreshortened where the bone is, but never to nothing."""
    (a, b), (new_a, new_b) = before[list(bone)], after[list(bone)]
    old, new = float(np.hypot(*(b - a))), float(np.hypot(*(new_b - new_a)))
    if new < 0.3 * old:  # towards the viewer: the hand or foot alone, upright
        new_a, new = new_b + (a - b) * np.float32(0.3), 0.3 * old
    along, across, _ = _bone(new_a, new_b, rows, columns)
    stretch = float(np.clip(new / old, 0.3, 1.4))
    back = np.float32(old) - (np.float32(new) - along) / np.float32(stretch)  # the hand or foot keeps its form
    inside = (back > -0.15 * old) & (back < 1.6 * old) & (np.abs(across) < reach)
    ux, uy = (b - a) / np.float32(old)
    x, y = a[0] + back * ux - across * uy, a[1] + back * uy + across * ux
    return _Layer(x, y, _sampled(region.astype(np.float32), x, y) * inside)


def _turned(
    shape: Bools,
    coloured: Bools,
    before: Floats,
    after: Floats,
    joint: int,
    radius: float,
    yaw: float,
    rows: Floats,
    columns: Floats,
) -> _Layer:
    """A part that keeps its outline while its colours turn as on an upright cylinder around a joint.

    Args:
        shape: (h, w) the part in the front view. coloured: where its colours are its own and not those of an arm.
    """
    off, y = columns - np.float32(after[joint, 0]), rows + np.float32(before[joint, 1] - after[joint, 1])
    angle = np.degrees(np.arcsin(np.clip(off / radius, -1, 1))) - yaw
    angle = np.clip((angle + 180) % 360 - 180, -NEAR_EDGE, NEAR_EDGE)
    straight = off + np.float32(before[joint, 0])
    x = (
        straight
        if yaw == 0
        else np.where(np.abs(off) < radius, np.float32(radius) * np.sin(np.radians(angle)) + before[joint, 0], straight)
    )
    low, high = _reach(coloured)
    row = np.clip(np.round(y), 0, len(low) - 1).astype(int)
    x = np.where(np.isnan(low[row]), x, np.minimum(np.maximum(x, low[row] + RIM), high[row] - RIM)) if yaw else x
    return _Layer(x.astype(np.float32), y, _sampled(shape.astype(np.float32), straight, y))


def _reach(region: Bools) -> tuple[Floats, Floats]:
    """First and last column of a region in every row, NaN where there is none."""
    width, some = region.shape[1], region.any(axis=1)
    low, high = region.argmax(axis=1), width - 1 - region[:, ::-1].argmax(axis=1)
    return np.where(some, low, np.nan).astype(np.float32), np.where(some, high, np.nan).astype(np.float32)


def _head(
    region: Bools, before: Floats, after: Floats, size: float, yaw: float, rows: Floats, columns: Floats
) -> _Layer:
    """The head turned; what stands on it, like a hat, stays as it is."""
    radius = _FRAME.head_radii[0] * size
    face = region & (np.abs(columns - before[NECK, 0]) < radius)
    layer = _turned(region, face, before, after, NECK, radius, yaw, rows, columns)
    top = before[NECK, 1] - (_FRAME.head_y + 0.75 * _FRAME.head_radii[1] - _FRAME.shoulder_y - 0.05) * size
    off = columns - np.float32(after[NECK, 0])
    x = np.where(layer.y < top, off + np.float32(before[NECK, 0]), layer.x).astype(np.float32)
    beside = np.abs(off) >= np.where(layer.y >= top, 1.0, 1.25) * radius
    return _Layer(x, layer.y, layer.share * ~beside if abs(yaw) > SIDEWAYS else layer.share)
