"""Training of the reflection adapter. The backbone and its autoencoder stay as they are.

Every random number of example ``i`` comes from (seed, i), so a run that was stopped goes on exactly.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import yaml
from torch.nn import functional as F

from magicgen.errors import ConfigError
from magicgen.models import BlockTransformAutoencoder, VideoTransformer
from magicgen.models.reflection import LayerPair, ReflectionAdapter, ReflectionNetwork, enlarged
from magicgen.models.veil import VeilEstimator
from magicgen.progress import ProgressEvent, silent
from magicgen.training.reflection_check import PairCheck, fold_checks
from magicgen.training.reflection_data import LayerBatch, ReflectionExamples, layer_batches
from magicgen.training.reflection_losses import LayerTruth, layer_loss
from magicgen.training.reflection_options import ReflectionTraining
from magicgen.training.reflection_veil import fit_veil
from magicgen.training.single import SingleTrainer, averaged_weights, claim_folder, follow, training_device
from magicgen.weights.sources import PipelineFolder, resolve_model

OCTAVE = 2
CLEAN_DECIBELS = 40
"""A mixture that is nearer to its scene than this has no reflection to remove."""


@dataclass(frozen=True)
class ReflectionStep:
    """Loss of a step, and the mean PSNR of mixture and answer in dB, over its examples that have a reflection (NaN
    where none has)."""

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
        refiner_blocks=model.refiner_blocks,
        refiner_dropout=model.refiner_dropout,
        context=model.context,
        working_side=model.working_side or options.data.short_side,
    )
    if options.start_from is not None:
        load_averaged_adapter(adapter, options.start_from)
    return ReflectionNetwork(base, vae, adapter)


def load_averaged_adapter(adapter: ReflectionAdapter, run: Path) -> None:
    """Load a run's averaged adapter, in place; what the run did not train comes as it was.

    Raises:
        ConfigError: the run has no checkpoint.
    """
    checkpoint = averaged_weights(run)
    adapter.load_state_dict(checkpoint.networks)
    trained = [name for name, _ in learning(adapter, run_options(run).train)]
    adapter.load_state_dict(dict(zip(trained, checkpoint.ema["shadow_params"], strict=True)), strict=False)


def learning(adapter: ReflectionAdapter, part: Literal["all", "refiner"]) -> list[tuple[str, torch.nn.Parameter]]:
    """Names and parameters of what a run trains."""
    return [(name, value) for name, value in adapter.named_parameters() if part == "all" or name.startswith("refiner.")]


def run_options(run: Path) -> ReflectionTraining:
    """What a run was told.

    Raises:
        ConfigError: no run there.
    """
    settings = run / "settings.json"
    if not settings.is_file():
        raise ConfigError(f"{run} is not a training run: it has no settings.json.")
    return ReflectionTraining.model_validate(json.loads(settings.read_text()))


class ReflectionTrainer(SingleTrainer[ReflectionTraining, LayerBatch, ReflectionStep]):
    """One run of the adapter; the backbone learns nothing."""

    name = "adapter"

    def __init__(self, options: ReflectionTraining, network: ReflectionNetwork, device: torch.device) -> None:
        self.network = network.to(device)
        network.adapter.requires_grad_(False)
        for _, parameter in learning(network.adapter, options.train):
            parameter.requires_grad_(True)
        super().__init__(options, network.adapter, device)
        self.dataset = ReflectionExamples(options.data, options.seed)
        self.checks = fold_checks(options.data, network.adapter.config.working_side, network.step)
        self.tell: Callable[[str], None] = print

    def batches(self, first: int, last: int) -> Iterator[LayerBatch]:
        """Mixtures of the steps from ``first`` up to ``last``."""
        size = self.options.data.batch_size
        return iter(layer_batches(self.dataset, first * size, last * size))

    def save(self) -> None:
        """Write a checkpoint; where a fold is held out, say how the averaged adapter does on it and on its own."""
        super().save()
        self.ema.store(self.parameters)
        self.ema.copy_to(self.parameters)
        self._check(f"step {self.step}", self.checks, self._unasked)
        self.ema.restore(self.parameters)

    def solve(self) -> None:
        """Solve for the automatic answer, where the run says how, and write it to the checkpoint."""
        options, adapter = self.options, self.network.adapter
        if options.veil is None:
            return
        veil = VeilEstimator()
        fit_veil(veil, options.veil, options.data, options.seed)
        adapter.veil.load_state_dict(veil.state_dict())
        super().save()
        side = OCTAVE * adapter.config.working_side
        checks = fold_checks(options.data, side, self.network.step)
        self._check("automatic", checks, lambda picture: self.network.automatic(picture).transmission)

    def _unasked(self, picture: torch.Tensor) -> torch.Tensor:
        guide = picture.new_zeros(1, 2, *picture.shape[2:])
        return self.network.refine(picture, self.network.draft(picture, guide), guide).transmission

    def _check(
        self, what: str, checks: tuple[PairCheck, PairCheck] | None, answer: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        if checks is None:
            return
        self.network.eval()
        held, own = (check(answer) for check in checks)
        self.tell(
            f"{what} held out {held.gain:+.2f} dB ({100 * held.better:.0f} % better), "
            f"own pairs {own.gain:+.2f} dB, clean scenes {held.clean:.1f} dB"
        )

    def train_step(self, batch: LayerBatch) -> ReflectionStep:
        """One optimiser step."""
        self.network.train()
        self.set_rates()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.precision == "bf16"):
            loss, answer, truth = self.losses(batch)
        value = self.descend(loss)
        before, after = _decibels(truth.mixture, truth), _decibels(answer.transmission.detach(), truth)
        mixed = before < CLEAN_DECIBELS
        return ReflectionStep(self.step, value, float(before[mixed].mean()), float(after[mixed].mean()))

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
        with torch.set_grad_enabled(self.options.train == "all"):
            draft = self.network.draft(truth.mixture, coarse_guide)
        answer = self.network.refine(truth.mixture, draft, coarse_guide)
        loss = layer_loss(answer, truth, weights)
        if self.options.train == "all":
            loss = loss + weights.draft * layer_loss(draft, truth, weights)
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
    claim_folder(options, options.out, resume=resume)
    trainer = ReflectionTrainer(options, build_network(options), training_device())

    trainer.tell = log

    def told(steps: list[ReflectionStep]) -> str:
        known = [each for each in steps if not math.isnan(each.before)]
        before, after = (sum(getattr(each, k) for each in known) / max(len(known), 1) for k in ("before", "after"))
        return f"photo {before:.2f} dB, model {after:.2f} dB"

    follow(trainer, told, resume=resume, report=report, log=log)
    trainer.solve()
    return options.out


def export_adapter(run: Path, out: Path) -> Path:
    """Write a run's averaged adapter in half precision, with ``train.yaml`` beside it.

    Args:
        run: the ``out`` folder of a run.
        out: the folder to write.

    Raises:
        ConfigError: no run there.
    """
    options = run_options(run)
    network = build_network(options.model_copy(update={"start_from": None}))
    load_averaged_adapter(network.adapter, run)
    network.adapter.half().save_pretrained(out)
    (out / "train.yaml").write_text(yaml.safe_dump(options.model_dump(mode="json"), sort_keys=False))
    return out


def _halved(truth: LayerTruth) -> LayerTruth:
    def half(picture: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(picture, OCTAVE)

    return LayerTruth(half(truth.mixture), half(truth.transmission), half(truth.reflection), truth.attenuation)


def _decibels(answer: torch.Tensor, truth: LayerTruth) -> torch.Tensor:
    squared = (answer.float().clamp(0, 1) - truth.transmission).square().flatten(1).mean(dim=1).clamp_min(1e-6)
    return -10 * squared.log10()
