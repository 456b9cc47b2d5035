"""Training in two processes, started by ``accelerate launch`` as its documentation says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from magicgen.config import load_config
from magicgen.errors import ConfigError
from magicgen.training.checkpoints import load_checkpoint
from magicgen.training.loop import Trainer
from magicgen.training.loss_log import read_losses
from magicgen.training.options import TrainingOptions
from magicgen.training.run import build_networks

ROOT = Path(__file__).parents[1]
PROBE = """
import hashlib, json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from magicgen.training.loop import Trainer
from magicgen.training.run import build_networks
from magicgen.training.sharding import gathered
from magicgen.training.tasks import load_training
from magicgen.training.validation import validate, validation_clips
from magicgen.commands.program import run_program
def probe(prog_name):
    out = Path(sys.argv[1])
    changes = [f"steps={sys.argv[3]}", "validation.every=2", "precision=no", "optimizer.kind=adamw"]
    options = load_training(Path(sys.argv[2]), [f"out={out}", *changes])
    trainer = Trainer(options, build_networks(options))
    resumed = trainer.resume()
    seen = []
    encode = trainer.encode
    def watched(batch):
        seen.append(hashlib.sha1(batch.video.numpy().tobytes()).hexdigest())
        return encode(batch)
    trainer.encode = watched
    whole = {}
    def judged(current):
        psnr = validate(current, validation_clips(options))[0].model
        whole.update(gathered(current.plain.state_dict(), keep=True))
        return {"psnr": psnr}
    trainer.run(lambda result: None, judged)
    weights = hashlib.sha1(b"".join(v.numpy().tobytes() for v in whole.values())).hexdigest()
    told = {"seen": seen, "weights": weights, "resumed": resumed, "kind": type(trainer.models).__name__}
    (out / f"process_{trainer.accelerator.process_index}.json").write_text(json.dumps(told))
run_program(probe, "probe")
"""


def launched(tmp_path: Path, config: str) -> Path:
    """A run of two steps in two processes; the second step goes on where the first ended."""
    script, out = tmp_path / "probe.py", tmp_path / config
    script.write_text(PROBE)
    told = ROOT / "configs" / "accelerate" / f"{config}.yaml"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(told), str(script), str(out)]
    for steps in (1, 2):
        done = subprocess.run(
            [*command, str(ROOT / "configs" / "train" / "tiny_smoke.yaml"), str(steps)],
            cwd=ROOT,
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )
        assert done.returncode == 0, done.stderr[:4000]
    return out


@pytest.mark.slow
def test_two_processes_train_one_model_whole_or_divided(tmp_path: Path) -> None:
    runs = {}
    for config, kind in (
        ("cpu_two_processes", "DistributedDataParallel"),
        ("cpu_fsdp", "FSDPTrainableNetworks"),
    ):
        out = runs[config] = launched(tmp_path, config)
        first, second = (json.loads((out / f"process_{k}.json").read_text()) for k in (0, 1))
        assert (first["kind"], second["kind"]) == (kind, kind)
        assert first["resumed"]
        assert second["resumed"]
        assert not set(first["seen"]) & set(second["seen"])
        assert first["weights"] == second["weights"]
        assert [row["step"] for row in read_losses(out)] == [1, 2]
    files = [out / "checkpoints" / "step_00000002.pt" for out in runs.values()]
    whole, divided = (load_checkpoint(path, torch.device("cpu")) for path in files)
    assert divided.step == whole.step == 2
    for ours, theirs in zip(divided.ema["shadow_params"], whole.ema["shadow_params"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    for name, tensor in divided.networks.items():
        torch.testing.assert_close(tensor, whole.networks[name], rtol=1e-3, atol=1e-4)
    curves = [[row["diffusion"] for row in read_losses(out)] for out in runs.values()]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_processes_that_would_train_alone_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = [f"out={tmp_path}", "validation.every=9", "precision=no"]
    options = load_config(ROOT / "configs" / "train" / "tiny_smoke.yaml", TrainingOptions, overrides)
    networks = build_networks(options)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="ACCELERATE_USE_CPU"):
        Trainer(options, networks)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_knows_every_key(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    loaded = load_config_from_file(str(path))
    assert loaded.num_processes == yaml.safe_load(path.read_text())["num_processes"]
