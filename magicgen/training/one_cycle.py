"""The loop of small networks that are trained in one go: one cycle of the learning rate, nothing to resume.

AdamW (arXiv 1711.05101) under the one-cycle schedule (arXiv 1708.07120).
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from magicgen.media import write_bytes
from magicgen.progress import ProgressEvent


def fit_in_one_cycle(
    network: nn.Module,
    loss_of_next: Callable[[], torch.Tensor],
    steps: int,
    *,
    learning_rate: float,
    weight_decay: float,
    report: Callable[[ProgressEvent], None],
    log: Callable[[str], None],
    log_every: int,
) -> None:
    """Train in place.

    Args:
        loss_of_next: draws the next batch and returns the network's loss on it, a scalar.
        learning_rate: at the peak of the cycle.
        report, log: told the loss, after every step and after every ``log_every`` of them.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    for step in range(1, steps + 1):
        loss = loss_of_next()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        report(ProgressEvent(f"Training, loss {float(loss.detach()):.4f}", step, steps, None))
        if step % log_every == 0:
            log(f"step {step} of {steps} loss {float(loss.detach()):.4f}")


def keep_scores(folder: Path, scores: dict[str, object], log: Callable[[str], None]) -> None:
    """Write ``folder/scores.json``, which lies beside the weights, and log it."""
    write_bytes(folder / "scores.json", json.dumps(scores, indent=2).encode())
    log(str(scores))
