"""Listening to a dense run: the error that every candidate would make, head by head, from sampled query rows.

64 query rows of a head tell the error of a pattern; against all of them they cost about one percent of the head's
attention. Errors are taken after the output projection and the block's gate, relative to the residual stream they are
added to: a head that hardly moves the stream may be wrong.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from magicgen.attention.anchor import pick_columns, picked_mask
from magicgen.attention.apply import CallReader, attention_layers
from magicgen.attention.candidates import Candidate, StripeShare, resolve_stripe
from magicgen.attention.execute import attend, build_program, compute_dtype
from magicgen.attention.kernels.dense import sdpa
from magicgen.attention.patterns import (
    Anchor,
    Dense,
    PickPlan,
    Skip,
    Spec,
    VerticalStripe,
    block_plan,
    density,
    mask_rows,
)
from magicgen.attention.plan import TRAINING_STEPS, Phase, phase_index
from magicgen.attention.processor import PlannedProcessor
from magicgen.attention.timing import Clock
from magicgen.attention.tokens import TokenGrid
from magicgen.errors import PlanError


@dataclass(frozen=True)
class CaptureSettings:
    """``rows`` query rows per head, sampled in at most ``buckets`` calls spread evenly over the noise levels."""

    rows: int = 64
    buckets: int = 6
    seed: int = 0


@dataclass
class HeadScores:
    """One head in one phase: resolved candidates, their error sums (relative) and mean squared errors (raw)."""

    specs: list[Spec] = field(default_factory=list)
    densities: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    samples: int = 0

    def mean_errors(self) -> list[float]:
        """Mean relative error of each candidate."""
        return [error / self.samples for error in self.errors]

    def mean_raw(self) -> list[float]:
        """Mean squared error of each candidate's head output."""
        return [error / self.samples for error in self.raw]


@dataclass
class PartCapture:
    """What a run told about one model."""

    layers: int
    heads: int
    head_dim: int
    scores: dict[tuple[int, int, int], HeadScores] = field(default_factory=dict)
    calls: dict[int, int] = field(default_factory=dict)
    grid: TokenGrid | None = None
    batch: int = 0
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


Chooser = Callable[[HeadScores], int | None]
"""Number of the candidate whose output flows on, or None for dense (the paper's greedy search)."""


def capture(
    models: Mapping[str, nn.Module],
    run: Callable[[], Any],
    candidates: Callable[[TokenGrid, torch.device], tuple[Candidate, ...]],
    phases: tuple[Phase, ...],
    settings: CaptureSettings,
    chooser: Chooser | None = None,
    clock: Clock = time.perf_counter,
) -> tuple[dict[str, PartCapture], Any, float]:
    """Runs ``run`` once with every model listened to.

    Returns what was captured by part, the result of ``run``, and the seconds spent listening. With ``chooser`` the
    sparse output that it picks flows on in sampled calls, else the run computes the dense result bit for bit.
    Raises PlanError if a model was never called or produced values that are not numbers.
    """
    listeners = {
        name: _Listener(name, model, candidates, phases, settings, chooser, clock) for name, model in models.items()
    }
    try:
        for listener in listeners.values():
            listener.install()
        result = run()
    finally:
        for listener in listeners.values():
            listener.uninstall()
    for name, listener in listeners.items():
        if not listener.found.scores:
            raise PlanError(f"calibration: the run never called {name}; give only the models that it uses")
    found = {name: listener.found for name, listener in listeners.items()}
    return found, result, sum(listener.seconds for listener in listeners.values())


