"""Every kernel against the masked oracle; densities against the mask; patterns on any grid."""

import json
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from magicgen.attention.execute import attend, build_program, group_heads
from magicgen.attention.kernels.dense import sdpa, working_dense_backends
from magicgen.attention.kernels.flex import band_block_mask, flex_unavailable
from magicgen.attention.kernels.reference import full_mask, reference_attention
from magicgen.attention.kernels.select import Kernel, choose_kernel
from magicgen.attention.kernels.triton_band import triton_unavailable
from magicgen.attention.patterns import (
    KEY_BLOCK,
    Anchor,
    BandPlan,
    Dense,
    Diagonal,
    MultiDiagonal,
    Skip,
    Spec,
    VerticalStripe,
    block_plan,
    density,
    mask_rows,
    pairs,
)
from magicgen.attention.tokens import Order, TokenGrid
from magicgen.errors import PlanError
from tests.attention_tiny import relative

grids = st.builds(
    TokenGrid,
    text=st.sampled_from([0, 1, 17, 130]),
    frames=st.integers(1, 7),
    height=st.integers(1, 9),
    width=st.integers(1, 12),
)
shares = st.floats(0.01, 1.0)
rows = st.sampled_from([128, 256, 512])


@st.composite
def grid_and_specs(draw: st.DrawFn) -> tuple[TokenGrid, tuple[Spec, ...]]:
    grid = draw(grids)
    columns = st.sets(st.integers(0, grid.video - 1), min_size=1).map(
        lambda found: VerticalStripe(tuple(sorted(found)))
    )
    spec = st.one_of(
        st.just(Dense()),
        st.just(Skip()),
        st.builds(Diagonal, shares, rows),
        st.builds(MultiDiagonal, shares, rows),
        columns,
        st.builds(Anchor, shares, rows),
    )
    return grid, tuple(draw(st.lists(spec, min_size=1, max_size=5)))


