"""Parts of a drawn character in three dimensions, projected to flat coloured polygons in painter's order."""

import math
from dataclasses import dataclass

import numpy as np

from magicgen.synthetic.colours import Colour
from magicgen.synthetic.geometry import CIRCLE, HALF, Floats, f32
from magicgen.synthetic.skeleton import Frame, Point3, Pose, joints, rotate

HEAD = 0.2
"""Depth by which the head and what belongs to it lie in front of the body."""


@dataclass(frozen=True)
class Part:
    """A filled polygon: (n, 2) body units, x right, y up; drawn in order of ``depth`` (nearest last)."""

    depth: float
    outline: Floats
    colour: Colour
    inked: bool


class Puppet:
    """Collects the parts of one character in one pose, seen from one side.

    Args:
        frame: proportions.
        pose: limb angles.
        yaw: view angle in degrees, see :mod:`magicgen.synthetic.skeleton`.
    """

    def __init__(self, frame: Frame, pose: Pose, yaw: float) -> None:
        self.frame, self.pose, self.yaw = frame, pose, yaw
        self.body = joints(frame, pose)
        self.view = rotate(self.body, yaw)
        self.head: Point3 = (0.0, frame.head_y + pose.bob, 0.0)
        self.torso: Point3 = (0.0, frame.torso_y + pose.bob, 0.0)
        self.parts: list[Part] = []
        self._cosine, self._sine = float(np.cos(np.radians(yaw))), float(np.sin(np.radians(yaw)))

    def seen(self, point: Point3) -> Point3:
        """Body coordinates to view coordinates."""
        x, y, z = point
        return (x * self._cosine + z * self._sine, y, z * self._cosine - x * self._sine)

    def add(self, depth: float, outline: Floats, colour: Colour, inked: bool = True) -> None:
        """A polygon already in view coordinates."""
        self.parts.append(Part(depth, outline, colour, inked))

    def ball(
        self, centre: Point3, radii: Point3, colour: Colour, bias: float = 0.0, square: float = 0.0, inked: bool = True
    ) -> None:
        """An ellipsoid; ``square`` in [0, 1) makes it a rounded box."""
        x, y, z = self.seen(centre)
        half = float(np.hypot(radii[0] * self._cosine, radii[2] * self._sine))
        shape = CIRCLE
        if square:
            shape = np.sign(CIRCLE) * np.abs(CIRCLE) ** np.float32(1 - square)
        self.add(z + bias, shape * f32((half, radii[1])) + f32((x, y)), colour, inked)

    def limb(
        self, start: Point3, end: Point3, r0: float, r1: float, colour: Colour, bias: float = 0.0, inked: bool = True
    ) -> None:
        """A tapered tube with round ends, between two points in body coordinates."""
        a, b = self.seen(start), self.seen(end)
        self.tube(f32(a[:2]), f32(b[:2]), r0, r1, 0.5 * (a[2] + b[2]) + bias, colour, inked)

    def tube(
        self, a: Floats, b: Floats, r0: float, r1: float, depth: float, colour: Colour, inked: bool = True
    ) -> None:
        """The same between two points in view coordinates."""
        along = b - a
        length = float(np.hypot(along[0], along[1])) or 1e-6
        tx, ty = along / np.float32(length)
        # columns turn the half circle (x forward-normal) so that it caps the tube's end
        cap = f32([[ty, -tx], [tx, ty]])
        end = HALF @ cap
        self.add(depth, np.concatenate([b + end * np.float32(r1), a - end * np.float32(r0)]), colour, inked)

    def patch(
        self,
        azimuth: float,
        elevation: float,
        shape: Floats,
        colour: Colour,
        lift: float = 0.05,
        inked: bool = False,
        centre: Point3 | None = None,
        radii: Point3 | None = None,
    ) -> None:
        """A shape painted on an ellipsoid (the head if not said); what lies behind the horizon is hidden.

        ``shape`` is (n, 2) in body units along the surface; angles in degrees, 0/0 is straight ahead.
        """
        base = HEAD if centre is None else 0.0
        x0, y0, z0 = self.seen(centre or self.head)
        rx, ry, rz = radii or self.frame.head_radii
        az, el = math.radians(azimuth), math.radians(elevation)
        toward = rz * math.cos(az) * self._cosine - rx * math.sin(az) * self._sine
        if toward < -0.75 * rz:
            return
        around, up = shape[:, 0] / rx + az, shape[:, 1] / ry + el
        side, front, level = rx * np.sin(around), rz * np.cos(around), np.cos(up)
        z = front * self._cosine - side * self._sine
        if z.max() < 0.08 * rz:
            return
        x = side * self._cosine + front * self._sine
        x = np.where(z < 0, np.copysign(math.hypot(rx * self._cosine, rz * self._sine), x), x)
        outline = np.empty(shape.shape, np.float32)
        outline[:, 0] = x0 + x * level
        outline[:, 1] = y0 + ry * np.sin(up)
        self.add(base + z0 + toward * math.cos(el) + lift, outline, colour, inked)

    def tag(
        self, azimuth: float, elevation: float, shape: Floats, colour: Colour, lift: float, inked: bool = False
    ) -> None:
        """A flat shape that stands on the head like a beard or a whisker, hidden when it faces away."""
        rx, ry, rz = self.frame.head_radii
        x0, y0, z0 = self.head
        az, el = np.radians(azimuth), np.radians(elevation)
        direction = (float(np.sin(az) * np.cos(el)), float(np.sin(el)), float(np.cos(az) * np.cos(el)))
        if self.seen(direction)[2] < 0.08:
            return
        x, y, z = self.seen((x0 + rx * direction[0], y0 + ry * direction[1], z0 + rz * direction[2]))
        squeeze = max(abs(float(np.cos(az)) * self._cosine - float(np.sin(az)) * self._sine), 0.25)
        self.add(HEAD + z + lift, shape * f32((squeeze, 1)) + f32((x, y)), colour, inked)

    def card(
        self, anchor: Point3, shape: Floats, colour: Colour, bias: float, turning: bool = False, inked: bool = True
    ) -> None:
        """A flat shape at a point; it faces the viewer, or, ``turning``, narrows with the view angle."""
        x, y, z = self.seen(anchor)
        width = max(abs(self._cosine), 0.3) if turning else 1.0
        self.add(z + bias, shape * f32((width, 1)) + f32((x, y)), colour, inked)

    def ordered(self) -> list[Part]:
        """Parts from back to front."""
        return sorted(self.parts, key=lambda part: part.depth)
