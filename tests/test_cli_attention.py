"""``--attention``: plans are checked before loading, and change nothing when they are dense."""

import json
from pathlib import Path

import pytest

from magicgen.attention.plan import dense_plan
from magicgen.attention.plan_file import write_plan
from magicgen.attention.tokens import TokenGrid
from magicgen.media import write_image
from tests.cli_runner import Run
from tests.tiny import square_photo

# The model of tests.tiny: 6 words, 5 frames of 32x48, 2 layers of 1 head, a branch of 1 layer.
GRID = TokenGrid(6, 2, 2, 3)
SHAPES = {"transformer": (2, 1, 64), "control_branch": (1, 1, 64)}


@pytest.fixture
def job(tmp_path: Path, small_model: Path) -> list[object]:
    write_image(tmp_path / "photo.png", square_photo())
    keyframes = [{"frame": 0, "box": [0.12, 0.25, 0.34, 0.57]}, {"frame": 4, "box": [0.5, 0.25, 0.72, 0.57]}]
    path = {"version": 1, "frames": 5, "objects": [{"name": "square", "keyframes": keyframes}]}
    (tmp_path / "path.json").write_text(json.dumps(path))
    paths = [tmp_path / "photo.png", "--trajectory", tmp_path / "path.json", "--out", tmp_path / "out.mp4"]
    return ["animate", *paths, "--model", small_model]


def test_a_dense_plan_gives_the_same_bytes(run: Run, job: list[object], tmp_path: Path) -> None:
    assert run(*job)[0] == 0
    before = (tmp_path / "out.mp4").read_bytes()
    plan = write_plan(tmp_path / "plan.json", dense_plan("small", GRID, SHAPES))
    assert run(*job, "--attention", plan)[0] == 0
    assert (tmp_path / "out.mp4").read_bytes() == before


def test_auto_without_a_plan_says_so(run: Run, job: list[object]) -> None:
    code, _, err = run(*job, "--attention", "auto", "--dry-run")
    assert code == 0
    assert "no attention plan" in err
    assert "warning" not in err


@pytest.mark.parametrize(
    ("grid", "shapes"),
    [(TokenGrid(6, 4, 2, 3), SHAPES), (GRID, {"transformer": (3, 1, 64)})],
    ids=["another clip", "another model"],
)
def test_a_plan_for_something_else_is_refused_before_loading(
    run: Run, job: list[object], tmp_path: Path, grid: TokenGrid, shapes: dict[str, tuple[int, int, int]]
) -> None:
    plan = write_plan(tmp_path / "plan.json", dense_plan("other", grid, shapes))
    code, out, err = run(*job, "--attention", plan, "--dry-run")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    (tmp_path / "plan.json").write_text("{}")
    assert run(*job, "--attention", plan)[0] == 2
