"""The GPU session at toy size on a CPU: every program runs, every limit holds, every outcome is written down."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu_session import Stage, gpu_stages, gpu_test_files, main, run_stage


@pytest.mark.slow
def test_a_session_at_toy_size(tmp_path: Path) -> None:
    out = tmp_path / "session"
    stages = ["attention-toy", "training", "convert"]
    assert main(["--toy", "--out", str(out), "--seconds", "600", "--stages", *stages]) == 0
    session = json.loads((out / "session.json").read_text())
    assert [(stage["name"], stage["ended"]) for stage in session["stages"]] == [(name, "done") for name in stages]
    assert session["machine"]
    assert "train configs/train/tiny_smoke.yaml" in session["stages"][1]["command"]
    assert session["versions"]["torch"]
    attention = json.loads((out / "attention-toy.json").read_text())
    assert attention["best_dense"] == "sdpa"
    assert len(attention["kernels"]) == 5
    assert [row["asked_density"] for row in attention["forwards"]] == [0.265, 0.3]
    assert (out / "model" / "model_index.json").is_file()


def test_limits_and_failures_are_told_apart(tmp_path: Path) -> None:
    sleep = ("timeit", "-n", "1", "-r", "1", "-s", "import time", "time.sleep(60)")
    assert run_stage(Stage("long", sleep, 1.0), 30.0, tmp_path).ended == "out of time"
    assert run_stage(Stage("training", sleep, None, may_stop=True), 1.0, tmp_path).ended == "stopped"
    failed = run_stage(Stage("broken", ("magicgen.no_such_program",), 30.0), 30.0, tmp_path)
    assert (failed.ended, failed.exit_code) == ("failed", 1)
    assert "no_such_program" in (tmp_path / failed.log).read_text()
    assert run_stage(Stage("late", sleep, None), 0.0, tmp_path).ended == "left out"


def test_the_session_of_a_gpu_names_real_files() -> None:
    assert "tests/test_attention_gpu.py" in gpu_test_files()
    root = Path(__file__).resolve().parents[1]
    stages = {stage.name: stage for stage in gpu_stages(Path("out"), Path("run"))}
    assert list(stages) == ["tests", "attention-1.5", "attention-5b", "flex", "training", "convert"]
    assert (root / "configs" / "train" / "tiny_large.yaml").is_file()
    assert sum(stage.seconds or 0 for stage in stages.values()) < 600
