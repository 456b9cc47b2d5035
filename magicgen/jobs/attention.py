"""``--attention``: which plan a run follows, checked before the model loads and taken out again afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from magicgen.errors import PlanError
from magicgen.jobs.inputs import ClipShape
from magicgen.weights.facts import ModelFacts
from magicgen.weights.fingerprint import weights_fingerprint
from magicgen.weights.grid import SPATIAL, TEMPORAL
from magicgen.weights.sources import ModelSource, PipelineFolder, ReleasedMagicMotion

if TYPE_CHECKING:
    from magicgen.attention.plan import SparsePlan
    from magicgen.attention.tokens import TokenGrid


@dataclass(frozen=True)
class Attention:
    """What a run does about attention: a plan (None: dense), and why."""

    plan: "SparsePlan | None"
    reason: str


def settle_attention(
    wanted: str, source: ModelSource, facts: ModelFacts, shape: ClipShape, device: str | None
) -> Attention:
    """``dense``, ``auto`` or a plan file -> what the run will do; nothing is loaded.

    ``auto`` looks at the plans that come with magicgen and at ``plan.json`` in the model's folder.

    Raises:
        PlanError: no such file, no plan, or a plan for another model or clip.
    """
    if wanted == "dense":
        return Attention(None, "dense attention, as asked")
    if wanted != "auto" and not Path(wanted).is_file():
        raise PlanError(f"--attention {wanted}: there is no such plan. Expected dense, auto or a PLAN.json.")
    import torch

    from magicgen.attention.auto import SHIPPED_PLANS, choose_attention

    config = facts.transformer
    heads, head_dim = int(config["num_attention_heads"]), int(config["attention_head_dim"])
    parts = {"transformer": int(config["num_layers"]), "control_branch": facts.branch_layers}
    brought = _folder(source) / "plan.json"
    choice = choose_attention(
        wanted,
        model_id=source.name,
        weights=weights_fingerprint(source),
        shapes={name: (layers, heads, head_dim) for name, layers in parts.items() if layers},
        grid=clip_grid(facts, shape),
        device=torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")).type,
        shipped=[*sorted(SHIPPED_PLANS.glob("*.json")), *([brought] if brought.is_file() else [])],
    )
    return Attention(choice.plan, choice.reason)


def clip_grid(facts: ModelFacts, shape: ClipShape) -> "TokenGrid":
    """The tokens of a clip of ``shape`` (pixels) in a model."""
    from magicgen.attention.auto import token_grid

    return token_grid(
        facts.transformer,
        text=int(facts.transformer.get("max_text_seq_length", 226)),
        frames=(shape.frames - 1) // TEMPORAL + 1,
        height=shape.height // SPATIAL,
        width=shape.width // SPATIAL,
    )


@contextmanager
def planned_attention(attention: Attention, pipeline: Any) -> Iterator[dict[str, Any]]:
    """Run by the plan inside the block; the pipeline is as before afterwards.

    Yields:
        A record for the sidecar: what was chosen and why and, after the block, what ran.

    Raises:
        PlanError: the plan is for another model or clip size.
    """
    record: dict[str, Any] = {"choice": attention.reason}
    if attention.plan is None:
        yield record
        return
    from magicgen.attention.apply import enable_sparse_attention

    with enable_sparse_attention(pipeline.transformer, attention.plan, control_branch=pipeline.branch) as handle:
        yield record
        record["report"] = handle.report().as_dict()


def _folder(source: ModelSource) -> Path:
    match source:
        case PipelineFolder(_, folder):
            return folder
        case ReleasedMagicMotion(_, base, _):
            return base.parent
        case _:
            assert_never(source)