class _Listener:
    """Processors and hooks on one model while a calibration runs."""

    def __init__(
        self,
        name: str,
        model: nn.Module,
        candidates: Callable[[TokenGrid, torch.device], tuple[Candidate, ...]],
        phases: tuple[Phase, ...],
        settings: CaptureSettings,
        chooser: Chooser | None,
        clock: Clock,
    ) -> None:
        self.name = name
        self.model = model
        self.attentions = attention_layers(model)
        first = self.attentions[0]
        self.found = PartCapture(len(self.attentions), first.heads, first.to_q.out_features // first.heads)
        self.seconds = 0.0
        self._candidates = candidates
        self._phases = phases
        self._settings = settings
        self._chooser = chooser
        self._clock = clock
        self._read = CallReader(model)
        self._undo: list[Callable[[], None]] = []
        self._heard: set[int] = set()
        self._listening = False
        self._phase = 0
        self._rows = torch.empty(0, dtype=torch.int64)
        self._column_rows = self._rows
        self._masks: dict[Spec, torch.Tensor] = {}
        self._stream: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def install(self) -> None:
        """Hooks in; :meth:`uninstall` takes every one of them out again."""
        handle = self.model.register_forward_pre_hook(self._before, with_kwargs=True)
        self._undo.append(handle.remove)
        blocks: Any = self.model.transformer_blocks
        for layer, (block, attention) in enumerate(zip(blocks, self.attentions, strict=True)):
            self._undo.append(partial(attention.set_processor, attention.processor))
            attention.set_processor(PlannedProcessor(layer, self._attend))
            self._undo.append(block.norm1.register_forward_hook(partial(self._note_stream, layer)).remove)

    def uninstall(self) -> None:
        """Everything as before."""
        while self._undo:
            self._undo.pop()()

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = self._read(args, kwargs)
        if self.found.grid not in (None, call.grid):
            raise PlanError(f"calibration: {self.name} ran on {self.found.grid} and on {call.grid}; use one size")
        timestep = call.timestep()
        self._phase = phase_index(self._phases, timestep)
        self.found.calls[self._phase] = self.found.calls.get(self._phase, 0) + 1
        bucket = int(timestep / TRAINING_STEPS * self._settings.buckets * 0.9999)
        # Every phase is heard at least once, whatever buckets its few steps share with a neighbour.
        unheard_phase = self.found.calls[self._phase] == 1
        self._listening = unheard_phase or bucket not in self._heard
        if self._listening:
            self._heard.add(bucket)
            self.found.grid, self.found.batch = call.grid, call.batch
            self._draw_rows(call.grid, call.device, bucket)

    def _draw_rows(self, grid: TokenGrid, device: torch.device, bucket: int) -> None:
        generator = torch.Generator().manual_seed(self._settings.seed * 1009 + bucket)
        order = torch.randperm(grid.video, generator=generator)
        count = min(self._settings.rows, grid.video)
        self._rows = order[:count].sort().values.to(device)
        # Columns of stripes are found on other rows than those that judge them.
        self._column_rows = order[-count:].to(device)
        self._masks.clear()

    def _note_stream(self, layer: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._listening:
            self._stream[layer] = (args[0], output[2])

    def _attend(self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, text: int) -> torch.Tensor:
        dense = sdpa(q, k, v)
        if not self._listening:
            return dense
        start = self._clock()
        self.found.dtype, self.found.device = compute_dtype(q), q.device
        if not torch.isfinite(dense).all():
            raise PlanError(
                f"calibration: layer {layer} of {self.name} produced values that are not numbers; check the weights, "
                "or run in float32 or bfloat16"
            )
        # Errors far below bfloat16's rounding are compared: nothing here may be cast down.
        with torch.no_grad(), torch.autocast(q.device.type, enabled=False):
            chosen = self._score(layer, q.detach(), k.detach(), v.detach())
        self.seconds += self._clock() - start
        return _flow(dense, q, k, v, chosen, self.found.grid) if any(spec is not None for spec in chosen) else dense

    def _score(self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> list[Spec | None]:
        """Adds this call's errors; returns the specs that flow on (None: dense)."""
        grid = self.found.grid
        assert grid is not None
        candidates = self._candidates(grid, q.device)
        stream, gate = self._stream.pop(layer)
        weight = _projection(self.attentions[layer]) * gate.float().mean(0).flatten()[None]  # [H*D, C]
        scale = stream[:, self._rows].float().square().sum().item()
        chosen: list[Spec | None] = []
        for head in range(self.found.heads):
            scores = self.found.scores.setdefault((self._phase, layer, head), HeadScores())
            one_q, one_k, one_v = (x[:, head : head + 1].float() for x in (q, k, v))
            if not scores.specs:
                scores.specs = self._resolve(candidates, one_q, one_k, grid)
                scores.densities = [density(spec, grid) for spec in scores.specs]
                scores.errors, scores.raw = [0.0] * len(scores.specs), [0.0] * len(scores.specs)
            part = weight[head * self.found.head_dim : (head + 1) * self.found.head_dim]
            self._add_head(scores, one_q, one_k, one_v, part @ part.T / max(scale, 1e-12), grid)
            picked = self._chooser(scores) if self._chooser else None
            chosen.append(None if picked is None else scores.specs[picked])
        return chosen

    def _resolve(
        self, candidates: tuple[Candidate, ...], q: torch.Tensor, k: torch.Tensor, grid: TokenGrid
    ) -> list[Spec]:
        logits = (q[:, :, grid.text + self._column_rows] @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        mass = torch.softmax(logits, dim=-1).sum((0, 1, 2))[grid.text :]
        return [resolve_stripe(c, mass, grid) if isinstance(c, StripeShare) else c for c in candidates]

    def _add_head(
        self, scores: HeadScores, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, gram: torch.Tensor, grid: TokenGrid
    ) -> None:
        """One head, [B,1,N,D]: errors of all candidates on the sampled rows. ``gram`` [D,D] weighs output errors."""
        logits = (q[:, :, grid.text + self._rows] @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        weights = torch.exp(logits - logits.amax(-1, keepdim=True))  # [B,1,R,N]
        exact = (weights @ v) / weights.sum(-1, keepdim=True)
        for index, spec in enumerate(scores.specs):
            if isinstance(spec, Skip):
                output = torch.zeros_like(exact)
            else:
                kept = weights * self._mask(spec, q, k, grid)
                output = (kept @ v) / kept.sum(-1, keepdim=True).clamp_min(1e-30)
            difference = (output - exact)[:, 0]
            scores.errors[index] += ((difference @ gram) * difference).sum().item()
            scores.raw[index] += difference.square().mean().item()
        scores.samples += 1

    def _mask(self, spec: Spec, q: torch.Tensor, k: torch.Tensor, grid: TokenGrid) -> torch.Tensor:
        if isinstance(spec, Anchor):
            plan = block_plan(spec, grid)
            assert isinstance(plan, PickPlan)
            return mask_rows(spec, grid, self._rows, picked_mask(pick_columns(q, k, grid, plan), grid))
        if isinstance(spec, VerticalStripe):
            return mask_rows(spec, grid, self._rows[:1])
        if spec not in self._masks:
            self._masks[spec] = mask_rows(spec, grid, self._rows)
        return self._masks[spec]


def _projection(attention: Any) -> torch.Tensor:
    """The output projection as a matrix [H*D, C] in fp32, LoRA layers included."""
    layer = attention.to_out[0]
    size = attention.to_q.out_features
    weight = next(layer.parameters())
    inputs = torch.eye(size + 1, size, device=weight.device, dtype=weight.dtype)
    outputs = layer(inputs).float()
    return outputs[:size] - outputs[size:]


def _flow(
    dense: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    chosen: list[Spec | None],
    grid: TokenGrid | None,
) -> torch.Tensor:
    """The dense output with the heads that were chosen sparse put in."""
    assert grid is not None
    specs = tuple(spec if spec is not None else Dense() for spec in chosen)
    program = build_program(specs, grid, device=q.device, dtype=q.dtype, head_dim=q.shape[-1], dense=sdpa)
    return attend(q, k, v, program)
