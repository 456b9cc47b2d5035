"""``magicgen animate``: what it writes, what it says, and what it refuses before a model loads."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from magicgen.media import read_video, write_image, write_video
from tests.cli_runner import Run
from tests.tiny_folders import FRAMES, HEIGHT, WIDTH, save_bound_model


@pytest.fixture(scope="session")
def bound_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bound_model(tmp_path_factory.mktemp("model") / "bound")


def write_photo(folder: Path, height: int = 64, width: int = 96) -> Path:
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    photo = np.stack(
        [np.tile(ramp, (height, 1)), np.full((height, width), 90, np.uint8), np.tile(ramp[::-1], (height, 1))], -1
    )
    photo[20:40, 10:34] = (250, 240, 10)
    return write_image(folder / "photo.png", photo)


def trajectory(**changes: Any) -> dict[str, Any]:
    keyframes = [{"frame": 0, "box": [0.1, 0.3, 0.36, 0.63]}, {"frame": 4, "box": [0.6, 0.3, 0.86, 0.63]}]
    return {"version": 1, "frames": FRAMES, "objects": [{"name": "ball", "keyframes": keyframes}], **changes}


@pytest.fixture
def job(tmp_path: Path, small_model: Path) -> list[object]:
    """Arguments of a run that works."""
    (tmp_path / "path.json").write_text(json.dumps(trajectory()))
    return [
        "animate",
        write_photo(tmp_path),
        "--trajectory",
        tmp_path / "path.json",
        "--model",
        small_model,
        "--out",
        tmp_path / "out.mp4",
    ]


def test_a_video_with_preview_and_sidecar_comes_out(run: Run, job: list[object], tmp_path: Path) -> None:
    code, out, err = run(*job, "--prompt", "red cat", "--seed", 5)
    assert (code, out) == (0, f"{tmp_path / 'out.mp4'}\n")
    assert "Traceback" not in err
    video = read_video(tmp_path / "out.mp4")
    assert video.frames.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert read_video(tmp_path / "out.overlay.mp4").frames.shape == video.frames.shape
    sidecar = json.loads((tmp_path / "out.json").read_text())
    assert sidecar["settings"]["seed"] == 5
    assert sidecar["settings"]["level"] == "box"
    assert sidecar["timings"]["generate_s"] > 0
    assert sidecar["versions"]["torch"]


def test_the_same_command_gives_the_same_bytes_and_so_does_the_sidecar_alone(
    run: Run, job: list[object], tmp_path: Path
) -> None:
    assert run(*job)[0] == 0
    first = (tmp_path / "out.mp4").read_bytes()
    assert run(*job)[0] == 0
    assert (tmp_path / "out.mp4").read_bytes() == first
    (tmp_path / "photo.png").unlink()
    (tmp_path / "path.json").unlink()
    assert run("animate", "--from-sidecar", tmp_path / "out.json", "--out", tmp_path / "again.mp4")[0] == 0
    assert (tmp_path / "again.mp4").read_bytes() == first


def test_json_goes_to_standard_output_alone(run: Run, job: list[object], tmp_path: Path) -> None:
    code, out, _ = run(*job, "--json", "--seed", -1, "--steps", 1)
    answer = json.loads(out)
    assert code == 0
    assert answer["video"] == str(tmp_path / "out.mp4")
    assert 0 <= answer["seed"] < 2**31


def test_a_dry_run_writes_the_overlay_and_says_what_it_would_take(run: Run, job: list[object], tmp_path: Path) -> None:
    code, out, err = run(*job, "--dry-run", "--level", "sparse_box")
    assert (code, out) == (0, f"{tmp_path / 'out.overlay.mp4'}\n")
    for expected in (
        "transformer",
        "branch",
        "5 frames of 32x48, level sparse_box, 2 steps",
        "memory about",
        "time about",
    ):
        assert expected in err
    assert not (tmp_path / "out.mp4").exists()
    plan = json.loads(run(*job, "--dry-run", "--json")[1])
    assert plan["seconds"] > 0
    assert {part["name"] for part in plan["load"]} >= {"transformer", "branch"}


def test_a_dry_run_needs_no_torch(job: list[object]) -> None:
    code = (
        "import sys\nfrom magicgen.cli import main\n"
        "try: main()\nexcept SystemExit as stop: print('code', stop.code, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *map(str, job), "--dry-run"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "code 0 False", answer.stderr


def test_a_map_video_serves_as_trajectory(run: Run, job: list[object], tmp_path: Path) -> None:
    maps = np.zeros((FRAMES, 128, 192, 3), np.uint8)
    for frame in range(FRAMES):
        maps[frame, 40:80, 20 + 8 * frame : 68 + 8 * frame] = (127, 29, 28)
    write_video(tmp_path / "map.mp4", maps, 8)
    job[3] = tmp_path / "map.mp4"
    assert run(*job)[0] == 0
    assert json.loads((tmp_path / "out.json").read_text())["settings"]["level"] == "mask"
    code, _, err = run(*job, "--frames", 9)
    assert code == 0
    assert "usually makes 5 frames; this trajectory has 9" in err
    assert read_video(tmp_path / "out.mp4").frames.shape[0] == 9


def test_photo_and_trajectory_are_cut_to_the_clip_together(run: Run, job: list[object], tmp_path: Path) -> None:
    assert run(*job, "--height", 32, "--width", 32)[0] == 0
    (item,) = json.loads((tmp_path / "out.json").read_text())["inputs"]["objects"]
    # 96 columns are cut to the middle 64: x = (0.1 * 96 - 16) / 64
    assert item["boxes"][0] == pytest.approx([-0.1, 0.3, 0.29, 0.63], abs=0.01)


def test_unknown_words_are_named(run: Run, job: list[object]) -> None:
    code, _, err = run(*job, "--prompt", "Red dragon walks, dragon!", "--steps", 1)
    assert code == 0
    assert err.count("'dragon'") == 1
    assert "'red'" not in err


def corrupt(**changes: Any) -> Callable[[Path], object]:
    text = json.dumps(trajectory(**changes)).replace("null", "NaN")
    return lambda folder: (folder / "path.json").write_text(text)


def keyframed(*keyframes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"objects": [{"name": "ball", "keyframes": list(keyframes), **more}]}


WRONG_FILES = {
    "wrong version": (corrupt(version=2), "version: expected 1"),
    "NaN": (corrupt(**keyframed({"frame": 0, "box": [None, 0.1, 0.5, 0.5]})), "NaN is no number"),
    "x1 <= x0": (corrupt(**keyframed({"frame": 0, "box": [0.5, 0.1, 0.5, 0.5]})), "x0 < x1"),
    "frame out of range": (corrupt(**keyframed({"frame": 5, "box": [0.1, 0.1, 0.5, 0.5]})), "expected 0 to 4"),
    "not 4n + 1 frames": (corrupt(frames=10), "Use --frames 9"),
    "no object": (corrupt(objects=[]), "Draw a box"),
    "unknown key": (corrupt(speed=3), "speed"),
    "mask is missing": (
        corrupt(**keyframed({"frame": 0, "box": [0.1, 0.1, 0.5, 0.5]}, mask="none.png")),
        "none.png",
    ),
    "mask of another size": (
        lambda folder: (
            write_image(folder / "mask.png", np.full((64, 30), 255, np.uint8)),
            corrupt(**keyframed({"frame": 0, "box": [0.1, 0.1, 0.5, 0.5]}, mask="mask.png"))(folder),
        ),
        "another aspect",
    ),
    "not JSON": (lambda folder: (folder / "path.json").write_text("{"), "not valid JSON"),
    "no trajectory": (lambda folder: (folder / "path.json").unlink(), "no such file"),
    "no photo": (lambda folder: (folder / "photo.png").unlink(), "no image"),
    "photo is text": (lambda folder: (folder / "photo.png").write_text("hello"), "cannot be read as an image"),
    "photo of one pixel": (
        lambda folder: Image.new("RGB", (1, 1)).save(folder / "photo.png"),
        "1x1 pixels; at least",
    ),
    "photo of 20000 pixels": (
        lambda folder: Image.new("1", (20000, 20)).save(folder / "photo.png"),
        "20000x20 pixels; at most",
    ),
}


@pytest.mark.parametrize(("spoil", "expected"), WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_wrong_files_are_explained_with_exit_code_2(
    run: Run, job: list[object], tmp_path: Path, spoil: Callable[[Path], object], expected: str
) -> None:
    spoil(tmp_path)
    code, out, err = run(*job)
    assert (code, out) == (2, "")
    assert expected in err
    assert "Traceback" not in err
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("out", ".magicgen"))]


WRONG_OPTIONS = {
    "height": (["--height", 30], "multiples of 16"),
    "frames": (["--frames", 10], "Use --frames 9"),
    "steps": (["--steps", 0], "steps: input should be greater than 0"),
    "level": (["--level", "boxes"], "level: input should be 'mask', 'box' or 'sparse_box'"),
    "level too fine": (["--level", "mask"], "boxes only"),
    "model": (["--model", "tinny"], "no preset and no folder"),
    "attention": (["--attention", "none.json"], "no such plan"),
    "weight": (["--control-weight", "much"], "expected numbers"),
    "weight of no number": (["--control-weight", "nan"], "control_weight: input should be a finite number"),
    "size of a poster": (["--height", 100_000, "--width", 100_000], "is too large"),
    "range": (["--control-range", "0.6,0.1"], "control_range must rise"),
    "device": (["--device", "quantum"], "cannot be used"),
    "offload": (["--offload", "sometimes"], "offload:"),
    "unknown option": (["--speed", 3], "--speed"),
    "out folder": (["--out", "/nowhere/out.mp4"], "does not exist"),
    "out ending": (["--out", "out.avi"], "must end in .mp4"),
}


@pytest.mark.parametrize(("options", "expected"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS.keys())
def test_wrong_options_are_explained_with_exit_code_2(
    run: Run, job: list[object], tmp_path: Path, options: list[object], expected: str
) -> None:
    code, out, err = run(*job, *options)
    assert (code, out) == (2, "")
    assert expected in err
    assert "Traceback" not in err


def test_photo_and_trajectory_are_required_unless_a_sidecar_holds_them(
    run: Run, job: list[object], tmp_path: Path
) -> None:
    assert "--trajectory FILE" in run("animate", "--out", tmp_path / "x.mp4")[2]
    assert "leave IMAGE" in run(*job, "--from-sidecar", tmp_path / "path.json")[2]
    code, _, err = run("animate", "--from-sidecar", tmp_path / "path.json", "--out", tmp_path / "x.mp4")
    assert code == 2
    assert "no sidecar" in err


def test_weights_bound_to_one_size_say_so_or_are_interpolated(
    run: Run, job: list[object], bound_model: Path, tmp_path: Path
) -> None:
    job[5] = bound_model
    code, _, err = run(*job)
    assert code == 2
    assert "bound to 9 frames of 64x96" in err
    assert run(*job, "--frames", 9)[0] == 0
    assert read_video(tmp_path / "out.mp4").frames.shape == (9, 64, 96, 3)
    assert run(*job, "--height", 48, "--width", 64, "--interpolate-positions")[0] == 0
    assert read_video(tmp_path / "out.mp4").frames.shape == (FRAMES, 48, 64, 3)


def test_damaged_weights_are_explained(run: Run, job: list[object], small_model: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(small_model, copy)
    config = json.loads((copy / "transformer" / "config.json").read_text())
    (copy / "transformer" / "config.json").write_text(json.dumps({**config, "num_layers": 3}))
    job[5] = copy
    code, _, err = run(*job)
    assert code == 2
    assert "cannot be loaded" in err or "missing" in err
    assert "Traceback" not in err


def test_a_full_disk_is_noticed_before_the_work(run: Run, job: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    code, _, err = run(*job)
    assert code == 2
    assert "is full" in err


def test_a_disk_that_fills_up_on_the_way_is_a_failure(
    run: Run, job: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from magicgen.errors import MediaError

    def full(path: Path, *_: object) -> Path:
        if path.name == "out.mp4":
            raise MediaError("out.mp4 cannot be written: the disk is full; free some space.")
        return write_video(path, *_)  # type: ignore[arg-type]

    monkeypatch.setattr("magicgen.jobs.animate.write_video", full)
    code, _, err = run(*job)
    assert code == 1
    assert "the disk is full" in err
    assert not (tmp_path / "out.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_no_half_file(job: list[object], tmp_path: Path, number: int, code: int) -> None:
    command = [sys.executable, "-m", "magicgen", *map(str, job), "--steps", "1000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # A test run in the background of a script would pass on that Ctrl-C is to be ignored.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heed)
    deadline = time.monotonic() + 300
    while not (tmp_path / "out.overlay.mp4").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == code
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.overlay.mp4", "path.json", "photo.png"]


def test_ctrl_c_while_the_program_is_read_leaves_no_traceback() -> None:
    code = (
        "import sys\nfrom magicgen.start import magicgen\n"
        "class Interrupted:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'magicgen.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\nmagicgen()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (130, "")
