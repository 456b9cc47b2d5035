"""Which attention a run uses: dense, a plan of the user's, or a shipped plan where it fits and gains."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from magicgen.attention.apply import CONTROL_BRANCH, TRANSFORMER, attention_layers
from magicgen.attention.plan import SparsePlan, check_fit, check_grid, rescale_plan
from magicgen.attention.plan_file import read_plan
from magicgen.attention.tokens import TokenGrid
from magicgen.errors import PlanError

SHIPPED_PLANS = Path(__file__).resolve().parents[2] / "configs" / "attention"
"""Plans that come with the project."""


@dataclass(frozen=True)
class AttentionChoice:
    """The plan to enable (None: dense) and one sentence that says what was chosen and why."""

    plan: SparsePlan | None
    reason: str


def choose_attention(
    wanted: str,
    *,
    model_id: str,
    transformer: nn.Module,
    grid: TokenGrid,
    control_branch: nn.Module | None = None,
    rescale: bool = False,
    folder: Path = SHIPPED_PLANS,
) -> AttentionChoice:
    """Settles ``--attention dense|auto|PLAN.json`` before anything is generated.

    ``auto`` takes the shipped plan of ``model_id`` for this grid and kind of device that was measured to gain most, and
    dense attention if there is none. Raises PlanError if a named plan cannot be read or is for another model or grid.
    """
    models = {TRANSFORMER: transformer, **({CONTROL_BRANCH: control_branch} if control_branch is not None else {})}
    if wanted == "dense":
        return AttentionChoice(None, "dense attention, as asked")
    if wanted == "auto":
        return _best_shipped(model_id, models, grid, _device_of(transformer), folder)
    plan = read_plan(wanted)
    if rescale:
        plan = rescale_plan(plan, grid)
    check_grid(plan, grid)
    _check_models(plan, models)
    if plan.is_dense:
        return AttentionChoice(None, f"dense attention: the plan {wanted} says {plan.record.note or 'so'}")
    return AttentionChoice(plan, f"sparse attention by {wanted}: density {plan.density:.2f}")


def token_grid(transformer: nn.Module, *, text: int, frames: int, height: int, width: int) -> TokenGrid:
    """The grid of a run: ``frames``, ``height`` and ``width`` of the latents, ``text`` tokens of the prompt."""
    config: Any = transformer.config
    patch, patch_frames = config.patch_size, config.patch_size_t or 1
    return TokenGrid(text, -(-frames // patch_frames), height // patch, width // patch)


def _best_shipped(
    model_id: str, models: dict[str, nn.Module], grid: TokenGrid, device: torch.device, folder: Path
) -> AttentionChoice:
    best: tuple[float, Path, SparsePlan] | None = None
    seen: list[str] = []
    for path in sorted(folder.glob("*.json")):
        plan = read_plan(path)
        refusal = _refusal(plan, model_id, models, grid, device)
        if refusal is not None:
            seen.append(f"{path.name}: {refusal}")
            continue
        gain = plan.record.measured_speedup or 0.0
        if best is None or gain > best[0]:
            best = (gain, path, plan)
    if best is None:
        return AttentionChoice(None, f"dense attention: no shipped plan fits and gains ({'; '.join(seen) or 'none'})")
    gain, path, plan = best
    return AttentionChoice(
        plan, f"sparse attention by the shipped plan {path.name}: measured {gain:.2f}x, density {plan.density:.2f}"
    )


def _refusal(
    plan: SparsePlan, model_id: str, models: dict[str, nn.Module], grid: TokenGrid, device: torch.device
) -> str | None:
    if plan.model != model_id:
        return f"for {plan.model}"
    if not plan.grid.same_video(grid):
        return f"for {plan.grid.frames}x{plan.grid.height}x{plan.grid.width} video tokens"
    if plan.record.device.startswith("cpu") != (device.type == "cpu"):
        return f"measured on {plan.record.device}"
    if plan.is_dense:
        return plan.record.note or "dense"
    if (plan.record.measured_speedup or 0.0) <= 1.0:
        return "no measured gain"
    try:
        _check_models(plan, models)
    except PlanError as error:
        return str(error)
    return None


def _check_models(plan: SparsePlan, models: dict[str, nn.Module]) -> None:
    for name, model in models.items():
        if name == CONTROL_BRANCH and name not in plan.parts:
            continue
        layers = attention_layers(model)
        first = layers[0]
        check_fit(plan, name, layers=len(layers), heads=first.heads, head_dim=first.to_q.out_features // first.heads)


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
