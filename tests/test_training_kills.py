"""Runs that end badly: killed at random moments, out of disk space, a loss that is not a number."""

import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from magicgen.errors import GenerationFailed
from magicgen.training.checkpoints import Checkpoint, latest_checkpoint, load_checkpoint, save_checkpoint
from magicgen.training.loss_log import LossLog, read_losses

SMOKE = Path(__file__).parents[1] / "configs" / "train" / "tiny_smoke.yaml"
KILLS, STEPS = 10, 64


def train_as_a_command(out: Path) -> None:
    """What ``magicgen train`` does, as a process of its own."""
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (open to the end of the process)
    overrides = [f"out={out}", f"steps={STEPS}", "checkpoint_every=4", "validation.every=1000", "model.layers=1"]
    settings = [part for override in overrides for part in ("--set", override)]
    sys.argv = ["magicgen", "train", str(SMOKE), *settings, "--resume"]
    from magicgen.cli import main

    main()


def start(out: Path) -> BaseProcess:
    # Imports are done once, by the server that the runs are forked from.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["magicgen.training.run", "magicgen.cli"])
    process = context.Process(target=train_as_a_command, args=(out,))
    process.start()
    return process


@pytest.mark.slow
def test_ten_kills_leave_no_trace(tmp_path: Path) -> None:
    undisturbed = start(tmp_path / "undisturbed")
    undisturbed.join()
    assert undisturbed.exitcode == 0
    killed = tmp_path / "killed"
    rng = random.Random(1)
    for _ in range(KILLS):
        process = start(killed)
        assert process.pid is not None
        before, rows = _size(killed), rng.randrange(4)
        while _size(killed) <= before and rows and process.is_alive():
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.15 * rows) if rows else rng.uniform(0, 2.0))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
    last = start(killed)
    last.join()
    assert last.exitcode == 0
    curves = read_losses(killed), read_losses(tmp_path / "undisturbed")
    assert [row["step"] for row in curves[0]] == list(range(1, STEPS + 1))
    assert curves[0] == curves[1]
    ends = [_end(out) for out in (killed, tmp_path / "undisturbed")]
    assert all(torch.equal(ends[0].networks[key], ends[1].networks[key]) for key in ends[1].networks)
    averages = [end.ema["shadow_params"] for end in ends]
    assert all(torch.equal(one, other) for one, other in zip(*averages, strict=True))


def _size(out: Path) -> int:
    log = out / "losses.jsonl"
    return log.stat().st_size if log.exists() else 0


def _end(out: Path) -> Checkpoint:
    path = latest_checkpoint(out)
    assert path is not None
    checkpoint = load_checkpoint(path, torch.device("cpu"))
    assert checkpoint.step == STEPS
    return checkpoint


def test_loss_log_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    log = LossLog(tmp_path, 0)
    for step in (1, 2, 3):
        log.add(step, {"diffusion": step / 3})
    log.path.write_text(log.path.read_text() + '{"step": 4, "diff')
    assert [row["step"] for row in read_losses(tmp_path)] == [1, 2, 3]
    LossLog(tmp_path, 2).add(3, {"diffusion": 1.0})
    assert read_losses(tmp_path) == [
        {"step": 1, "diffusion": 1 / 3},
        {"step": 2, "diffusion": 2 / 3},
        {"step": 3, "diffusion": 1.0},
    ]


def test_no_space_for_a_checkpoint_leaves_the_previous_one(tmp_path: Path) -> None:
    networks = {"weight": torch.arange(100_000.0)}
    save_checkpoint(tmp_path, Checkpoint(1, [], networks, {}, [], {}), keep=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))  # files end half way, as on a full disk
    try:
        with pytest.raises(GenerationFailed, match="checkpoint of step 2 could not be written"):
            save_checkpoint(tmp_path, Checkpoint(2, [], networks, {}, [], {}), keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000001.pt"]
    path = latest_checkpoint(tmp_path)
    assert path is not None
    assert torch.equal(load_checkpoint(path, torch.device("cpu")).networks["weight"], networks["weight"])
