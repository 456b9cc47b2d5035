"""Which attention a run uses: dense, a plan of the user's, or a shipped plan where it fits and gains."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magicgen.attention.plan import SparsePlan, check_fit, check_grid
from magicgen.attention.plan_file import read_plan
from magicgen.attention.tokens import TokenGrid
from magicgen.errors import PlanError

SHIPPED_PLANS = Path(__file__).resolve().parents[1] / "presets" / "attention"
"""Plans that come with the package, found by the requests in the project's ``configs/attention``."""

Shapes = Mapping[str, tuple[int, int, int]]
"""Layers, heads and head dimension of "transformer" and, where a run has one, "control_branch"."""


@dataclass(frozen=True)
class AttentionChoice:
    """The plan to enable (None: dense) and one sentence that says what was chosen and why."""

    plan: SparsePlan | None
    reason: str


def choose_attention(
    wanted: str,
    *,
    model_id: str,
    shapes: Shapes,
    grid: TokenGrid,
    device: str,
    shipped: Iterable[Path],
    weights: str = "",
) -> AttentionChoice:
    """Settles ``--attention dense|auto|PLAN.json``, from configurations alone: nothing has to be loaded.

    Args:
        wanted: "dense", "auto" or a plan file. ``auto`` takes the shipped plan of ``model_id`` for this grid and kind
            of device that was measured to gain most, and dense attention if there is none.
        model_id: the name that shipped plans carry.
        shapes: what the run's models look like.
        grid: the run's tokens.
        device: "cpu", "cuda", ...
        shipped: plan files that ``auto`` looks at.
        weights: fingerprint of the run's weights, "" if unknown; where a plan has one as well, it decides whose plan it
            is, and the name does not matter.

    Raises:
        PlanError: a named plan cannot be read or is for another model, other weights or another grid.
    """
    if wanted == "dense":
        return AttentionChoice(None, "dense attention, as asked")
    if wanted == "auto":
        return _best_shipped(model_id, weights, shapes, grid, device, shipped)
    plan = read_plan(wanted)
    check_shapes(plan, shapes)
    _check_weights(plan, model_id, weights)
    check_grid(plan, grid)
    if plan.is_dense:
        return AttentionChoice(None, f"dense attention: {plan.record.note or f'the plan {wanted} says so'}")
    return AttentionChoice(plan, f"sparse attention by {wanted}: density {plan.density:.2f}")


def check_shapes(plan: SparsePlan, shapes: Shapes) -> None:
    """Raises PlanError unless the plan is for models of these shapes; a control branch without a part stays dense."""
    for name, (layers, heads, head_dim) in shapes.items():
        if name in plan.parts or name == "transformer":
            check_fit(plan, name, layers=layers, heads=heads, head_dim=head_dim)


def _check_weights(plan: SparsePlan, model_id: str, weights: str) -> None:
    found_on = plan.record.weights
    if found_on and weights and found_on != weights:
        raise PlanError(
            f"the plan was found on the weights {found_on} of {plan.model}; those of {model_id} are {weights}, whose "
            "heads may look elsewhere. Search a plan for this model with 'magicgen plan'."
        )


def token_grid(config: Any, *, text: int, frames: int, height: int, width: int) -> TokenGrid:
    """The grid of a run: ``frames``, ``height`` and ``width`` of the latents, ``text`` tokens of the prompt."""
    patch, patch_frames = config["patch_size"], config.get("patch_size_t") or 1
    return TokenGrid(text, -(-frames // patch_frames), height // patch, width // patch)


def _best_shipped(
    model_id: str, weights: str, shapes: Shapes, grid: TokenGrid, device: str, paths: Iterable[Path]
) -> AttentionChoice:
    best: tuple[float, Path, SparsePlan] | None = None
    refused: list[str] = []
    for path in paths:
        plan = read_plan(path)
        refusal = _refusal(plan, model_id, weights, shapes, grid, device)
        gain = plan.record.measured_speedup or 0.0
        if refusal is not None:
            refused.append(f"{path.name}: {refusal}")
        elif best is None or gain > best[0]:
            best = (gain, path, plan)
    if best is None:
        reasons = f" ({'; '.join(refused)})" if refused else ""
        return AttentionChoice(None, f"dense attention: no attention plan for {model_id} fits and gains{reasons}")
    gain, path, plan = best
    steps = plan.record.settings.get("steps")
    where = f" in {steps} steps" if steps is not None else ""
    return AttentionChoice(
        plan,
        f"sparse attention by the shipped plan {path.name}: measured {gain:.2f}x{where}, density {plan.density:.2f}",
    )


def _refusal(plan: SparsePlan, model_id: str, weights: str, shapes: Shapes, grid: TokenGrid, device: str) -> str | None:
    same_weights = plan.record.weights == weights if plan.record.weights and weights else None
    if same_weights is None and plan.model != model_id:
        return f"for {plan.model}"
    if same_weights is False:
        return f"found on other weights ({plan.record.weights} of {plan.model})"
    if not plan.grid.same_video(grid):
        return f"for {plan.grid.frames}x{plan.grid.height}x{plan.grid.width} video tokens"
    if plan.record.device.startswith("cpu") != (device == "cpu"):
        return f"measured on {plan.record.device}"
    if plan.is_dense:
        return plan.record.note or "dense"
    if (plan.record.measured_speedup or 0.0) <= 1.0:
        return "no measured gain"
    try:
        check_shapes(plan, shapes)
    except PlanError as error:
        return str(error)
    return None
