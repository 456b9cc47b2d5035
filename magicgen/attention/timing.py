"""How seconds are taken: after the device has finished, two things in turn, ratios of neighbours."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

Clock = Callable[[], float]

CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
"""Wall time, and processor time of this process: with one thread it bears a machine that others use as well."""


def now(device: torch.device, clock: Clock = time.perf_counter) -> float:
    """The time when all work given to the device so far is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock()


def in_turn(
    first: Callable[[], Any],
    second: Callable[[], Any],
    pairs: int,
    device: torch.device,
    clock: Clock = time.perf_counter,
) -> tuple[list[float], list[float]]:
    """Seconds of both, run A B A B ... after one untimed round."""
    times: tuple[list[float], list[float]] = ([], [])
    with torch.no_grad():
        for number in range(pairs + 1):
            for which, function in enumerate((first, second)):
                start = now(device, clock)
                function()
                if number:
                    times[which].append(now(device, clock) - start)
    return times


def median_ratio(first: list[float], second: list[float]) -> float:
    """Median of first / second over the pairs."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))
