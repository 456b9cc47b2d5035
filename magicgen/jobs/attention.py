"""``--attention``: which plan a run follows, checked before the model loads and taken out again afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, assert_never

from magicgen.errors import PlanError
from magicgen.jobs.inputs import ClipShape
from magicgen.weights.facts import ModelFacts
from magicgen.weights.sources import ModelSource, PipelineFolder, ReleasedMagicMotion


def plan_file(attention: str, source: ModelSource) -> Path | None:
    """The plan that ``dense``, ``auto`` or a path stands for; None for dense attention.

    Raises:
        PlanError: there is no such file.
    """
    match attention:
        case "dense":
            return None
        case "auto":
            brought = _folder(source) / "plan.json"
            return brought if brought.is_file() else None
        case path:
            if not Path(path).is_file():
                raise PlanError(f"--attention {path}: there is no such plan. Expected dense, auto or a PLAN.json.")
            return Path(path)


def check_plan(attention: str, path: Path, facts: ModelFacts, shape: ClipShape) -> None:
    """Make sure that a plan fits a model and a clip; the plan that a model brings along is carried over to other clips.

    Raises:
        PlanError: the file is no plan, or is for another model or clip.
    """
    from magicgen.attention.plan import check_fit, check_grid
    from magicgen.attention.plan_file import read_plan
    from magicgen.attention.tokens import TokenGrid

    plan, config, step = read_plan(path), facts.transformer, facts.size_step
    check_fit(
        plan,
        "transformer",
        layers=int(config["num_layers"]),
        heads=int(config["num_attention_heads"]),
        head_dim=int(config["attention_head_dim"]),
    )
    if attention != "auto":
        text = int(config.get("max_text_seq_length", 226))
        grid = TokenGrid(text, (shape.frames - 1) // 4 + 1, shape.height // step, shape.width // step)
        check_grid(plan, grid)


@contextmanager
def planned_attention(attention: str, source: ModelSource, pipeline: Any) -> Iterator[None]:
    """Run by the plan inside the block; the pipeline is as before afterwards.

    Raises:
        PlanError: the plan is for another model or clip size.
    """
    path = plan_file(attention, source)
    if path is None:
        yield
        return
    from magicgen.attention.apply import enable_sparse_attention
    from magicgen.attention.plan_file import read_plan

    plan = read_plan(path)
    rescale = attention == "auto"
    with enable_sparse_attention(pipeline.transformer, plan, control_branch=pipeline.branch, rescale=rescale):
        yield


def _folder(source: ModelSource) -> Path:
    match source:
        case PipelineFolder(_, folder):
            return folder
        case ReleasedMagicMotion(_, base, _):
            return base.parent
        case _:
            assert_never(source)