def inputs(grid: TokenGrid, heads: int, batch: int, dtype: torch.dtype, dim: int = 32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(grid.total)
    q, k, v = (torch.randn(batch, heads, grid.total, dim, generator=generator).to(dtype) for _ in range(3))
    return q, k, v.transpose(1, 2).contiguous().transpose(1, 2)


def run(specs: tuple[Spec, ...], grid: TokenGrid, qkv: tuple[torch.Tensor, ...], kernel: str = "auto") -> torch.Tensor:
    q = qkv[0]
    program = build_program(
        specs, grid, device=q.device, dtype=q.dtype, head_dim=q.shape[-1], kernel=kernel, dense=sdpa
    )
    return attend(*qkv, program)


@settings(deadline=None, max_examples=40)
@given(grid_and_specs(), st.integers(1, 2), st.sampled_from(["auto", "reference"]))
def test_kernels_equal_the_oracle(case: tuple[TokenGrid, tuple[Spec, ...]], batch: int, kernel: str) -> None:
    grid, specs = case
    qkv = inputs(grid, len(specs), batch, torch.float32)
    expected = reference_attention(*qkv, grid, specs)
    error = (run(specs, grid, qkv, kernel) - expected).norm()
    assert error <= 2e-6 * expected.norm().clamp_min(1e-6)


@settings(deadline=None, max_examples=10)
@given(grid_and_specs())
def test_kernels_in_bfloat16(case: tuple[TokenGrid, tuple[Spec, ...]]) -> None:
    grid, specs = case
    qkv = inputs(grid, len(specs), 1, torch.bfloat16)
    expected = reference_attention(*qkv, grid, specs)
    if expected.norm() > 0:
        assert relative(run(specs, grid, qkv), expected) < 1e-2


@settings(deadline=None, max_examples=30)
@given(grid_and_specs())
def test_density_counts_the_mask(case: tuple[TokenGrid, tuple[Spec, ...]]) -> None:
    grid, specs = case
    q, k, _ = inputs(grid, 1, 1, torch.float32)
    for spec in specs:
        mask = full_mask(spec, grid, q, k)
        assert pairs(block_plan(spec, grid), grid) == int(mask.sum())
        assert density(spec, grid) == pytest.approx(float(mask.float().mean()), rel=1e-4)
        assert bool(mask[..., : grid.text, :].all())
        if not isinstance(spec, Skip):
            assert bool(mask[..., : grid.text].all())


@settings(deadline=None, max_examples=30)
@given(grids)
def test_orders_are_inverse(grid: TokenGrid) -> None:
    assert torch.equal(grid.video_position(Order.FRAME_MAJOR), torch.arange(grid.video))
    video = torch.arange(grid.video, dtype=torch.float32)[None, None, :, None]
    sorted_by_place = grid.to_token_major(video).reshape(1, 1, -1, 1)
    assert torch.equal(sorted_by_place.flatten()[grid.video_position(Order.TOKEN_MAJOR)], video.flatten())
    assert torch.equal(grid.from_token_major(sorted_by_place).reshape(1, 1, -1, 1), video)


def test_token_major_puts_the_frames_of_a_place_together() -> None:
    grid = TokenGrid(text=0, frames=3, height=2, width=2)
    assert grid.video_position(Order.TOKEN_MAJOR)[[0, 4, 8]].tolist() == [0, 1, 2]


def test_full_widths_equal_dense() -> None:
    grid = TokenGrid(text=9, frames=3, height=7, width=11)
    specs: tuple[Spec, ...] = (
        Diagonal(1.0, 128),
        MultiDiagonal(1.0, 128),
        VerticalStripe(tuple(range(grid.video))),
        Anchor(1.0, 128),
    )
    qkv = inputs(grid, len(specs), 2, torch.float32)
    assert all(density(spec, grid) == 1.0 for spec in specs)
    assert relative(run(specs, grid, qkv), sdpa(*qkv)) < 2e-6


def test_grouped_heads_equal_single_heads_and_bands_share_a_launch() -> None:
    grid = TokenGrid(text=16, frames=5, height=8, width=12)
    specs: tuple[Spec, ...] = (Diagonal(0.3, 128), Dense(), MultiDiagonal(0.3, 128), Diagonal(0.3, 128))
    qkv = inputs(grid, 4, 1, torch.float32)
    together = run(specs, grid, qkv)
    for head, spec in enumerate(specs):
        alone = run((spec,), grid, tuple(x[:, head : head + 1] for x in qkv))
        assert relative(together[:, head : head + 1], alone) < 2e-6
    groups = group_heads(specs, grid)
    assert [(group.straight, group.permuted) for group in groups] == [((0, 3), (2,)), ((1,), ())]


def test_skip_is_zero_for_video_and_dense_for_text() -> None:
    grid = TokenGrid(text=5, frames=2, height=3, width=4)
    qkv = inputs(grid, 1, 1, torch.float32)
    out = run((Skip(),), grid, qkv)
    assert bool((out[:, :, 5:] == 0).all())
    assert relative(out[:, :, :5], sdpa(*qkv)[:, :, :5]) < 2e-6


def test_kernels_leave_their_inputs_alone() -> None:
    grid = TokenGrid(text=16, frames=13, height=8, width=12)
    specs: tuple[Spec, ...] = (Diagonal(0.2, 128), Diagonal(0.2, 128))
    qkv = inputs(grid, 2, 1, torch.float32)
    before = [x.clone() for x in qkv]
    run(specs, grid, qkv)
    assert all(torch.equal(a, b) for a, b in zip(before, qkv, strict=True))


def test_gradients_equal_those_of_the_oracle() -> None:
    grid = TokenGrid(text=7, frames=4, height=6, width=11)
    specs: tuple[Spec, ...] = (Diagonal(0.5, 128), MultiDiagonal(0.5, 128), VerticalStripe((0, 5, 9)), Anchor(0.3, 128))
    gradients = []
    for function in (run, lambda s, g, x: reference_attention(*x, g, s)):
        qkv = tuple(x.requires_grad_() for x in inputs(grid, 4, 1, torch.float32))
        function(specs, grid, qkv).square().sum().backward()
        gradients.append([x.grad for x in qkv])
    for ours, theirs in zip(*gradients, strict=True):
        assert relative(ours, theirs) < 1e-5


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Diagonal(0.0), "width"),
        (lambda: MultiDiagonal(1.5), "width"),
        (lambda: Diagonal(float("nan")), "width"),
        (lambda: Diagonal(0.2, 100), "rows"),
        (lambda: Anchor(0.0), "share"),
        (lambda: VerticalStripe(()), "columns"),
        (lambda: VerticalStripe((3, 3)), "columns"),
        (lambda: block_plan(VerticalStripe((99,)), TokenGrid(0, 1, 3, 3)), "column 99"),
        (lambda: TokenGrid(-1, 1, 1, 1), "text"),
        (lambda: TokenGrid(0, 0, 1, 1), "frames"),
    ],
)
def test_impossible_patterns_are_refused(make: object, word: str) -> None:
    with pytest.raises(PlanError, match=word):
        make()  # type: ignore[operator]


def test_wrong_shapes_are_refused() -> None:
    grid = TokenGrid(text=0, frames=2, height=3, width=4)
    specs = (Skip(), Dense())
    with pytest.raises(PlanError, match="2 heads"):
        run(specs, grid, inputs(grid, 3, 1, torch.float32))


def test_dense_backends_on_a_cpu() -> None:
    assert list(working_dense_backends(torch.device("cpu"), torch.float32, 64)) == ["sdpa"]


