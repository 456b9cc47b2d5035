"""Plans on real CogVideoX transformers: bit-identity, removal, LoRA, guidance, control, caches, offload, compile."""

from collections.abc import Callable

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel

from magicgen.attention.apply import enable_sparse_attention
from magicgen.attention.patterns import Dense, Skip
from magicgen.attention.plan import PartPlan, Phase, SparsePlan, dense_plan
from magicgen.attention.processor import PlannedProcessor
from magicgen.attention.tokens import TokenGrid
from magicgen.errors import PlanError
from magicgen.models.control_branch import ControlBranch
from magicgen.models.transformer import VideoTransformer
from tests.attention_tiny import (
    GRID,
    HEAD_DIM,
    HEADS,
    LAYERS,
    MIXED,
    OTHER,
    forward_of,
    mixed_plan,
    relative,
    tiny_transformer,
)

SHAPES = {"transformer": (LAYERS, HEADS, HEAD_DIM)}


@pytest.fixture
def model() -> CogVideoXTransformer3DModel:
    return tiny_transformer()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_dense_through_the_processor_is_bit_identical(
    model: CogVideoXTransformer3DModel, fused: bool, batch: int
) -> None:
    if fused:
        model.fuse_qkv_projections()
    run = forward_of(model, batch)
    stock = run()
    with enable_sparse_attention(model, dense_plan("random", GRID, SHAPES)):
        assert isinstance(model.transformer_blocks[0].attn1.processor, PlannedProcessor)
        assert torch.equal(run(), stock)
    assert torch.equal(run(), stock)


@pytest.mark.parametrize("fused", [False, True])
def test_sparse_equals_the_reference_and_removal_restores(model: CogVideoXTransformer3DModel, fused: bool) -> None:
    if fused:
        model.fuse_qkv_projections()
    run = forward_of(model, batch=2)
    stock, former = run(), list(model.attn_processors.values())
    with enable_sparse_attention(model, mixed_plan(), kernel="reference"):
        expected = run()
    handle = enable_sparse_attention(model, mixed_plan())
    sparse = run()
    handle.remove()
    handle.remove()
    assert relative(sparse, expected) < 2e-6
    assert relative(sparse, stock) > 1e-4
    assert torch.equal(run(), stock)
    assert list(model.attn_processors.values()) == former


def test_report_names_kernels_calls_and_densities(model: CogVideoXTransformer3DModel) -> None:
    run = forward_of(model)
    with enable_sparse_attention(model, mixed_plan()) as handle:
        run()
        run()
        report = handle.report()
    part = report.parts[0]
    assert (part.layers, part.installed, part.fallbacks) == (2, 2, ())
    assert part.phases[0].calls == 2
    assert part.phases[0].kernels == {"slices": 2, "gather": 2, "dense": 1, "skip": 1}
    assert part.phases[0].patterns["diagonal"] == 1
    assert 0 < part.phases[0].density < 1
    assert "slices x2" in str(report)
    assert report.as_dict()["parts"][0]["name"] == "transformer"


def test_phases_follow_the_timestep(model: CogVideoXTransformer3DModel) -> None:
    dense = tuple((Dense(),) * HEADS for _ in range(LAYERS))
    phases = (Phase("early", 1.0, 0.8), Phase("rest", 0.8, 0.0))
    plan = SparsePlan("random", GRID, {"transformer": PartPlan(HEADS, HEAD_DIM, (dense, (MIXED, OTHER)))}, phases)
    run = forward_of(model)
    early, late = run(950.0), run(300.0)
    with enable_sparse_attention(model, plan) as handle:
        assert torch.equal(run(950.0), early)
        assert not torch.equal(run(300.0), late)
        assert torch.equal(run(800.0), run(800.0))
        assert [phase.calls for phase in handle.report().parts[0].phases] == [3, 1]
        with pytest.raises(PlanError, match="NaN"):
            run(float("nan"))


