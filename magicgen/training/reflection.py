"""Training of the reflection adapter. The backbone and its autoencoder stay as they are.

Every random number of example ``i`` comes from (seed, i), so a run that was stopped goes on exactly.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from diffusers.training_utils import EMAModel
from torch.nn import functional as F

from magicgen.errors import ConfigError, GenerationFailed
from magicgen.media import write_bytes
from magicgen.models import BlockTransformAutoencoder, VideoTransformer
from magicgen.models.reflection import LayerPair, ReflectionAdapter, ReflectionNetwork, enlarged
from magicgen.progress import ProgressEvent, silent
from magicgen.training.checkpoints import Checkpoint, latest_checkpoint, load_checkpoint, save_checkpoint
from magicgen.training.optimizers import learning_rate_factor, make_optimizers
from magicgen.training.reflection_data import LayerBatch, ReflectionExamples, layer_batches
from magicgen.training.reflection_losses import LayerTruth, layer_loss
from magicgen.training.reflection_options import ReflectionTraining
from magicgen.weights.sources import PipelineFolder, resolve_model

OCTAVE = 2


@dataclass(frozen=True)
class ReflectionStep:
    """Loss of a step, and the mean PSNR of mixture and answer on its examples, in dB."""

    step: int
    loss: float
    before: float
    after: float


def backbone_folder(name: str) -> Path:
    """The pipeline folder of a model name.

    Raises:
        ConfigError: it is no single folder.
    """
    source = resolve_model(name)
    if not isinstance(source, PipelineFolder):
        raise ConfigError(f"model.base: {name} is not a pipeline folder; the reflection adapter needs 'tiny' or one.")
    return source.folder


def build_network(options: ReflectionTraining) -> ReflectionNetwork:
    """Backbone with a fresh adapter, or with the averaged one of ``start_from``."""
    folder = backbone_folder(options.model.base)
    base = VideoTransformer.from_pretrained(folder / "transformer").float()
    vae = BlockTransformAutoencoder.from_pretrained(folder / "vae")
    torch.manual_seed(options.seed)
    model = options.model
    adapter = ReflectionAdapter.from_backbone(
        base,
        rank=model.rank,
        prompt_tokens=model.prompt_tokens,
        prompt_layers=model.prompt_layers,
        refiner_widths=model.refiner_widths,
        working_side=options.data.short_side,
    )
    if options.start_from is not None:
        load_averaged_adapter(adapter, options.start_from)
    return ReflectionNetwork(base, vae, adapter)


def load_averaged_adapter(adapter: ReflectionAdapter, run: Path) -> None:
    """Load a run's averaged adapter, in place.

    Raises:
        ConfigError: the run has no checkpoint.
    """
    path = latest_checkpoint(run)
    if path is None:
        raise ConfigError(f"{run} holds no checkpoint; give the 'out' folder of an earlier run.")
    checkpoint = load_checkpoint(path, torch.device("cpu"))
    names = [name for name, _ in adapter.named_parameters()]
    adapter.load_state_dict(dict(zip(names, checkpoint.ema["shadow_params"], strict=True)))


class ReflectionTrainer:
    """One run: adapter, optimiser, data, checkpoints under ``options.out``."""

    def __init__(self, options: ReflectionTraining, network: ReflectionNetwork, device: torch.device) -> None:
        self.options, self.device = options, device
        self.network = network.to(device)
        self.adapter = network.adapter
        self.optimizers = make_optimizers(self.adapter.named_parameters(), options.optimizer)
        self.parameters = list(self.adapter.parameters())
        self.ema = EMAModel(self.parameters, decay=options.optimizer.ema_decay, use_ema_warmup=True, power=0.75)
        self.ema.to(device)
        self.step = 0
        self.dataset = ReflectionExamples(options.data, options.seed)

    def resume(self) -> bool:
        """Go on from the newest checkpoint; False when there is none."""
        path = latest_checkpoint(self.options.out)
        if path is None:
            return False
        checkpoint = load_checkpoint(path, self.device)
        self.adapter.load_state_dict(checkpoint.networks)
        for optimizer, state in zip(self.optimizers, checkpoint.optimizers, strict=True):
            optimizer.load_state_dict(state)
        self.ema.load_state_dict(checkpoint.ema)
        self.step = checkpoint.step
        return True

    def run(self, report: Callable[[ReflectionStep], None]) -> None:
        """Train to ``options.steps``.

        Raises:
            GenerationFailed: the loss is not a number; the last good checkpoint stays.
        """
        options = self.options
        size = options.data.batch_size
        for batch in layer_batches(self.dataset, self.step * size, options.steps * size):
            report(self.train_step(batch))
            if self.step % options.checkpoint_every == 0 or self.step == options.steps:
                self.save()

    def train_step(self, batch: LayerBatch) -> ReflectionStep:
        """One optimiser step."""
        options = self.options
        self.network.train()
        factor = learning_rate_factor(self.step, options.steps, options.optimizer)
        rates = (options.optimizer.learning_rate, options.optimizer.matrix_learning_rate)
        for optimizer, rate in zip(self.optimizers, rates, strict=False):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        with torch.autocast(self.device.type, torch.bfloat16, enabled=options.precision == "bf16"):
            loss, answer, truth = self.losses(batch)
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
        before, after = _decibel(truth.mixture, truth), _decibel(answer.transmission.detach(), truth)
        return ReflectionStep(self.step, value, before, after)

    def losses(self, batch: LayerBatch) -> tuple[torch.Tensor, LayerPair, LayerTruth]:
        """Loss, final answer and truth of a batch; large pictures also train the refiner one octave finer."""
        weights, short = self.options.loss, self.options.data.short_side
        fine = LayerTruth(
            batch.mixture.to(self.device),
            batch.transmission.to(self.device),
            batch.reflection.to(self.device),
            batch.attenuation.to(self.device),
        )
        guide = batch.guide.to(self.device)
        large = min(fine.mixture.shape[2:]) > short
        truth, coarse_guide = (_halved(fine), F.avg_pool2d(guide, OCTAVE)) if large else (fine, guide)
        draft = self.network.draft(truth.mixture, coarse_guide)
        answer = self.network.refine(truth.mixture, draft, coarse_guide)
        loss = layer_loss(answer, truth, weights) + weights.draft * layer_loss(draft, truth, weights)
        if not large:
            return loss, answer, truth
        window = self._window(fine.mixture.shape[2], fine.mixture.shape[3])
        start = enlarged(
            LayerPair(answer.transmission.detach(), answer.reflection.detach()), truth.mixture, fine.mixture
        )
        tile = LayerTruth(fine.mixture[window], fine.transmission[window], fine.reflection[window], fine.attenuation)
        tile_start = LayerPair(start.transmission[window], start.reflection[window])
        finer = self.network.refine(tile.mixture, tile_start, guide[window])
        return loss + layer_loss(finer, tile, weights), answer, truth

    def _window(self, height: int, width: int) -> tuple[slice, slice, slice, slice]:
        generator = torch.Generator().manual_seed(self.options.seed * 1_000_003 + self.step)
        rows, columns = height // OCTAVE, width // OCTAVE
        top = 16 * int(torch.randint((height - rows) // 16 + 1, (), generator=generator))
        left = 16 * int(torch.randint((width - columns) // 16 + 1, (), generator=generator))
        return slice(None), slice(None), slice(top, top + rows), slice(left, left + columns)

    def save(self) -> None:
        """Write a checkpoint."""
        checkpoint = Checkpoint(
            step=self.step,
            trained=["adapter"],
            networks=self.adapter.state_dict(),
            vae={},
            optimizers=[optimizer.state_dict() for optimizer in self.optimizers],
            ema=self.ema.state_dict(),
        )
        save_checkpoint(self.options.out, checkpoint, keep=1)


def train_reflection(
    options: ReflectionTraining,
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
    trainer = ReflectionTrainer(options, build_network(options), device)
    if resume and trainer.resume():
        log(f"resumed at step {trainer.step}")
    started, first = time.perf_counter(), trainer.step
    recent: list[ReflectionStep] = []

    def each_step(result: ReflectionStep) -> None:
        rate = (time.perf_counter() - started) / max(result.step - first, 1)
        eta = rate * (options.steps - result.step)
        report(ProgressEvent(f"Training, loss {result.loss:.4f}", result.step, options.steps, eta))
        recent.append(result)
        if result.step % 50 == 0:
            before, after = (sum(getattr(each, k) for each in recent) / len(recent) for k in ("before", "after"))
            log(f"step {result.step} photo {before:.2f} dB, model {after:.2f} dB, {rate:.2f} s/step")
            recent.clear()

    trainer.run(each_step)
    return options.out


def export_adapter(run: Path, out: Path) -> Path:
    """Write a run's averaged adapter in half precision, with ``train.yaml`` beside it.

    Args:
        run: the ``out`` folder of a run.
        out: the folder to write.

    Raises:
        ConfigError: no run there.
    """
    settings = run / "settings.json"
    if not settings.is_file():
        raise ConfigError(f"{run} is not a training run: it has no settings.json.")
    options = ReflectionTraining.model_validate(json.loads(settings.read_text()))
    network = build_network(options.model_copy(update={"start_from": None}))
    load_averaged_adapter(network.adapter, run)
    network.adapter.half().save_pretrained(out)
    (out / "train.yaml").write_text(yaml.safe_dump(options.model_dump(mode="json"), sort_keys=False))
    return out


def _halved(truth: LayerTruth) -> LayerTruth:
    def half(picture: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(picture, OCTAVE)

    return LayerTruth(half(truth.mixture), half(truth.transmission), half(truth.reflection), truth.attenuation)


def _decibel(answer: torch.Tensor, truth: LayerTruth) -> float:
    squared = (answer.float().clamp(0, 1) - truth.transmission).square().flatten(1).mean(dim=1).clamp_min(1e-6)
    return float((-10 * squared.log10()).mean())
