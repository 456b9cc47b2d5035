"""The training loop, through accelerate: mixed precision, several devices, exact resume.

Every random number of step ``s`` comes from (seed, s), and example ``i`` from (seed, i): a run that was killed goes on
with the data, noise and timesteps that an undisturbed run would have seen.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers.training_utils import EMAModel
from torch import nn

from magicgen.errors import ConfigError, GenerationFailed, WeightsError
from magicgen.media import write_json
from magicgen.models import BlockTransformAutoencoder
from magicgen.training.adapters import store_frozen
from magicgen.training.cache import CachedExamples, open_cache, stack
from magicgen.training.checkpoints import Checkpoint, latest_checkpoint, load_checkpoint, save_checkpoint
from magicgen.training.encoding import BatchEncoder, Latents
from magicgen.training.examples import Batch, TrajectoryExamples, batches, collate
from magicgen.training.loss_log import LossLog
from magicgen.training.losses import add_noise, diffusion_loss, draw_timesteps, recovered_clean, segmentation_loss
from magicgen.training.networks import NetworkSet, TrainableNetworks
from magicgen.training.optimizers import learning_rate_factor, make_optimizers
from magicgen.training.options import TrainingOptions
from magicgen.training.samples import log_video
from magicgen.training.sharding import (
    assemble,
    check_sharding,
    divide,
    divided_like,
    divided_optimizer,
    divided_state,
    gathered,
    make_accelerator,
)
from magicgen.training.sources import training_examples


@dataclass(frozen=True)
class StepResult:
    """Losses of one step, averaged over processes."""

    step: int
    diffusion: float
    segmentation: float
    learning_rate: float
    seconds: float


class Trainer:
    """One run: networks, optimisers, data and checkpoints under ``options.out``."""

    def __init__(self, options: TrainingOptions, networks: NetworkSet) -> None:
        self.options = options
        self.accelerator = make_accelerator(options)
        check_sharding(self.accelerator, options)
        if int(os.environ.get("WORLD_SIZE", "1")) > self.accelerator.num_processes:
            raise ConfigError(
                "Several processes were started, but each would train alone: there is no GPU. Set "
                "ACCELERATE_USE_CPU=true to let them work together on the CPU."
            )
        self.vae = networks.vae.to(self.accelerator.device)
        # Small models carry their autoencoder's tables; a released autoencoder is found again by its name.
        self.fixed_vae = isinstance(networks.vae, BlockTransformAutoencoder)
        self.scheduler = networks.scheduler
        self.tokenizer = networks.tokenizer
        models = networks.trainable
        models.choose_trainable(options.train)
        # Autocast keeps its own narrow copies for the backward pass; stored weights are narrowed again right away.
        store_frozen(models, options.frozen_storage, torch.float32)
        if options.gradient_checkpointing:
            models.transformer.enable_gradient_checkpointing()
            models.branch.enable_gradient_checkpointing()
        optimizers = make_optimizers(models.named_parameters(), options.optimizer)
        prepared = self.accelerator.prepare(models, *optimizers)
        self.models, self.optimizers = prepared[0], list(prepared[1:])
        self.forward: Callable[..., Any] = torch.compile(self.models) if options.compile else self.models
        self.parameters = [p for p in self.plain.parameters() if p.requires_grad]
        self.ema = EMAModel(self.parameters, decay=options.optimizer.ema_decay, use_ema_warmup=True, power=0.75)
        self.ema.to(self.accelerator.device)
        self.step = 0
        self.encoder = BatchEncoder(options, self.plain, self.vae, self.tokenizer, self.accelerator.device)
        self.dataset: TrajectoryExamples | CachedExamples = (
            training_examples(options) if options.data.cache is None else open_cache(options, networks)
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
        load_networks(self.plain, checkpoint)
        if checkpoint.vae:
            self.vae.load_state_dict(checkpoint.vae)
        for optimizer, state in zip(self.optimizers, checkpoint.optimizers, strict=True):
            optimizer.load_state_dict(divided_optimizer(state, optimizer))
        self.ema.load_state_dict(checkpoint.ema)
        self.ema.shadow_params = [
            divided_like(average, parameter)
            for average, parameter in zip(self.ema.shadow_params, self.parameters, strict=True)
        ]
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
        stacked = collate if options.data.cache is None else stack
        loader = batches(self.dataset, options.data, self.step * size, options.steps * size, stacked)
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
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()

    def train_step(self, batch: Batch | Latents, started: float) -> StepResult:
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
        told = torch.stack([loss.detach(), diffusion.detach(), segmentation.detach()])
        # The mean over processes: all of them stop together where one of them meets a bad batch.
        value, diffusion_mean, segmentation_mean = self.accelerator.reduce(told, "mean").tolist()
        if not math.isfinite(value):
            size = options.data.batch_size * self.accelerator.num_processes
            first = self.step * size
            raise GenerationFailed(
                f"The loss of step {self.step} is {value} (batch of examples {first} to {first + size - 1}). "
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
            diffusion_mean,
            segmentation_mean,
            options.optimizer.learning_rate * factor,
            time.perf_counter() - started,
        )

    def encode(self, batch: Batch | Latents) -> Latents:
        """Pixels to latents; recorded examples are latents already."""
        if isinstance(batch, Latents):
            return batch.to(self.accelerator.device)
        return self.encoder(batch, self._generator(1_000_003))

    def _generator(self, factor: int) -> torch.Generator:
        """The random numbers of this step; every process draws its own."""
        own = self.accelerator.process_index * 1_000_000_007
        return torch.Generator().manual_seed(self.options.seed * factor + self.step + own)

    def losses(self, latents: Latents) -> tuple[torch.Tensor, torch.Tensor]:
        """Diffusion and segmentation loss of a batch, both ()."""
        generator = self._generator(2_000_003)
        clean = latents.clean
        timesteps = draw_timesteps(generator, clean.shape[0], self.options.loss.pure_noise).to(clean.device)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        noisy = add_noise(self.scheduler, clean, noise, timesteps)
        with self.accelerator.autocast():
            output, mask_latent = self.forward(
                noisy.latents,
                noisy.timesteps,
                latents.image,
                latents.map,
                latents.text,
                self.options.loss.segmentation > 0,
            )
        predicted = recovered_clean(self.scheduler, output.float(), noisy)
        config = self.plain.transformer.config
        draft = latents.image[:, :, : config.out_channels] if config.predicts_residual else None
        diffusion = diffusion_loss(predicted, clean, self.channel_weights(clean), latents.region, draft)
        if mask_latent is None:
            return diffusion, diffusion.new_zeros(())
        return diffusion, segmentation_loss(mask_latent, latents.mask_map)

    def channel_weights(self, clean: torch.Tensor) -> torch.Tensor:
        """(F, C): what a channel's error is worth in pixels; ones for learned autoencoders."""
        frames, channels = clean.shape[1], clean.shape[2]
        if not hasattr(self.vae, "pixel_weights"):
            return clean.new_ones(frames, channels)
        first, group = self.vae.pixel_weights().to(clean)
        return torch.cat([first[None], group[None].expand(frames - 1, -1)])

    def save(self) -> None:
        """Write a checkpoint (main process), atomically; divided weights are gathered by all processes."""
        main = self.accelerator.is_main_process
        self.accelerator.wait_for_everyone()
        whole = gathered(
            {
                "networks": self._state(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "ema": self.ema.state_dict(),
            },
            keep=main,
        )
        if main:
            save_checkpoint(
                self.options.out,
                Checkpoint(
                    step=self.step,
                    trained=list(self.options.train),
                    vae=self.vae.state_dict() if self.fixed_vae else {},
                    frozen_left_out=self.options.frozen_storage != "full",
                    **whole,
                ),
                self.options.keep_checkpoints,
            )
        self.accelerator.wait_for_everyone()

    def show(self, name: str, frames: npt.NDArray[np.uint8]) -> None:
        """Log a video, (T, H, W, 3) uint8, to tensorboard (main process, during :meth:`run`)."""
        for tracker in self.accelerator.trackers:
            if self.accelerator.is_main_process and tracker.name == "tensorboard":
                log_video(tracker.writer, name, frames, self.step)

    def _state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint holds: everything, or without the frozen parts that were narrowed for storage."""
        state: dict[str, torch.Tensor] = self.plain.state_dict()
        if self.options.frozen_storage == "full":
            return state
        frozen = {name for name, parameter in self.plain.named_parameters() if not parameter.requires_grad}
        return {name: tensor for name, tensor in state.items() if name not in frozen}

    def averaged(self) -> "AveragedWeights":
        """Context in which the networks carry their averaged weights."""
        return AveragedWeights(self.ema, self.parameters, self.plain)


class AveragedWeights:
    """``with trainer.averaged() as networks: ...`` - and the training weights are back afterwards."""

    def __init__(self, ema: EMAModel, parameters: list[nn.Parameter], networks: nn.Module) -> None:
        self.ema, self.parameters, self.networks = ema, parameters, networks
        self.trained: list[torch.Tensor] = []

    def __enter__(self) -> Any:
        self.trained = [parameter.detach().clone() for parameter in self.parameters]
        self._carry(self.ema.shadow_params)
        self.networks.eval()
        assemble(self.networks)
        return self.networks

    def __exit__(self, *_: object) -> None:
        divide(self.networks)
        self._carry(self.trained)
        self.trained = []

    @torch.no_grad()
    def _carry(self, values: list[torch.Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)


def load_networks(networks: TrainableNetworks, checkpoint: Checkpoint) -> None:
    """Load a checkpoint's networks; frozen parts that it does not hold stay as they are.

    Raises:
        WeightsError: it is of another architecture.
    """
    trained = set(networks.trained_names(checkpoint.trained))
    try:
        missing, unexpected = networks.load_state_dict(divided_state(checkpoint.networks, networks), strict=False)
    except RuntimeError as error:
        raise WeightsError(
            f"The checkpoint is of another architecture: {str(error).splitlines()[-1].strip()}"
        ) from None
    wrong = [*unexpected, *(name for name in missing if name in trained or not checkpoint.frozen_left_out)]
    if wrong:
        raise WeightsError(
            f"The checkpoint of step {checkpoint.step} is of another architecture: {len(wrong)} tensors differ, "
            f"such as {wrong[0]}. Its 'model' has to be that of this configuration."
        )


def write_settings(options: TrainingOptions) -> None:
    """The resolved settings beside the run, as JSON."""
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "settings.json", options.model_dump(mode="json"))
