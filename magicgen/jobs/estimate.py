"""How much memory and time a run will take, before anything is loaded."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magicgen.jobs.inputs import ClipShape
from magicgen.weights.facts import ModelFacts
from magicgen.weights.files import Component

# Peak dense bfloat16 rate in TFLOP/s by a part of the GPU's name (makers' data sheets), and how much of it diffusion
# transformers usually get.
GPU_TFLOPS = (
    ("H200", 989),
    ("H100", 989),
    ("A100", 312),
    ("L40", 362),
    ("4090", 165),
    ("3090", 71),
    ("A10", 125),
    ("T4", 65),
)
GPU_SHARE = 0.35
# torch, diffusers and their libraries, loaded and idle.
BASE_BYTES = 700 * 1024**2
# Values of 4 bytes alive for each token and unit of width while a block runs (states, queries, keys, values ...).
LIVE_VALUES = 24
LOAD_SECONDS = 6.0
LOAD_BYTES_PER_SECOND = 0.5e9


@dataclass(frozen=True)
class Estimate:
    """Peak memory in bytes, time in seconds (None where the device is not known), and what the time is based on."""

    bytes: int
    seconds: float | None
    basis: str


def estimate(facts: ModelFacts, parts: Sequence[Component], shape: ClipShape, steps: int, guidance: float) -> Estimate:
    """Estimate a run from its token count and this machine's speed.

    The work of a step is two operations for each weight and token plus attention over all pairs of tokens; a speed that
    was measured with these very weights (``speed.json``) calibrates it.
    """
    tokens = token_count(facts, shape)
    work = steps * (2 if guidance > 1 else 1) * step_operations(facts, parts, tokens)
    weights = sum(4 * part.parameters for part in parts)
    width = int(facts.transformer["num_attention_heads"]) * int(facts.transformer["attention_head_dim"])
    pixels = shape.frames * shape.height * shape.width * 3
    gpu = gpu_name()
    if gpu is not None:
        weights //= 2
    memory = BASE_BYTES + weights + 4 * tokens * width * LIVE_VALUES * (2 if guidance > 1 else 1) + 12 * pixels
    load = LOAD_SECONDS + sum(part.bytes for part in parts) / LOAD_BYTES_PER_SECOND
    if gpu is None:
        probed = cpu_operations_per_second() * float(facts.measured.get("rate_over_probe", 1.0))
        return Estimate(memory, load + work / probed, "this CPU, probed")
    rate = gpu_operations_per_second()
    seconds = None if rate is None else load + work / rate
    return Estimate(memory, seconds, f"{gpu}, data sheet")


def token_count(facts: ModelFacts, shape: ClipShape) -> int:
    """Video and text tokens of a clip."""
    patch = 8 * int(facts.transformer.get("patch_size", 2))
    video = ((shape.frames - 1) // 4 + 1) * (shape.height // patch) * (shape.width // patch)
    return video + int(facts.transformer.get("max_text_seq_length", 226))


def step_operations(facts: ModelFacts, parts: Sequence[Component], tokens: int) -> float:
    """Floating-point operations of one pass through backbone and branch."""
    config = facts.transformer
    width = int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    layers = int(config["num_layers"]) + facts.branch_layers
    weights = sum(part.parameters for part in parts if part.name.startswith(("transformer", "branch")))
    return 2.0 * weights * tokens + 4.0 * layers * width * tokens**2


def cpu_operations_per_second() -> float:
    """A quick probe: the best of a few float32 matrix products."""
    matrix = np.ones((768, 768), np.float32)
    matrix @ matrix
    best = min(_timed(matrix) for _ in range(4))
    return 2 * 768**3 / best


def gpu_operations_per_second() -> float | None:
    """What the first GPU does in diffusion transformers by its data sheet; None without one that is known."""
    gpu = gpu_name()
    peak = None if gpu is None else next((value for part, value in GPU_TFLOPS if part in gpu), None)
    return None if peak is None else peak * 1e12 * GPU_SHARE


def gpu_name() -> str | None:
    """The first NVIDIA GPU, or None."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    return lines[0].strip() if lines else None


def _timed(matrix: np.ndarray) -> float:
    start = time.perf_counter()
    matrix @ matrix
    return time.perf_counter() - start
