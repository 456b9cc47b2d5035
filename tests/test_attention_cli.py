"""``magicgen plan``, ``magicgen plan show`` and the benchmark program, on a small real model."""

import json
from pathlib import Path

import pytest

from magicgen.attention.plan_file import read_plan
from magicgen.media import read_image
from tests.cli_runner import Run


def test_plan_finds_writes_and_shows(run: Run, small_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    search = ["plan", "--model", small_model, "--frames", 5, "--height", 32, "--width", 48, "--steps", 2]
    code, out, err = run(*search, "--psnr", 30, "--rows", 8, "--threads", 1, "--out", path)
    assert code == 0, err
    assert out.strip() == str(path)
    assert "attention is" in err
    plan = read_plan(path)
    assert set(plan.parts) == {"transformer", "control_branch"}
    assert (plan.grid.frames, plan.grid.height, plan.grid.width) == (2, 2, 3)
    assert plan.is_dense == plan.record.note.startswith("do not sparsify")

    code, out, _ = run("plan", "show", path, "--out", tmp_path / "plan.png")
    assert code == 0
    assert "mean density" in out
    assert read_image(tmp_path / "plan.png").shape[2] == 3
    code, out, _ = run("plan", "show", path, "--json")
    assert json.loads(out)["criterion"] == "psnr"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan"], "--out is missing"),
        (["plan", "--out", "plan.txt"], ".json"),
        (["plan", "--out", "absent/plan.json"], "absent"),
        (["plan", "--out", "plan.json", "--psnr", "30", "--speedup", "2"], "different goals"),
        (["plan", "--out", "plan.json", "--speedup", "0.5"], "expected a factor above 1"),
        (["plan", "--out", "plan.json", "--model", "no/such/folder/here"], "no/such/folder/here"),
        (["plan", "show", "absent.json"], "absent.json"),
    ],
)
def test_mistakes_are_told_before_any_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.slow
def test_benchmark_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.attention import main

    out = tmp_path / "kernels.json"
    small = ["--what", "kernels", "--tokens", "5x8x12", "--pairs", "1", "--out", str(out)]
    assert main(small) == 0
    result = json.loads(out.read_text())
    assert len(result["kernels"][0]["rows"]) == 5
    assert result["machine"]
    assert result["commit"]
    for row in result["kernels"][0]["rows"]:
        assert row["speedup"] > 0
    assert main(["--shapes", "cogvideox1.5-5b", "--device", "cuda", "--dry-run", "--out", str(out)]) == 0
    dry = json.loads(out.read_text())
    assert dry["tokens"] == 45_106
    assert dry["dry_run"]["plan_density"] == pytest.approx(0.265, abs=0.02)
    assert "dry run" in capsys.readouterr().err
    assert main(["--what", "kernels", "--tokens", "5x8"]) == 2


@pytest.mark.slow
def test_benchmark_of_a_whole_run(small_model: Path, tmp_path: Path) -> None:
    from benchmarks.attention import main
    from magicgen.attention.patterns import Diagonal
    from magicgen.attention.plan import PartPlan, SparsePlan
    from magicgen.attention.plan_file import write_plan
    from magicgen.attention.tokens import TokenGrid

    part = PartPlan(1, 64, (((Diagonal(0.5, 128),),) * 2,))
    plan = write_plan(tmp_path / "plan.json", SparsePlan("small", TokenGrid(6, 2, 2, 3), {"transformer": part}))
    out = tmp_path / "run.json"
    clip = ["--frames", "5", "--height", "32", "--width", "48", "--steps", "2", "--pairs", "1"]
    assert main(["--what", "run", "--model", str(small_model), "--plan", str(plan), *clip, "--out", str(out)]) == 0
    run = json.loads(out.read_text())["run"]
    assert run["speedup"] > 0
    assert 0 < run["attention_share"] < 1
    assert run["psnr"] is None or run["psnr"] > 40
    assert "LPIPS" in run["lpips_note"]
    assert run["report"]["uncovered"] == ["control_branch"]
