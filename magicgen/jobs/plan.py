"""``magicgen plan``: load a model, make a calibration clip, search."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from magicgen.config import StrictModel
from magicgen.errors import PlanError
from magicgen.jobs.attention import clip_grid
from magicgen.jobs.calibration import calibration_clip, generation, plan_models
from magicgen.jobs.inputs import ClipShape
from magicgen.jobs.loading import LoadOptions, load_pipeline
from magicgen.weights import check_grid, resolve_model
from magicgen.weights.facts import model_facts
from magicgen.weights.fingerprint import weights_fingerprint

if TYPE_CHECKING:
    from magicgen.attention.plan import SparsePlan
    from magicgen.attention.search import Goal, SearchResult, SearchSettings

Positive = Annotated[int, Field(gt=0)]


class PlanRequest(StrictModel):
    """What is wanted of a search, and where the plan goes; the files in ``configs/attention`` are of this kind.

    None means what the model makes best (clip, steps), or what this machine has (device, threads). ``image`` and
    ``trajectory``: a photo of one's own to calibrate on, in place of a synthetic scene. ``speedup``, ``psnr`` and
    ``epsilon`` are goals of which one may be given; without any the goal is 30 dB. ``clock``: "wall", or "cpu" for
    processor time, which with one thread bears a busy machine.
    """

    model: str = "tiny"
    frames: Positive | None = None
    height: Positive | None = None
    width: Positive | None = None
    steps: Positive | None = None
    image: Path | None = None
    trajectory: Path | None = None
    speedup: float | None = None
    psnr: float | None = None
    epsilon: float | None = None
    lam: float = 0.5
    dense_early: bool = False
    rows: Annotated[int, Field(ge=8)] = 64
    seed: Annotated[int, Field(ge=0)] = 0
    device: str | None = None
    kernel: str = "auto"
    dense_backend: str = "sdpa"
    threads: Positive | None = None
    clock: Literal["wall", "cpu"] = "wall"
    out: Path | None = None

    def goal(self) -> "Goal":
        """The goal. Raises PlanError if there are several or it cannot be one."""
        from magicgen.attention.search import PaperRule, Psnr, Speedup

        given = [name for name in ("speedup", "psnr", "epsilon") if getattr(self, name) is not None]
        if len(given) > 1:
            raise PlanError(f"{' and '.join(f'--{name}' for name in given)} are different goals; give one of them")
        if self.speedup is not None:
            return Speedup(self.speedup)
        if self.epsilon is not None:
            return PaperRule(self.lam, self.epsilon)
        return Psnr(30.0 if self.psnr is None else self.psnr)

    def search_settings(self) -> "SearchSettings":
        """How the search goes about it."""
        from magicgen.attention.capture import CaptureSettings
        from magicgen.attention.search import SearchSettings
        from magicgen.attention.timing import CLOCKS

        return SearchSettings(
            capture=CaptureSettings(rows=self.rows, seed=self.seed),
            dense_early=self.dense_early,
            kernel=self.kernel,
            dense=self.dense_backend,
            clock=CLOCKS[self.clock],
        )


def find_plan(request: PlanRequest, say: Callable[[str], None]) -> "SearchResult":
    """Search a plan on the request's photo, or on a synthetic scene that no training has seen.

    Raises:
        MagicGenError: no such model or photo, a size that it cannot make, a goal that cannot be reached.
    """
    goal, settings = request.goal(), request.search_settings()
    source = resolve_model(request.model)
    facts = model_facts(source)
    shape = ClipShape(request.frames or facts.frames, request.height or facts.height, request.width or facts.width)
    check_grid(facts.transformer, shape.frames, shape.height, shape.width, interpolate_positions=False)
    clip = calibration_clip(shape, request.image, request.trajectory)

    import torch

    from magicgen.attention.search import search_plan

    if request.threads is not None:
        torch.set_num_threads(request.threads)
    pipeline = load_pipeline(source, clip.level, LoadOptions(device=request.device))
    say(f"calibrating {source.name} on {shape.frames} frames of {shape.height}x{shape.width}: {clip.name}")
    run = generation(pipeline, clip, steps=request.steps, seed=request.seed)
    found = search_plan(plan_models(pipeline), run, goal, model_id=source.name, settings=settings, say=say)
    told = {"clip": clip.name, "steps": request.steps or facts.steps, "clock": request.clock}
    settled = {"settings": {**found.plan.record.settings, **told}, "weights": weights_fingerprint(source)}
    record = found.plan.record.model_copy(update=settled)
    return replace(found, plan=replace(found.plan, record=record))


def carry_over(plan: "SparsePlan", shape: ClipShape, model: str | None = None) -> "SparsePlan":
    """A plan re-scaled to another clip size of its model; its speed and quality there are not known until measured.

    Raises:
        MagicGenError: no such model, or a size that it cannot make.
    """
    from magicgen.attention.plan import rescale_plan

    facts = model_facts(resolve_model(model or plan.model))
    check_grid(facts.transformer, shape.frames, shape.height, shape.width, interpolate_positions=False)
    return rescale_plan(plan, clip_grid(facts, shape))
