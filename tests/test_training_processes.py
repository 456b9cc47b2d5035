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
from magicgen.training.tasks import load_training
out = Path(sys.argv[1])
options = load_training(Path(sys.argv[2]), [f"out={out}", f"steps={sys.argv[3]}", "validation.every=9", "precision=no"])
trainer = Trainer(options, build_networks(options))
resumed = trainer.resume()
seen = []
encode = trainer.encode
def watched(batch):
    seen.append(hashlib.sha1(batch.video.numpy().tobytes()).hexdigest())
    return encode(batch)
trainer.encode = watched
trainer.run(lambda result: None, None)
weights = hashlib.sha1(b"".join(v.numpy().tobytes() for v in trainer.plain.state_dict().values())).hexdigest()
told = {"seen": seen, "weights": weights, "resumed": resumed, "kind": type(trainer.models).__name__}
(out / f"process_{trainer.accelerator.process_index}.json").write_text(json.dumps(told))
"""


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    script = tmp_path / "probe.py"
    script.write_text(PROBE)
    config = ROOT / "configs" / "accelerate" / "cpu_two_processes.yaml"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    smoke = ROOT / "configs" / "train" / "tiny_smoke.yaml"
    for steps in (1, 2):  # the second goes on where the first ended
        done = subprocess.run(
            [*command, str(script), str(tmp_path / "run"), str(smoke), str(steps)],
            cwd=ROOT,
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )
        assert done.returncode == 0, done.stderr[:4000]
    first, second = (json.loads((tmp_path / "run" / f"process_{k}.json").read_text()) for k in (0, 1))
    assert (first["kind"], second["kind"]) == ("DistributedDataParallel",) * 2
    assert first["resumed"]
    assert second["resumed"]
    assert not set(first["seen"]) & set(second["seen"])
    assert first["weights"] == second["weights"]
    assert [row["step"] for row in read_losses(tmp_path / "run")] == [1, 2]
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoints" / "step_00000002.pt", torch.device("cpu"))
    assert checkpoint.step == 2


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
