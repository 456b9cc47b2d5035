"""``magicgen train``: one run from a configuration."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from magicgen.errors import ConfigError
from magicgen.progress import ProgressEvent, silent
from magicgen.training.adapters import add_adapters
from magicgen.training.cache import precompute as encode_cache
from magicgen.training.checkpoints import latest_checkpoint, load_checkpoint
from magicgen.training.clips import Clip
from magicgen.training.loop import StepResult, Trainer, load_networks, write_settings
from magicgen.training.networks import NetworkSet, pretrained_networks, tiny_networks
from magicgen.training.options import TinyModel, TrainingOptions
from magicgen.training.sources import training_examples
from magicgen.training.validation import ValidationScore, validate, validation_clips

Log = Callable[[str], None]


def build_networks(options: TrainingOptions) -> NetworkSet:
    """The networks of a run, with the weights of ``start_from`` where that is given (an earlier stage's run folder)."""
    data = options.data
    if isinstance(options.model, TinyModel):
        networks = tiny_networks(options.model, data.frames, data.height, data.width, options.seed)
    else:
        networks = pretrained_networks(options)
    lora, transformer = options.model.lora, networks.trainable.transformer
    if lora is not None and options.start_from is not None and _has_adapters(options.start_from):
        add_adapters(transformer, lora)
    if options.start_from is not None:
        load_averaged(networks, options.start_from)
    if lora is not None and not hasattr(transformer, "peft_config"):
        add_adapters(transformer, lora)
    return networks


def _has_adapters(run: Path) -> bool:
    path = run / "settings.json"
    return path.is_file() and json.loads(path.read_text())["model"].get("lora") is not None


def load_averaged(networks: NetworkSet, run: Path) -> None:
    """Load a run's averaged weights (its trainable parameters) and the rest of its newest checkpoint, in place."""
    path = latest_checkpoint(run)
    if path is None:
        raise ConfigError(f"start_from: {run} holds no checkpoint; give the 'out' folder of an earlier run.")
    checkpoint = load_checkpoint(path, torch.device("cpu"))
    load_networks(networks.trainable, checkpoint)
    if checkpoint.vae:
        networks.vae.load_state_dict(checkpoint.vae)
    names = networks.trainable.trained_names(checkpoint.trained)
    state = dict(zip(names, checkpoint.ema["shadow_params"], strict=True))
    networks.trainable.load_state_dict(state, strict=False)


def train(
    options: TrainingOptions, *, resume: bool, report: Callable[[ProgressEvent], None] = silent, log: Log = print
) -> Path:
    """Run to the end; returns the run's folder.

    Args:
        options: the resolved configuration.
        resume: go on from the newest checkpoint under ``options.out``; without it a used folder is refused.
        report: progress events with an ETA.
        log: lines for people.

    Raises:
        ConfigError: the folder is in use and ``resume`` is off.
        GenerationFailed: the loss became NaN, or a checkpoint could not be written.
    """
    if latest_checkpoint(options.out) is not None and not resume:
        raise ConfigError(f"{options.out} already holds a run. Continue it with --resume, or choose another 'out'.")
    trainer = Trainer(options, build_networks(options))
    if trainer.accelerator.is_main_process:
        write_settings(options)
    else:
        report, log = silent, _say_nothing
    if resume and trainer.resume():
        log(f"resumed at step {trainer.step}")
    clips: list[Clip] = []
    started, first = time.perf_counter(), trainer.step

    def each_step(result: StepResult) -> None:
        rate = (time.perf_counter() - started) / max(result.step - first, 1)
        eta = rate * (options.steps - result.step)
        report(ProgressEvent(f"Training, loss {result.diffusion:.5f}", result.step, options.steps, eta))
        if result.step % 50 == 0:
            log(f"step {result.step} loss {result.diffusion:.5f} seg {result.segmentation:.4f} {rate:.2f} s/step")

    def each_validation(current: Trainer) -> dict[str, float]:
        if not clips:
            clips.extend(validation_clips(options))
        scores = validate(current, clips)
        for score in scores:
            log(f"step {current.step} {_line(score)}")
        return {f"psnr/{score.level}/{name}": value for score in scores for name, value in _values(score).items()}

    trainer.run(each_step, each_validation)
    return options.out


def precompute(options: TrainingOptions, *, report: Callable[[ProgressEvent], None] = silent) -> Path:
    """Encode the examples of ``data.cache``, going on where an earlier call was stopped; returns their folder.

    Raises:
        ConfigError: no ``data.cache``, or its folder holds examples of another configuration.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    networks = build_networks(options)
    networks.trainable.requires_grad_(False)
    networks.vae.to(device)
    if networks.trainable.text_encoder is not None:
        networks.trainable.text_encoder.to(device)
    started = time.perf_counter()

    def progress(done: int, total: int) -> None:
        eta = (time.perf_counter() - started) / done * (total - done)
        report(ProgressEvent("Encoding", done, total, eta))

    return encode_cache(options, networks, training_examples(options), device, progress)


def _say_nothing(_line: str) -> None:
    """Only the main process talks."""


def _values(score: ValidationScore) -> dict[str, float]:
    return {name: value for name, value in asdict(score).items() if isinstance(value, float)}


def _line(score: ValidationScore) -> str:
    return f"{score.level}: still {score.still:.2f} dB, draft {score.draft:.2f} dB, model {score.model:.2f} dB"
