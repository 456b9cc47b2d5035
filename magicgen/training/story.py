"""Training of the story model from nothing, on drawn pictures.

Every random number of step ``s`` comes from (seed, s) and example ``i`` from (seed, i): a stopped run goes on exactly.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from diffusers import CogVideoXDDIMScheduler
from torch import nn
from torch.nn import functional as F

from magicgen.errors import ConfigError
from magicgen.models import BlockTransformAutoencoder, ControlBranch, VideoTransformer, WordTextEncoder
from magicgen.models.conditioning import pool_weights
from magicgen.models.story import STATE_CHANNELS, StoryConditions, StoryNetwork
from magicgen.progress import ProgressEvent, silent
from magicgen.synthetic.story_examples import SLOTS
from magicgen.synthetic.vocabulary import VOCABULARY
from magicgen.training.losses import add_noise, diffusion_loss, draw_timesteps
from magicgen.training.single import SingleTrainer, averaged_weights, claim_folder, follow, training_device
from magicgen.training.story_data import StoryBatch, StoryExamples, region_plans, story_batches
from magicgen.training.story_options import StoryModel, StoryTraining
from magicgen.weights.sources import preset_folder

TEXT_WIDTH, TEXT_LENGTH = 64, 32
SOFT_PLATES = 3.0
"""Pixels; a small model draws places patch by patch."""


@dataclass(frozen=True)
class StoryStep:
    """Loss of a step, and of its examples that started from noise alone."""

    step: int
    loss: float


def fresh_network(model: StoryModel, size: tuple[int, int], seed: int) -> StoryNetwork:
    """An untrained network for pictures of about ``size`` (height, width); the same seed gives the same weights."""
    torch.manual_seed(seed)
    vae = BlockTransformAutoencoder.from_pretrained(preset_folder("tiny") / "vae")
    channels = vae.config.latent_channels
    text = model.words + SLOTS * model.local
    transformer = VideoTransformer(
        num_attention_heads=model.heads,
        attention_head_dim=64,
        in_channels=2 * channels + STATE_CHANNELS,
        out_channels=channels,
        time_embed_dim=model.time_dim,
        text_embed_dim=TEXT_WIDTH,
        num_layers=model.layers,
        sample_width=size[1] // 8,
        sample_height=size[0] // 8,
        sample_frames=5,
        max_text_seq_length=text,
        use_rotary_positional_embeddings=True,
        predicts_residual=True,
        absolute_rotary_grid=True,
    )
    # A zero output makes an untrained model return its plate.
    nn.init.zeros_(transformer.proj_out.weight)
    nn.init.zeros_(transformer.proj_out.bias)
    with torch.no_grad():
        transformer.patch_embed.proj.weight[:, :channels] = 0
    branch = ControlBranch.from_transformer(transformer, model.control_layers)
    return StoryNetwork(transformer, branch, WordTextEncoder(VOCABULARY, TEXT_WIDTH, TEXT_LENGTH), vae)


def story_scheduler() -> CogVideoXDDIMScheduler:
    """The schedule that the small models are trained with: clean pictures predicted, pure noise at the end."""
    return CogVideoXDDIMScheduler(
        prediction_type="sample",
        rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
        timestep_spacing="trailing",
        clip_sample=False,
    )


class StoryTrainer(SingleTrainer[StoryTraining, StoryBatch, StoryStep]):
    """One run of the story model."""

    name = "network"

    def __init__(self, options: StoryTraining, network: StoryNetwork, device: torch.device) -> None:
        self.network = network.to(device)
        super().__init__(options, self.network, device)
        self.scheduler = story_scheduler()
        self.dataset = StoryExamples(options.data, options.seed)

    def batches(self, first: int, last: int) -> Iterator[StoryBatch]:
        """Drawn pictures of the steps from ``first`` up to ``last``."""
        size = self.options.data.batch_size
        return iter(story_batches(self.dataset, first * size, last * size))

    def train_step(self, batch: StoryBatch) -> StoryStep:
        """One optimiser step."""
        self.network.train()
        self.set_rates()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.precision == "bf16"):
            loss = self.loss(batch)
        value = self.descend(loss)
        return StoryStep(self.step, value)

    def loss(self, batch: StoryBatch) -> torch.Tensor:
        """Weighted squared error of the clean picture, in pixel units."""
        generator = torch.Generator().manual_seed(self.options.seed * 1_000_003 + self.step)
        clean = self.network.encode(_signed(batch.picture).to(self.device))
        noise = torch.randn(clean.shape, generator=generator).to(self.device)
        times = draw_timesteps(generator, len(clean), self.options.pure_noise)
        noisy = add_noise(self.scheduler, clean, noise, times.to(self.device))
        predicted = self.network(noisy.latents, noisy.timesteps, self.conditions(batch))
        spread = F.max_pool2d(batch.subjects[:, None].float(), 5, stride=1, padding=2)
        region = pool_weights(1 + (self.options.subject - 1) * spread).to(self.device)
        worth = self.network.vae.pixel_weights()[:1].to(self.device)
        return diffusion_loss(predicted, clean, worth, region)

    def conditions(self, batch: StoryBatch) -> StoryConditions:
        """A batch as the network takes it."""
        model, network = self.options.model, self.network
        plate = network.encode(_signed(batch.plate).to(self.device))
        known = batch.plate_known.to(plate).view(-1, 1, 1, 1, 1)
        cast = network.encode(_signed(batch.cast).to(self.device))
        width = cast.shape[-1]
        slots = torch.arange(width) * SLOTS // width
        told = batch.cast_known[:, slots].to(cast)[:, None, None, None, :].expand(-1, 1, 1, cast.shape[-2], -1)
        rows, columns = cast.shape[-2] // 2, width // 2
        return StoryConditions(
            plate=plate * known,
            plate_known=batch.plate_known.to(plate),
            cast=cast * told,
            cast_known=told,
            map=network.encode(_signed(batch.condition).to(self.device)),
            text=network.embed(batch.backgrounds, batch.prompts, model.words, model.local),
            plans=region_plans(batch.boxes, rows, columns, model.words, model.local),
        )


def load_averaged_network(network: StoryNetwork, run: Path) -> None:
    """Load a run's averaged weights, in place.

    Raises:
        ConfigError: the run has no checkpoint.
    """
    checkpoint = averaged_weights(run)
    network.load_state_dict(checkpoint.networks)
    names = [name for name, value in network.named_parameters() if value.requires_grad]
    network.load_state_dict(dict(zip(names, checkpoint.ema["shadow_params"], strict=True)), strict=False)


def build_story_network(options: StoryTraining) -> StoryNetwork:
    """A fresh network, or that of ``start_from``: the averaged one of a run, or an exported one.

    Raises:
        ConfigError: ``start_from`` holds neither, or a network of another shape.
    """
    network = fresh_network(options.model, (options.data.height, options.data.width), options.seed)
    if options.start_from is None:
        return network
    if (options.start_from / "model_index.json").is_file():
        load_exported_network(network, options.start_from)
    else:
        load_averaged_network(network, options.start_from)
    return network


def load_exported_network(network: StoryNetwork, folder: Path) -> None:
    """Load the weights that :func:`export_story` wrote, in place.

    Raises:
        ConfigError: they are of a network of another shape.
    """
    try:
        for name in ("transformer", "branch", "text_encoder"):
            part = getattr(network, name)
            part.load_state_dict(type(part).from_pretrained(folder / name).float().state_dict())
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{folder} does not fit the network of this run ({str(error).splitlines()[0]}).") from error


def train_story(
    options: StoryTraining,
    *,
    resume: bool,
    report: Callable[[ProgressEvent], None] = silent,
    log: Callable[[str], None] = print,
) -> Path:
    """Run to the end; returns the run's folder.

    Raises:
        ConfigError: the folder is in use and ``resume`` is off.
        GenerationFailed: the loss became NaN, or a checkpoint could not be written.
    """
    claim_folder(options, options.out, resume=resume)
    trainer = StoryTrainer(options, build_story_network(options), training_device())

    def told(steps: list[StoryStep]) -> str:
        return f"loss {sum(each.loss for each in steps) / len(steps):.5f}"

    follow(trainer, told, resume=resume, report=report, log=log)
    return options.out


def export_story(run: Path, out: Path, steps: int = 4, draws: int = 4, grain: float = 0.0) -> Path:
    """Write a run's averaged weights in half precision as a pipeline folder, with ``train.yaml`` beside it.

    ``steps`` and ``draws`` become the defaults of the pipeline, ``grain`` what it takes off.

    Raises:
        ConfigError: no run there.
    """
    from pipelines.story import StoryPipeline

    settings = run / "settings.json"
    if not settings.is_file():
        raise ConfigError(f"{run} is not a training run: it has no settings.json.")
    options = StoryTraining.model_validate(json.loads(settings.read_text()))
    network = build_story_network(options.model_copy(update={"start_from": None}))
    load_averaged_network(network, run)
    pipeline = StoryPipeline(
        network.transformer.half(),
        network.branch.half(),
        network.text_encoder.half(),
        network.vae,
        story_scheduler(),
        words=options.model.words,
        local=options.model.local,
        default_height=options.data.height,
        default_width=options.data.width,
        default_steps=steps,
        default_draws=draws,
        soft_plates=SOFT_PLATES,
        grain=grain,
    )
    pipeline.save_pretrained(out)
    (out / "train.yaml").write_text(yaml.safe_dump(options.model_dump(mode="json"), sort_keys=False))
    return out


def _signed(pictures: torch.Tensor) -> torch.Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) in [-1, 1]."""
    return pictures.permute(0, 3, 1, 2).float().div(127.5).sub(1)
