"""What is measured on: held-out synthetic scenes, or folders of clips with masks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

import numpy as np
import numpy.typing as npt

from magicgen.control.tracks import Tracks
from magicgen.errors import MagicGenError
from magicgen.evaluation.datasets import MAGICBENCH_FRAMES, find_clips, read_found
from magicgen.synthetic.scene import SceneSettings, held_out_scenes


@dataclass(frozen=True)
class Sample:
    """One clip with its exact tracks.

    Attributes:
        name: unique, a file name without ending.
        number: place in its set; decides the noise.
        video: (T, H, W, 3) uint8 RGB.
        tracks: with masks of every frame, at the size of the video.
        caption: the prompt, may be empty.
    """

    name: str
    number: int
    video: npt.NDArray[np.uint8]
    tracks: Tracks
    caption: str

    @property
    def group(self) -> str:
        """MagicBench's group: number of objects, 1 to 5 or ``>5``."""
        count = len(self.tracks.names)
        return str(count) if count <= 5 else ">5"


@dataclass(frozen=True)
class BrokenSample:
    """A clip that cannot be measured on, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class HeldOutScenes:
    """Synthetic scenes of a fixed seed, equal shares of every group, of other random streams than any training."""

    count: int = 60
    seed: int = 0
    frames: int = 17
    height: int = 128
    width: int = 192


@dataclass(frozen=True)
class ClipFolders:
    """Real clips in any layout of :func:`magicgen.evaluation.datasets.find_clips`, cropped and resized."""

    root: Path
    frames: int = MAGICBENCH_FRAMES
    height: int = 256
    width: int = 384


SampleSource = HeldOutScenes | ClipFolders


def samples(source: SampleSource) -> Iterator[Sample | BrokenSample]:
    """The samples of a source, in order; a clip that cannot be read is told and passed over.

    Raises:
        DatasetError: the folder holds no clips.
    """
    match source:
        case HeldOutScenes():
            return _scenes(source)
        case ClipFolders():
            return _folders(source)
        case _:
            assert_never(source)


def sample_count(source: SampleSource) -> int:
    """How many samples a source has."""
    return source.count if isinstance(source, HeldOutScenes) else len(find_clips(source.root))


def _scenes(source: HeldOutScenes) -> Iterator[Sample]:
    settings = SceneSettings(frames=source.frames, height=source.height, width=source.width)
    for number, scene in enumerate(held_out_scenes(source.count, source.seed, settings)):
        # Boxes say nothing of turning, so the model is not told either.
        tracks = replace(scene.tracks, angles=None)
        yield Sample(f"scene_{number:03d}", number, scene.video, tracks, scene.caption)


def _folders(source: ClipFolders) -> Iterator[Sample | BrokenSample]:
    for number, found in enumerate(find_clips(source.root)):
        try:
            clip = read_found(found, source.frames, source.height, source.width)
        except MagicGenError as error:
            yield BrokenSample(found.name, str(error))
            continue
        yield Sample(found.name, number, clip.video, clip.tracks, clip.caption)
