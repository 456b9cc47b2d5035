"""A sparse attention plan: one spec per phase of the schedule, layer and head.

Sparse-vDiT (arXiv 2506.03065, algorithm 1) stores one mode per step, layer and head. Which keys a head needs hardly
changes between neighbouring steps, so a plan has one table per *phase*, an interval of noise levels: it works with any
number of steps and any scheduler.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from pydantic import Field

from magicgen.attention.patterns import (
    Anchor,
    Dense,
    Diagonal,
    MultiDiagonal,
    Skip,
    Spec,
    VerticalStripe,
    block_plan,
    density,
)
from magicgen.attention.tokens import TokenGrid
from magicgen.config import StrictModel
from magicgen.errors import PlanError

HeadTable = tuple[tuple[Spec, ...], ...]
"""Specs by layer and head."""

TRAINING_STEPS = 1000
"""Timesteps of the training schedule in the models this package knows; timestep / 1000 is the noise level."""


@dataclass(frozen=True)
class Phase:
    """Noise levels from ``start`` down to, not including, ``end``: 1 is pure noise, 0 the clean video."""

    name: str
    start: float
    end: float


WHOLE_RUN = (Phase("all", 1.0, 0.0),)


@dataclass(frozen=True)
class PartPlan:
    """The tables of one model (the transformer, or its control branch), one for each phase."""

    heads: int
    head_dim: int
    tables: tuple[HeadTable, ...]

    @property
    def layers(self) -> int:
        """Number of attention layers."""
        return len(self.tables[0])

    def __post_init__(self) -> None:
        if not self.tables or not self.tables[0]:
            raise PlanError("plan: a part needs at least one phase and one layer")
        for table in self.tables:
            if len(table) != len(self.tables[0]) or any(len(row) != self.heads for row in table):
                raise PlanError(
                    f"plan: every phase needs {len(self.tables[0])} layers of {self.heads} heads; got "
                    f"{len(table)} layers of {sorted({len(row) for row in table})} heads"
                )


class SearchRecord(StrictModel):
    """How a plan came about, and what it cost and gained when it was found.

    ``weights``: which weights it was found on (see ``magicgen.weights.fingerprint``), "" if unknown.
    """

    criterion: str
    settings: dict[str, float | int | str | bool | None] = Field(default_factory=dict)
    weights: str = ""
    seed: int = 0
    samples: int = 0
    seconds: float = 0.0
    device: str = ""
    threads: int = 0
    dtype: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    latency_ms: dict[str, float] = Field(default_factory=dict)
    attention_share: float | None = None
    expected_error: dict[str, float] = Field(default_factory=dict)
    predicted_speedup: float | None = None
    measured_speedup: float | None = None
    measured_psnr: float | None = None
    note: str = ""


@dataclass(frozen=True)
class SparsePlan:
    """Which spec every head of ``model`` uses on ``grid``, by phase."""

    model: str
    grid: TokenGrid
    parts: Mapping[str, PartPlan]
    phases: tuple[Phase, ...] = WHOLE_RUN
    record: SearchRecord = field(default_factory=lambda: SearchRecord(criterion="by hand"))

    def __post_init__(self) -> None:
        _check_phases(self.phases)
        if not self.parts:
            raise PlanError("plan: parts is empty; expected at least 'transformer'")
        for name, part in self.parts.items():
            if len(part.tables) != len(self.phases):
                raise PlanError(
                    f"plan: part {name} has {len(part.tables)} tables for {len(self.phases)} phases; expected one each"
                )
            for row in (row for table in part.tables for row in table):
                for spec in row:
                    block_plan(spec, self.grid)

    @property
    def is_dense(self) -> bool:
        """Whether the plan says: do not sparsify."""
        return all(
            isinstance(spec, Dense)
            for part in self.parts.values()
            for table in part.tables
            for row in table
            for spec in row
        )

    @property
    def density(self) -> float:
        """Mean density over parts, layers and heads, phases weighted by the noise levels they cover."""
        total, weight = 0.0, 0.0
        for part in self.parts.values():
            for phase, table in zip(self.phases, part.tables, strict=True):
                share = phase.start - phase.end
                total += share * sum(density(spec, self.grid) for row in table for spec in row)
                weight += share * part.layers * part.heads
        return total / weight


def _check_phases(phases: tuple[Phase, ...]) -> None:
    edges = [edge for phase in phases for edge in (phase.start, phase.end)]
    joined = all(a.end == b.start for a, b in pairwise(phases))
    falling = all(phase.start > phase.end for phase in phases)
    if not phases or edges[0] != 1.0 or edges[-1] != 0.0 or not joined or not falling:
        shown = ", ".join(f"{p.name} {p.start}..{p.end}" for p in phases) or "none"
        raise PlanError(f"plan: phases have to run from 1.0 down to 0.0 without a gap; got {shown}")


def phase_index(phases: tuple[Phase, ...], timestep: float) -> int:
    """The phase of ``timestep`` (0..1000; a model called with noise levels in 0..1 is not supported)."""
    level = timestep / TRAINING_STEPS
    for index, phase in enumerate(phases):
        if level >= phase.end:
            return index
    return len(phases) - 1


def check_fit(plan: SparsePlan, part: str, *, layers: int, heads: int, head_dim: int) -> PartPlan:
    """The plan's ``part``, if it is for a model of this shape. Raises PlanError naming every difference."""
    if part not in plan.parts:
        raise PlanError(f"the plan for {plan.model} has no part {part!r}; it has {', '.join(plan.parts)}")
    found = plan.parts[part]
    pairs = (("layers", found.layers, layers), ("heads", found.heads, heads), ("head_dim", found.head_dim, head_dim))
    differing = [f"{name} {ours} in the plan, {theirs} in the model" for name, ours, theirs in pairs if ours != theirs]
    if differing:
        raise PlanError(
            f"the plan for {plan.model} does not fit this {part}: {'; '.join(differing)}. Search a plan for this model "
            "with 'magicgen plan'."
        )
    return found


