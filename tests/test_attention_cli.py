"""``magicgen plan``, ``magicgen plan show`` and the benchmark program, on a small real model."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from magicgen.attention.auto import SHIPPED_PLANS
from magicgen.attention.patterns import Diagonal, VerticalStripe
from magicgen.attention.plan import PartPlan, SparsePlan
from magicgen.attention.plan_file import read_plan, write_plan
from magicgen.attention.tokens import TokenGrid
from magicgen.config import load_config
from magicgen.jobs.plan import PlanRequest
from magicgen.media import read_image
from magicgen.weights import resolve_model
from magicgen.weights.fingerprint import weights_fingerprint
from tests.cli_runner import Run

REQUESTS = Path(__file__).resolve().parents[1] / "configs" / "attention"


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
    assert plan.record.settings["steps"] == 2
    assert plan.record.weights == weights_fingerprint(resolve_model(str(small_model)))
    assert plan.is_dense == plan.record.note.startswith("do not sparsify")

    code, out, _ = run("plan", "show", path, "--out", tmp_path / "plan.png")
    assert code == 0
    assert "mean density" in out
    assert read_image(tmp_path / "plan.png").shape[2] == 3
    code, out, _ = run("plan", "show", path, "--json")
    assert json.loads(out)["criterion"] == "psnr"


def test_requests_come_from_files_and_options_before_them(run: Run, small_model: Path, tmp_path: Path) -> None:
    clip = f"model: {small_model}\nframes: 5\nheight: 32\nwidth: 48\nsteps: 1\nrows: 8\nthreads: 1\nclock: cpu\n"
    (tmp_path / "request.yaml").write_text(f"{clip}psnr: 20\nout: {tmp_path / 'first.json'}\n")
    code, out, err = run("plan", "--config", tmp_path / "request.yaml", "--out", tmp_path / "second.json")
    assert (code, out.strip()) == (0, str(tmp_path / "second.json")), err
    assert not (tmp_path / "first.json").exists()
    (tmp_path / "request.yaml").write_text(f"{clip}psrn: 20\n")
    code, _, err = run("plan", "--config", tmp_path / "request.yaml")
    assert code == 2
    assert "did you mean 'psnr'" in err


def test_fingerprints_tell_weights_apart(small_model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(small_model, tmp_path / "copy")
    before = weights_fingerprint(resolve_model(str(small_model)))
    assert len(before) == 16
    assert weights_fingerprint(resolve_model(str(copy))) == before
    (file,) = (copy / "branch").glob("*.safetensors")
    tensors = load_file(file)
    save_file({name: tensor + 0.01 for name, tensor in tensors.items()}, file)
    assert weights_fingerprint(resolve_model(str(copy))) != before


@pytest.mark.parametrize("path", sorted(REQUESTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_requests_of_shipped_plans_are_valid(path: Path) -> None:
    request = load_config(path, PlanRequest)
    assert request.goal()
    assert request.out is not None
    assert request.out.parent == SHIPPED_PLANS.relative_to(REQUESTS.parents[1])


def test_plans_are_carried_over_to_another_size(run: Run, small_model: Path, tmp_path: Path) -> None:
    part = PartPlan(1, 64, (((VerticalStripe((0, 3)),),) * 2,))
    path = write_plan(tmp_path / "a.json", SparsePlan("small", TokenGrid(6, 2, 2, 3), {"transformer": part}))
    size = ["--frames", 9, "--height", 64, "--width", 96]
    code, out, err = run("plan", "rescale", path, "--out", tmp_path / "b.json", *size, "--model", small_model)
    assert (code, out.strip()) == (0, str(tmp_path / "b.json")), err
    moved = read_plan(tmp_path / "b.json")
    assert (moved.grid.frames, moved.grid.height, moved.grid.width) == (3, 4, 6)
    assert "not measured" in moved.record.note
    size[1] = 10
    code, _, err = run("plan", "rescale", path, "--out", tmp_path / "b.json", *size, "--model", small_model)
    assert code == 2
    assert "4n + 1" in err


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

    part = PartPlan(1, 64, (((Diagonal(0.5, 128),),) * 2,))
    plan = write_plan(tmp_path / "plan.json", SparsePlan("small", TokenGrid(6, 2, 2, 3), {"transformer": part}))
    out = tmp_path / "run.json"
    clip = ["--frames", "5", "--height", "32", "--width", "48", "--steps", "2", "--pairs", "1"]
    assert main(["--what", "run", "--model", str(small_model), "--plan", str(plan), *clip, "--out", str(out)]) == 0
    (run,) = json.loads(out.read_text())["run"]["rows"]
    assert run["speedup"] > 0
    assert 0 < run["attention_share"] < 1
    assert run["psnr"] is None or run["psnr"] > 40
    assert "LPIPS" in run["lpips_note"]
    assert run["report"]["uncovered"] == ["control_branch"]


def test_shipped_plans_are_measured_at_their_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.attention import _parser
    from benchmarks.shipped_plans import main, measurement, read_requests

    monkeypatch.chdir(REQUESTS.parents[1])
    for request in read_requests(None):
        given = _parser().parse_args(measurement(request, "1"))
        plan = read_plan(given.plan)
        assert (given.frames - 1) // 4 + 1 == plan.grid.frames
        assert (given.height // 16, given.width // 16) == (plan.grid.height, plan.grid.width)
        assert given.image.is_file()
        assert given.trajectory.is_file()
    assert main(["--only", "absent", "--measure"]) == 2
