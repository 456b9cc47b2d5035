"""Real components at toy size, built in milliseconds."""

import torch
from diffusers import CogVideoXDDIMScheduler

from magicgen.models import BlockTransformAutoencoder, ControlBranch, VideoTransformer, WordTextEncoder
from magicgen.models.conditioning import DRAFT_CHANNELS
from pipelines.trajectory_video import TrajectoryVideoPipeline
from tests.squares import square_photo, square_tracks

__all__ = ["CHANNELS", "RELEASED_SHAPE", "small_pipeline", "square_photo", "square_tracks"]

# The configuration of reference facts: heads 2 of 64, three layers, learned and rotary positions, no drafts.
RELEASED_SHAPE = {
    "num_attention_heads": 2,
    "attention_head_dim": 64,
    "in_channels": 32,
    "out_channels": 16,
    "num_layers": 3,
    "time_embed_dim": 32,
    "text_embed_dim": 24,
    "sample_width": 12,
    "sample_height": 8,
    "sample_frames": 9,
    "max_text_seq_length": 10,
    "use_rotary_positional_embeddings": True,
    "use_learned_positional_embeddings": True,
}
CHANNELS = 24


def small_pipeline(seed: int = 0) -> TrajectoryVideoPipeline:
    """A draft-reading pipeline with random weights (its output is not its draft)."""
    torch.manual_seed(seed)
    transformer = VideoTransformer(
        num_attention_heads=1,
        attention_head_dim=64,
        in_channels=2 * CHANNELS + DRAFT_CHANNELS,
        out_channels=CHANNELS,
        num_layers=2,
        time_embed_dim=16,
        text_embed_dim=8,
        sample_width=6,
        sample_height=4,
        sample_frames=5,
        max_text_seq_length=6,
        use_rotary_positional_embeddings=True,
        predicts_residual=True,
        absolute_rotary_grid=True,
    )
    branch = ControlBranch.from_transformer(transformer, (0,))
    for projector in branch.out_projectors:
        torch.nn.init.normal_(projector.weight, std=0.2)
    pipeline = TrajectoryVideoPipeline(
        transformer=transformer.eval(),
        branch=branch.eval(),
        text_encoder=WordTextEncoder(("cat", "red", "walks"), 8, 6).eval(),
        tokenizer=None,
        vae=BlockTransformAutoencoder(latent_channels=CHANNELS),
        scheduler=CogVideoXDDIMScheduler(
            prediction_type="sample",
            rescale_betas_zero_snr=True,
            snr_shift_scale=1.0,
            timestep_spacing="trailing",
            clip_sample=False,
        ),
        default_steps=2,
        default_guidance=1.0,
        default_frames=5,
        default_height=32,
        default_width=48,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
