"""Poses over time: what the limbs do while a character walks, waves, sits ..."""

from enum import Enum
from typing import assert_never

import numpy as np

from magicgen.synthetic.skeleton import Frame, Pose


class Action(Enum):
    """What a character does; the value is the caption's word."""

    STANDS = "stands"
    WALKS = "walks"
    RUNS = "runs"
    WAVES = "waves"
    JUMPS = "jumps"
    SITS = "sits"
    DANCES = "dances"
    TALKS = "talks"


def walking(phase: float, stride: float = 32.0) -> Pose:
    """A step of the walk; one cycle per 2 pi of ``phase``."""
    swing = stride * float(np.sin(phase))
    return Pose((swing, -swing), (-0.8 * swing, 0.8 * swing), (10.0, 10.0), 0.02 * abs(float(np.cos(phase))))


def idle(phase: float) -> Pose:
    """Standing and breathing."""
    breath = float(np.sin(phase))
    return Pose((0.0, 0.0), (4 * breath, 4 * breath), (14 + 2 * breath, 14 + 2 * breath), 0.004 * breath)


def waving(phase: float) -> Pose:
    """Standing with one arm up, waving."""
    return Pose((0.0, 0.0), (0.0, 0.0), (12.0, 122 + 20 * float(np.sin(2 * phase))), 0.0)


def jumping(phase: float) -> Pose:
    """Arms and legs spread, body lifted; the way through the air belongs to the motion."""
    lift = abs(float(np.sin(phase / 2)))
    return Pose((22 * lift, -14 * lift), (0.0, 0.0), (20 + 100 * lift, 20 + 100 * lift), 0.0)


def sitting(phase: float, frame: Frame) -> Pose:
    """On the ground with the legs forward."""
    breath = float(np.sin(phase))
    return Pose((84.0, 84.0), (20 + 4 * breath, 20 - 4 * breath), (14.0, 14.0), 0.06 - frame.hip_y)


def dancing(phase: float) -> Pose:
    """Arms up by turns, stepping on the spot."""
    swing = float(np.sin(phase))
    return Pose(
        (18 * swing, -18 * swing), (0.0, 0.0), (85 + 55 * swing, 85 - 55 * swing), 0.03 * abs(float(np.cos(phase)))
    )


def talking(phase: float) -> Pose:
    """Standing, the forearms moving as in speech."""
    swing = float(np.sin(phase))
    return Pose((0.0, 0.0), (38 + 14 * swing, 38 - 14 * swing), (22.0, 22.0), 0.0)


def posed(action: Action, phase: float, frame: Frame) -> Pose:
    """The pose of an action at a phase; one cycle per 2 pi."""
    match action:
        case Action.STANDS:
            return idle(phase)
        case Action.WALKS:
            return walking(phase)
        case Action.RUNS:
            return walking(phase, 46.0)
        case Action.WAVES:
            return waving(phase)
        case Action.JUMPS:
            return jumping(phase)
        case Action.SITS:
            return sitting(phase, frame)
        case Action.DANCES:
            return dancing(phase)
        case Action.TALKS:
            return talking(phase)
        case _:
            assert_never(action)
