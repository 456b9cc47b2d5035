"""The pipelines of ``tests.tiny`` as model folders."""

from pathlib import Path

import torch

from magicgen.models import BlockTransformAutoencoder, ControlBranch, VideoTransformer, WordTextEncoder
from pipelines.trajectory_video import TrajectoryVideoPipeline
from tests.tiny import RELEASED_SHAPE, small_pipeline

FRAMES, HEIGHT, WIDTH = 5, 32, 48


def save_small_model(folder: Path) -> Path:
    """A model that reads drafts and knows the words cat, red, walks; any clip size, 5 frames of 32x48 by default."""
    small_pipeline().save_pretrained(folder)
    return folder


def save_bound_model(folder: Path) -> Path:
    """A model like the released ones: no drafts, bound to 9 frames of 64x96 by its learned position table."""
    torch.manual_seed(1)
    transformer = VideoTransformer(**RELEASED_SHAPE)
    TrajectoryVideoPipeline(
        transformer=transformer,
        branch=ControlBranch.from_transformer(transformer),
        text_encoder=WordTextEncoder(("cat",), 24, 10),
        vae=BlockTransformAutoencoder(latent_channels=16),
        scheduler=small_pipeline().scheduler,
        default_steps=1,
        default_guidance=1.0,
        default_frames=9,
        default_height=64,
        default_width=96,
    ).save_pretrained(folder)
    return folder
