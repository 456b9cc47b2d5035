"""Switching a plan on and off: processors in, a handle to take them out again."""

import inspect
import math
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import torch
from torch import nn

from magicgen.attention.execute import LayerProgram, attend, build_program
from magicgen.attention.kernels.dense import DenseFn, dense_backend
from magicgen.attention.plan import PartPlan, SparsePlan, check_fit, check_grid, phase_index, rescale_plan
from magicgen.attention.processor import STOCK_PROCESSORS, PlannedProcessor
from magicgen.attention.report import AttentionReport, PartReport, summarise
from magicgen.attention.tokens import TokenGrid
from magicgen.errors import PlanError

TRANSFORMER, CONTROL_BRANCH = "transformer", "control_branch"
"""Names of the parts of a plan."""


def enable_sparse_attention(
    transformer: nn.Module,
    plan: SparsePlan,
    *,
    control_branch: nn.Module | None = None,
    kernel: str = "auto",
    dense: str = "sdpa",
    rescale: bool = False,
) -> "SparseAttention":
    """Runs ``transformer`` (a CogVideoX transformer) by ``plan`` until the returned handle is removed.

    Args:
        transformer: the model; its attention processors must be diffusers' own.
        plan: a plan for a model of this shape; the grid is checked at every call of the model.
        control_branch: the control branch, if the run has one; it follows the plan's own part for it, and stays dense
            if the plan has none (the report says so).
        kernel: "auto", "slices", "flex", "triton" or "reference"; what cannot run here falls back, see the report.
        dense: the dense backend for dense heads and gathered keys ("sdpa", "flash_attention_3", ...).
        rescale: carry the plan over to other grids instead of refusing them.

    Raises:
        PlanError: the plan is for another model, or the model's processors are not diffusers' own.
    """
    models = {TRANSFORMER: transformer}
    if control_branch is not None and CONTROL_BRANCH in plan.parts:
        models[CONTROL_BRANCH] = control_branch
    backend = dense_backend(dense)
    runners = [PartRunner(name, model, plan, kernel, backend, rescale) for name, model in models.items()]
    for runner in runners:
        runner.install()
    uncovered = (CONTROL_BRANCH,) if control_branch is not None and CONTROL_BRANCH not in models else ()
    return SparseAttention(plan, runners, dense, uncovered)


class SparseAttention:
    """Handle of an enabled plan; also a context manager that removes it at the end."""

    def __init__(
        self, plan: SparsePlan, runners: "list[PartRunner]", dense: str, uncovered: tuple[str, ...] = ()
    ) -> None:
        self.plan = plan
        self._runners = runners
        self._dense = dense
        self._uncovered = uncovered

    def remove(self) -> None:
        """Puts the former processors back; the models then compute the same bits as before. Safe to call twice."""
        for runner in self._runners:
            runner.uninstall()

    def report(self) -> AttentionReport:
        """What ran: kernels, fall-backs with their reasons, density and calls, for each part and phase."""
        parts = tuple(runner.report() for runner in self._runners)
        return AttentionReport(self.plan.model, str(self.plan.grid), self._dense, parts, self._uncovered)

    def __enter__(self) -> "SparseAttention":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


@dataclass
class _Active:
    """What the current call of a model runs by."""

    plan: SparsePlan
    part: PartPlan
    grid: TokenGrid
    phase: int = 0
    gradients: bool = False
    programs: list[LayerProgram | None] = field(default_factory=list)


