"""Dense against sparse, measured in turn in one process: per kernel, and end to end on whole generations."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from magicgen.attention.apply import CONTROL_BRANCH, TRANSFORMER, attention_layers, enable_sparse_attention
from magicgen.attention.cost import Shape
from magicgen.attention.execute import attend, build_program
from magicgen.attention.kernels.dense import DenseFn, dense_backend, sdpa
from magicgen.attention.patterns import Anchor, Diagonal, MultiDiagonal, Spec, VerticalStripe, density
from magicgen.attention.plan import SparsePlan, dense_plan
from magicgen.attention.processor import PlannedProcessor
from magicgen.attention.quality import lpips_distance, psnr, ssim
from magicgen.attention.report import AttentionReport
from magicgen.attention.timing import Clock, in_turn, median_ratio, now
from magicgen.attention.tokens import TokenGrid


@dataclass(frozen=True)
class KernelRow:
    """One pattern on all heads of a layer. ``efficiency`` is speed-up x density; 1 is ideal.

    Times are medians in milliseconds; the speed-up is the median of the ratios of neighbouring runs.
    """

    case: str
    kernel: str
    fallback: str | None
    density: float
    dense_ms: float
    sparse_ms: float
    speedup: float
    efficiency: float


@dataclass(frozen=True)
class RunRow:
    """A whole generation, dense against planned; ``limit`` is 1 / ((1 - a) + a * density), a the attention share."""

    dtype: str
    dense_s: float
    planned_s: float
    speedup: float
    attention_share: float
    density: float
    limit: float
    psnr: float
    ssim: float | None
    lpips: float | None
    lpips_note: str
    report: dict[str, Any]


def kernel_cases(grid: TokenGrid, share: float, heads: int, device: torch.device) -> dict[str, tuple[Spec, ...]]:
    """The patterns of a kernel table, each at about ``share`` of all pairs: name -> specs of all heads."""
    rows = 128 if device.type == "cuda" else 768
    generator = torch.Generator().manual_seed(0)
    count = max(1, round(share * grid.video))
    columns = torch.randperm(grid.video, generator=generator)[:count].sort().values
    group = 1024 if device.type == "cuda" else 768
    picked = max(0.01, share - group / grid.video)
    return {
        "stripe": (VerticalStripe(tuple(columns.tolist())),) * heads,
        "diagonal band": (Diagonal(share, rows),) * heads,
        "multi-diagonal band": (MultiDiagonal(share, rows),) * heads,
        "both bands, one launch": tuple((Diagonal, MultiDiagonal)[h % 2](share, rows) for h in range(heads)),
        "gathered keys (anchor)": (Anchor(picked, group),) * heads,
    }


def bench_kernels(
    grid: TokenGrid,
    shape: Shape,
    cases: Mapping[str, tuple[Spec, ...]],
    *,
    pairs: int = 9,
    kernel: str = "auto",
    dense: DenseFn = sdpa,
    clock: Clock = time.perf_counter,
) -> list[KernelRow]:
    """Times every case against dense attention of the same q, k, v, in turn (A B A B ...), ``pairs`` times."""
    q, k, v = random_heads(grid, shape)
    rows = []
    for name, specs in cases.items():
        program = build_program(
            specs, grid, device=shape.device, dtype=shape.dtype, head_dim=shape.head_dim, kernel=kernel, dense=dense
        )
        dense_times, sparse_times = in_turn(
            partial(dense, q, k, v), partial(attend, q, k, v, program), pairs, shape.device, clock
        )
        speedup = median_ratio(dense_times, sparse_times)
        share = sum(density(spec, grid) for spec in specs) / len(specs)
        kernels = ", ".join(dict.fromkeys(choice.kernel.value for choice in program.choices))
        fallback = next((choice.fallback for choice in program.choices if choice.fallback), None)
        rows.append(
            KernelRow(
                name,
                kernels,
                fallback,
                share,
                1e3 * statistics.median(dense_times),
                1e3 * statistics.median(sparse_times),
                speedup,
                speedup * share,
            )
        )
    return rows


def bench_overhead(
    grid: TokenGrid, shape: Shape, specs: tuple[Spec, ...], *, pairs: int = 9, clock: Clock = time.perf_counter
) -> float:
    """What a planned call costs beside its kernels (text rows, output, dispatch), as a share of dense attention."""
    q, k, v = random_heads(grid, shape)
    program = build_program(specs, grid, device=shape.device, dtype=shape.dtype, head_dim=shape.head_dim, dense=sdpa)
    empty = replace(program, runs=())
    dense_times, empty_times = in_turn(
        partial(sdpa, q, k, v), partial(attend, q, k, v, empty), pairs, shape.device, clock
    )
    return 1 / median_ratio(dense_times, empty_times)


def best_dense(grid: TokenGrid, shape: Shape, backends: Mapping[str, DenseFn], pairs: int = 5) -> tuple[str, DenseFn]:
    """The fastest dense backend at this shape, by name."""
    q, k, v = random_heads(grid, shape)
    times = {
        name: statistics.median(in_turn(partial(f, q, k, v), lambda: None, pairs, shape.device)[0])
        for name, f in backends.items()
    }
    name = min(times, key=times.__getitem__)
    return name, backends[name]


def bench_run(
    models: Mapping[str, nn.Module],
    run: Callable[[], Any],
    plan: SparsePlan,
    *,
    pairs: int = 3,
    kernel: str = "auto",
    dense: str = "sdpa",
    clock: Clock = time.perf_counter,
) -> RunRow:
    """Dense against planned generations, in turn. ``run`` returns the video (T,H,W,3), always from the same seed."""
    device = next(models[TRANSFORMER].parameters()).device
    run()  # what only the first run pays for would count as time outside attention
    measured = attention_share(models, run, dense_backend(dense), clock)
    share, reference = measured.share, measured.result
    results: dict[str, Any] = {}
    reports: list[AttentionReport] = []
    branch = models.get(CONTROL_BRANCH)
    nothing = dense_plan(
        plan.model, plan.grid, {name: (part.layers, part.heads, part.head_dim) for name, part in plan.parts.items()}
    )

    def planned() -> None:
        with enable_sparse_attention(
            models[TRANSFORMER], plan, control_branch=branch, kernel=kernel, dense=dense
        ) as handle:
            results["planned"] = run()
            reports.append(handle.report())

    def plain() -> None:
        with enable_sparse_attention(models[TRANSFORMER], nothing, control_branch=branch, dense=dense):
            run()

    # The stock model where its own attention call is the dense backend; else that backend through a dense plan.
    dense_times, planned_times = in_turn(run if dense == "sdpa" else plain, planned, pairs, device, clock)
    mean = _density_of_calls(reports[-1])
    whole_frames = getattr(reference, "ndim", 0) == 4 and reference.shape[-1] == 3
    lpips, note = lpips_distance(results["planned"], reference) if whole_frames else (None, "LPIPS needs video frames")
    return RunRow(
        dtype=measured.dtype,
        dense_s=statistics.median(dense_times),
        planned_s=statistics.median(planned_times),
        speedup=median_ratio(dense_times, planned_times),
        attention_share=share,
        density=mean,
        limit=1 / ((1 - share) + share * mean),
        psnr=psnr(results["planned"], reference),
        ssim=ssim(results["planned"], reference) if whole_frames else None,
        lpips=lpips,
        lpips_note=note,
        report=reports[-1].as_dict(),
    )


@dataclass(frozen=True)
class DenseRun:
    """A dense run: its result, the dtype of its attention, and attention's share of the time (without projections)."""

    result: Any
    dtype: str
    share: float


