"""Checkpoints: one file a step, written under a temporary name and renamed, read with ``weights_only=True``."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from magicgen.errors import GenerationFailed, WeightsError

NAME = re.compile(r"step_(\d{8})\.pt")


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a run needs to go on; ``frozen_left_out`` where ``networks`` are the trained parts alone."""

    step: int
    trained: list[str]
    networks: dict[str, Any]
    vae: dict[str, Any]
    optimizers: list[dict[str, Any]]
    ema: dict[str, Any]
    frozen_left_out: bool = False


def save_checkpoint(out: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint and delete all but the newest ``keep``; the previous ones survive a full disk."""
    folder = out / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step_{checkpoint.step:08d}.pt"
    temporary = target.with_suffix(".tmp")
    try:
        torch.save(asdict(checkpoint), temporary)
        temporary.replace(target)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise GenerationFailed(
            f"The checkpoint of step {checkpoint.step} could not be written to {folder}: {error}. Earlier checkpoints "
            "are untouched; free some space and run again with --resume."
        ) from error
    for path in _checkpoints(out)[:-keep]:
        path.unlink()
    return target


def latest_checkpoint(out: Path) -> Path | None:
    """The newest complete checkpoint of a run."""
    found = _checkpoints(out)
    return found[-1] if found else None


def load_checkpoint(path: Path, device: torch.device) -> Checkpoint:
    """Read a checkpoint."""
    try:
        # torch knows "cpu", not the "cpu:0" that a process among several is given
        content = torch.load(path, map_location="cpu" if device.type == "cpu" else device, weights_only=True)
        return Checkpoint(**content)
    except (RuntimeError, TypeError, OSError, EOFError, UnpicklingError) as error:
        raise WeightsError(
            f"{path} is not a readable checkpoint ({error}); delete it to go on from an earlier one."
        ) from error


def _checkpoints(out: Path) -> list[Path]:
    folder = out / "checkpoints"
    return sorted(path for path in folder.glob("step_*.pt") if NAME.fullmatch(path.name)) if folder.is_dir() else []
