"""Dense against sparse attention: per kernel and end to end, measured in turn in one process (A B A B ..., median).

    python -m benchmarks.attention                                   # kernels, then whole runs of `tiny`
    python -m benchmarks.attention --what kernels --tokens 13x16x24  # kernels only
    python -m benchmarks.attention --what run --image examples/rocket/photo.jpg \\
        --trajectory examples/rocket/trajectory.json                 # a photo of one's own, by the shipped plan
    python -m benchmarks.attention --shapes cogvideox1.5-5b --device cuda
    python -m benchmarks.attention --shapes cogvideox1.5-5b --device cuda --dry-run

Without --shapes: the model's own run, from photo to frames, dense and by its plan. With --shapes: a CogVideoX
transformer of that size with random weights, one forward each at the densities of --forward-density (by default 26.5 %,
the published mean of Sparse-vDiT, and 30 %).
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import circumstances
from magicgen.attention.bench import (
    as_json,
    bench_kernels,
    bench_overhead,
    bench_run,
    best_dense,
    kernel_cases,
    kernel_table,
    run_table,
)
from magicgen.attention.cost import Shape
from magicgen.attention.kernels.dense import working_dense_backends
from magicgen.attention.patterns import Diagonal, MultiDiagonal, Spec, VerticalStripe
from magicgen.attention.plan import PartPlan, SparsePlan
from magicgen.attention.timing import CLOCKS
from magicgen.attention.tokens import TokenGrid
from magicgen.errors import MagicGenError, PlanError

RESULTS = Path(__file__).resolve().parent / "results"
PUBLISHED_DENSITY = 0.265
FORWARD_DENSITIES = (PUBLISHED_DENSITY, 0.3)


@dataclass(frozen=True)
class ModelShape:
    """A CogVideoX transformer and its clip: ``frames`` latent frames before patching, latent ``height`` x ``width``."""

    layers: int
    heads: int
    frames: int
    height: int
    width: int
    patch_frames: int | None
    head_dim: int = 64
    text: int = 226
    text_dim: int = 4096
    time_dim: int = 512

    @property
    def grid(self) -> TokenGrid:
        """Tokens after patching 2 x 2 (and, for 1.5, two frames)."""
        return TokenGrid(self.text, -(-self.frames // (self.patch_frames or 1)), self.height // 2, self.width // 2)


SHAPES = {
    "cogvideox1.5-5b": ModelShape(42, 48, 22, 96, 170, 2),  # 81 frames of 1360x768: 45,106 tokens
    "cogvideox-5b": ModelShape(42, 48, 13, 60, 90, None),  # 49 frames of 720x480: 17,776 tokens
    "tiny-long": ModelShape(8, 4, 13, 32, 48, None, text=16, text_dim=32, time_dim=64),  # 5,008 tokens
    "toy": ModelShape(2, 6, 6, 16, 24, 2, text=18, text_dim=32, time_dim=64),  # shows that the code runs
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(given)
    if options.threads:
        torch.set_num_threads(options.threads)
    described = {**circumstances("attention", given), "device": options.device, "clock": options.clock}
    try:
        result = {**described, "seed": options.seed, **_measure(options)}
    except MagicGenError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    path = _write(result, options)
    print(json.dumps(result, indent=2) if options.json else f"written to {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="magicgen bench attention", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--what", choices=("all", "kernels", "run"), default="all")
    add("--model", default="tiny", help="preset or folder of the end-to-end run")
    add("--plan", default="auto", help="auto (the shipped plan) or a plan.json")
    add("--frames", type=int, default=49)
    add("--height", type=int, default=256)
    add("--width", type=int, default=384)
    add("--steps", type=int, nargs="+", default=None, help="denoising steps, one or more; by default the model's own")
    add("--image", type=Path, default=None, help="photo of the end-to-end run; by default a held-out synthetic scene")
    add("--trajectory", type=Path, default=None, help="its trajectory, resampled to --frames")
    add("--tokens", default="13x16x24,21x16x24", help="grids of the kernel tables, FRAMESxHEIGHTxWIDTH tokens")
    add("--text", type=int, default=24, help="text tokens of the kernel tables")
    add("--heads", type=int, default=4)
    add("--density", type=float, default=0.3, help="density of the kernel table")
    add(
        "--forward-density",
        type=float,
        nargs="+",
        default=FORWARD_DENSITIES,
        help="densities of whole forwards, with --shapes",
    )
    add("--shapes", choices=tuple(SHAPES), default=None, help="random weights at a published size")
    add("--device", default="cpu")
    add("--dtype", choices=("float32", "bfloat16", "float16"), default=None)
    add("--kernel", default="auto", help="auto, slices, flex, triton or reference")
    add("--pairs", type=int, default=5, help="A B pairs of a measurement")
    add("--threads", type=int, default=None)
    add(
        "--clock", choices=tuple(CLOCKS), default="wall", help="cpu: processor time, with --threads 1 if others compute"
    )
    add("--seed", type=int, default=0)
    add("--tune", action="store_true", help="with --shapes on a GPU: time the Triton kernel's launch settings first")
    add("--dry-run", action="store_true", help="check sizes and kernels; run the same code on a small grid on the CPU")
    add("--json", action="store_true")
    add("--out", type=Path, default=None, help="result file; by default benchmarks/results/attention-*.json")
    return parser


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(options.seed)
    if options.shapes:
        return _measure_shapes(options)
    result: dict[str, Any] = {}
    if options.what in ("all", "kernels"):
        result["kernels"] = _measure_kernels(options)
    if options.what in ("all", "run"):
        result["run"] = _measure_runs(options)
    return result


def _measure_kernels(options: argparse.Namespace) -> list[dict[str, Any]]:
    return [_measure_grid(_grid(text, options.text), options) for text in options.tokens.split(",")]


def _measure_grid(grid: TokenGrid, options: argparse.Namespace) -> dict[str, Any]:
    shape = Shape(1, options.heads, 64, torch.device(options.device), _dtype(options, "float32"))
    cases, clock = kernel_cases(grid, options.density, shape.heads, shape.device), CLOCKS[options.clock]
    rows = bench_kernels(grid, shape, cases, pairs=options.pairs, kernel=options.kernel, clock=clock)
    overhead = bench_overhead(grid, shape, cases["both bands, one launch"], pairs=options.pairs, clock=clock)
    print(
        f"{grid} ({grid.total} tokens), {shape.heads} heads of 64, {shape.dtype}, dense backend sdpa", file=sys.stderr
    )
    print(kernel_table(rows), file=sys.stderr)
    print(f"overhead of a planned call beside its kernels: {overhead:.2%} of dense attention", file=sys.stderr)
    facts = {"grid": asdict(grid), "heads": shape.heads, "dtype": str(shape.dtype), "dense_backend": "sdpa"}
    return {**facts, "rows": as_json(rows), "overhead": overhead}


def _measure_runs(options: argparse.Namespace) -> dict[str, Any]:
    """Whole generations, dense and by the plan, for every number of steps that was asked for."""
    from magicgen.jobs.attention import settle_attention
    from magicgen.jobs.calibration import calibration_clip, generation, plan_models
    from magicgen.jobs.inputs import ClipShape
    from magicgen.jobs.loading import LoadOptions, load_pipeline
    from magicgen.weights import resolve_model
    from magicgen.weights.facts import model_facts

    source = resolve_model(options.model)
    facts, shape = model_facts(source), ClipShape(options.frames, options.height, options.width)
    clip = calibration_clip(shape, options.image, options.trajectory)
    attention = settle_attention(options.plan, source, facts, shape, options.device)
    print(f"{clip.name}: {attention.reason}", file=sys.stderr)
    described = {"choice": attention.reason, "clip": clip.name, "size": [shape.frames, shape.height, shape.width]}
    if attention.plan is None:
        return described
    pipeline = load_pipeline(source, clip.level, LoadOptions(device=options.device))
    autocast = {None: None, "float32": False, "bfloat16": True}[options.dtype]
    rows = []
    for steps in options.steps or [facts.steps]:
        run = generation(pipeline, clip, steps=steps, seed=options.seed, autocast=autocast)
        row = bench_run(
            plan_models(pipeline),
            run,
            attention.plan,
            pairs=options.pairs,
            kernel=options.kernel,
            clock=CLOCKS[options.clock],
        )
        print(f"{steps} steps, {run_table(row)}", file=sys.stderr)
        rows.append({"steps": steps, **asdict(row)})
    return {**described, "rows": rows}


def _measure_shapes(options: argparse.Namespace) -> dict[str, Any]:
    shape = SHAPES[options.shapes]
    grid = shape.grid
    described: dict[str, Any] = {"shapes": options.shapes, "grid": asdict(grid), "tokens": grid.total}
    if options.dry_run:
        return {**described, "dry_run": _dry_run(shape, options)}
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise PlanError("--device cuda: there is no CUDA device here; add --dry-run to check sizes and code on the CPU")
    dtype = _dtype(options, "bfloat16" if device.type == "cuda" else "float32")
    attention = Shape(1, shape.heads, shape.head_dim, device, dtype)
    backends = working_dense_backends(device, dtype, shape.head_dim)
    name, dense = best_dense(grid, attention, backends, options.pairs)
    described["dense_backends"], described["best_dense"] = sorted(backends), name
    print(f"{options.shapes}: {grid.total} tokens, best dense backend {name} of {sorted(backends)}", file=sys.stderr)
    if options.tune:
        described["tuned"] = _tune(grid, attention, options.density, dense, options.pairs)
    cases = kernel_cases(grid, options.density, shape.heads, device)
    rows = bench_kernels(grid, attention, cases, pairs=options.pairs, kernel=options.kernel, dense=dense)
    print(kernel_table(rows), file=sys.stderr)
    described["kernels"] = as_json(rows)
    if options.what != "kernels":
        described["forwards"] = _forwards(shape, device, dtype, name, options)
    return described


def _forwards(
    shape: ModelShape, device: torch.device, dtype: torch.dtype, dense: str, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Forwards of a transformer with random weights, by the best dense backend against mixed plans."""
    model = _random_transformer(shape, device, dtype)
    run = _random_call(model, shape, device, dtype)
    rows = []
    for density in options.forward_density:
        plan = mixed_plan(shape, density, device, options.shapes)
        row = bench_run({"transformer": model}, run, plan, pairs=options.pairs, kernel=options.kernel, dense=dense)
        print(f"one forward, {run_table(row)}", file=sys.stderr)
        rows.append({"asked_density": density, **asdict(row)})
    return rows