def test_lora_layers_take_part(model: CogVideoXTransformer3DModel) -> None:
    from peft import LoraConfig

    model.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_v"], init_lora_weights=False))
    run = forward_of(model)
    stock = run()
    model.disable_adapters()
    assert not torch.equal(run(), stock)
    model.enable_adapters()
    with enable_sparse_attention(model, dense_plan("random", GRID, SHAPES)):
        assert torch.equal(run(), stock)
    with enable_sparse_attention(model, mixed_plan(), kernel="reference"):
        expected = run()
    with enable_sparse_attention(model, mixed_plan()):
        assert relative(run(), expected) < 2e-6


def test_guidance_batch_equals_single_samples(model: CogVideoXTransformer3DModel) -> None:
    run = forward_of(model, batch=2)
    with enable_sparse_attention(model, mixed_plan()):
        both = run()
        second = forward_of(model, batch=2, samples=slice(1, 2))()
    assert relative(both[1:], second) < 1e-5


def control_setup() -> tuple[VideoTransformer, ControlBranch, Callable[[], torch.Tensor]]:
    torch.manual_seed(0)
    base = VideoTransformer(
        **{key: value for key, value in tiny_transformer().config.items() if not key.startswith("_")}
    ).eval()
    branch = ControlBranch.from_transformer(base, control_layers=(0,)).eval()
    for projector in branch.out_projectors:
        torch.nn.init.normal_(projector.weight, std=0.05)
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(1, 5, 32, 16, 24, generator=generator)
    text = torch.randn(1, 16, 32, generator=generator)
    time = torch.tensor([400])

    def run() -> torch.Tensor:
        with torch.no_grad():
            states = branch(latents[:, :, :16], latents[:, :, 16:], text, time)
            return base(latents, text, time, control_states=states).sample

    return base, branch, run


def test_control_branch_follows_its_own_part() -> None:
    base, branch, run = control_setup()
    stock = run()
    parts = {
        "transformer": PartPlan(HEADS, HEAD_DIM, (tuple((Dense(),) * HEADS for _ in range(LAYERS)),)),
        "control_branch": PartPlan(HEADS, HEAD_DIM, ((MIXED,),)),
    }
    with enable_sparse_attention(base, SparsePlan("random", GRID, parts), control_branch=branch) as handle:
        assert not torch.equal(run(), stock)
        assert [part.phases[0].calls for part in handle.report().parts] == [1, 1]
    assert torch.equal(run(), stock)
    with enable_sparse_attention(base, mixed_plan(), control_branch=branch) as handle:
        assert handle.report().uncovered == ("control_branch",)
        assert "control_branch: not in the plan, dense" in str(handle.report())


@pytest.mark.parametrize("own", [False, True], ids=["stock", "own"])
def test_first_block_cache_composes(own: bool) -> None:
    from diffusers.hooks import FirstBlockCacheConfig

    def build() -> CogVideoXTransformer3DModel:
        stock = tiny_transformer(layers=4)
        if not own:
            return stock
        model = VideoTransformer(**{key: value for key, value in stock.config.items() if not key.startswith("_")})
        model.load_state_dict(stock.state_dict())
        return model.eval()

    model = build()
    run = forward_of(model)

    def two_steps() -> tuple[torch.Tensor, torch.Tensor]:
        with model.cache_context("cond"):
            return run(500.0), run(499.0)

    with enable_sparse_attention(model, mixed_plan(4)):
        plain = run(500.0)
        model.enable_cache(FirstBlockCacheConfig(threshold=10.0))
        first, second = two_steps()
        assert torch.equal(first, plain)
        assert not torch.equal(second, run_without_cache(model, 499.0))
    assert torch.equal(run(500.0), forward_of(build())(500.0))


def test_gradients_flow_through_a_plan(model: CogVideoXTransformer3DModel) -> None:
    latents = torch.randn(1, 5, 32, 16, 24, generator=torch.Generator().manual_seed(1))
    text, times = torch.randn(1, 16, 32, generator=torch.Generator().manual_seed(2)), torch.tensor([500])
    weight = model.transformer_blocks[0].attn1.to_q.weight
    found = []
    for kernel in ("auto", "reference"):
        with enable_sparse_attention(model, mixed_plan(), kernel=kernel):
            model(latents, text, times).sample.square().mean().backward()
        found.append(weight.grad.clone())
        model.zero_grad()
    assert relative(found[0], found[1]) < 1e-4


