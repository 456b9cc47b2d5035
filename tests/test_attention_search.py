"""The search: solver, cost table, calibration on a real transformer, goals and their limits."""

import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from magicgen.attention.candidates import Candidate, StripeShare, default_candidates, resolve_stripe
from magicgen.attention.capture import CaptureSettings, capture
from magicgen.attention.cost import Shape, measure_costs
from magicgen.attention.kernels.dense import sdpa
from magicgen.attention.patterns import Anchor, Dense, Diagonal, MultiDiagonal, Skip, density
from magicgen.attention.plan import WHOLE_RUN, Phase
from magicgen.attention.quality import lpips_distance, psnr, ssim
from magicgen.attention.search import PaperRule, Psnr, SearchSettings, Speedup, search_plan
from magicgen.attention.solve import Options, paper_rule, solve_budget, solve_error, total_error
from magicgen.attention.tokens import TokenGrid
from magicgen.errors import PlanError
from tests.attention_tiny import HEAD_DIM, HEADS, forward_of, tiny_transformer

GRID = TokenGrid(16, 4, 8, 10)
PHASES = (Phase("early", 1.0, 0.85), Phase("rest", 0.85, 0.0))


def few_candidates(grid: TokenGrid, device: torch.device) -> tuple[Candidate, ...]:
    return (Dense(), Skip(), Diagonal(0.3, 128), MultiDiagonal(0.3, 128), Anchor(0.2, 128), StripeShare(0.3))


def quick(**changes: object) -> SearchSettings:
    values = {"candidates": few_candidates, "repeats": 1, "trials": 2, "phases": PHASES, **changes}
    return SearchSettings(**values)  # type: ignore[arg-type]


class Generation:
    """A stand-in for a sampler: four forwards at falling noise levels, each fed by fixed latents."""

    def __init__(self, grid: TokenGrid = GRID) -> None:
        self.model = tiny_transformer(layers=2)
        self.forward = forward_of(self.model, grid=grid)

    def __call__(self) -> torch.Tensor:
        return sum(torch.sigmoid(self.forward(t)) for t in (950.0, 700.0, 400.0, 50.0)) / 4