def check_grid(plan: SparsePlan, grid: TokenGrid) -> None:
    """Raises PlanError unless ``grid`` has the plan's frames, height and width (text may differ)."""
    if not plan.grid.same_video(grid):
        raise PlanError(
            f"the plan for {plan.model} is for {plan.grid}; this run has {grid}. Search a plan at this size with "
            "'magicgen plan', or carry this one over with 'magicgen plan rescale' (unmeasured)."
        )


def rescale_plan(plan: SparsePlan, grid: TokenGrid) -> SparsePlan:
    """``plan`` carried over to another grid: shares stay, stripe columns move to the same places of the video.

    Quality and speed at the new grid are estimates until they are measured; the record says so.
    """
    if plan.grid.same_video(grid):
        return replace(plan, grid=grid)
    cache: dict[Spec, Spec] = {}

    def carry(spec: Spec) -> Spec:
        if spec not in cache:
            cache[spec] = _rescale_spec(spec, plan.grid, grid)
        return cache[spec]

    parts = {
        name: replace(part, tables=tuple(tuple(tuple(map(carry, row)) for row in table) for table in part.tables))
        for name, part in plan.parts.items()
    }
    note = f"re-scaled from {plan.grid}; not measured at this size. {plan.record.note}".strip()
    unmeasured = {"measured_speedup": None, "measured_psnr": None, "predicted_speedup": None, "note": note}
    return SparsePlan(plan.model, grid, parts, plan.phases, plan.record.model_copy(update=unmeasured))


def _rescale_spec(spec: Spec, old: TokenGrid, new: TokenGrid) -> Spec:
    match spec:
        case VerticalStripe():
            return VerticalStripe(_rescale_columns(spec.columns, old, new))
        case Dense() | Skip() | Diagonal() | MultiDiagonal() | Anchor():
            return spec


def _rescale_columns(columns: tuple[int, ...], old: TokenGrid, new: TokenGrid) -> tuple[int, ...]:
    """Every new token whose nearest old token is a column; a shrinking grid keeps at least each column's own place."""
    chosen = set(columns)

    def nearest(index: int, size: int, other: int) -> int:
        return min(other - 1, int((index + 0.5) * other / size))

    kept = {
        (f * new.height + y) * new.width + x
        for f in range(new.frames)
        for y in range(new.height)
        for x in range(new.width)
        if (nearest(f, new.frames, old.frames) * old.height + nearest(y, new.height, old.height)) * old.width
        + nearest(x, new.width, old.width)
        in chosen
    }
    if not kept:
        frame, place = divmod(columns[0], old.places)
        y, x = divmod(place, old.width)
        kept = {
            (nearest(frame, old.frames, new.frames) * new.height + nearest(y, old.height, new.height)) * new.width
            + nearest(x, old.width, new.width)
        }
    return tuple(sorted(kept))


def dense_plan(model: str, grid: TokenGrid, shapes: Mapping[str, tuple[int, int, int]]) -> SparsePlan:
    """The plan that sparsifies nothing. ``shapes``: layers, heads and head dimension of each part."""
    parts = {
        name: PartPlan(heads, head_dim, (tuple((Dense(),) * heads for _ in range(layers)),))
        for name, (layers, heads, head_dim) in shapes.items()
    }
    return SparsePlan(model, grid, parts)