def run_without_cache(model: CogVideoXTransformer3DModel, timestep: float) -> torch.Tensor:
    model.disable_cache()
    return forward_of(model)(timestep)


def test_group_offload_composes(model: CogVideoXTransformer3DModel) -> None:
    from diffusers.hooks import apply_group_offloading

    run = forward_of(model)
    with enable_sparse_attention(model, mixed_plan()):
        expected = run()
        cpu = torch.device("cpu")
        apply_group_offloading(
            model, onload_device=cpu, offload_device=cpu, offload_type="block_level", num_blocks_per_group=1
        )
        assert torch.equal(run(), expected)


@pytest.mark.slow
def test_compiled_model_gives_the_same(model: CogVideoXTransformer3DModel) -> None:
    run = forward_of(model)
    with enable_sparse_attention(model, mixed_plan()):
        expected = run()
        compiled = torch.compile(model, backend="aot_eager")
        assert relative(forward_of(compiled)(), expected) < 1e-5


def test_other_models_and_grids_are_refused(model: CogVideoXTransformer3DModel) -> None:
    with pytest.raises(PlanError, match="layers 4 in the plan, 2 in the model"):
        enable_sparse_attention(model, mixed_plan(4))
    with pytest.raises(PlanError, match="no part 'transformer'"):
        enable_sparse_attention(model, SparsePlan("x", GRID, {"other": PartPlan(HEADS, HEAD_DIM, ((MIXED, OTHER),))}))
    with pytest.raises(PlanError, match="CogVideoX family"):
        enable_sparse_attention(torch.nn.Linear(2, 2), mixed_plan())
    small = TokenGrid(16, 3, 8, 12)
    with enable_sparse_attention(model, mixed_plan()), pytest.raises(PlanError, match=r"5x8x12.*3x8x12"):
        forward_of(model, grid=small)()
    with enable_sparse_attention(model, mixed_plan(), rescale=True) as handle:
        assert torch.isfinite(forward_of(model, grid=small)()).all()
        assert handle.report().parts[0].phases[0].calls == 1


def test_another_number_of_text_tokens_is_fine(model: CogVideoXTransformer3DModel) -> None:
    longer = TokenGrid(16, 5, 8, 12)
    with enable_sparse_attention(model, SparsePlan("x", TokenGrid(9, 5, 8, 12), mixed_plan().parts)):
        assert torch.isfinite(forward_of(model, grid=longer)()).all()


def test_replaced_processors_are_noticed(model: CogVideoXTransformer3DModel) -> None:
    run = forward_of(model)
    handle = enable_sparse_attention(model, mixed_plan())
    with pytest.raises(PlanError, match="PlannedProcessor"):
        enable_sparse_attention(model, mixed_plan())
    model.fuse_qkv_projections()
    with pytest.raises(PlanError, match="no longer in place"):
        run()
    handle.remove()
    assert torch.isfinite(run()).all()


def test_attention_masks_are_refused() -> None:
    processor = PlannedProcessor(0, lambda layer, q, k, v, text: q)
    with pytest.raises(PlanError, match="attention mask"):
        processor(None, torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), torch.zeros(1))


def test_skipping_every_head_removes_attention_from_video(model: CogVideoXTransformer3DModel) -> None:
    table = tuple((Skip(),) * HEADS for _ in range(LAYERS))
    plan = SparsePlan("random", GRID, {"transformer": PartPlan(HEADS, HEAD_DIM, (table,))})
    with enable_sparse_attention(model, plan):
        assert torch.isfinite(forward_of(model)()).all()


def test_under_autocast_dense_is_bit_identical_and_sparse_close(model: CogVideoXTransformer3DModel) -> None:
    run = forward_of(model)
    with torch.autocast("cpu", torch.bfloat16):
        stock = run()
        with enable_sparse_attention(model, dense_plan("random", GRID, SHAPES)):
            assert torch.equal(run(), stock)
        with enable_sparse_attention(model, mixed_plan(), kernel="reference"):
            expected = run()
        with enable_sparse_attention(model, mixed_plan()):
            assert relative(run(), expected) < 2e-2
