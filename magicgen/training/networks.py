"""The networks of a run, as one module: what is trained, what is frozen, how they are saved as a pipeline folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import CogVideoXDDIMScheduler
from torch import nn

from magicgen.errors import ConfigError
from magicgen.models import (
    BlockTransformAutoencoder,
    ControlBranch,
    LatentSegmentationHead,
    VideoTransformer,
    WordTextEncoder,
)
from magicgen.models.autoencoder import measure_blocks
from magicgen.models.conditioning import DRAFT_CHANNELS
from magicgen.models.positions import rotary_embedding
from magicgen.training.options import TinyModel, TrainingOptions
from magicgen.weights.sources import PipelineFolder, resolve_model


class TrainableNetworks(nn.Module):
    """Backbone, branch, head and (for small models) the text encoder, under the names used in configurations."""

    def __init__(
        self,
        transformer: VideoTransformer,
        branch: ControlBranch,
        head: LatentSegmentationHead,
        text_encoder: nn.Module | None,
    ) -> None:
        super().__init__()
        self.transformer, self.branch, self.head, self.text_encoder = transformer, branch, head, text_encoder

    def choose_trainable(self, names: Sequence[str]) -> None:
        """Freeze everything that is not named."""
        chosen = set(self.trained_names(names))
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in chosen)
        for name, module in self.named_children():
            module.train(name in names)

    def trained_names(self, names: Sequence[str]) -> list[str]:
        """The parameters of the named parts, in order; ``lora`` are the backbone's adapters."""
        return [
            name for name, _ in self.named_parameters() if ("lora" if ".lora_" in name else name.split(".")[0]) in names
        ]

    def forward(
        self,
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        image: torch.Tensor,
        condition: torch.Tensor,
        words: torch.Tensor,
        wants_mask: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The transformer's output and, if wanted, the head's mask latent; one call, so that wrappers see every part.

        Args:
            noisy, image, condition: latents (B, F, C, h, w); the map is the branch's condition.
            timesteps: (B,). words: what the text encoder reads, (B, L) int64, or its output, (B, L, D).
        """
        if not words.is_floating_point():
            assert self.text_encoder is not None
            words = self.text_encoder(words)
        text = words if isinstance(words, torch.Tensor) else words[0]
        frames, height, width = noisy.shape[1], noisy.shape[3], noisy.shape[4]
        rotary = rotary_embedding(self.transformer.config, frames, height, width, noisy.device)
        states = self.branch(noisy, condition, text, timesteps, image_rotary_emb=rotary)
        result = self.transformer(
            torch.cat([noisy, image], dim=2),
            text,
            timesteps,
            image_rotary_emb=rotary,
            control_states=states,
            control_layers=self.branch.config.control_layers,
            return_features=wants_mask,
        )
        return result.sample, self.head(result.features, frames, height, width) if wants_mask else None


@dataclass(frozen=True)
class NetworkSet:
    """Trainable networks beside the fixed parts."""

    trainable: TrainableNetworks
    vae: Any
    scheduler: Any
    tokenizer: Any


def tiny_transformer(options: TinyModel, frames: int, height: int, width: int) -> VideoTransformer:
    """The backbone of a small model for clips of this size (pixels), its weights still random."""
    channels = options.latent_channels
    return VideoTransformer(
        num_attention_heads=options.heads,
        attention_head_dim=options.head_dim,
        in_channels=2 * channels + DRAFT_CHANNELS,
        out_channels=channels,
        time_embed_dim=options.time_embed_dim,
        text_embed_dim=options.text_embed_dim,
        num_layers=options.layers,
        sample_width=width // 8,
        sample_height=height // 8,
        sample_frames=frames,
        max_text_seq_length=options.max_words,
        use_rotary_positional_embeddings=True,
        predicts_residual=True,
        absolute_rotary_grid=True,
        correction_reach=options.correction_reach,
        spatial_sparse=None if options.spatial_sparse is None else options.spatial_sparse.model_dump(mode="json"),
    )


def tiny_text_encoder(options: TinyModel) -> WordTextEncoder:
    """The text encoder of a small model, which knows the words of the synthetic scenes."""
    from magicgen.synthetic.vocabulary import VOCABULARY

    return WordTextEncoder(VOCABULARY, options.text_embed_dim, options.max_words)


def fresh_head(transformer: VideoTransformer) -> LatentSegmentationHead:
    """An untrained segmentation head for a backbone."""
    config = transformer.config
    return LatentSegmentationHead(
        config.num_layers,
        config.num_attention_heads * config.attention_head_dim,
        out_channels=config.out_channels,
        patch_size=config.patch_size,
    )


def tiny_networks(options: TinyModel, frames: int, height: int, width: int, seed: int) -> NetworkSet:
    """A fresh small model; the same seed gives the same weights."""
    torch.manual_seed(seed)
    channels = options.latent_channels
    transformer = tiny_transformer(options, frames, height, width)
    # A zero output makes an untrained model return its draft.
    nn.init.zeros_(transformer.proj_out.weight)
    nn.init.zeros_(transformer.proj_out.bias)
    # Nothing of the noise reaches an untrained model either; it learns to listen where noise holds a signal.
    with torch.no_grad():
        transformer.patch_embed.proj.weight[:, :channels] = 0
    branch = ControlBranch.from_transformer(transformer, options.control_layers)
    head = fresh_head(transformer)
    text_encoder = tiny_text_encoder(options)
    vae = BlockTransformAutoencoder(latent_channels=channels)
    vae.fit(measure_blocks(_calibration_videos()))
    scheduler = CogVideoXDDIMScheduler(
        prediction_type="sample",
        rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
        timestep_spacing="trailing",
        clip_sample=False,
    )
    return NetworkSet(TrainableNetworks(transformer, branch, head, text_encoder), vae, scheduler, None)


def pretrained_networks(options: TrainingOptions) -> NetworkSet:
    """Networks of an existing pipeline; a missing branch is copied from the base, a missing head is made."""
    model = options.model
    assert not isinstance(model, TinyModel)
    pipeline = _pipeline(model.name)
    transformer = pipeline.transformer
    config = transformer.config
    blind = config.in_channels == 2 * config.out_channels and pipeline.branch is None
    if blind and "branch" not in options.train:
        raise ConfigError(
            f"train: {model.name} has no control branch and sees no drafts, so nothing that is trained would see the "
            "trajectory. Add 'branch' to train."
        )
    branch = pipeline.branch or ControlBranch.from_transformer(transformer, model.control_layers)
    head_folder = Path(model.name) / "segmentation_head"
    head = LatentSegmentationHead.from_pretrained(head_folder) if head_folder.is_dir() else fresh_head(transformer)
    return NetworkSet(
        TrainableNetworks(transformer, branch, head, pipeline.text_encoder),
        pipeline.vae,
        pipeline.scheduler,
        pipeline.tokenizer,
    )


def _pipeline(name: str) -> Any:
    """The parts of a model in single precision; of MagicMotion's the stock base, whose branch is yet to be trained.

    Raises:
        WeightsError: it is not there; says what to fetch and where to put it.
    """
    from diffusers import CogVideoXDPMScheduler

    from pipelines.trajectory_video import TrajectoryVideoPipeline

    source = resolve_model(name)
    if isinstance(source, PipelineFolder):
        return TrajectoryVideoPipeline.from_pretrained(source.folder)
    from diffusers import AutoencoderKLCogVideoX
    from transformers import AutoTokenizer, T5EncoderModel

    base = source.base
    return TrajectoryVideoPipeline(
        transformer=VideoTransformer.from_pretrained(base / "transformer"),
        branch=None,
        text_encoder=T5EncoderModel.from_pretrained(base / "text_encoder"),
        tokenizer=AutoTokenizer.from_pretrained(base / "tokenizer"),
        vae=AutoencoderKLCogVideoX.from_pretrained(base / "vae"),
        scheduler=CogVideoXDPMScheduler.from_pretrained(base / "scheduler"),
    )


def _calibration_videos() -> list[Any]:
    """Moving scenes on which the block transform is fitted; the same for every run, whatever its clip size."""
    import numpy as np

    from magicgen.synthetic.scene import SceneSettings, random_scene

    settings = SceneSettings(frames=17, height=128, width=192, max_objects=5)
    return [random_scene(np.random.default_rng([20240229, index]), settings).video for index in range(12)]