def mixed_plan(shape: ModelShape, density: float, device: torch.device, name: str) -> SparsePlan:
    """Diagonal, multi-diagonal and stripe heads in equal shares, all at ``density`` of the video keys."""
    rows = 128 if device.type == "cuda" else 768
    count = max(1, round(density * shape.grid.video))
    columns = tuple(sorted({index * shape.grid.video // count for index in range(count)}))
    kinds: tuple[Spec, ...] = (Diagonal(density, rows), MultiDiagonal(density, rows), VerticalStripe(columns))
    layer = tuple(kinds[head % 3] for head in range(shape.heads))
    part = PartPlan(shape.heads, shape.head_dim, ((layer,) * shape.layers,))
    return SparsePlan(name, shape.grid, {"transformer": part})


def _random_transformer(shape: ModelShape, device: torch.device, dtype: torch.dtype) -> Any:
    from diffusers import CogVideoXTransformer3DModel

    with torch.device(device):
        model = CogVideoXTransformer3DModel(
            num_attention_heads=shape.heads,
            attention_head_dim=shape.head_dim,
            in_channels=32,
            out_channels=16,
            time_embed_dim=shape.time_dim,
            text_embed_dim=shape.text_dim,
            num_layers=shape.layers,
            sample_width=shape.width,
            sample_height=shape.height,
            sample_frames=81 if shape.patch_frames else 49,
            patch_size_t=shape.patch_frames,
            max_text_seq_length=shape.text,
            use_rotary_positional_embeddings=True,
            patch_bias=shape.patch_frames is None,
        )
    return model.to(dtype).eval().requires_grad_(False)


def _random_call(model: Any, shape: ModelShape, device: torch.device, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    from diffusers.models.embeddings import get_3d_rotary_pos_embed

    generator = torch.Generator(device).manual_seed(0)
    options: dict[str, Any] = {"generator": generator, "device": device, "dtype": dtype}
    latents = torch.randn(1, shape.frames, 32, shape.height, shape.width, **options)
    text = torch.randn(1, shape.text, shape.text_dim, **options)
    size = (shape.grid.height, shape.grid.width)
    rotary = get_3d_rotary_pos_embed(shape.head_dim, ((0, 0), size), size, shape.grid.frames, device=device)
    time = torch.tensor([500], device=device)

    def run() -> torch.Tensor:
        with torch.no_grad():
            return model(latents, text, time, image_rotary_emb=rotary, return_dict=False)[0]

    return run


def _tune(grid: TokenGrid, shape: Shape, density: float, dense: Callable[..., Any], pairs: int) -> list[dict[str, Any]]:
    """The Triton kernel's launch settings on this GPU, fastest first."""
    from magicgen.attention.bench import random_heads
    from magicgen.attention.execute import group_heads
    from magicgen.attention.kernels.triton_band import LAUNCHES, bind_band
    from magicgen.attention.timing import in_turn, median_ratio

    q, k, v = random_heads(grid, shape)
    out = torch.empty_like(q)
    specs = tuple((Diagonal, MultiDiagonal)[head % 2](density, 128) for head in range(shape.heads))
    group = group_heads(specs, grid)[0]
    found = []
    for launch in LAUNCHES:
        run = bind_band(group, grid, shape.device, launch)
        dense_times, times = in_turn(partial(dense, q, k, v), partial(run, q, k, v, out), pairs, shape.device)
        found.append({**asdict(launch), "speedup": median_ratio(dense_times, times)})
    found.sort(key=lambda row: -row["speedup"])
    for row in found:
        print(f"  triton {row}", file=sys.stderr)
    return found


def _dry_run(shape: ModelShape, options: argparse.Namespace) -> dict[str, Any]:
    """Sizes and plan at full scale, then the same code with two layers and a small grid on the CPU."""
    grid = shape.grid
    device = torch.device("cpu")
    full = mixed_plan(shape, PUBLISHED_DENSITY, torch.device(options.device), options.shapes)
    head_flops = 4 * grid.total**2 * shape.head_dim
    small = replace(shape, layers=2, heads=6, frames=6, height=24, width=34, text=18, text_dim=32, time_dim=64)
    model = _random_transformer(small, device, torch.float32)
    plan = mixed_plan(small, PUBLISHED_DENSITY, torch.device(options.device), options.shapes)
    row = bench_run({"transformer": model}, _random_call(model, small, device, torch.float32), plan, pairs=1)
    facts = {
        "tokens": grid.total,
        "plan_density": full.density,
        "attention_pflops_per_forward": head_flops * shape.heads * shape.layers / 1e15,
        "qkv_gib_bf16": 3 * grid.total * shape.heads * shape.head_dim * 2 / 2**30,
        "small_run": asdict(row),
    }
    print(f"dry run: {grid.total} tokens, density {full.density:.3f}; small copy: {run_table(row)}", file=sys.stderr)
    return facts


def _grid(numbers: str, text: int) -> TokenGrid:
    parts = numbers.split("x")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        raise PlanError(f"--tokens {numbers}: expected FRAMESxHEIGHTxWIDTH, for example 13x16x24")
    return TokenGrid(text, *map(int, parts))


def _dtype(options: argparse.Namespace, default: str) -> torch.dtype:
    return getattr(torch, options.dtype or default)


def _write(result: dict[str, Any], options: argparse.Namespace) -> Path:
    from magicgen.media import write_json

    name = f"attention-{options.shapes or options.what}{'-dry-run' if options.dry_run else ''}.json"
    path = options.out or RESULTS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_json(path, result)


if __name__ == "__main__":
    sys.exit(main())