class PartRunner:
    """One model's processors and the hook that tells them grid and phase before every forward."""

    def __init__(
        self, name: str, model: nn.Module, plan: SparsePlan, kernel: str, dense: DenseFn, rescale: bool
    ) -> None:
        self.name = name
        self.model = model
        self.kernel = kernel
        self.dense = dense
        self.rescale = rescale
        self.attentions = attention_layers(model)
        _check_processors(name, self.attentions)
        first = self.attentions[0]
        self.head_dim = first.to_q.out_features // first.heads
        part = check_fit(plan, name, layers=len(self.attentions), heads=first.heads, head_dim=self.head_dim)
        self.active = _Active(plan, part, plan.grid)
        self.calls: Counter[str] = Counter()
        self._plan = plan
        self._read = CallReader(model)
        self._cache: dict[tuple[TokenGrid, int, torch.device, torch.dtype, bool], list[LayerProgram]] = {}
        self._former: list[Any] = []
        self._processors: list[PlannedProcessor] = []
        self._hook: Any = None

    def install(self) -> None:
        """Replaces the processors and registers the hook."""
        self._former = [attention.processor for attention in self.attentions]
        self._processors = [PlannedProcessor(layer, self.attend) for layer in range(len(self.attentions))]
        for attention, processor in zip(self.attentions, self._processors, strict=True):
            attention.set_processor(processor)
        self._hook = self.model.register_forward_pre_hook(self._before, with_kwargs=True)

    def uninstall(self) -> None:
        """Undoes :meth:`install`; leaves alone a processor that somebody else has put in since."""
        if self._hook is None:
            return
        self._hook.remove()
        self._hook = None
        for attention, ours, former in zip(self.attentions, self._processors, self._former, strict=True):
            if attention.processor is ours:
                attention.set_processor(former)

    def attend(self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, text: int) -> torch.Tensor:
        """Attention of one layer by the active plan: [B,H,N,D] -> [B,H,N,D]."""
        programs = self.active.programs
        program = programs[layer] if layer < len(programs) else None
        if program is None or program.device != q.device:
            program = self._programs(q.device, q.dtype)[layer]
        return attend(q, k, v, program)

    def report(self) -> PartReport:
        """Kernels, fall-backs and calls so far."""
        installed = sum(a.processor is p for a, p in zip(self.attentions, self._processors, strict=True))
        programs = {key[1]: value for key, value in self._cache.items()}
        return summarise(self.name, self.active.plan, self.active.part, programs, self.calls, installed)

    @torch.compiler.disable
    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for attention, processor in zip(self.attentions, self._processors, strict=True):
            if attention.processor is not processor:
                raise PlanError(
                    f"the sparse attention plan of {self.name} is no longer in place: its attention processors were "
                    f"replaced by {type(attention.processor).__name__} (fuse_qkv_projections does that). Call "
                    "remove(), make the change, then enable the plan again."
                )
        call = self._read(args, kwargs)
        if call.grid != self.active.grid:
            self._change_grid(call.grid)
        active = self.active
        active.phase = phase_index(active.plan.phases, call.timestep()) if len(active.plan.phases) > 1 else 0
        active.gradients = call.gradients
        active.programs = list(self._programs(call.device, call.dtype))
        self.calls[active.plan.phases[active.phase].name] += 1

    def _change_grid(self, grid: TokenGrid) -> None:
        plan = self._plan
        if self.rescale:
            plan = rescale_plan(plan, grid)
        check_grid(plan, grid)
        self.active = _Active(plan, plan.parts[self.name], grid)

    @torch.compiler.disable
    def _programs(self, device: torch.device, dtype: torch.dtype) -> list[LayerProgram]:
        key = (self.active.grid, self.active.phase, device, dtype, self.active.gradients)
        if key not in self._cache:
            self._cache[key] = [
                build_program(
                    specs,
                    self.active.grid,
                    device=device,
                    dtype=dtype,
                    head_dim=self.head_dim,
                    kernel=self.kernel,
                    dense=self.dense,
                    gradients=self.active.gradients,
                )
                for specs in self.active.part.tables[self.active.phase]
            ]
        return self._cache[key]


def attention_layers(model: nn.Module) -> list[Any]:
    """The attention modules of a CogVideoX transformer or control branch, by layer."""
    blocks = getattr(model, "transformer_blocks", None)
    layers = [getattr(block, "attn1", None) for block in blocks] if blocks is not None else []
    if not layers or any(layer is None for layer in layers):
        raise PlanError(
            f"{type(model).__name__} has no transformer_blocks with attn1; sparse attention plans are for the "
            "CogVideoX family"
        )
    return layers


def _check_processors(name: str, attentions: list[Any]) -> None:
    foreign = {type(a.processor).__name__ for a in attentions} - set(STOCK_PROCESSORS)
    if foreign:
        raise PlanError(
            f"{name} runs with the attention processors {', '.join(sorted(foreign))}, whose effect a plan would lose; "
            "remove them first"
        )


@dataclass(frozen=True)
class ModelCall:
    """What a hook learns from the arguments of a forward."""

    grid: TokenGrid
    batch: int
    device: torch.device
    dtype: torch.dtype
    gradients: bool
    raw_timestep: Any

    def timestep(self) -> float:
        """The timestep as a number; the samples of a batch share it. Raises PlanError for NaN."""
        value = self.raw_timestep
        number = float(value.flatten()[0]) if isinstance(value, torch.Tensor) else float(value)
        if math.isnan(number):
            raise PlanError("the timestep is NaN; phases of a sparse attention plan need a number in 0..1000")
        return number


class CallReader:
    """Reads grid and timestep from the arguments of a model's forward, positional or named."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._names = [name for name in inspect.signature(type(model).forward).parameters if name != "self"]
        config: Any = model.config
        self._patch = config.patch_size
        self._patch_frames = config.patch_size_t or 1

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ModelCall:
        """The call's grid, device, dtype and timestep, and whether it will be differentiated."""
        given = {**dict(zip(self._names, args, strict=False)), **kwargs}
        latents, text = given["hidden_states"], given["encoder_hidden_states"]
        frames, _, height, width = latents.shape[1:]
        grid = TokenGrid(text.shape[1], -(-frames // self._patch_frames), height // self._patch, width // self._patch)
        gradients = torch.is_grad_enabled() and (
            latents.requires_grad or any(parameter.requires_grad for parameter in self._model.parameters())
        )
        return ModelCall(grid, latents.shape[0], latents.device, latents.dtype, gradients, given["timestep"])
