"""The generation that an attention plan is searched and measured on: a held-out synthetic scene, or a person's own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from magicgen.control.tracks import Level, MaskLevel, Tracks
from magicgen.errors import PlanError
from magicgen.jobs.inputs import ClipShape, UInt8, clip_inputs, read_document
from magicgen.media import read_image

CALIBRATION_SEED = 5


@dataclass(frozen=True)
class CalibrationClip:
    """What the runs are conditioned on; ``picture`` (H,W,3) uint8 at the size of ``tracks``."""

    name: str
    picture: UInt8
    tracks: Tracks
    level: Level
    prompt: str = ""


def calibration_clip(shape: ClipShape, image: Path | None = None, trajectory: Path | None = None) -> CalibrationClip:
    """A photo with its trajectory, brought to ``shape``; without them a scene that no training has seen.

    Raises:
        MagicGenError: only one of the two is given, or they cannot be read or do not fit together.
    """
    if image is None and trajectory is None:
        return _synthetic_clip(shape)
    if image is None or trajectory is None:
        raise PlanError("a photo needs its trajectory and the other way round; give both, --image and --trajectory")
    inputs = clip_inputs(read_image(image), read_document(trajectory), shape, None, None)
    return CalibrationClip(str(image), inputs.picture, inputs.tracks, inputs.level)


def _synthetic_clip(shape: ClipShape) -> CalibrationClip:
    from magicgen.synthetic.plan import SceneSettings
    from magicgen.synthetic.scene import random_scene

    settings = SceneSettings(
        frames=shape.frames, height=shape.height, width=shape.width, min_objects=2, max_objects=3, held_out=True
    )
    scene = random_scene(np.random.default_rng(CALIBRATION_SEED), settings)
    return CalibrationClip("held-out synthetic scene", scene.video[0], scene.tracks, MaskLevel(), scene.caption)


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
            clip.level,
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