class FakeClock:
    """Counts instead of timing: every look is one second later, so that speeds do not depend on the machine."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


heads = st.lists(
    st.integers(1, 6).flatmap(
        lambda n: st.builds(
            Options,
            st.lists(st.floats(0, 1), min_size=n, max_size=n).map(tuple),
            st.lists(st.floats(0.01, 1), min_size=n, max_size=n).map(tuple),
            st.floats(0.5, 3),
        )
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, max_examples=25)
@given(heads, st.floats(0, 1))
def test_budget_is_kept_and_more_budget_never_hurts(options: list[Options], share: float) -> None:
    least = sum(min(o.costs) * o.calls for o in options)
    most = sum(max(o.costs) * o.calls for o in options)
    small, large = least + share * (most - least) / 2 + 1e-9, most + 1e-9
    tight, loose = solve_budget(options, small), solve_budget(options, large)
    assert sum(o.costs[i] * o.calls for o, i in zip(options, tight, strict=True)) <= small + 1e-9
    assert total_error(options, loose) == pytest.approx(sum(min(o.errors) * o.calls for o in options), abs=1e-9)
    assert total_error(options, loose) <= total_error(options, tight) + 1e-9


def test_budget_finds_the_best_choice_of_a_small_case() -> None:
    options = [Options((0.0, 0.2, 0.9), (1.0, 0.5, 0.1)), Options((0.0, 0.4, 0.5), (1.0, 0.5, 0.1))]
    assert solve_budget(options, 2.0) == [0, 0]
    assert solve_budget(options, 1.12) == [0, 2]
    assert solve_budget(options, 0.6) == [1, 2]
    assert solve_error(options, 0.25) == [1, 0]
    with pytest.raises(PlanError, match="no choice"):
        solve_budget(options, 0.1)


def test_paper_rule_is_equation_two_and_three() -> None:
    assert paper_rule([0.2, 0.9], [0.6, 0.1], lam=0.5, epsilon=1.0) == 0
    assert paper_rule([0.2, 0.05], [0.6, 0.4], lam=0.5, epsilon=0.3) == 1
    assert paper_rule([0.9, 0.9], [0.6, 0.4], lam=0.5, epsilon=1.0) is None


def test_candidates_are_different_and_sparse() -> None:
    grid = TokenGrid(24, 13, 16, 24)
    for device in ("cpu", "cuda"):
        found = default_candidates(grid, torch.device(device))
        assert found[0] == Dense()
        specs = [c for c in found[1:] if not isinstance(c, StripeShare)]
        assert all(density(spec, grid) < 0.6 for spec in specs)
        assert len({type(c) for c in found}) == 6
        assert len(set(found)) == len(found)


def test_stripes_take_the_columns_with_most_attention() -> None:
    mass = torch.zeros(GRID.video)
    mass[[3, 50, 200]] = torch.tensor([1.0, 3.0, 2.0])
    assert resolve_stripe(StripeShare(2 / GRID.video), mass, GRID).columns == (50, 200)


def test_costs_are_measured_for_every_spec() -> None:
    shape = Shape(1, HEADS, HEAD_DIM, torch.device("cpu"), torch.float32)
    costs = measure_costs([Skip(), Diagonal(0.3, 128)], GRID, shape, dense=sdpa, repeats=2)
    assert set(costs) == {Dense(), Skip(), Diagonal(0.3, 128)}
    assert all(cost > 0 for cost in costs.values())


def test_calibration_does_not_change_the_run_and_repeats_itself() -> None:
    generation = Generation()
    plain = generation()
    models = {"transformer": generation.model}
    first, result, _ = capture(models, generation, few_candidates, PHASES, CaptureSettings(rows=16))
    again, _, _ = capture(models, generation, few_candidates, PHASES, CaptureSettings(rows=16))
    assert torch.equal(result, plain)
    assert torch.equal(generation(), plain)
    part = first["transformer"]
    assert part.calls == {0: 1, 1: 3}
    assert len(part.scores) == 2 * 2 * HEADS
    scores = part.scores[1, 0, 0]
    assert scores.mean_errors()[0] == pytest.approx(0.0, abs=1e-9)
    assert all(error > 0 for error in scores.mean_errors()[1:])
    assert scores.errors == again["transformer"].scores[1, 0, 0].errors


def test_sampled_error_predicts_the_error_of_the_layer() -> None:
    """Sampled rows against all rows, for one head and one pattern, on the real activations."""
    generation = Generation()
    models = {"transformer": generation.model}
    few, _, _ = capture(models, generation, few_candidates, WHOLE_RUN, CaptureSettings(rows=64))
    every, _, _ = capture(models, generation, few_candidates, WHOLE_RUN, CaptureSettings(rows=GRID.video))
    for layer in range(2):
        a = few["transformer"].scores[0, layer, 0].mean_errors()
        b = every["transformer"].scores[0, layer, 0].mean_errors()
        for index in range(1, 5):
            assert a[index] == pytest.approx(b[index], rel=0.5)


def test_nan_and_unused_models_are_refused() -> None:
    generation = Generation()
    with pytest.raises(PlanError, match="never called control_branch"):
        capture(
            {"transformer": generation.model, "control_branch": tiny_transformer()},
            generation,
            few_candidates,
            PHASES,
            CaptureSettings(rows=4),
        )
    broken = Generation()
    with torch.no_grad():
        broken.model.transformer_blocks[1].attn1.to_v.weight.fill_(float("nan"))
    with pytest.raises(PlanError, match="layer 1 of transformer"):
        capture({"transformer": broken.model}, broken, few_candidates, PHASES, CaptureSettings(rows=4))
    assert "CogVideoXAttnProcessor2_0" in str(next(iter(broken.model.attn_processors.values())))


@pytest.mark.parametrize("goal", [Speedup(1.05), Psnr(45.0), PaperRule()])
def test_search_gives_a_plan_that_runs(goal: Speedup | Psnr | PaperRule) -> None:
    # Attention has to be a part of the run that a speed-up can come from.
    grid = TokenGrid(16, 5, 12, 14) if isinstance(goal, Speedup) else GRID
    generation = Generation(grid)
    before = generation()
    said: list[str] = []
    result = search_plan(
        {"transformer": generation.model},
        generation,
        goal,
        model_id="random",
        settings=quick(clock=time.process_time),
        say=said.append,
    )
    record = result.plan.record
    assert result.plan.model == "random"
    assert result.plan.grid == grid
    assert record.criterion == type(goal).__name__.lower()
    assert record.latency_ms
    assert said
    if result.plan.is_dense:
        assert "do not sparsify" in record.note
    else:
        assert record.measured_psnr is not None
    assert torch.equal(generation(), before)


def test_speedup_beyond_the_limit_is_refused() -> None:
    generation = Generation()
    with pytest.raises(PlanError, match="cannot be reached"):
        search_plan(
            {"transformer": generation.model},
            generation,
            Speedup(50.0),
            model_id="random",
            settings=quick(clock=FakeClock()),
        )


def test_nothing_gained_means_dense() -> None:
    generation = Generation()
    result = search_plan(
        {"transformer": generation.model},
        generation,
        Psnr(99.0),
        model_id="random",
        settings=quick(clock=FakeClock()),
    )
    assert result.plan.is_dense
    assert "do not sparsify" in result.plan.record.note


@pytest.mark.parametrize("make", [lambda: Speedup(1.0), lambda: Speedup(float("nan")), lambda: Psnr(-3.0)])
def test_impossible_goals_are_refused(make: object) -> None:
    with pytest.raises(PlanError, match="expected"):
        make()  # type: ignore[operator]


def test_quality_measures() -> None:
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (2, 32, 32, 3), generator=generator, dtype=torch.uint8)
    other = (video.int() + 1).clamp(0, 255).to(torch.uint8)
    assert psnr(video, video) == float("inf")
    assert 47.5 < psnr(other, video) < 49
    assert ssim(video, video) == pytest.approx(1.0)
    assert 0.9 < ssim(other, video) < 1.0
    value, note = lpips_distance(video, video)
    assert (value is None) == note.startswith("LPIPS left out")
    with pytest.raises(PlanError, match="different shapes"):
        psnr(video[:1], video)
    with pytest.raises(PlanError, match="not numbers"):
        psnr(torch.full((2,), float("nan")), torch.zeros(2))
