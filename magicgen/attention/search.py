"""The offline search: listen to a dense run, time every pattern, solve for a goal, measure the plan that comes out."""

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, assert_never

import torch
from torch import nn

from magicgen.attention.apply import enable_sparse_attention
from magicgen.attention.candidates import Candidate, cost_spec, default_candidates
from magicgen.attention.capture import CaptureSettings, Chooser, HeadScores, PartCapture, capture
from magicgen.attention.cost import Shape, measure_costs
from magicgen.attention.kernels.dense import dense_backend
from magicgen.attention.patterns import Dense, Spec
from magicgen.attention.plan import HeadTable, PartPlan, Phase, SearchRecord, SparsePlan
from magicgen.attention.quality import psnr
from magicgen.attention.report import label_of
from magicgen.attention.solve import Options, paper_rule, solve_budget, solve_error, total_error
from magicgen.attention.timing import Clock, in_turn, median_ratio
from magicgen.attention.tokens import TokenGrid
from magicgen.errors import PlanError

DEFAULT_PHASES = (Phase("early", 1.0, 0.85), Phase("rest", 0.85, 0.0))
WORTH_IT = 1.03
"""A plan has to be at least this much faster than dense, end to end, or the answer is: do not sparsify."""
CONFIRM_SECONDS = 10
"""About how many seconds of dense runs go into the last measurement of a plan; at least one run, at most five."""


@dataclass(frozen=True)
class Speedup:
    """Least error at a run that is ``factor`` times as fast as dense."""

    factor: float

    def __post_init__(self) -> None:
        if not 1.0 < self.factor < float("inf"):
            raise PlanError(f"--speedup {self.factor}: expected a factor above 1, for example 1.8")


@dataclass(frozen=True)
class Psnr:
    """Fastest plan whose result keeps at least ``decibels`` against the dense result from the same seed."""

    decibels: float

    def __post_init__(self) -> None:
        if not 0.0 < self.decibels < 100.0:
            raise PlanError(f"--psnr {self.decibels}: expected decibels between 0 and 100, for example 30")


@dataclass(frozen=True)
class PaperRule:
    """Sparse-vDiT's own rule (arXiv 2506.03065, eq. 2-3, algorithm 1): head by head and greedily, chosen sparse outputs
    flow on. Defaults as published for CogVideoX1.5; epsilon is the knob that matters."""

    lam: float = 0.5
    epsilon: float = 1.0


Goal = Speedup | Psnr | PaperRule


@dataclass(frozen=True)
class SearchSettings:
    """How thoroughly to search. ``dense_early``: keep the first phase dense. ``trials``: measured runs at most.
    ``clock``: seconds; another one than wall time (process time, one thread) bears a busy machine."""

    phases: tuple[Phase, ...] = DEFAULT_PHASES
    capture: CaptureSettings = field(default_factory=CaptureSettings)
    dense_early: bool = False
    trials: int = 4
    repeats: int = 5
    kernel: str = "auto"
    dense: str = "sdpa"
    candidates: Callable[[TokenGrid, torch.device], tuple[Candidate, ...]] = default_candidates
    clock: Clock = time.perf_counter


@dataclass(frozen=True)
class SearchResult:
    """The plan and the log of what was tried: (predicted speed-up, measured speed-up, PSNR) of each trial."""

    plan: SparsePlan
    trials: tuple[tuple[float, float, float], ...]


Say = Callable[[str], None]


def search_plan(
    models: Mapping[str, nn.Module],
    run: Callable[[], Any],
    goal: Goal,
    *,
    model_id: str,
    settings: SearchSettings | None = None,
    say: Say = lambda message: None,
) -> SearchResult:
    """Finds a plan for ``models`` on the generation that ``run`` does.

    Args:
        models: "transformer" and, where the run has one, "control_branch"; the names of the plan's parts.
        run: does one whole generation with a fixed seed and returns its video (uint8, or floats in [0, 1]); it is
            called once dense and then once for every trial.
        goal: what to reach.
        model_id: name or path of the model, written into the plan.
        settings: thoroughness, phases, kernels.
        say: told what happens, one line each.

    Raises:
        PlanError: the goal cannot be reached on this device (with the limit), or calibration met NaN.
    """
    settings = settings or SearchSettings()
    began = time.perf_counter()
    chooser = _paper_chooser(goal) if isinstance(goal, PaperRule) else None
    say("listening to one dense run" if chooser is None else "listening to one run, chosen sparse outputs flow on")
    start = settings.clock()
    found, reference, listening = capture(
        models, run, settings.candidates, settings.phases, settings.capture, chooser, settings.clock
    )
    run_seconds = settings.clock() - start - listening
    if chooser is not None:
        start = settings.clock()
        reference = run()
        run_seconds = settings.clock() - start
    say(f"dense run {run_seconds:.1f} s, listening {listening:.1f} s; timing the patterns")
    task = _Task(models, run, reference, run_seconds, found, model_id, settings, goal, say)
    return task.solve(began)


