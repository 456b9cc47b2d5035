"""``magicgen batch``: every file kind, broken jobs skipped and reported, finished ones resumed."""

import json
from pathlib import Path
from typing import Any

import pytest

from magicgen.jobs import batch
from magicgen.jobs.animate import Prepared, Result
from magicgen.media import read_video, write_image
from tests.cli_runner import Run
from tests.tiny import square_photo

DEMOS = Path(__file__).parents[1] / ".." / "shared" / "data" / "trajectory_demos"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_image(tmp_path / "photo.png", square_photo())
    keyframes = [{"frame": 0, "box": [0.12, 0.25, 0.34, 0.57]}, {"frame": 4, "box": [0.5, 0.25, 0.72, 0.57]}]
    path = {"version": 1, "frames": 5, "objects": [{"name": "square", "keyframes": keyframes}]}
    (tmp_path / "path.json").write_text(json.dumps(path))
    return tmp_path


def test_the_public_csv_schema_makes_videos(run: Run, folder: Path, small_model: Path) -> None:
    (folder / "demo.csv").write_text(
        "validation_prompt,validation_images,validation_trajectory_maps,output_path,controlnet_weights,seed\n"
        '"red, walks",photo.png,path.json,one.mp4,1.0,18\n'
        "cat,photo.png,path.json,deep/two.mp4,0.5,42\n"
    )
    out = folder / "results"
    code, printed, _ = run("batch", folder / "demo.csv", "--out", out, "--model", small_model)
    assert (code, printed) == (0, f"{out / 'one.mp4'}\n{out / 'deep' / 'two.mp4'}\n")
    settings = json.loads((out / "one.json").read_text())["settings"]
    assert (settings["prompt"], settings["seed"], settings["control_weight"]) == ("red, walks", 18, 1.0)


def test_a_broken_job_is_recorded_and_skipped(run: Run, folder: Path, small_model: Path) -> None:
    good = {"image": "photo.png", "trajectory": "path.json", "model": str(small_model), "steps": 1}
    lines = [
        json.dumps({**good, "out": "one.mp4"}),
        "{",
        json.dumps({**good, "image": "none.png", "out": "two.mp4"}),
        json.dumps({**good, "out": "../escape.mp4"}),
        json.dumps({**good, "out": "three.mp4", "speed": 3}),
        json.dumps({**good, "out": "four.mp4"}),
    ]
    (folder / "jobs.jsonl").write_text("\n".join(lines))
    out = folder / "results"
    code, printed, err = run("batch", folder / "jobs.jsonl", "--out", out, "--json")
    assert code == 1
    assert [item["status"] for item in json.loads(printed)] == ["done", "failed", "failed", "failed", "failed", "done"]
    for expected in ("not valid JSON", "no image at", "inside the output folder", "speed: unknown key"):
        assert expected in err
    assert len(json.loads((out / "batch.json").read_text())["jobs"]) == 6
    assert not (folder / "escape.mp4").exists()


def test_a_fault_of_the_program_does_not_take_the_other_jobs_with_it(
    run: Run, folder: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = batch.run

    def faulty(prepared: Prepared, *given: Any, **named: Any) -> Result:
        if prepared.out.name == "one.mp4":
            raise RuntimeError("a bug")
        return real(prepared, *given, **named)

    monkeypatch.setattr(batch, "run", faulty)
    good = {"image": "photo.png", "trajectory": "path.json", "model": str(small_model), "steps": 1}
    (folder / "jobs.jsonl").write_text("\n".join(json.dumps({**good, "out": name}) for name in ("one.mp4", "two.mp4")))
    code, printed, _ = run("batch", folder / "jobs.jsonl", "--out", folder / "results", "--json")
    assert code == 1
    assert [item["status"] for item in json.loads(printed)] == ["failed", "done"]
    assert json.loads((folder / "results" / "batch.json").read_text())["jobs"][0]["error"] == "RuntimeError: a bug"


def test_resume_skips_what_is_finished(run: Run, folder: Path, small_model: Path) -> None:
    jobs = [{"image": "photo.png", "trajectory": "path.json", "out": f"{name}.mp4", "steps": 1} for name in "ab"]
    (folder / "jobs.yaml").write_text(json.dumps(jobs))
    out = folder / "results"
    assert run("batch", folder / "jobs.yaml", "--out", out, "--model", small_model)[0] == 0
    before = (out / "a.mp4").stat().st_mtime_ns
    (out / "b.json").unlink()
    code, _, err = run("batch", folder / "jobs.yaml", "--out", out, "--model", small_model, "--resume")
    assert code == 0
    assert "job 1 of 2 skipped" in err
    assert "job 2 of 2 done" in err
    assert (out / "a.mp4").stat().st_mtime_ns == before


def test_a_dry_run_checks_every_job_and_writes_overlays(run: Run, folder: Path, small_model: Path) -> None:
    jobs = [
        {"image": "photo.png", "trajectory": "path.json", "out": "a.mp4"},
        {"image": "photo.png", "trajectory": "path.json", "out": "b.mp4", "level": "mask"},
    ]
    (folder / "jobs.yaml").write_text(json.dumps(jobs))
    out = folder / "results"
    code, printed, err = run("batch", folder / "jobs.yaml", "--out", out, "--model", small_model, "--dry-run")
    assert (code, printed) == (1, f"{out / 'a.overlay.mp4'}\n")
    assert "job 2 of 2: The mask level needs" in err
    assert not list(out.glob("?.mp4"))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("jobs.txt", "", "expected a batch file that ends in"),
        ("jobs.csv", "", "holds no job"),
        ("jobs.jsonl", "\n\n", "holds no job"),
        ("jobs.yaml", "a: 1", "expected a list of jobs"),
        ("jobs.yaml", "[", "not valid YAML"),
        ("jobs.csv", 'a,b\n"x,y\n', "not valid CSV"),
    ],
)
def test_files_that_are_no_batch_are_refused(run: Run, tmp_path: Path, name: str, text: str, expected: str) -> None:
    (tmp_path / name).write_text(text)
    code, out, err = run("batch", tmp_path / name, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert expected in err


def test_two_jobs_with_one_output_are_refused(run: Run, folder: Path) -> None:
    job = {"image": "photo.png", "trajectory": "path.json", "out": "a.mp4"}
    (folder / "jobs.yaml").write_text(json.dumps([job, job]))
    code, _, err = run("batch", folder / "jobs.yaml", "--out", folder / "out")
    assert code == 2
    assert "jobs 1 and 2 both write a.mp4" in err
    assert "There is no batch file" in run("batch", folder / "none.csv", "--out", folder / "out")[2]


@pytest.mark.slow
@pytest.mark.skipif(not DEMOS.is_dir(), reason="the public demo files are not beside the project")
def test_the_public_demo_file_makes_four_videos(run: Run, small_model: Path, tmp_path: Path) -> None:
    code, printed, err = run("batch", DEMOS / "demo.csv", "--out", tmp_path, "--model", small_model, "--steps", 1)
    assert code == 0, err
    videos = [Path(line) for line in printed.splitlines()]
    assert len(videos) == 4
    levels = [json.loads(video.with_suffix(".json").read_text())["settings"]["level"] for video in videos]
    assert levels == ["box", "box", "mask", "sparse_box"]
    assert all(len(read_video(video).frames) == 49 for video in videos)
