"""The generation that an attention plan is searched and measured on: a held-out synthetic scene, or a person's own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from magicgen.control.tracks import MaskLevel, Tracks
from magicgen.jobs.inputs import UInt8

CALIBRATION_SEED = 5


@dataclass(frozen=True)
class CalibrationClip:
    """What the runs are conditioned on; ``picture`` (H,W,3) uint8 at the size of ``tracks``."""

    picture: UInt8
    tracks: Tracks
    prompt: str


def synthetic_clip(frames: int, height: int, width: int, seed: int = CALIBRATION_SEED) -> CalibrationClip:
    """A scene that no training has seen, two to three moving objects."""
    from magicgen.synthetic.plan import SceneSettings
    from magicgen.synthetic.scene import random_scene

    settings = SceneSettings(frames=frames, height=height, width=width, min_objects=2, max_objects=3, held_out=True)
    scene = random_scene(np.random.default_rng(seed), settings)
    return CalibrationClip(scene.video[0], scene.tracks, scene.caption)


def generation(
    pipeline: Any, clip: CalibrationClip, *, steps: int | None = None, seed: int = 0, autocast: bool | None = None
) -> Callable[[], UInt8]:
    """One whole generation, always from the same noise: () -> (T,H,W,3) uint8.

    ``steps`` and ``autocast`` as in :class:`pipelines.trajectory_video.TrajectoryVideoPipeline`; by default what the
    model is used with.
    """

    def run() -> UInt8:
        import torch

        output = pipeline(
            clip.picture,
            clip.tracks,
            MaskLevel(),
            clip.prompt,
            num_inference_steps=steps,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="uint8",
            autocast=autocast,
        )
        return np.asarray(output.frames[0], dtype=np.uint8)

    return run


def plan_models(pipeline: Any) -> dict[str, Any]:
    """The models of a pipeline that a plan has parts for."""
    models = {"transformer": pipeline.transformer, "control_branch": pipeline.branch}
    return {name: model for name, model in models.items() if model is not None}
