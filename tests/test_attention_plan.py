"""Plans: files read strictly, fits checked, grids re-scaled, pictures and tables, the choice of --attention."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magicgen.attention.auto import SHIPPED_PLANS, AttentionChoice, choose_attention, token_grid
from magicgen.attention.patterns import Dense, Diagonal, VerticalStripe, density
from magicgen.attention.plan import (
    PartPlan,
    Phase,
    SearchRecord,
    SparsePlan,
    check_fit,
    check_grid,
    dense_plan,
    phase_index,
    rescale_plan,
)
from magicgen.attention.plan_file import read_plan, write_plan
from magicgen.attention.show import COLOURS, draw_plan, plan_table
from magicgen.attention.tokens import TokenGrid
from magicgen.errors import PlanError
from tests.attention_tiny import GRID, HEAD_DIM, HEADS, LAYERS, MIXED, OTHER, tiny_transformer

SHAPES = {"transformer": (LAYERS, HEADS, HEAD_DIM)}
PHASES = (Phase("early", 1.0, 0.8), Phase("rest", 0.8, 0.0))


def phased_plan() -> SparsePlan:
    dense = ((Dense(),) * HEADS,) * LAYERS
    part = PartPlan(HEADS, HEAD_DIM, (dense, (MIXED, OTHER)))
    record = SearchRecord(
        criterion="psnr", settings={"decibels": 30.0}, device="cpu x86_64", measured_speedup=1.5, measured_psnr=31.0
    )
    return SparsePlan("tiny", GRID, {"transformer": part, "control_branch": part}, PHASES, record)


@pytest.fixture
def plan_path(tmp_path: Path) -> Path:
    return write_plan(tmp_path / "plan.json", phased_plan())


def test_plans_survive_the_file(plan_path: Path) -> None:
    assert read_plan(plan_path) == phased_plan()
    assert len(plan_path.read_text()) < 20_000


@settings(deadline=None, max_examples=30)
@given(st.sets(st.integers(0, GRID.video - 1), min_size=1))
def test_any_columns_survive_the_file(tmp_path_factory: pytest.TempPathFactory, columns: set[int]) -> None:
    table = (((VerticalStripe(tuple(sorted(columns))),) * HEADS),) * LAYERS
    plan = SparsePlan("x", GRID, {"transformer": PartPlan(HEADS, HEAD_DIM, (table,))})
    path = write_plan(tmp_path_factory.mktemp("plan") / "plan.json", plan)
    assert read_plan(path) == plan


def change(path: Path, *keys: str | int, value: Any) -> None:
    content = json.loads(path.read_text())
    holder = content
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("version",), 2, "version: 2; this program reads version 1"),
        (("colour",), "red", "colour.*unknown key"),
        (("grid", "depth"), 3, "depth.*unknown key"),
        (("grid", "frames"), 0, "frames is 0"),
        (("grid", "frames"), "five", "grid.frames"),
        (("phases", 0, "end"), 0.7, "without a gap"),
        (("phases",), [], "without a gap"),
        (("specs", 1, "width"), 0.0, "specs.1: diagonal: width is 0.0"),
        (("specs", 1, "rows"), 100, "specs.1: diagonal: rows is 100"),
        (("specs", 1, "kind"), "spiral", "specs.1"),
        (("specs", 3, "columns"), "4-", "expected runs"),
        (("specs", 3, "columns"), "7-3", "columns"),
        (("specs", 3, "columns"), "0-999999999", "more than"),
        (("specs", 3, "columns"), "480", "column 480 is outside"),
        (("parts", "transformer", "tables", 0, 0, 0), 99, "spec 99 is not in the list"),
        (("parts", "transformer", "tables", 0, 0), [0], "layers of 4 heads"),
        (("parts", "transformer", "layers"), 7, "expected 7 layers"),
        (("parts",), {}, "parts is empty"),
    ],
)
def test_bad_files_are_refused(plan_path: Path, keys: tuple[str | int, ...], value: Any, words: str) -> None:
    change(plan_path, *keys, value=value)
    with pytest.raises(PlanError, match=words):
        read_plan(plan_path)


def test_files_that_are_no_plans_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no file"):
        read_plan(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(PlanError, match="not a readable plan"):
        read_plan(tmp_path / "broken.json")


def test_a_plan_tells_what_differs() -> None:
    plan = phased_plan()
    assert check_fit(plan, "transformer", layers=2, heads=4, head_dim=64).layers == 2
    with pytest.raises(PlanError, match="heads 4 in the plan, 8 in the model; head_dim 64 in the plan, 32"):
        check_fit(plan, "transformer", layers=2, heads=8, head_dim=32)
    check_grid(plan, TokenGrid(3, 5, 8, 12))
    with pytest.raises(PlanError, match="this run has"):
        check_grid(plan, TokenGrid(16, 5, 8, 13))


def test_phases_by_timestep() -> None:
    assert [phase_index(PHASES, t) for t in (999, 800, 799, 0)] == [0, 0, 1, 1]


def test_density_weighs_phases() -> None:
    specs = [spec for row in (MIXED, OTHER) for spec in row]
    rest = sum(density(spec, GRID) for spec in specs) / len(specs)
    assert phased_plan().density == pytest.approx(0.2 + 0.8 * rest)
    assert not phased_plan().is_dense
    assert dense_plan("x", GRID, SHAPES).is_dense
    assert dense_plan("x", GRID, SHAPES).density == 1.0


@settings(deadline=None, max_examples=15)
@given(st.builds(TokenGrid, st.just(16), st.integers(1, 9), st.integers(2, 14), st.integers(2, 20)))
def test_rescaling_keeps_shares_and_says_so(grid: TokenGrid) -> None:
    plan = phased_plan()
    moved = rescale_plan(plan, grid)
    assert moved.grid == grid
    if plan.grid.same_video(grid):
        return
    assert moved.record.measured_speedup is None
    assert "re-scaled" in moved.record.note
    old, new = (p.parts["transformer"].tables[1][0] for p in (plan, moved))
    assert new[0] == old[0]
    assert isinstance(old[2], VerticalStripe)
    assert isinstance(new[2], VerticalStripe)
    assert new[2].columns[0] >= 0
    assert new[2].columns[-1] < grid.video


def test_rescaled_stripes_stay_in_place() -> None:
    small, large = TokenGrid(0, 2, 4, 4), TokenGrid(0, 2, 8, 8)
    plan = SparsePlan("x", small, {"transformer": PartPlan(1, 8, ((((VerticalStripe((5, 21)),)),),))})
    columns = rescale_plan(plan, large).parts["transformer"].tables[0][0][0]
    assert isinstance(columns, VerticalStripe)
    assert columns.columns == (18, 19, 26, 27, 82, 83, 90, 91)


def test_picture_and_table_show_every_head() -> None:
    picture = draw_plan(phased_plan())
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    found = {tuple(colour) for colour in np.unique(picture.reshape(-1, 3), axis=0)}
    assert set(COLOURS.values()) <= found
    table = plan_table(phased_plan())
    for word in ("tiny", "early", "control_branch", "anchor(share=0.2, rows=128)", "layer  1", "1.5", "31"):
        assert word in table


def test_large_plans_can_be_drawn() -> None:
    table = ((Diagonal(0.2, 128),) * 48,) * 42
    plan = SparsePlan("big", TokenGrid(226, 11, 48, 85), {"transformer": PartPlan(48, 64, (table,))})
    assert draw_plan(plan).shape[0] > 600


def choose(wanted: str, paths: list[Path], **changes: Any) -> AttentionChoice:
    given_values: dict[str, Any] = {"model_id": "tiny", "shapes": SHAPES, "grid": GRID, "device": "cpu", **changes}
    return choose_attention(wanted, shipped=paths, **given_values)


def test_auto_takes_the_plan_that_fits_and_gains_most(tmp_path: Path) -> None:
    plan = phased_plan()
    slow = write_plan(tmp_path / "slow.json", plan)
    fast = replace(plan, record=plan.record.model_copy(update={"measured_speedup": 2.0}))
    other = [
        replace(plan, model="other"),
        rescale_plan(plan, TokenGrid(16, 3, 8, 12)),
        replace(plan, record=plan.record.model_copy(update={"device": "NVIDIA H100"})),
        replace(dense_plan("tiny", GRID, SHAPES), record=SearchRecord(criterion="psnr", device="cpu", note="no gain")),
        replace(plan, record=plan.record.model_copy(update={"measured_speedup": None})),
    ]
    paths = [write_plan(tmp_path / f"{index}.json", each) for index, each in enumerate(other)]
    choice = choose("auto", [*paths, slow, write_plan(tmp_path / "fast.json", fast)])
    assert choice.plan == fast
    assert "fast.json: measured 2.00x" in choice.reason
    nothing = choose("auto", paths)
    assert nothing.plan is None
    for word in ("for other", "video tokens", "measured on NVIDIA H100", "no gain", "no measured gain"):
        assert word in nothing.reason
    assert choose("auto", [slow], shapes={"transformer": (3, 4, 64)}).plan is None


def test_a_plan_belongs_to_the_weights_that_it_was_found_on(tmp_path: Path) -> None:
    plan = phased_plan()
    known = replace(plan, record=plan.record.model_copy(update={"weights": "0123456789abcdef"}))
    path = write_plan(tmp_path / "known.json", known)
    same, other = {"weights": "0123456789abcdef"}, {"weights": "fedcba9876543210"}
    assert choose("auto", [path], model_id="a/renamed/folder", **same).plan == known
    assert choose(str(path), [], **same).plan == known
    assert "other weights" in choose("auto", [path], **other).reason
    with pytest.raises(PlanError, match=r"0123456789abcdef of tiny.*fedcba9876543210"):
        choose(str(path), [], **other)
    assert choose("auto", [path]).plan == known
    assert "weights 0123456789abcdef" in plan_table(known)


def test_named_plans_and_dense(tmp_path: Path, plan_path: Path) -> None:
    assert choose("dense", []).plan is None
    assert choose(str(plan_path), []).plan == phased_plan()
    dense = write_plan(tmp_path / "dense.json", dense_plan("tiny", GRID, SHAPES))
    assert choose(str(dense), []).plan is None
    larger = TokenGrid(16, 5, 10, 12)
    with pytest.raises(PlanError, match="plan rescale"):
        choose(str(plan_path), [], grid=larger)
    moved = write_plan(tmp_path / "moved.json", rescale_plan(phased_plan(), larger))
    assert choose(str(moved), [], grid=larger).plan is not None


def test_grid_of_a_model() -> None:
    model = tiny_transformer()
    assert token_grid(model.config, text=16, frames=5, height=16, width=24) == GRID


def test_shipped_plans_are_readable() -> None:
    plans = [read_plan(path) for path in SHIPPED_PLANS.glob("*.json")]
    assert {(plan.grid.frames, plan.grid.height, plan.grid.width) for plan in plans} >= {(13, 16, 24)}
    for plan in plans:
        assert plan.model == "tiny"
        assert plan.record.device
        assert plan.is_dense == plan.record.note.startswith("do not sparsify")