@dataclass(frozen=True)
class _Head:
    """Where a head stands and what it can choose from."""

    part: str
    phase: int
    layer: int
    head: int
    scores: HeadScores


class _Task:
    """One search after its calibration run."""

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        run: Callable[[], Any],
        reference: Any,
        run_seconds: float,
        found: Mapping[str, PartCapture],
        model_id: str,
        settings: SearchSettings,
        goal: Goal,
        say: Say,
    ) -> None:
        self.models, self.run, self.reference, self.run_seconds = models, run, reference, run_seconds
        self.found, self.model_id, self.settings, self.goal, self.say = found, model_id, settings, goal, say
        first = next(iter(found.values()))
        assert first.grid is not None
        self.grid = first.grid
        self.device, self.dtype = first.device, first.dtype
        self.candidates = settings.candidates(self.grid, self.device)
        shapes = {name: self._shape(part) for name, part in found.items()}
        measured = {shape: self._measure(shape) for shape in dict.fromkeys(shapes.values())}
        self.costs = {name: measured[shape] for name, shape in shapes.items()}
        self.heads = [
            _Head(name, phase, layer, head, scores)
            for name, part in found.items()
            for (phase, layer, head), scores in sorted(part.scores.items())
        ]
        self.options = [self._options(head) for head in self.heads]
        self._fit_costs_to_the_run()
        self.dense_seconds = sum(option.costs[0] * option.calls for option in self.options)
        self.trials: list[tuple[float, float, float]] = []

    def _shape(self, part: PartCapture) -> Shape:
        return Shape(part.batch, part.heads, part.head_dim, self.device, self.dtype)

    def _measure(self, shape: Shape) -> list[float]:
        """Seconds per head and call for every candidate."""
        specs = [cost_spec(candidate, self.grid) for candidate in self.candidates]
        timed = measure_costs(
            specs,
            self.grid,
            shape,
            dense=dense_backend(self.settings.dense),
            kernel=self.settings.kernel,
            repeats=self.settings.repeats,
            clock=self.settings.clock,
        )
        return [timed[spec] for spec in specs]

    def _options(self, head: _Head) -> Options:
        calls = self.found[head.part].calls[head.phase]
        errors, costs = head.scores.mean_errors(), self.costs[head.part]
        if self.settings.dense_early and head.phase == 0:
            return Options((0.0,), (costs[0],), calls)
        return Options((0.0, *errors[1:]), tuple(costs), calls)

    def _fit_costs_to_the_run(self) -> None:
        """Attention cannot take longer than the run it is part of; where timing says so, all costs shrink alike."""
        total = sum(option.costs[0] * option.calls for option in self.options)
        if total > self.run_seconds:
            scale = self.run_seconds / total
            self.options = [replace(o, costs=tuple(cost * scale for cost in o.costs)) for o in self.options]

    @property
    def attention_share(self) -> float:
        """Attention's share of the dense run."""
        return self.dense_seconds / self.run_seconds

    def solve(self, began: float) -> SearchResult:
        """The plan for the goal, measured."""
        self.say(f"attention is {self.attention_share:.0%} of the dense run")
        match self.goal:
            case Speedup():
                plan = self._for_speedup(self.goal.factor)
            case Psnr():
                plan = self._for_psnr(self.goal.decibels)
            case PaperRule():
                plan = self._trial(self._paper_choice(self.goal))
            case _:
                assert_never(self.goal)
        plan = self._confirmed(plan)
        record = plan.record.model_copy(update={"seconds": round(time.perf_counter() - began, 1)})
        return SearchResult(replace(plan, record=record), tuple(self.trials))

    def _for_speedup(self, factor: float) -> SparsePlan:
        allowed = self.run_seconds / factor - (self.run_seconds - self.dense_seconds)
        least = sum(min(option.costs) * option.calls for option in self.options)
        if allowed < least:
            limit = self.run_seconds / (self.run_seconds - self.dense_seconds + least)
            raise PlanError(
                f"--speedup {factor} cannot be reached: attention is {self.attention_share:.0%} of the run, so even "
                f"without it the run is at most {limit:.2f} times as fast here"
            )
        return self._trial(solve_budget(self.options, allowed))

    def _for_psnr(self, decibels: float) -> SparsePlan:
        """Predicted error and decibels are linked by a measured offset: PSNR = offset - 10 log10(error)."""
        least = sum(min(option.costs) * option.calls for option in self.options)
        start = solve_budget(self.options, max(0.35 * self.dense_seconds, 1.0001 * least))
        worst = total_error(self.options, start)
        allowed, best, refused = worst, None, float("inf")
        for _ in range(self.settings.trials):
            chosen = solve_error(self.options, allowed)
            plan = self._trial(chosen)
            if plan.is_dense:
                return best or plan
            reached = plan.record.measured_psnr
            assert reached is not None
            spent = max(total_error(self.options, chosen), 1e-12)
            if reached >= decibels:
                best = plan if best is None or self._faster(plan, best) else best
                if reached < decibels + 0.7:
                    break
            else:
                refused = min(refused, spent)
            # Aim a quarter of a decibel above the goal, and never again at an error that was too large.
            allowed = min(spent * 10 ** ((reached - decibels - 0.25) / 10), 0.98 * refused)
        if best is None:
            self.say(f"no plan kept {decibels} dB in {self.settings.trials} trials: staying dense")
            return self._dense(f"no plan kept {decibels} dB within {self.settings.trials} trials")
        return best

    def _faster(self, plan: SparsePlan, other: SparsePlan) -> bool:
        return (plan.record.predicted_speedup or 0) > (other.record.predicted_speedup or 0)

    def _paper_choice(self, goal: PaperRule) -> list[int]:
        chosen = []
        for head, option in zip(self.heads, self.options, strict=True):
            picked = None if len(option.costs) == 1 else _paper_pick(head.scores, goal)
            chosen.append(0 if picked is None else picked)
        return chosen

    def _trial(self, chosen: list[int]) -> SparsePlan:
        """Runs the plan of a choice and writes what it measured into the plan's record."""
        chosen = self._keep_gaining_layers(chosen)
        plan = self._plan(chosen)
        predicted = self._predict(chosen)
        if plan.is_dense or predicted < WORTH_IT:
            self.say(f"predicted speed-up {predicted:.2f}x: not worth it, staying dense")
            return self._dense(f"predicted speed-up {predicted:.2f}x is below {WORTH_IT}x")
        start = self.settings.clock()
        result = self._run_by(plan)
        measured = self.run_seconds / (self.settings.clock() - start)
        quality = psnr(result, self.reference)
        self.trials.append((predicted, measured, quality))
        self.say(
            f"density {plan.density:.3f}: predicted {predicted:.2f}x, measured {measured:.2f}x, PSNR {quality:.1f} dB"
        )
        if measured < WORTH_IT:
            return self._dense(f"measured speed-up {measured:.2f}x is below {WORTH_IT}x")
        errors = {name: self._part_error(name, chosen) for name in self.found}
        record = self._record(predicted, "").model_copy(
            update={
                "measured_speedup": round(measured, 3),
                "measured_psnr": round(min(quality, 999.0), 2),
                "expected_error": errors,
            }
        )
        return replace(plan, record=record)

    def _run_by(self, plan: SparsePlan) -> Any:
        with enable_sparse_attention(
            self.models["transformer"],
            plan,
            control_branch=self.models.get("control_branch"),
            kernel=self.settings.kernel,
            dense=self.settings.dense,
        ):
            return self.run()

    def _confirmed(self, plan: SparsePlan) -> SparsePlan:
        """The plan with its speed-up measured in turn with dense runs, not once; dense if nothing of it is left."""
        if plan.is_dense:
            return plan
        pairs = min(5, max(1, round(CONFIRM_SECONDS / self.run_seconds)))
        times = in_turn(self.run, partial(self._run_by, plan), pairs, self.device, self.settings.clock)
        measured = median_ratio(*times)
        self.say(f"in turn with dense runs, {pairs} pairs: {measured:.2f}x")
        if measured < WORTH_IT:
            return self._dense(f"measured speed-up {measured:.2f}x is below {WORTH_IT}x")
        return replace(plan, record=plan.record.model_copy(update={"measured_speedup": round(measured, 3)}))

    def _keep_gaining_layers(self, chosen: list[int]) -> list[int]:
        """Layers whose choice is not predicted to be faster than dense go back to dense as a whole."""
        totals: dict[tuple[str, int, int], list[float]] = {}
        for head, option, index in zip(self.heads, self.options, chosen, strict=True):
            total = totals.setdefault((head.part, head.phase, head.layer), [0.0, 0.0])
            total[0] += option.costs[index]
            total[1] += option.costs[0]
        return [
            index if (pair := totals[head.part, head.phase, head.layer])[0] < pair[1] else 0
            for head, index in zip(self.heads, chosen, strict=True)
        ]

    def _predict(self, chosen: list[int]) -> float:
        sparse = sum(o.costs[index] * o.calls for o, index in zip(self.options, chosen, strict=True))
        return self.run_seconds / max(self.run_seconds - self.dense_seconds + sparse, 1e-9)

    def _part_error(self, name: str, chosen: list[int]) -> float:
        """Root of the summed relative squared errors over layers and heads, mean over calls."""
        rows = [(o, c) for h, o, c in zip(self.heads, self.options, chosen, strict=True) if h.part == name]
        calls = sum(self.found[name].calls.values())
        return round((sum(o.errors[c] * o.calls for o, c in rows) / calls) ** 0.5, 6)

    def _plan(self, chosen: list[int]) -> SparsePlan:
        specs = {
            (head.part, head.phase, head.layer, head.head): head.scores.specs[index]
            for head, index in zip(self.heads, chosen, strict=True)
        }
        parts = {}
        for name, part in self.found.items():
            tables = tuple(
                _table(specs, name, self._heard_phase(part, phase), part) for phase in range(len(self.settings.phases))
            )
            parts[name] = PartPlan(part.heads, part.head_dim, tables)
        return SparsePlan(self.model_id, self.grid, parts, self.settings.phases)

    def _heard_phase(self, part: PartCapture, phase: int) -> int | None:
        """The phase whose table serves ``phase``; one that the calibration run never entered stays dense."""
        return phase if phase in part.calls else None

    def _dense(self, note: str) -> SparsePlan:
        plan = self._plan([0] * len(self.heads))
        return replace(plan, record=self._record(1.0, f"do not sparsify: {note}"))

    def _record(self, predicted: float, note: str) -> SearchRecord:
        goal = self.goal
        first = next(iter(self.found))
        return SearchRecord(
            criterion=type(goal).__name__.lower(),
            settings={**vars(goal), **_settings(self.settings)},
            seed=self.settings.capture.seed,
            samples=max(head.scores.samples for head in self.heads),
            device=_device_name(self.device),
            threads=torch.get_num_threads(),
            dtype=str(self.dtype).removeprefix("torch."),
            versions=_versions(),
            latency_ms={
                f"{first} {label_of(cost_spec(candidate, self.grid))}": round(1e3 * seconds, 4)
                for candidate, seconds in zip(self.candidates, self.costs[first], strict=True)
            },
            attention_share=round(self.attention_share, 3),
            predicted_speedup=round(predicted, 3),
            note=note,
        )


def _table(
    specs: Mapping[tuple[str, int, int, int], Spec], name: str, phase: int | None, part: PartCapture
) -> HeadTable:
    if phase is None:
        return tuple((Dense(),) * part.heads for _ in range(part.layers))
    return tuple(tuple(specs[name, phase, layer, head] for head in range(part.heads)) for layer in range(part.layers))


def _paper_chooser(goal: PaperRule) -> Chooser:
    return lambda scores: _paper_pick(scores, goal)


def _paper_pick(scores: HeadScores, goal: PaperRule) -> int | None:
    """The paper's choice among the sparse candidates (candidate 0 is Dense)."""
    picked = paper_rule(scores.mean_raw()[1:], scores.densities[1:], goal.lam, goal.epsilon)
    return None if picked is None else picked + 1


def _settings(settings: SearchSettings) -> dict[str, float | int | str | bool]:
    return {
        "rows": settings.capture.rows,
        "buckets": settings.capture.buckets,
        "dense_early": settings.dense_early,
        "kernel": settings.kernel,
        "dense": settings.dense,
    }


def _versions() -> dict[str, str]:
    import diffusers

    return {"python": platform.python_version(), "torch": torch.__version__, "diffusers": diffusers.__version__}


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {platform.machine()}"
