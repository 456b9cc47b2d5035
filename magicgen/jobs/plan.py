"""``magicgen plan``: load a model, make a calibration clip, search."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from magicgen.control.tracks import MaskLevel
from magicgen.jobs.calibration import generation, plan_models, synthetic_clip
from magicgen.jobs.loading import LoadOptions, load_pipeline
from magicgen.weights import check_grid, resolve_model
from magicgen.weights.facts import model_facts

if TYPE_CHECKING:
    from magicgen.attention.search import Goal, SearchResult, SearchSettings


@dataclass(frozen=True)
class PlanRequest:
    """For which model and clip a plan is wanted; None means what the model makes best."""

    model: str = "tiny"
    frames: int | None = None
    height: int | None = None
    width: int | None = None
    steps: int | None = None
    seed: int = 0
    device: str | None = None
    threads: int | None = None


def find_plan(
    request: PlanRequest, goal: "Goal", settings: "SearchSettings", say: Callable[[str], None]
) -> "SearchResult":
    """Search a plan on a synthetic scene that no training has seen.

    Raises:
        MagicGenError: no such model, a size that it cannot make, a goal that cannot be reached.
    """
    source = resolve_model(request.model)
    facts = model_facts(source)
    shape = (request.frames or facts.frames, request.height or facts.height, request.width or facts.width)
    check_grid(facts.transformer, *shape, interpolate_positions=False)

    import torch

    from magicgen.attention.search import search_plan

    if request.threads is not None:
        torch.set_num_threads(request.threads)
    pipeline = load_pipeline(source, MaskLevel(), LoadOptions(device=request.device))
    clip = synthetic_clip(*shape)
    say(f"calibrating {source.name} on {shape[0]} frames of {shape[1]}x{shape[2]}")
    run = generation(pipeline, clip, steps=request.steps, seed=request.seed)
    return search_plan(plan_models(pipeline), run, goal, model_id=source.name, settings=settings, say=say)
