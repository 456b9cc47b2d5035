"""What only a CUDA device can show: kernels against the oracle, models under a plan, a clip, a search.

``pytest -m gpu`` runs these alone; elsewhere they are skipped.
"""

import json
from pathlib import Path

import pytest
import torch

from magicgen.attention.apply import enable_sparse_attention
from magicgen.attention.execute import attend, build_program, group_heads
from magicgen.attention.kernels.dense import sdpa, working_dense_backends
from magicgen.attention.kernels.reference import reference_attention
from magicgen.attention.kernels.triton_band import LAUNCHES, Launch, bind_band
from magicgen.attention.patterns import Anchor, Dense, Diagonal, MultiDiagonal, Skip, Spec, VerticalStripe
from magicgen.attention.plan import dense_plan
from magicgen.attention.plan_file import read_plan
from magicgen.attention.tokens import TokenGrid
from magicgen.media import write_image
from tests.attention_tiny import GRID, HEAD_DIM, HEADS, LAYERS, forward_of, mixed_plan, relative, tiny_transformer
from tests.cli_runner import Run
from tests.tiny import square_photo

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

DEVICE = torch.device("cuda")
RAGGED = (TokenGrid(226, 5, 20, 21), TokenGrid(0, 3, 11, 9), TokenGrid(17, 4, 8, 16))
BANDS: tuple[Spec, ...] = (Diagonal(0.3, 128), MultiDiagonal(0.3, 128), Diagonal(0.3, 128))
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 1e-2}


def inputs(grid: TokenGrid, heads: int, dtype: torch.dtype, batch: int = 2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator(DEVICE).manual_seed(grid.total)
    shape = (batch, heads, grid.total, HEAD_DIM)
    q, k, v = (torch.randn(shape, generator=generator, device=DEVICE).to(dtype) for _ in range(3))
    return q, k, v.transpose(1, 2).contiguous().transpose(1, 2)


def oracle(qkv: tuple[torch.Tensor, ...], grid: TokenGrid, specs: tuple[Spec, ...]) -> torch.Tensor:
    return reference_attention(*(x.double() for x in qkv), grid, specs)


@pytest.mark.parametrize("kernel", ["triton", "flex", "slices"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_bands_equal_the_oracle(kernel: str, dtype: torch.dtype) -> None:
    for grid in RAGGED:
        qkv = inputs(grid, len(BANDS), dtype)
        program = build_program(BANDS, grid, device=DEVICE, dtype=dtype, head_dim=HEAD_DIM, kernel=kernel, dense=sdpa)
        assert [choice.kernel.value for choice in program.choices] == [kernel]
        with torch.no_grad():
            assert relative(attend(*qkv, program), oracle(qkv, grid, BANDS)) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_pattern_equals_the_oracle(dtype: torch.dtype) -> None:
    grid = RAGGED[0]
    # Anchor columns depend on the data: scores that bfloat16 rounds alike may be picked in another order.
    specs: tuple[Spec, ...] = (Dense(), Skip(), *BANDS, VerticalStripe(tuple(range(0, grid.video, 7))))
    specs += (Anchor(0.2, 256),) if dtype is torch.float32 else ()
    qkv = inputs(grid, len(specs), dtype)
    program = build_program(specs, grid, device=DEVICE, dtype=dtype, head_dim=HEAD_DIM, dense=sdpa)
    reference = reference_attention(*(x.float() for x in qkv), grid, specs)
    assert relative(attend(*qkv, program), reference) < TOLERANCE[dtype]


@pytest.mark.parametrize("launch", LAUNCHES, ids=str)
def test_every_launch_setting_equals_the_oracle(launch: Launch) -> None:
    grid = RAGGED[0]
    qkv = inputs(grid, len(BANDS), torch.bfloat16)
    out = torch.zeros_like(qkv[0])
    (group,) = group_heads(BANDS, grid)
    bind_band(group, grid, DEVICE, launch)(*qkv, out)
    assert relative(out[:, :, grid.text :], oracle(qkv, grid, BANDS)[:, :, grid.text :]) < 1e-2


def test_dense_backends_agree() -> None:
    qkv = inputs(RAGGED[0], 3, torch.bfloat16)
    found = working_dense_backends(DEVICE, torch.bfloat16, HEAD_DIM)
    assert "sdpa" in found
    for name, function in found.items():
        assert relative(function(*qkv), sdpa(*qkv)) < 1e-2, name


def test_gradients_equal_those_of_the_oracle() -> None:
    grid = RAGGED[2]
    found = []
    for kernel in ("auto", "reference"):
        q, k, v = (x.requires_grad_() for x in inputs(grid, len(BANDS), torch.float32))
        program = build_program(
            BANDS, grid, device=DEVICE, dtype=q.dtype, head_dim=HEAD_DIM, kernel=kernel, dense=sdpa, gradients=True
        )
        attend(q, k, v, program).square().sum().backward()
        found.append([x.grad for x in (q, k, v)])
    for ours, theirs in zip(*found, strict=True):
        assert relative(ours, theirs) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_model_under_a_plan(dtype: torch.dtype) -> None:
    model = tiny_transformer().to(DEVICE, dtype)
    run = forward_of(model, batch=2)
    stock = run()
    with enable_sparse_attention(model, dense_plan("random", GRID, {"transformer": (LAYERS, HEADS, HEAD_DIM)})):
        assert torch.equal(run(), stock)
    with enable_sparse_attention(model, mixed_plan(), kernel="reference"):
        expected = run()
    with enable_sparse_attention(model, mixed_plan()) as handle:
        sparse = run()
        part = handle.report().parts[0]
    assert part.phases[0].kernels["triton"] == 2
    assert part.fallbacks == ()
    assert relative(sparse, expected) < (1e-5 if dtype is torch.float32 else 3e-2)
    assert not torch.equal(sparse, stock)
    assert torch.equal(run(), stock)


def test_compiled_model_gives_the_same() -> None:
    model = tiny_transformer().to(DEVICE)
    with enable_sparse_attention(model, mixed_plan()):
        expected = forward_of(model)()
        assert relative(forward_of(torch.compile(model))(), expected) < 1e-3


def test_a_clip_and_a_search(run: Run, small_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="videos are written with PyAV")
    plan, photo, path = tmp_path / "plan.json", tmp_path / "photo.png", tmp_path / "path.json"
    clip = ["--model", small_model, "--frames", 5, "--height", 32, "--width", 48, "--steps", 2, "--device", DEVICE]
    code, _, err = run("plan", *clip, "--psnr", 20, "--rows", 8, "--out", plan)
    assert code == 0, err
    assert read_plan(plan).record.device
    write_image(photo, square_photo())
    keyframes = [{"frame": 0, "box": [0.12, 0.25, 0.34, 0.57]}, {"frame": 4, "box": [0.5, 0.25, 0.72, 0.57]}]
    path.write_text(json.dumps({"version": 1, "frames": 5, "objects": [{"name": "square", "keyframes": keyframes}]}))
    for attention in ("dense", plan):
        out = tmp_path / f"by_{Path(attention).stem}.mp4"
        code, _, err = run("animate", photo, "--trajectory", path, *clip, "--attention", attention, "--out", out)
        assert code == 0, err
        assert out.stat().st_size > 0
        assert json.loads(out.with_suffix(".json").read_text())["attention"]