def attention_share(
    models: Mapping[str, nn.Module],
    run: Callable[[], Any],
    dense: DenseFn = sdpa,
    clock: Clock = time.perf_counter,
) -> DenseRun:
    """Runs once with every attention call timed."""
    spent = 0.0
    dtypes: set[str] = set()

    def timed(layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, text: int) -> torch.Tensor:
        nonlocal spent
        start = now(q.device, clock)
        output = dense(q, k, v)
        spent += now(q.device, clock) - start
        dtypes.add(str(output.dtype).removeprefix("torch."))
        return output

    attentions = [attention for model in models.values() for attention in attention_layers(model)]
    former = [attention.processor for attention in attentions]
    try:
        for layer, attention in enumerate(attentions):
            attention.set_processor(PlannedProcessor(layer, timed))
        start = clock()
        result = run()
        whole = clock() - start
    finally:
        for attention, processor in zip(attentions, former, strict=True):
            attention.set_processor(processor)
    return DenseRun(result, ", ".join(sorted(dtypes)), spent / whole)


def random_heads(grid: TokenGrid, shape: Shape) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q, k, v [B,H,N,D] laid out as a transformer makes them: q and k by head (after their norm), v by token."""
    generator = torch.Generator(shape.device).manual_seed(0)

    def draw(first: int, second: int) -> torch.Tensor:
        size = (shape.batch, first, second, shape.head_dim)
        return torch.randn(size, generator=generator, device=shape.device, dtype=shape.dtype)

    q, k = draw(shape.heads, grid.total), draw(shape.heads, grid.total)
    v = draw(grid.total, shape.heads).transpose(1, 2)
    return q, k, v


def kernel_table(rows: list[KernelRow]) -> str:
    """The rows as text."""
    lines = [
        f"{'pattern':<24} {'kernel':<8} {'density':>7} {'dense ms':>9} {'sparse ms':>9} {'speed-up':>8} {'eff.':>5}"
    ]
    lines += [
        f"{row.case:<24} {row.kernel:<8} {row.density:>7.3f} {row.dense_ms:>9.2f} {row.sparse_ms:>9.2f} "
        f"{row.speedup:>7.2f}x {row.efficiency:>5.2f}" + (f"  ({row.fallback})" if row.fallback else "")
        for row in rows
    ]
    return "\n".join(lines)


def run_table(row: RunRow) -> str:
    """One end-to-end measurement as text."""
    quality = f"PSNR {row.psnr:.1f} dB"
    if row.ssim is not None:
        quality += f", SSIM {row.ssim:.3f}"
    quality += f", LPIPS {row.lpips:.3f}" if row.lpips is not None else f" ({row.lpips_note})"
    return (
        f"{row.dtype}: dense {row.dense_s:.2f} s, planned {row.planned_s:.2f} s: {row.speedup:.2f}x "
        f"(limit {row.limit:.2f}x at density {row.density:.3f}, attention {row.attention_share:.0%} of the run); "
        f"{quality}"
    )


def as_json(rows: list[KernelRow]) -> list[dict[str, Any]]:
    """The rows as plain data."""
    return [asdict(row) for row in rows]


def _density_of_calls(report: AttentionReport) -> float:
    """Mean density over all attention calls that the run made; uncovered models do not count."""
    total = weight = 0.0
    for part in report.parts:
        for phase in part.phases:
            total += phase.calls * part.layers * phase.density
            weight += phase.calls * part.layers
    return total / weight if weight else 1.0
