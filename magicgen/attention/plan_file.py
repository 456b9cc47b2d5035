"""plan.json: the file form of a plan, read strictly.

Specs are listed once and tables hold their numbers; stripe columns are runs ("0-15,40"), so a plan of thousands of
heads stays a readable file.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Literal, assert_never

from pydantic import Field

from magicgen.attention.patterns import (
    Anchor,
    Dense,
    Diagonal,
    MultiDiagonal,
    Skip,
    Spec,
    VerticalStripe,
)
from magicgen.attention.plan import PartPlan, Phase, SearchRecord, SparsePlan
from magicgen.attention.tokens import TokenGrid
from magicgen.config import StrictModel, load_config
from magicgen.errors import ConfigError, PlanError
from magicgen.media import write_json

PLAN_VERSION = 1
MAX_COLUMNS = 10_000_000
_RUNS = re.compile(r"\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*")


class DenseFile(StrictModel):
    """Full attention."""

    kind: Literal["dense"] = "dense"


class SkipFile(StrictModel):
    """Zero output."""

    kind: Literal["skip"] = "skip"


class BandFile(StrictModel):
    """A diagonal or multi-diagonal band."""

    kind: Literal["diagonal", "multi_diagonal"]
    width: float
    rows: int


class StripeFile(StrictModel):
    """Key columns as runs of video tokens."""

    kind: Literal["vertical_stripe"] = "vertical_stripe"
    columns: str


class AnchorFile(StrictModel):
    """Columns picked from the data."""

    kind: Literal["anchor"] = "anchor"
    share: float
    rows: int


SpecFile = Annotated[DenseFile | SkipFile | BandFile | StripeFile | AnchorFile, Field(discriminator="kind")]


class GridFile(StrictModel):
    """Sizes of the token sequence."""

    text: int
    frames: int
    height: int
    width: int


class PhaseFile(StrictModel):
    """An interval of noise levels."""

    name: str
    start: float
    end: float


class PartFile(StrictModel):
    """Tables of one model; entries are numbers in the plan's list of specs."""

    layers: int
    heads: int
    head_dim: int
    tables: list[list[list[int]]]


class PlanFile(StrictModel):
    """The whole file."""

    version: int
    model: str
    grid: GridFile
    phases: list[PhaseFile]
    specs: list[SpecFile]
    parts: dict[str, PartFile]
    record: SearchRecord


def read_plan(path: str | os.PathLike[str]) -> SparsePlan:
    """Reads a plan. Raises PlanError with file, key and what was expected for anything that is not a valid plan."""
    try:
        content = load_config(path, PlanFile)
    except ConfigError as error:
        raise PlanError(f"not a readable plan. {error}") from None
    if content.version != PLAN_VERSION:
        raise PlanError(
            f"{path}: version: {content.version}; this program reads version {PLAN_VERSION}. Search the plan again."
        )
    try:
        return _from_file(content)
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from None


def write_plan(path: str | os.PathLike[str], plan: SparsePlan) -> Path:
    """Writes a plan, whole or not at all. Raises MediaError if the folder cannot be written."""
    return write_json(path, _to_file(plan).model_dump())


def _from_file(content: PlanFile) -> SparsePlan:
    specs: list[Spec] = []
    for index, entry in enumerate(content.specs):
        try:
            specs.append(_spec(entry))
        except PlanError as error:
            raise PlanError(f"specs.{index}: {error}") from None
    parts = {name: _part(name, part, specs) for name, part in content.parts.items()}
    grid = TokenGrid(content.grid.text, content.grid.frames, content.grid.height, content.grid.width)
    phases = tuple(Phase(phase.name, phase.start, phase.end) for phase in content.phases)
    return SparsePlan(content.model, grid, parts, phases, content.record)


def _part(name: str, part: PartFile, specs: list[Spec]) -> PartPlan:
    numbers = {number for table in part.tables for row in table for number in row}
    wrong = sorted(number for number in numbers if not 0 <= number < len(specs))
    if wrong:
        raise PlanError(f"parts.{name}.tables: spec {wrong[0]} is not in the list of {len(specs)} specs")
    tables = tuple(tuple(tuple(specs[number] for number in row) for row in table) for table in part.tables)
    if any(len(table) != part.layers for table in tables):
        raise PlanError(f"parts.{name}.tables: expected {part.layers} layers in every phase")
    return PartPlan(part.heads, part.head_dim, tables)


def _to_file(plan: SparsePlan) -> PlanFile:
    specs: dict[Spec, int] = {}
    parts = {
        name: PartFile(
            layers=part.layers,
            heads=part.heads,
            head_dim=part.head_dim,
            tables=[[[specs.setdefault(spec, len(specs)) for spec in row] for row in table] for table in part.tables],
        )
        for name, part in plan.parts.items()
    }
    grid = GridFile(text=plan.grid.text, frames=plan.grid.frames, height=plan.grid.height, width=plan.grid.width)
    return PlanFile(
        version=PLAN_VERSION,
        model=plan.model,
        grid=grid,
        phases=[PhaseFile(name=p.name, start=p.start, end=p.end) for p in plan.phases],
        specs=[_spec_file(spec) for spec in specs],
        parts=parts,
        record=plan.record,
    )


def _spec(entry: DenseFile | SkipFile | BandFile | StripeFile | AnchorFile) -> Spec:
    match entry:
        case DenseFile():
            return Dense()
        case SkipFile():
            return Skip()
        case BandFile():
            band = Diagonal if entry.kind == "diagonal" else MultiDiagonal
            return band(entry.width, entry.rows)
        case StripeFile():
            return VerticalStripe(_read_runs(entry.columns))
        case AnchorFile():
            return Anchor(entry.share, entry.rows)
        case _:
            assert_never(entry)


def _spec_file(spec: Spec) -> DenseFile | SkipFile | BandFile | StripeFile | AnchorFile:
    match spec:
        case Dense():
            return DenseFile()
        case Skip():
            return SkipFile()
        case Diagonal():
            return BandFile(kind="diagonal", width=spec.width, rows=spec.rows)
        case MultiDiagonal():
            return BandFile(kind="multi_diagonal", width=spec.width, rows=spec.rows)
        case VerticalStripe():
            return StripeFile(columns=_write_runs(spec.columns))
        case Anchor():
            return AnchorFile(share=spec.share, rows=spec.rows)
        case _:
            assert_never(spec)


def _read_runs(text: str) -> tuple[int, ...]:
    if not _RUNS.fullmatch(text):
        raise PlanError(f"columns: {text[:40]!r}; expected runs of token numbers such as '0-15,40'")
    columns: list[int] = []
    for run in text.split(","):
        first, _, last = run.partition("-")
        stop = int(last or first) + 1
        if len(columns) + stop - int(first) > MAX_COLUMNS:
            raise PlanError(f"columns: more than {MAX_COLUMNS} columns")
        columns.extend(range(int(first), stop))
    return tuple(columns)


def _write_runs(columns: tuple[int, ...]) -> str:
    runs: list[list[int]] = []
    for column in columns:
        if runs and column == runs[-1][1] + 1:
            runs[-1][1] = column
        else:
            runs.append([column, column])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
