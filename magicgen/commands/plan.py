"""``magicgen plan``: find a sparse attention plan; ``plan show`` reads one, ``plan rescale`` carries it over."""

from pathlib import Path
from typing import Annotated

import typer

from magicgen.commands.output import as_json, note, results
from magicgen.errors import PlanError

Config = Annotated[
    Path | None, typer.Option(help="A request such as those in configs/attention; options given here come before it.")
]
Model = Annotated[str | None, typer.Option(help="A preset (by default tiny), a local folder, or a Hub id.")]
Out = Annotated[Path | None, typer.Option(help="The plan to write (.json).")]
Frames = Annotated[int | None, typer.Option(min=1, help="Frames; by default those that the model makes best.")]
Height = Annotated[int | None, typer.Option(min=16, help="Height in pixels.")]
Width = Annotated[int | None, typer.Option(min=16, help="Width in pixels.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Denoising steps of a calibration run.")]
Image = Annotated[Path | None, typer.Option(help="A photo to calibrate on; by default a synthetic scene.")]
Trajectory = Annotated[Path | None, typer.Option(help="Its trajectory.")]
Faster = Annotated[float | None, typer.Option("--speedup", help="Goal: least error at this speed-up, end to end.")]
Decibels = Annotated[
    float | None, typer.Option("--psnr", help="Goal: fastest plan of this PSNR against dense (the usual one, 30).")
]
Epsilon = Annotated[float | None, typer.Option("--epsilon", help="Goal: Sparse-vDiT's own rule with this epsilon.")]
Lambda = Annotated[float | None, typer.Option("--lambda", help="Its weight of density; by default 0.5.")]
DenseEarly = Annotated[bool | None, typer.Option("--dense-early", help="Keep the first, noisiest phase dense.")]
Rows = Annotated[int | None, typer.Option(min=8, help="Query rows sampled per head and call; by default 64.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of noise and of sampled rows; by default 0.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; by default the GPU if there is one.")]
Kernel = Annotated[str | None, typer.Option(help="auto, slices, flex, triton or reference.")]
DenseBackend = Annotated[str | None, typer.Option("--dense-backend", help="sdpa, flash_attention_3, xformers, ...")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads, where costs have to be for that many.")]
Clock = Annotated[str | None, typer.Option(help="wall, or cpu: processor time, for a busy machine with --threads 1.")]
PlanPath = Annotated[Path, typer.Argument(help="A plan.json.", show_default=False)]
Picture = Annotated[Path | None, typer.Option("--out", help="The picture to write (.png).", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON.")]

plan = typer.Typer(help="Find, read or carry over a sparse attention plan.", invoke_without_command=True)


@plan.callback(invoke_without_command=True)
def search(
    context: typer.Context,
    config: Config = None,
    model: Model = None,
    out: Out = None,
    frames: Frames = None,
    height: Height = None,
    width: Width = None,
    steps: Steps = None,
    image: Image = None,
    trajectory: Trajectory = None,
    speedup: Faster = None,
    psnr: Decibels = None,
    epsilon: Epsilon = None,
    lam: Lambda = None,
    dense_early: DenseEarly = None,
    rows: Rows = None,
    seed: Seed = None,
    device: Device = None,
    kernel: Kernel = None,
    dense_backend: DenseBackend = None,
    threads: Threads = None,
    clock: Clock = None,
    json: Json = False,
) -> None:
    """Search, offline and once, how each attention head of a model is best computed (by default for 30 dB)."""
    if context.invoked_subcommand is not None:
        return
    from magicgen.attention.plan_file import write_plan
    from magicgen.config import check_config, read_yaml
    from magicgen.jobs.plan import PlanRequest, find_plan
    from magicgen.media import check_output

    values, lines = ({}, {}) if config is None else read_yaml(config)
    options = {name: value for name, value in context.params.items() if name not in ("config", "json")}
    given = {
        name: str(value) if isinstance(value, Path) else value for name, value in options.items() if value is not None
    }
    request = check_config({**(values or {}), **given}, PlanRequest, source=str(config or "command line"), lines=lines)
    if request.out is None:
        raise PlanError("--out is missing; expected the plan to write, as in magicgen plan --out plan.json")
    target = check_output(request.out, (".json",))
    result = find_plan(request, note)
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


@plan.command()
def rescale(
    path: PlanPath,
    out: Annotated[Path, typer.Option(help="The plan to write (.json).", show_default=False)],
    frames: Annotated[int, typer.Option(min=1, help="Frames of the clip.", show_default=False)],
    height: Annotated[int, typer.Option(min=16, help="Its height in pixels.", show_default=False)],
    width: Annotated[int, typer.Option(min=16, help="Its width in pixels.", show_default=False)],
    model: Annotated[str | None, typer.Option(help="Where the plan's model lies, if its name does not say.")] = None,
) -> None:
    """Carry a plan over to another clip size of its model; what it gains and costs there is not measured."""
    from magicgen.attention.plan_file import read_plan, write_plan
    from magicgen.jobs.inputs import ClipShape
    from magicgen.jobs.plan import carry_over
    from magicgen.media import check_output

    target = check_output(out, (".json",))
    write_plan(target, carry_over(read_plan(path), ClipShape(frames, height, width), model))
    results([target])
