"""What is compared: baselines, the ceiling, the bare motion draft, a model, or finished videos of any method."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from magicgen.control.draft import motion_draft
from magicgen.control.tracks import Level, level_name
from magicgen.errors import DatasetError
from magicgen.evaluation.cut_and_paste import cut_and_paste
from magicgen.evaluation.samples import Sample
from magicgen.media import read_video, resize

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Truth:
    """The ground-truth video: what the tracker itself loses (the ceiling of every IoU)."""

    name: str = "truth"


@dataclass(frozen=True)
class Reconstruction:
    """The ground truth through a pipeline's autoencoder: what no model on these latents can surpass in PSNR."""

    pipeline: Any
    name: str = "autoencoder"


@dataclass(frozen=True)
class Still:
    """The first frame, held."""

    name: str = "still"


@dataclass(frozen=True)
class CutAndPaste:
    """See :func:`magicgen.evaluation.cut_and_paste.cut_and_paste`."""

    name: str = "cut-and-paste"


@dataclass(frozen=True)
class MotionDraft:
    """The motion draft that magicgen's small models correct, as it is."""

    name: str = "motion draft"


@dataclass(frozen=True)
class Model:
    """A pipeline at its default steps and guidance, from pure noise.

    Attributes:
        name: in tables.
        pipeline_for: the pipeline for a level; released weights have one for each.
        seed: with the number of a sample it decides the noise.
    """

    name: str
    pipeline_for: Callable[[Level], Any]
    seed: int = 0


@dataclass(frozen=True)
class Videos:
    """Finished videos ``FOLDER/LEVEL/NAME.mp4`` or ``FOLDER/NAME.mp4``; length and size are brought to the truth's."""

    name: str
    folder: Path


Method = Truth | Reconstruction | Still | CutAndPaste | MotionDraft | Model | Videos


def uses_level(method: Method) -> bool:
    """Whether a method's video differs between the three levels."""
    return not isinstance(method, Truth | Reconstruction | Still)


def make_video(method: Method, sample: Sample, level: Level) -> tuple[UInt8, float]:
    """A method's video of a sample, (T, H, W, 3) uint8, and the seconds it took.

    Raises:
        DatasetError: a finished video is missing.
    """
    make = _maker(method)
    started = time.perf_counter()
    video = make(sample, level)
    return video, time.perf_counter() - started


def _maker(method: Method) -> Callable[[Sample, Level], UInt8]:
    match method:
        case Truth():
            return lambda sample, level: sample.video
        case Reconstruction(pipeline):
            return lambda sample, level: _through_autoencoder(pipeline, sample.video)
        case Still():
            return lambda sample, level: np.repeat(sample.video[:1], len(sample.video), axis=0)
        case CutAndPaste():
            return lambda sample, level: cut_and_paste(sample.video[0], sample.tracks, level)
        case MotionDraft():
            return lambda sample, level: motion_draft(sample.video[0], sample.tracks, level).frames
        case Model() as model:
            return lambda sample, level: _generate(model, sample, level)
        case Videos(folder=folder):
            return lambda sample, level: _finished(folder, sample, level)
        case _:
            assert_never(method)


def _generate(model: Model, sample: Sample, level: Level) -> UInt8:
    import torch

    generator = torch.Generator("cpu").manual_seed(model.seed + sample.number)
    result = model.pipeline_for(level)(
        sample.video[0], sample.tracks, level, sample.caption, generator=generator, output_type="uint8"
    )
    return np.asarray(result.frames[0])


def _through_autoencoder(pipeline: Any, video: UInt8) -> UInt8:
    import torch

    with torch.no_grad():
        latents = pipeline.encode(video, torch.Generator("cpu").manual_seed(0), 1, pipeline._execution_device)
        return np.asarray(pipeline.decode(latents, "uint8")[0])


def _finished(folder: Path, sample: Sample, level: Level) -> UInt8:
    places = [folder / level_name(level) / f"{sample.name}.mp4", folder / f"{sample.name}.mp4"]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DatasetError(f"{folder} has no video of the sample '{sample.name}'; expected {places[1]}.")
    frames = read_video(path).frames
    if len(frames) < 2 <= len(sample.video):
        raise DatasetError(f"{path} holds one frame; its ground truth has {len(sample.video)}.")
    # A method that makes another number of frames is sampled uniformly, as MagicBench does.
    chosen = np.round(np.linspace(0, len(frames) - 1, len(sample.video))).astype(int)
    return resize(frames[chosen], *sample.video.shape[1:3])
