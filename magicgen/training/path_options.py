"""What a training run of the path network is told."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from magicgen.config import StrictModel
from magicgen.training.options import Positive


class PathTraining(StrictModel):
    """One run of ``magicgen train`` for ``task: box_paths``: the network that completes sparse boxes.

    Attributes:
        scenes: how many synthetic scenes give their tracks; every track is thinned out ``draws`` times.
        frames: of a scene, 16 n + 1; every second and every fourth of them make shorter clips.
        queries: frames that are asked for each thinned track.
        width: of the network's three hidden layers.
        caution: what the trained network's guesses are multiplied by, because other motions than the drawn ones follow
            them less far.
        test_scenes: held-out scenes for ``scores.json``.
    """

    task: Literal["box_paths"]
    out: Path
    seed: int = 0
    scenes: Positive = 8000
    frames: Annotated[int, Field(ge=17)] = 33
    draws: Positive = 4
    queries: Positive = 8
    width: Positive = 128
    steps: Positive = 8000
    batch_size: Positive = 4096
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    caution: Annotated[float, Field(gt=0, le=1)] = 0.7
    test_scenes: Positive = 200
