"""The skeleton that every drawn character shares, in three dimensions, and its projection.

Body coordinates: x to the viewer's right when seen from the front; y up from the feet (0) to about 1 at the top of the
head; z towards the way the character faces. A view angle (yaw) of 0 degrees shows the front, 90 the character facing
the viewer's right, 180 its back, -90 facing left; anything between is a three-quarter view.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from magicgen.synthetic.geometry import Bytes, Floats

Point3 = tuple[float, float, float]

KEYPOINT_NAMES = (
    "nose",
    "eye_a",
    "eye_b",
    "neck",
    "shoulder_a",
    "shoulder_b",
    "elbow_a",
    "elbow_b",
    "hand_a",
    "hand_b",
    "pelvis",
    "hip_a",
    "hip_b",
    "knee_a",
    "knee_b",
    "foot_a",
    "foot_b",
)
"""Joint names; ``_a`` is the limb at negative x (the character's right), ``_b`` the one at positive x."""

BONES: tuple[tuple[int, int], ...] = (
    (0, 3),
    (0, 1),
    (0, 2),
    (3, 4),
    (3, 5),
    (4, 6),
    (6, 8),
    (5, 7),
    (7, 9),
    (3, 10),
    (10, 11),
    (10, 12),
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
)
"""Pairs of indices into :data:`KEYPOINT_NAMES`."""


@dataclass(frozen=True)
class Pose:
    """Limb angles of one frame, degrees; 0 hangs down, positive swings forward. ``bob`` lifts the whole body."""

    legs: tuple[float, float] = (0.0, 0.0)
    arms: tuple[float, float] = (0.0, 0.0)
    spread: tuple[float, float] = (12.0, 12.0)
    bob: float = 0.0


STILL = Pose()
"""Standing with hanging arms."""


@dataclass(frozen=True)
class Frame:
    """Proportions of a body: heights and half-widths in units of the body's height."""

    head_y: float = 0.72
    head_radii: Point3 = (0.235, 0.21, 0.22)
    torso_y: float = 0.37
    torso_radii: Point3 = (0.16, 0.19, 0.14)
    hip_y: float = 0.24
    hip_x: float = 0.075
    leg: float = 0.21
    arm: float = 0.25
    shoulder_y: float = 0.49
    shoulder_x: float = 0.135


def joints(frame: Frame, pose: Pose) -> Floats:
    """(17, 3) positions of :data:`KEYPOINT_NAMES` in body coordinates."""
    lift = pose.bob
    head_y = frame.head_y + lift
    rx, ry, rz = frame.head_radii
    points = [
        np.array([0.0, head_y - 0.12 * ry, rz]),
        np.array([-0.42 * rx, head_y + 0.15 * ry, 0.86 * rz]),
        np.array([0.42 * rx, head_y + 0.15 * ry, 0.86 * rz]),
        np.array([0.0, frame.shoulder_y + 0.05 + lift, 0.0]),
    ]
    shoulders = [np.array([side * frame.shoulder_x, frame.shoulder_y + lift, 0.0]) for side in (-1, 1)]
    hips = [np.array([side * frame.hip_x, frame.hip_y + lift, 0.0]) for side in (-1, 1)]
    elbows, hands, knees, feet = [], [], [], []
    for index, side in enumerate((-1, 1)):
        swing, spread = np.radians(pose.arms[index]), np.radians(pose.spread[index])
        upper = np.array([side * np.sin(spread), -np.cos(spread) * np.cos(swing), np.sin(swing)])
        fore_swing = swing + 0.35 if pose.spread[index] < 80 else swing
        fore = np.array([side * np.sin(spread * 1.1), -np.cos(spread * 1.1) * np.cos(fore_swing), np.sin(fore_swing)])
        elbows.append(shoulders[index] + upper * frame.arm * 0.5)
        hands.append(elbows[index] + fore * frame.arm * 0.5)
        step = np.radians(pose.legs[index])
        thigh = np.array([0.0, -np.cos(step), np.sin(step)])
        bend = step - max(0.0, -step) * 0.9
        shin = np.array([0.0, -np.cos(bend), np.sin(bend)])
        knees.append(hips[index] + thigh * frame.leg * 0.5)
        feet.append(knees[index] + shin * frame.leg * 0.5)
    points += [*shoulders, *elbows, *hands, np.array([0.0, frame.hip_y + lift, 0.0]), *hips, *knees, *feet]
    return np.asarray(points, np.float32)


def rotate(points: Floats, yaw: float) -> Floats:
    """(..., 3) body coordinates turned by ``yaw`` degrees: x to the viewer's right, y up, z towards the viewer."""
    cosine, sine = np.float32(np.cos(np.radians(yaw))), np.float32(np.sin(np.radians(yaw)))
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([x * cosine + z * sine, y, z * cosine - x * sine], axis=-1)


def draw_keypoints(keypoints: Floats, height: int, width: int) -> Bytes:
    """Stick figures, one hue per bone, on black: (N, K, 3) normalised x, y, visibility -> (height, width, 3) uint8."""
    canvas = np.zeros((height, width, 3), np.uint8)
    hues = np.linspace(0, 170, len(BONES)).astype(np.uint8)
    solid = np.stack([hues, np.full_like(hues, 255), np.full_like(hues, 255)], axis=-1)[None]
    colours = cv2.cvtColor(solid, cv2.COLOR_HSV2RGB)[0]
    thickness = max(1, min(height, width) // 64)
    for figure in keypoints:
        pixels = figure[:, :2] * (width, height) * 16
        for colour, (a, b) in zip(colours.tolist(), BONES, strict=True):
            if figure[a, 2] > 0 and figure[b, 2] > 0:
                start, end = (tuple(int(v) for v in np.round(pixels[i])) for i in (a, b))
                cv2.line(canvas, start, end, colour, thickness, cv2.LINE_AA, 4)
    return canvas
