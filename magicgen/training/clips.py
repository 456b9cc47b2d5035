"""Clips to train on: a video with its exact tracks, by number."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from magicgen.control.tracks import Tracks
from magicgen.synthetic.scene import SceneSettings, random_scene


@dataclass(frozen=True)
class Clip:
    """A video with its exact tracks: (T, H, W, 3) uint8, :class:`Tracks` with masks, a caption."""

    video: npt.NDArray[np.uint8]
    tracks: Tracks
    caption: str


class ClipSource(Protocol):
    """Anything that can give clip number ``i``."""

    def clip(self, index: int) -> Clip:
        """The clip; the same index always gives the same one."""
        ...


@dataclass(frozen=True)
class SyntheticClips:
    """Procedural scenes, one per index."""

    seed: int
    settings: SceneSettings

    def clip(self, index: int) -> Clip:
        """Scene ``index`` of this seed."""
        scene = random_scene(np.random.default_rng([self.seed, index]), self.settings)
        return Clip(scene.video, replace(scene.tracks, angles=None), scene.caption)
