"""Training of the story model from nothing, on drawn pictures.

Every random number of step ``s`` comes from (seed, s) and example ``i`` from (seed, i): a stopped run goes on exactly.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from diffusers import CogVideoXDDIMScheduler
from diffusers.training_utils import EMAModel
from torch import nn
from torch.nn import functional as F

from magicgen.errors import ConfigError, GenerationFailed
from magicgen.media import write_bytes
from magicgen.models import BlockTransformAutoencoder, ControlBranch, VideoTransformer, WordTextEncoder
from magicgen.models.conditioning import pool_weights
from magicgen.models.story import STATE_CHANNELS, StoryConditions, StoryNetwork
from magicgen.progress import ProgressEvent, silent
from magicgen.synthetic.story_examples import SLOTS
from magicgen.synthetic.vocabulary import VOCABULARY
from magicgen.training.checkpoints import Checkpoint, latest_checkpoint, load_checkpoint, save_checkpoint
from magicgen.training.losses import add_noise, diffusion_loss, draw_timesteps
from magicgen.training.optimizers import learning_rate_factor, make_optimizers
from magicgen.training.story_data import StoryBatch, StoryExamples, region_plans, story_batches
from magicgen.training.story_options import StoryModel, StoryTraining
from magicgen.weights.sources import preset_folder

TEXT_WIDTH, TEXT_LENGTH = 64, 32
SOFT_PLATES = 5.0
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


class StoryTrainer:
    """One run: network, optimisers, data and checkpoints under ``options.out``."""

    def __init__(self, options: StoryTraining, network: StoryNetwork, device: torch.device) -> None:
        self.options, self.device = options, device
        self.network = network.to(device)
        named = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
        self.parameters = [value for _, value in named]
        self.optimizers = make_optimizers(named, options.optimizer)
        self.ema = EMAModel(self.parameters, decay=options.optimizer.ema_decay, use_ema_warmup=True, power=0.75)
        self.ema.to(device)
        self.scheduler = story_scheduler()
        self.step = 0
        self.dataset = StoryExamples(options.data, options.seed)

    def resume(self) -> bool:
        """Go on from the newest checkpoint; False when there is none."""
        path = latest_checkpoint(self.options.out)
        if path is None:
            return False
        checkpoint = load_checkpoint(path, self.device)
        self.network.load_state_dict(checkpoint.networks)
        for optimizer, state in zip(self.optimizers, checkpoint.optimizers, strict=True):
            optimizer.load_state_dict(state)
        self.ema.load_state_dict(checkpoint.ema)
        self.step = checkpoint.step
        return True

    def run(self, report: Callable[[StoryStep], None]) -> None:
        """Train to ``options.steps``.

        Raises:
            GenerationFailed: the loss is not a number; the last good checkpoint stays.
        """
        options, size = self.options, self.options.data.batch_size
        for batch in story_batches(self.dataset, self.step * size, options.steps * size):
            report(self.train_step(batch))
            if self.step % options.checkpoint_every == 0 or self.step == options.steps:
                self.save()

    def train_step(self, batch: StoryBatch) -> StoryStep:
        """One optimiser step."""
        options = self.options
        self.network.train()
        factor = learning_rate_factor(self.step, options.steps, options.optimizer)
        rates = (options.optimizer.learning_rate, options.optimizer.matrix_learning_rate)
        for optimizer, rate in zip(self.optimizers, rates, strict=False):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        with torch.autocast(self.device.type, torch.bfloat16, enabled=options.precision == "bf16"):
            loss = self.loss(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise GenerationFailed(
                f"The loss of step {self.step} is {value}. The last good checkpoint is kept; lower the learning rate."
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, options.optimizer.clip_gradient)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.ema.step(self.parameters)
        self.step += 1
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

    def save(self) -> None:
        """Write a checkpoint."""
        checkpoint = Checkpoint(
            step=self.step,
            trained=["network"],
            networks=self.network.state_dict(),
            vae={},
            optimizers=[optimizer.state_dict() for optimizer in self.optimizers],
            ema=self.ema.state_dict(),
        )
        save_checkpoint(self.options.out, checkpoint, keep=1)


def load_averaged_network(network: StoryNetwork, run: Path) -> None:
    """Load a run's averaged weights, in place.

    Raises:
        ConfigError: the run has no checkpoint.
    """
    path = latest_checkpoint(run)
    if path is None:
        raise ConfigError(f"{run} holds no checkpoint; give the 'out' folder of an earlier run.")
    checkpoint = load_checkpoint(path, torch.device("cpu"))
    network.load_state_dict(checkpoint.networks)
    names = [name for name, value in network.named_parameters() if value.requires_grad]
    network.load_state_dict(dict(zip(names, checkpoint.ema["shadow_params"], strict=True)), strict=False)


def build_story_network(options: StoryTraining) -> StoryNetwork:
    """A fresh network, or the averaged one of ``start_from``."""
    network = fresh_network(options.model, (options.data.height, options.data.width), options.seed)
    if options.start_from is not None:
        load_averaged_network(network, options.start_from)
    return network


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
    if latest_checkpoint(options.out) is not None and not resume:
        raise ConfigError(f"{options.out} already holds a run. Continue it with --resume, or choose another 'out'.")
    options.out.mkdir(parents=True, exist_ok=True)
    write_bytes(options.out / "settings.json", json.dumps(options.model_dump(mode="json"), indent=2).encode())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = StoryTrainer(options, build_story_network(options), device)
    if resume and trainer.resume():
        log(f"resumed at step {trainer.step}")
    started, first = time.perf_counter(), trainer.step
    recent: list[float] = []

    def each_step(result: StoryStep) -> None:
        rate = (time.perf_counter() - started) / max(result.step - first, 1)
        report(
            ProgressEvent(
                f"Training, loss {result.loss:.4f}", result.step, options.steps, rate * (options.steps - result.step)
            )
        )
        recent.append(result.loss)
        if result.step % 50 == 0:
            log(f"step {result.step} loss {sum(recent) / len(recent):.5f} {rate:.2f} s/step")
            recent.clear()

    trainer.run(each_step)
    return options.out


def export_story(run: Path, out: Path, steps: int = 4, draws: int = 4) -> Path:
    """Write a run's averaged weights in half precision as a pipeline folder, with ``train.yaml`` beside it.

    ``steps`` and ``draws`` become the defaults of the pipeline.

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
    )
    pipeline.save_pretrained(out)
    (out / "train.yaml").write_text(yaml.safe_dump(options.model_dump(mode="json"), sort_keys=False))
    return out


def _signed(pictures: torch.Tensor) -> torch.Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) in [-1, 1]."""
    return pictures.permute(0, 3, 1, 2).float().div(127.5).sub(1)