def test_unavailable_kernels_fall_back_and_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = TokenGrid(text=0, frames=4, height=8, width=8)
    monkeypatch.setenv("PATH", "")
    for wanted in ("triton", "flex"):
        program = build_program(
            (Diagonal(0.5, 128),),
            grid,
            device=torch.device("cpu"),
            dtype=torch.float32,
            head_dim=64,
            kernel=wanted,
            dense=sdpa,
        )
        choice = program.choices[0]
        assert choice.kernel.value == "slices"
        assert choice.fallback is not None
        assert "C++ compiler" in choice.fallback
        assert "CUDA" in choice.fallback
    with pytest.raises(PlanError, match="unknown"):
        run((Diagonal(0.5, 128),), grid, inputs(grid, 1, 1, torch.float32), "fastest")


@pytest.mark.slow
@pytest.mark.skipif(flex_unavailable(torch.device("cpu"), torch.float32, 64) is not None, reason="no C++ compiler")
def test_flex_equals_the_oracle() -> None:
    grid = TokenGrid(text=20, frames=5, height=10, width=11)
    specs: tuple[Spec, ...] = (Diagonal(0.4, 128), MultiDiagonal(0.4, 128), Skip(), Dense())
    qkv = inputs(grid, 4, 1, torch.float32, dim=64)
    with torch.no_grad():
        out = run(specs, grid, qkv, "flex")
    assert relative(out, reference_attention(*qkv, grid, specs)) < 2e-6


@settings(deadline=None, max_examples=20)
@given(grids.filter(lambda grid: grid.video >= 128), shares, rows)
def test_flex_blocks_cover_the_mask(grid: TokenGrid, share: float, shared: int) -> None:
    spec = Diagonal(share, shared)
    plan = block_plan(spec, grid)
    assert isinstance(plan, BandPlan)
    blocks = band_block_mask(plan, grid, torch.device("cpu")).to_dense()[0, 0].bool()
    mask = mask_rows(spec, grid, torch.arange(grid.video))
    mask = torch.cat([mask[:, grid.text :], mask[:, : grid.text]], dim=1)
    padded = torch.nn.functional.pad(mask, (0, -grid.total % KEY_BLOCK, 0, -grid.video % KEY_BLOCK))
    expected = padded.unflatten(1, (-1, KEY_BLOCK)).unflatten(0, (-1, KEY_BLOCK)).any(3).any(1)
    assert torch.equal(blocks, expected)


# Half precision as float16: numpy, which the interpreter computes with, has no bfloat16.
TRITON_PROGRAM = """
import json, torch
from magicgen.attention.kernels.heads import HeadGroup
from magicgen.attention.kernels.reference import reference_attention
from magicgen.attention.kernels.triton_band import LAUNCHES, bind_band
from magicgen.attention.patterns import Diagonal, MultiDiagonal, block_plan
from magicgen.attention.tokens import TokenGrid
errors = []
torch.manual_seed(0)
for grid, dtype, launch in (
    (TokenGrid(20, 5, 8, 10), torch.float32, LAUNCHES[0]),
    (TokenGrid(0, 3, 11, 9), torch.float32, LAUNCHES[1]),
    (TokenGrid(130, 4, 8, 9), torch.float16, LAUNCHES[0]),
):
    specs = (Diagonal(0.4, 128), MultiDiagonal(0.4, 128), Diagonal(0.4, 128))
    q, k, v = (torch.randn(2, 3, grid.total, 64, dtype=dtype) for _ in range(3))
    v = v.transpose(1, 2).contiguous().transpose(1, 2)
    out = torch.empty_like(q)
    bind_band(HeadGroup(block_plan(specs[0], grid), (0, 2), (1,)), grid, q.device, launch)(q, k, v, out)
    expected = reference_attention(q, k, v, grid, specs)[:, :, grid.text :].float()
    errors.append(float((out[:, :, grid.text :].float() - expected).norm() / expected.norm()))
print(json.dumps(errors))
"""


@pytest.mark.slow
def test_triton_kernel_equals_the_oracle_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", TRITON_PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    single, ragged, half = json.loads(done.stdout)
    assert single < 2e-6
    assert ragged < 2e-6
    assert half < 1e-2


def test_kernels_without_a_backward_pass_are_left_out_where_gradients_flow() -> None:
    cpu = torch.device("cpu")
    assert flex_unavailable(cpu, torch.float32, 64, gradients=True) == "no backward pass on a CPU"
    choice = choose_kernel(
        block_plan(Diagonal(0.5, 128), TokenGrid(0, 4, 8, 8)), "flex", cpu, torch.float32, 64, gradients=True
    )
    assert choice.kernel is Kernel.SLICES
    assert choice.fallback is not None
    assert "backward" in choice.fallback


def test_triton_says_why_it_cannot_run() -> None:
    assert triton_unavailable(torch.device("cpu"), torch.bfloat16, 64) is not None
