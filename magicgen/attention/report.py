"""What an enabled plan did: printed for people, kept in the record of a run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from magicgen.attention.execute import LayerProgram
from magicgen.attention.patterns import Spec, VerticalStripe, density
from magicgen.attention.plan import PartPlan, SparsePlan


@dataclass(frozen=True)
class PhaseReport:
    """One phase of one part: heads by pattern, kernels that ran (launches a forward), mean density, forwards so far."""

    name: str
    calls: int
    density: float
    patterns: dict[str, int]
    kernels: dict[str, int]


@dataclass(frozen=True)
class PartReport:
    """One model: ``installed`` of ``layers`` attention modules follow the plan."""

    name: str
    layers: int
    installed: int
    phases: tuple[PhaseReport, ...]
    fallbacks: tuple[str, ...]


@dataclass(frozen=True)
class AttentionReport:
    """The whole report; ``uncovered`` models of the run have no part in the plan and stay dense."""

    model: str
    grid: str
    dense_backend: str
    parts: tuple[PartReport, ...]
    uncovered: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"sparse attention for {self.model}, plan for {self.grid}, dense backend {self.dense_backend}"]
        for part in self.parts:
            lines.append(f"  {part.name}: {part.installed} of {part.layers} layers follow the plan")
            for phase in part.phases:
                kernels = ", ".join(f"{name} x{count}" for name, count in phase.kernels.items()) or "not run yet"
                patterns = ", ".join(f"{count} {name}" for name, count in phase.patterns.items())
                lines.append(
                    f"    {phase.name}: {phase.calls} calls, density {phase.density:.3f}, heads: {patterns}; {kernels}"
                )
            lines += [f"    fall-back: {reason}" for reason in part.fallbacks]
        lines += [f"  {name}: not in the plan, dense" for name in self.uncovered]
        return "\n".join(lines)


def summarise(
    name: str,
    plan: SparsePlan,
    part: PartPlan,
    programs: Mapping[int, list[LayerProgram]],
    calls: Mapping[str, int],
    installed: int,
) -> PartReport:
    """The report of one part from its programs (by phase number) and call counts (by phase name)."""
    phases = []
    fallbacks: dict[str, None] = {}
    for index, (phase, table) in enumerate(zip(plan.phases, part.tables, strict=True)):
        choices = [choice for program in programs.get(index, []) for choice in program.choices]
        fallbacks.update((choice.fallback, None) for choice in choices if choice.fallback)
        specs = [spec for row in table for spec in row]
        phases.append(
            PhaseReport(
                name=phase.name,
                calls=calls.get(phase.name, 0),
                density=sum(density(spec, plan.grid) for spec in specs) / len(specs),
                patterns=_counts([kind_of(spec) for spec in specs]),
                kernels=_counts([choice.kernel.value for choice in choices]),
            )
        )
    return PartReport(name, part.layers, installed, tuple(phases), tuple(fallbacks))


def kind_of(spec: Spec) -> str:
    """Name of a pattern as plan files write it."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in type(spec).__name__).lstrip("_")


def label_of(spec: Spec) -> str:
    """A pattern with its parameters, short."""
    if isinstance(spec, VerticalStripe):
        return f"vertical_stripe({len(spec.columns)} columns)"
    settings = ", ".join(f"{key}={value:g}" for key, value in asdict(spec).items())
    return f"{kind_of(spec)}({settings})" if settings else kind_of(spec)


def _counts(names: list[str]) -> dict[str, int]:
    return {name: names.count(name) for name in dict.fromkeys(names)}
