"""What trainings of one network on one device share: steps, averages, checkpoints, and going on after a stop.

The video model trains through accelerate instead (:mod:`magicgen.training.loop`).
"""

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from diffusers.training_utils import EMAModel
from torch import nn

from magicgen.config import StrictModel
from magicgen.errors import ConfigError, GenerationFailed
from magicgen.media import write_bytes
from magicgen.progress import ProgressEvent, silent
from magicgen.training.checkpoints import Checkpoint, latest_checkpoint, load_checkpoint, save_checkpoint
from magicgen.training.optimizers import learning_rate_factor, make_optimizers
from magicgen.training.options import OptimizerOptions


class Settings(Protocol):
    """What a run of any task says."""

    @property
    def out(self) -> Path:
        """The run's folder."""
        ...

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        ...

    @property
    def optimizer(self) -> OptimizerOptions:
        """Rates, warm-up, decay, averaging."""
        ...

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints."""
        ...


class Step(Protocol):
    """What a step tells: its number from 1, and its loss."""

    @property
    def step(self) -> int:
        """Steps done."""
        ...

    @property
    def loss(self) -> float:
        """Of this step."""
        ...


SettingsT = TypeVar("SettingsT", bound=Settings)
BatchT = TypeVar("BatchT")
StepT = TypeVar("StepT", bound=Step)


class SingleTrainer(ABC, Generic[SettingsT, BatchT, StepT]):
    """One run: the learning part of a network, optimisers, an average, checkpoints under ``options.out``."""

    name: ClassVar[str]
    """What learns, as checkpoints call it."""

    def __init__(self, options: SettingsT, learner: nn.Module, device: torch.device) -> None:
        self.options, self.learner, self.device = options, learner, device
        named = [(name, value) for name, value in learner.named_parameters() if value.requires_grad]
        self.parameters = [value for _, value in named]
        self.optimizers = make_optimizers(named, options.optimizer)
        self.ema = EMAModel(self.parameters, decay=options.optimizer.ema_decay, use_ema_warmup=True, power=0.75)
        self.ema.to(device)
        self.step = 0

    @abstractmethod
    def batches(self, first: int, last: int) -> Iterator[BatchT]:
        """Batches of the steps from ``first`` up to ``last``."""

    @abstractmethod
    def train_step(self, batch: BatchT) -> StepT:
        """One optimiser step."""

    def resume(self) -> bool:
        """Go on from the newest checkpoint; False when there is none."""
        path = latest_checkpoint(self.options.out)
        if path is None:
            return False
        checkpoint = load_checkpoint(path, self.device)
        self.learner.load_state_dict(checkpoint.networks)
        for optimizer, state in zip(self.optimizers, checkpoint.optimizers, strict=True):
            optimizer.load_state_dict(state)
        self.ema.load_state_dict(checkpoint.ema)
        self.step = checkpoint.step
        return True

    def run(self, report: Callable[[StepT], None]) -> None:
        """Train to ``options.steps``.

        Raises:
            GenerationFailed: the loss is not a number; the last good checkpoint stays.
        """
        for batch in self.batches(self.step, self.options.steps):
            report(self.train_step(batch))
            if self.step % self.options.checkpoint_every == 0 or self.step == self.options.steps:
                self.save()

    def set_rates(self) -> None:
        """The learning rates of the coming step."""
        options = self.options.optimizer
        factor = learning_rate_factor(self.step, self.options.steps, options)
        for optimizer, rate in zip(
            self.optimizers, (options.learning_rate, options.matrix_learning_rate), strict=False
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    def descend(self, loss: torch.Tensor) -> float:
        """Follow the gradient of a loss and average the weights; returns its value.

        Raises:
            GenerationFailed: it is not a number.
        """
        value = float(loss.detach())
        if not math.isfinite(value):
            raise GenerationFailed(
                f"The loss of step {self.step} is {value}. The last good checkpoint is kept; lower the learning rate."
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.options.optimizer.clip_gradient)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.ema.step(self.parameters)
        self.step += 1
        return value

    def save(self) -> None:
        """Write a checkpoint."""
        checkpoint = Checkpoint(
            step=self.step,
            trained=[self.name],
            networks=self.learner.state_dict(),
            vae={},
            optimizers=[optimizer.state_dict() for optimizer in self.optimizers],
            ema=self.ema.state_dict(),
        )
        save_checkpoint(self.options.out, checkpoint, keep=1)


def claim_folder(options: StrictModel, out: Path, *, resume: bool) -> None:
    """Make a run's folder and write its settings there.

    Raises:
        ConfigError: the folder is in use and ``resume`` is off.
    """
    if latest_checkpoint(out) is not None and not resume:
        raise ConfigError(f"{out} already holds a run. Continue it with --resume, or choose another 'out'.")
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / "settings.json", json.dumps(options.model_dump(mode="json"), indent=2).encode())


def averaged_weights(run: Path) -> Checkpoint:
    """The newest checkpoint of a run; its ``ema["shadow_params"]`` are the averages.

    Raises:
        ConfigError: there is none.
    """
    path = latest_checkpoint(run)
    if path is None:
        raise ConfigError(f"{run} holds no checkpoint; give the 'out' folder of an earlier run.")
    return load_checkpoint(path, torch.device("cpu"))


def follow(
    trainer: SingleTrainer[Any, Any, StepT],
    told: Callable[[list[StepT]], str],
    *,
    resume: bool,
    report: Callable[[ProgressEvent], None] = silent,
    log: Callable[[str], None] = print,
) -> None:
    """Run a trainer to its end; ``told`` puts the last steps, 50 at most, into words for the log."""
    if resume and trainer.resume():
        log(f"resumed at step {trainer.step}")
    started, first, steps = time.perf_counter(), trainer.step, trainer.options.steps
    recent: list[StepT] = []

    def each_step(result: StepT) -> None:
        rate = (time.perf_counter() - started) / max(result.step - first, 1)
        report(ProgressEvent(f"Training, loss {result.loss:.4f}", result.step, steps, rate * (steps - result.step)))
        recent.append(result)
        if result.step % 50 == 0:
            log(f"step {result.step} {told(recent)}, {rate:.2f} s/step")
            recent.clear()

    trainer.run(each_step)


def training_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
