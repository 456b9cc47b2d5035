"""``convert``, ``download``, ``train`` and ``bench`` from the command line."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from magicgen.training.memory import memory_plan
from magicgen.training.options import TrainingOptions
from magicgen.training.tasks import load_training
from magicgen.weights.convert import Head, expected_shapes
from tests.cli_runner import Run

CONFIGS = Path(__file__).parents[1] / "configs"
BASE = {"num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 3}


def write_head(folder: Path) -> Path:
    state = {name: torch.ones(shape) for name, shape in expected_shapes(Head(), BASE).items()}
    torch.save({"state_dict": state}, folder / "head.pt")
    (folder / "base.json").write_text(json.dumps(BASE))
    return folder / "head.pt"


def test_convert_prints_the_folder(run: Run, tmp_path: Path) -> None:
    source = write_head(tmp_path)
    code, out, err = run("convert", source, "--out", tmp_path / "head", "--base", tmp_path / "base.json")
    assert (code, out) == (0, f"{tmp_path / 'head'}\n")
    assert "head: 14 tensors" in err
    code, out, _ = run("convert", source, "--out", tmp_path / "two", "--base", tmp_path / "base.json", "--json")
    assert json.loads(out)["kind"] == "head"


def test_convert_names_what_does_not_fit(run: Run, tmp_path: Path) -> None:
    code, out, err = run("convert", write_head(tmp_path), "--out", tmp_path / "head")
    assert (code, out) == (2, "")
    assert "156 missing: convs.10.0.bias" in err
    assert "expected 170 keys, got 14" in err
    assert not (tmp_path / "head").exists()


def test_download_lists_files_and_sizes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        SimpleNamespace(rfilename="model_index.json", size=700),
        SimpleNamespace(rfilename="vae/a.bin", size=3 * 10**9),
    ]
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: SimpleNamespace(siblings=files))
    code, out, _ = run("download", "some/model", "--dry-run")
    assert code == 0
    assert [line.split()[-2:] for line in out.splitlines()[1:]] == [["700", "B"], ["3.0", "GB"], ["3.0", "GB"]]
    assert json.loads(run("download", "some/model", "--dry-run", "--json")[1])["bytes"] == 3 * 10**9 + 700


def test_a_hub_out_of_reach_is_a_failure_not_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    code, out, err = run("download", "magicmotion-5b", "--dry-run")
    assert (code, out) == (1, "")
    assert "cannot be reached" in err
    assert run("download", "tiny")[0] == 2


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("train/*.yaml")), ids=lambda path: path.name)
def test_every_training_configuration_is_valid(path: Path) -> None:
    load_training(path)


def test_an_unknown_task_is_refused(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("task: juggling\nout: runs/x\n")
    code, _, err = run("train", config, "--dry-run")
    assert code == 2
    assert "juggling" in err


def test_a_run_at_full_size_is_planned_without_its_weights() -> None:
    options = load_training(CONFIGS / "train" / "magicmotion_stage2.yaml")
    assert isinstance(options, TrainingOptions)
    alone, shared = memory_plan(options), memory_plan(options, devices=8)
    assert 5.5e9 < alone.parameters["transformer"] < 5.6e9
    assert alone.tokens == 17_776
    assert shared.weights == -(-alone.weights // 8)
    assert shared.activations == alone.activations
    kept = memory_plan(options.model_copy(update={"gradient_checkpointing": False}))
    assert kept.activations > 5 * alone.activations


def test_train_checks_its_configuration_first(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("out: runs/x\nsteps: 5\ndata: {frames: 16}\n")
    code, _, err = run("train", config)
    assert code == 2
    assert "run.yaml, line 3: data: frames must be 4n + 1" in err
    code, out, _ = run("train", config, "--set", "data.frames=17", "--set", "data.batch_size=2", "--dry-run", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["options"]["data"]["batch_size"] == 2
    assert told["plan"]["trained"] == told["plan"]["parameters"]["branch"] + told["plan"]["parameters"]["head"]
    assert "GiB a device" in run("train", config, "--set", "data.frames=17", "--dry-run")[1]
    assert run("train", tmp_path / "none.yaml")[0] == 2


@pytest.mark.parametrize("arguments", [[], ["--speed"], ["nonsense"], ["bench", "nonsense"]])
def test_wrong_usage_has_exit_code_2(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert "Usage: magicgen" in out + err


def test_the_version_is_shown(run: Run) -> None:
    from magicgen import __version__

    assert run("--version") == (0, f"{__version__}\n", "")
