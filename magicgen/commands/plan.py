"""``magicgen plan``: find a sparse attention plan; ``magicgen plan show``: read one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magicgen.commands.output import as_json, note, results
from magicgen.errors import PlanError

if TYPE_CHECKING:
    from magicgen.attention.search import Goal

Model = Annotated[str, typer.Option(help="A preset (tiny), a local folder, or a Hub id.")]
Out = Annotated[Path | None, typer.Option(help="The plan to write (.json).", show_default=False)]
Frames = Annotated[int | None, typer.Option(min=1, help="Frames; by default those that the model makes best.")]
Height = Annotated[int | None, typer.Option(min=16, help="Height in pixels.")]
Width = Annotated[int | None, typer.Option(min=16, help="Width in pixels.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Denoising steps of a calibration run.")]
Faster = Annotated[float | None, typer.Option("--speedup", help="Least error at this speed-up, end to end.")]
Decibels = Annotated[float | None, typer.Option("--psnr", help="Fastest plan that keeps this PSNR against dense.")]
Epsilon = Annotated[float | None, typer.Option("--epsilon", help="Sparse-vDiT's own rule with this epsilon instead.")]
Lambda = Annotated[float, typer.Option("--lambda", help="Its weight of density.")]
DenseEarly = Annotated[bool, typer.Option("--dense-early", help="Keep the first, noisiest phase dense.")]
Rows = Annotated[int, typer.Option(min=8, help="Query rows sampled per head and call.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of noise and of sampled rows.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; by default the GPU if there is one.")]
Kernel = Annotated[str, typer.Option(help="auto, slices, flex, triton or reference.")]
DenseBackend = Annotated[str, typer.Option("--dense-backend", help="sdpa, flash_attention_3, xformers, ...")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads, where costs have to be for that many.")]
PlanPath = Annotated[Path, typer.Argument(help="A plan.json.", show_default=False)]
Picture = Annotated[Path | None, typer.Option("--out", help="The picture to write (.png).", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON.")]

plan = typer.Typer(help="Find or read a sparse attention plan.", invoke_without_command=True)


@plan.callback(invoke_without_command=True)
def search(
    context: typer.Context,
    model: Model = "tiny",
    out: Out = None,
    frames: Frames = None,
    height: Height = None,
    width: Width = None,
    steps: Steps = None,
    speedup: Faster = None,
    psnr: Decibels = None,
    epsilon: Epsilon = None,
    lam: Lambda = 0.5,
    dense_early: DenseEarly = False,
    rows: Rows = 64,
    seed: Seed = 0,
    device: Device = None,
    kernel: Kernel = "auto",
    dense_backend: DenseBackend = "sdpa",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Search, offline and once, how each attention head of a model is best computed (by default for 30 dB)."""
    if context.invoked_subcommand is not None:
        return
    from magicgen.attention.capture import CaptureSettings
    from magicgen.attention.plan_file import write_plan
    from magicgen.attention.search import SearchSettings
    from magicgen.jobs.plan import PlanRequest, find_plan
    from magicgen.media import check_output

    if out is None:
        raise PlanError("--out is missing; expected the plan to write, as in magicgen plan --out plan.json")
    target = check_output(out, (".json",))
    goal = _goal(speedup, psnr, epsilon, lam)
    settings = SearchSettings(
        capture=CaptureSettings(rows=rows, seed=seed), dense_early=dense_early, kernel=kernel, dense=dense_backend
    )
    request = PlanRequest(model, frames, height, width, steps, seed, device, threads)
    result = find_plan(request, goal, settings, note)
    write_plan(target, result.plan)
    if json:
        as_json({"plan": target, "density": result.plan.density, **result.plan.record.model_dump()})
    else:
        results([target])


@plan.command()
def show(path: PlanPath, out: Picture = None, json: Json = False) -> None:
    """Print a plan as a table; with --out also draw its layer x head map."""
    from magicgen.attention.plan_file import read_plan
    from magicgen.attention.show import draw_plan, plan_table
    from magicgen.media import check_output, write_image

    found = read_plan(path)
    if out is not None:
        write_image(check_output(out, (".png",)), draw_plan(found))
    if json:
        as_json({"model": found.model, "grid": vars(found.grid), "density": found.density, **found.record.model_dump()})
    else:
        print(plan_table(found))
    if out is not None:
        note(f"drawn in {out}")


def _goal(speedup: float | None, psnr: float | None, epsilon: float | None, lam: float) -> "Goal":
    from magicgen.attention.search import PaperRule, Psnr, Speedup

    given = [
        name for name, value in (("--speedup", speedup), ("--psnr", psnr), ("--epsilon", epsilon)) if value is not None
    ]
    if len(given) > 1:
        raise PlanError(f"{' and '.join(given)} are different goals; give one of them")
    if speedup is not None:
        return Speedup(speedup)
    if epsilon is not None:
        return PaperRule(lam, epsilon)
    return Psnr(30.0 if psnr is None else psnr)
