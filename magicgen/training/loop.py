"""The training loop, through accelerate: mixed precision, several devices, exact resume.

Every random number of step ``s`` comes from (seed, s), and example ``i`` from (seed, i): a run that was killed goes on
with the data, noise and timesteps that an undisturbed run would have seen.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import nn

from magicgen.errors import GenerationFailed
from magicgen.media import write_json
from magicgen.models import BlockTransformAutoencoder
from magicgen.models.conditioning import (
    DRAFT_CHANNELS,
    draft_state_channels,
    encode_video,
    image_condition,
    pool_weights,
    to_signed,
)
from magicgen.models.positions import rotary_embedding
from magicgen.training.checkpoints import Checkpoint, latest_checkpoint, load_checkpoint, save_checkpoint
from magicgen.training.examples import Batch, TrajectoryExamples, batches
from magicgen.training.loss_log import LossLog
from magicgen.training.losses import add_noise, diffusion_loss, draw_timesteps, recovered_clean, segmentation_loss
from magicgen.training.networks import NetworkSet
from magicgen.training.optimizers import learning_rate_factor, make_optimizers
from magicgen.training.options import SyntheticData, TrainingOptions
from magicgen.training.sources import clip_source


@dataclass(frozen=True)
class StepResult:
    """Losses of one step, averaged over processes."""

    step: int
    diffusion: float
    segmentation: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Latents:
    """A batch as latents, (B, F, C, h, w) each."""

    clean: torch.Tensor
    image: torch.Tensor
    map: torch.Tensor
    mask_map: torch.Tensor
    region: torch.Tensor
    text: torch.Tensor


class Trainer:
    """One run: networks, optimisers, data and checkpoints under ``options.out``."""

    def __init__(self, options: TrainingOptions, networks: NetworkSet) -> None:
        self.options = options
        self.accelerator = Accelerator(
            mixed_precision=options.precision, log_with="tensorboard", project_dir=options.out
        )
        self.vae = networks.vae.to(self.accelerator.device)
        # Small models carry their autoencoder's tables; a released autoencoder is found again by its name.
        self.fixed_vae = isinstance(networks.vae, BlockTransformAutoencoder)
        self.scheduler = networks.scheduler
        self.tokenizer = networks.tokenizer
        models = networks.trainable
        models.choose_trainable(options.train)
        if options.gradient_checkpointing:
            models.transformer.enable_gradient_checkpointing()
            models.branch.enable_gradient_checkpointing()
        optimizers = make_optimizers(models.named_parameters(), options.optimizer)
        prepared = self.accelerator.prepare(models, *optimizers)
        self.models, self.optimizers = prepared[0], list(prepared[1:])
        self.forward: Callable[..., Any] = torch.compile(self._predict) if options.compile else self._predict
        self.parameters = [p for p in self.plain.parameters() if p.requires_grad]
        self.ema = EMAModel(self.parameters, decay=options.optimizer.ema_decay, use_ema_warmup=True, power=0.75)
        self.ema.to(self.accelerator.device)
        self.step = 0
        source = options.data.source
        per_scene = source.levels_per_scene if isinstance(source, SyntheticData) else 1
        self.dataset = TrajectoryExamples(
            clip_source(options.data, options.seed), options.data, options.seed, per_scene
        )

    @property
    def plain(self) -> Any:
        """The networks without accelerate's wrapper."""
        return self.accelerator.unwrap_model(self.models)

    def resume(self) -> bool:
        """Go on from the newest checkpoint under ``options.out``; False when there is none."""
        path = latest_checkpoint(self.options.out)
        if path is None:
            return False
        checkpoint = load_checkpoint(path, self.accelerator.device)
        self.plain.load_state_dict(checkpoint.networks)
        if checkpoint.vae:
            self.vae.load_state_dict(checkpoint.vae)
        for optimizer, state in zip(self.optimizers, checkpoint.optimizers, strict=True):
            optimizer.load_state_dict(state)
        self.ema.load_state_dict(checkpoint.ema)
        self.step = checkpoint.step
        return True

    def run(
        self, report: Callable[[StepResult], None], validate: Callable[["Trainer"], dict[str, float]] | None
    ) -> None:
        """Train to ``options.steps``; checkpoints and validation on the way.

        Raises:
            GenerationFailed: the loss is not a number; the last good checkpoint stays.
        """
        options = self.options
        self.accelerator.init_trackers("tensorboard")
        size = options.data.batch_size * self.accelerator.num_processes
        loader = batches(self.dataset, options.data, self.step * size, options.steps * size)
        loader = self.accelerator.prepare(loader) if self.accelerator.num_processes > 1 else loader
        log = LossLog(options.out, self.step) if self.accelerator.is_main_process else None
        started = time.perf_counter()
        for batch in loader:
            result = self.train_step(batch, started)
            started = time.perf_counter()
            report(result)
            if log is not None:
                log.add(
                    result.step,
                    {
                        "diffusion": result.diffusion,
                        "segmentation": result.segmentation,
                        "learning_rate": result.learning_rate,
                    },
                )
                self.accelerator.log(
                    {"loss/diffusion": result.diffusion, "loss/segmentation": result.segmentation}, step=self.step
                )
            last = self.step == options.steps
            if self.step % options.checkpoint_every == 0 or last:
                self.save()
            if validate is not None and (self.step % options.validation.every == 0 or last):
                self.accelerator.log(validate(self), step=self.step)
        self.accelerator.end_training()

    def train_step(self, batch: Batch, started: float) -> StepResult:
        """One optimiser step."""
        options = self.options
        self.models.train()
        latents = self.encode(batch)
        factor = learning_rate_factor(self.step, options.steps, options.optimizer)
        for optimizer, rate in zip(
            self.optimizers, (options.optimizer.learning_rate, options.optimizer.matrix_learning_rate), strict=False
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        diffusion, segmentation = self.losses(latents)
        loss = diffusion + options.loss.segmentation * segmentation
        value = float(loss.detach())
        if not math.isfinite(value):
            raise GenerationFailed(
                f"The loss of step {self.step} is {value} (examples {self.step * options.data.batch_size} and on). "
                "The last good checkpoint is kept. Lower the learning rate, or train with precision 'no'."
            )
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.parameters, options.optimizer.clip_gradient)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.ema.step(self.parameters)
        self.step += 1
        return StepResult(
            self.step,
            float(diffusion.detach()),
            float(segmentation.detach()),
            options.optimizer.learning_rate * factor,
            time.perf_counter() - started,
        )

    @torch.no_grad()
    def encode(self, batch: Batch) -> Latents:
        """Pixels to latents; conditions that were drawn to be left out are left out here."""
        device = self.accelerator.device
        generator = torch.Generator().manual_seed(self.options.seed * 1_000_003 + self.step)

        def latent(video: torch.Tensor) -> torch.Tensor:
            return encode_video(self.vae, to_signed(video.to(device)), generator)

        clean, draft = latent(batch.video), latent(batch.draft)
        state = draft_state_channels(batch.state.to(device))
        config = self.plain.transformer.config
        extra = config.in_channels - 2 * config.out_channels
        keep = batch.keep_draft.to(device)[:, None, None, None, None]
        if extra == DRAFT_CHANNELS:
            still = latent(batch.video[:, :1].expand_as(batch.video))
            held = image_condition(clean[:, :1], clean.shape[1], extra, still, None)
            image = torch.where(keep, image_condition(clean[:, :1], clean.shape[1], extra, draft, state), held)
        else:
            image = image_condition(clean[:, :1], clean.shape[1], extra, None, None)
        condition = latent(batch.map)
        blank = latent(torch.zeros_like(batch.map[:1]))
        condition = torch.where(batch.keep_map.to(device)[:, None, None, None, None], condition, blank)
        region = 1 + (self.options.loss.moved_region - 1) * pool_weights(batch.region.to(device).float())
        return Latents(clean, image, condition, latent(batch.mask_map), region, self.text(batch.captions))

    def text(self, captions: tuple[str, ...]) -> torch.Tensor:
        """What the text encoder reads: word numbers (B, L) int64, or ids of the tokenizer."""
        if self.tokenizer is None:
            return self.plain.text_encoder.tokens(captions).to(self.accelerator.device)
        length = self.plain.transformer.config.max_text_seq_length
        ids = self.tokenizer(
            list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        return ids.to(self.accelerator.device)

    def losses(self, latents: Latents) -> tuple[torch.Tensor, torch.Tensor]:
        """Diffusion and segmentation loss of a batch, both ()."""
        generator = torch.Generator().manual_seed(self.options.seed * 2_000_003 + self.step)
        clean = latents.clean
        timesteps = draw_timesteps(generator, clean.shape[0], self.options.loss.pure_noise).to(clean.device)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        noisy = add_noise(self.scheduler, clean, noise, timesteps)
        with self.accelerator.autocast():
            output, mask_latent = self.forward(noisy.latents, noisy.timesteps, latents)
        predicted = recovered_clean(self.scheduler, output.float(), noisy)
        config = self.plain.transformer.config
        draft = latents.image[:, :, : config.out_channels] if config.predicts_residual else None
        diffusion = diffusion_loss(predicted, clean, self.channel_weights(clean), latents.region, draft)
        if mask_latent is None:
            return diffusion, diffusion.new_zeros(())
        return diffusion, segmentation_loss(mask_latent, latents.mask_map)

    def _predict(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, latents: Latents
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        models = self.plain
        text = models.text_encoder(latents.text)
        text = text if isinstance(text, torch.Tensor) else text[0]
        frames, height, width = noisy.shape[1], noisy.shape[3], noisy.shape[4]
        rotary = rotary_embedding(models.transformer.config, frames, height, width, noisy.device)
        states = models.branch(noisy, latents.map, text, timesteps, image_rotary_emb=rotary)
        wants_features = self.options.loss.segmentation > 0
        result = models.transformer(
            torch.cat([noisy, latents.image], dim=2),
            text,
            timesteps,
            image_rotary_emb=rotary,
            control_states=states,
            control_layers=models.branch.config.control_layers,
            return_features=wants_features,
        )
        mask_latent = models.head(result.features, frames, height, width) if wants_features else None
        return result.sample, mask_latent

    def channel_weights(self, clean: torch.Tensor) -> torch.Tensor:
        """(F, C): what a channel's error is worth in pixels; ones for learned autoencoders."""
        frames, channels = clean.shape[1], clean.shape[2]
        if not hasattr(self.vae, "pixel_weights"):
            return clean.new_ones(frames, channels)
        first, group = self.vae.pixel_weights().to(clean)
        return torch.cat([first[None], group[None].expand(frames - 1, -1)])

    def save(self) -> None:
        """Write a checkpoint (main process), atomically."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            save_checkpoint(
                self.options.out,
                Checkpoint(
                    step=self.step,
                    trained=list(self.options.train),
                    networks=self.plain.state_dict(),
                    vae=self.vae.state_dict() if self.fixed_vae else {},
                    optimizers=[optimizer.state_dict() for optimizer in self.optimizers],
                    ema=self.ema.state_dict(),
                ),
                self.options.keep_checkpoints,
            )
        self.accelerator.wait_for_everyone()

    def averaged(self) -> "AveragedWeights":
        """Context in which the networks carry their averaged weights."""
        return AveragedWeights(self.ema, self.parameters, self.plain)


class AveragedWeights:
    """``with trainer.averaged() as networks: ...`` - and the training weights are back afterwards."""

    def __init__(self, ema: EMAModel, parameters: list[nn.Parameter], networks: nn.Module) -> None:
        self.ema, self.parameters, self.networks = ema, parameters, networks

    def __enter__(self) -> Any:
        self.ema.store(self.parameters)
        self.ema.copy_to(self.parameters)
        self.networks.eval()
        return self.networks

    def __exit__(self, *_: object) -> None:
        self.ema.restore(self.parameters)


def write_settings(options: TrainingOptions) -> None:
    """The resolved settings beside the run, as JSON."""
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "settings.json", options.model_dump(mode="json"))
