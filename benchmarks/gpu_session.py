"""Everything that wants a GPU, in one go and inside a time limit: tests, attention at published sizes, training.

    python -m benchmarks.gpu_session --seconds 540              # results in benchmarks/results/NAME-OF-THE-GPU
    python -m benchmarks.gpu_session --seconds 240 --stages training convert --run runs/tiny_large   # go on training
    python -m benchmarks.gpu_session --toy --out runs/toy       # the same on a CPU at toy size, in seconds

Stages: ``tests`` (pytest -m gpu), ``attention-*`` (kernels and whole forwards of CogVideoX1.5-5B and CogVideoX-5B with
random weights, bf16, against the best dense backend found, which is named), ``flex`` (the same kernels through
FlexAttention), ``training`` (``tiny`` at 49 frames of 256x384, for the time that is left) and ``convert`` (its averaged
weights as a model folder). Each has its own limit and log; one that fails or runs out of time does not stop the others.
Training that is stopped goes on from its newest checkpoint when the same ``--run`` is given again. ``session.json`` is
written after every stage.
"""

import argparse
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import circumstances
from magicgen.media import write_json

ROOT = Path(__file__).resolve().parents[1]
CONVERT_SECONDS = 40
"""Kept back for writing the trained model, which follows the training that takes all other time."""
GRACE_SECONDS = 20
"""How long an interrupted program may take to end before it is killed."""


@dataclass(frozen=True)
class Stage:
    """One program of the session. ``seconds``: its limit, None for all that is left. ``may_stop``: running into the
    limit is how it is meant to end."""

    name: str
    arguments: tuple[str, ...]
    seconds: float | None
    may_stop: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a stage: ``ended`` is done, stopped (in time, as meant), failed, out of time or left out."""

    name: str
    command: str
    ended: str
    exit_code: int | None
    seconds: float
    log: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the session; returns 0 if every stage ended as meant."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    began = time.monotonic()
    described = circumstances("gpu_session", given)
    out = (options.out or ROOT / "benchmarks" / "results" / _slug(described["machine"])).resolve()
    out.mkdir(parents=True, exist_ok=True)
    run = (options.run or (out / "run" if options.toy else ROOT / "runs" / "tiny_large")).resolve()
    stages = toy_stages(out, run) if options.toy else gpu_stages(out, run)
    outcomes: list[Outcome] = []
    for stage in stages:
        if options.stages and stage.name not in options.stages:
            continue
        left = options.seconds - (time.monotonic() - began)
        outcomes.append(run_stage(stage, left - (CONVERT_SECONDS if stage.may_stop else 0), out))
        print(f"{stage.name}: {outcomes[-1].ended} after {outcomes[-1].seconds:.0f} s", file=sys.stderr)
        write_json(out / "session.json", {**described, "stages": [asdict(outcome) for outcome in outcomes]})
    print(out / "session.json")
    return 0 if all(outcome.ended in ("done", "stopped") for outcome in outcomes) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=540, help="wall-clock limit of the whole session")
    parser.add_argument("--stages", nargs="+", default=None, help="only these")
    parser.add_argument("--out", type=Path, default=None, help="by default benchmarks/results/NAME-OF-THE-DEVICE")
    parser.add_argument("--run", type=Path, default=None, help="the training's folder; by default runs/tiny_large")
    parser.add_argument("--toy", action="store_true", help="toy sizes on a CPU")
    return parser


def gpu_stages(out: Path, run: Path) -> tuple[Stage, ...]:
    """The session on a GPU."""
    attention = ("benchmarks.attention", "--device", "cuda", "--pairs", "3")
    return (
        Stage("tests", ("pytest", "-m", "gpu", *gpu_test_files()), 150),
        Stage(
            "attention-1.5",
            (*attention, "--shapes", "cogvideox1.5-5b", "--tune", "--out", str(out / "attention-cogvideox1.5-5b.json")),
            200,
        ),
        Stage("attention-5b", (*attention, "--shapes", "cogvideox-5b", "--out", str(out / "attention-5b.json")), 120),
        Stage(
            "flex",
            (
                *attention,
                *("--shapes", "cogvideox-5b", "--what", "kernels", "--kernel", "flex"),
                *("--out", str(out / "attention-5b-flex.json")),
            ),
            90,
        ),
        _training("configs/train/tiny_large.yaml", run),
        _convert(out, run, steps=1),
    )


def toy_stages(out: Path, run: Path) -> tuple[Stage, ...]:
    """The same programs at a size for a CPU."""
    attention = ("benchmarks.attention", "--shapes", "toy", "--pairs", "1", "--threads", "1")
    return (
        Stage("tests", ("pytest", "-m", "gpu", *gpu_test_files()), 150),
        Stage("attention-toy", (*attention, "--out", str(out / "attention-toy.json")), 150),
        _training("configs/train/tiny_smoke.yaml", run, "--set", "steps=2", "--set", "validation.every=100"),
        _convert(out, run, steps=2),
    )


def gpu_test_files() -> tuple[str, ...]:
    """The files with tests for a GPU: the others need packages (a browser, say) that a GPU machine may not have."""
    files = sorted((ROOT / "tests").glob("test_*.py"))
    return tuple(str(path.relative_to(ROOT)) for path in files if "pytest.mark.gpu" in path.read_text(encoding="utf-8"))


def _training(config: str, run: Path, *more: str) -> Stage:
    arguments = ("magicgen.cli", "train", str(ROOT / config), "--resume", "--set", f"out={run}", *more)
    return Stage("training", arguments, None, may_stop=True)


def _convert(out: Path, run: Path, steps: int) -> Stage:
    arguments = ("magicgen.cli", "convert", str(run), "--out", str(out / "model"), "--steps", str(steps))
    return Stage("convert", arguments, None)


def run_stage(stage: Stage, left: float, out: Path) -> Outcome:
    """Runs one stage within its limit and ``left`` seconds; its output goes to ``NAME.log``.

    At the limit it is interrupted as by Ctrl+C, so that it can end in order, and killed if it does not.
    """
    command = [sys.executable, "-m", *stage.arguments]
    shown = " ".join(["python", "-m", *stage.arguments]).replace(f"{ROOT}/", "")
    limit = left if stage.seconds is None else min(stage.seconds, left)
    log = out / f"{stage.name}.log"
    if limit <= 0:
        return Outcome(stage.name, shown, "left out", None, 0.0, "")
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as sink:
        process = subprocess.Popen(command, cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT)
        try:
            code = process.wait(limit)
            ended = "done" if code == 0 else "failed"
        except subprocess.TimeoutExpired:
            code = _stop(process)
            ended = "stopped" if stage.may_stop else "out of time"
        except BaseException:
            _stop(process)
            raise
    return Outcome(stage.name, shown, ended, code, round(time.monotonic() - began, 1), log.name)


def _stop(process: "subprocess.Popen[Any]") -> int:
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main())
