"""Videos sampled on the way, scored in the regions that move: the only measure that training is judged by."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from magicgen.control.draft import motion_draft
from magicgen.control.tracks import Level, level_name, paper_levels
from magicgen.training.clips import Clip, SyntheticClips
from magicgen.training.examples import moved_region
from magicgen.training.loop import Trainer
from magicgen.training.options import TrainingOptions
from magicgen.training.sources import clip_source

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ValidationScore:
    """PSNR in dB over moved and uncovered regions, mean over clips.

    ``still`` is the first frame held, ``draft`` the motion draft, ``model`` a video sampled from pure noise.
    """

    level: str
    still: float
    draft: float
    model: float


def region_psnr(video: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], region: npt.NDArray[np.bool_]) -> float:
    """PSNR in dB of (T, H, W, 3) uint8 videos inside ``region`` (T, H, W); NaN where it is empty."""
    if not region.any():
        return float("nan")
    error = (video[region].astype(np.float64) - truth[region]) ** 2
    return float(10 * np.log10(255.0**2 / max(error.mean(), 1e-3)))


def validation_clips(options: TrainingOptions) -> list[Clip]:
    """Clips of another seed than the training's."""
    source = clip_source(options.data, options.validation.seed)
    if isinstance(source, SyntheticClips):
        source = replace(source, seed=options.validation.seed)
    return [source.clip(index) for index in range(options.validation.scenes)]


def validate(trainer: Trainer, clips: list[Clip], *, use_draft: bool | None = None) -> list[ValidationScore]:
    """Sample every clip at every level with the averaged weights; ``use_draft`` as the pipeline takes it."""
    from pipelines.trajectory_video import TrajectoryVideoPipeline

    options = trainer.options
    scores = []
    # Frozen parts that are stored narrower than the others need their inputs cast.
    casting = nullcontext() if options.frozen_storage == "full" else trainer.accelerator.autocast()
    with trainer.averaged() as networks, torch.no_grad(), casting:
        pipeline = TrajectoryVideoPipeline(
            transformer=networks.transformer,
            branch=networks.branch,
            text_encoder=networks.text_encoder,
            tokenizer=trainer.tokenizer,
            vae=trainer.vae,
            scheduler=trainer.scheduler,
        )
        pipeline.set_progress_bar_config(disable=True)
        for level in paper_levels(options.data.frames):
            rows = []
            for number, clip in enumerate(clips):
                draft, sampled = _sample(pipeline, clip, level, (options.validation.steps, number, use_draft))
                rows.append(_score(clip, draft, sampled))
                if number == 0:
                    trainer.show(f"sample/{level_name(level)}", np.concatenate([clip.video, draft, sampled], axis=2))
            scores.append(ValidationScore(level_name(level), *(float(value) for value in np.nanmean(rows, axis=0))))
    return scores


def _sample(pipeline: Any, clip: Clip, level: Level, told: tuple[int, int, bool | None]) -> tuple[UInt8, UInt8]:
    """The motion draft and a video sampled from pure noise in ``told`` steps, (T, H, W, 3) uint8 both."""
    steps, number, use_draft = told
    generator = torch.Generator().manual_seed(number)
    model = pipeline(
        clip.video[0],
        clip.tracks,
        level,
        clip.caption,
        num_inference_steps=steps,
        guidance_scale=1.0,
        use_draft=use_draft,
        generator=generator,
        output_type="uint8",
    ).frames[0]
    return motion_draft(clip.video[0], clip.tracks, level).frames, model


def _score(clip: Clip, draft: UInt8, sampled: UInt8) -> tuple[float, ...]:
    region = moved_region(clip.tracks)
    region[0] = False
    still = np.repeat(clip.video[:1], len(clip.video), axis=0)
    return tuple(region_psnr(video, clip.video, region) for video in (still, draft, sampled))
