"""``magicgen-data build`` and ``refilter``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from data_tools.settings import DataSettings

if TYPE_CHECKING:
    from data_tools.build import Engine

Inputs = Annotated[list[Path], typer.Argument(help="Videos, or folders of them.", show_default=False)]
Out = Annotated[Path, typer.Option(help="The dataset's folder; a stopped build goes on there.", show_default=False)]
Config = Annotated[Path | None, typer.Option(help="A YAML file such as those in configs/data/.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a key: --set build.clips.max_frames=49.")]
EngineName = Annotated[
    Literal["local", "inline", "ray"],
    typer.Option(help="Processes on this machine, this process alone (for debugging), or a Ray cluster."),
]
Address = Annotated[str | None, typer.Option(help="Of the Ray cluster; without it one is started here.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Workers; by default one a core.")]
ShardText = Annotated[str, typer.Option("--shard", help="Build part I of N of the inputs: I/N.")]
Resume = Annotated[bool, typer.Option("--resume/--no-resume", help="Go on in a used folder, or refuse it.")]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Try quarantined videos and failed clips again.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, with time and disk; write nothing.")]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON.")]
Folder = Annotated[Path, typer.Argument(help="The folder of a dataset.", show_default=False)]


def load_settings(config: Path | None, overrides: list[str] | None) -> DataSettings:
    """The settings of a file, or the defaults, with overrides."""
    from magicgen.config import apply_override, check_config, load_config

    if config is not None:
        return load_config(config, DataSettings, overrides or ())
    values: dict[str, object] = {}
    for override in overrides or ():
        apply_override(values, override)
    return check_config(values, DataSettings, source="the settings", overrides=overrides or ())


def build(
    inputs: Inputs,
    out: Out,
    config: Config = None,
    overrides: Overrides = None,
    engine: EngineName = "local",
    address: Address = None,
    workers: Workers = None,
    shard: ShardText = "0/1",
    resume: Resume = True,
    retry_failed: Retry = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Turn raw videos into a filtered, annotated dataset. What cannot be used is named, recorded and skipped; the exit
    code is then 1."""
    from data_tools.build import BuildRequest
    from data_tools.build import build as run_build
    from data_tools.inputs import parse_shard
    from magicgen.errors import DatasetError
    from magicgen.progress import TerminalProgress

    settings = load_settings(config, overrides)
    if workers is not None:
        settings = settings.model_copy(update={"run": settings.run.model_copy(update={"workers": workers})})
    request = BuildRequest(inputs, out, settings, parse_shard(shard), retry_failed)
    if dry_run:
        from data_tools.estimate import plan_text

        print(plan_text(request))
        return
    if not resume and (out / "state").exists():
        raise DatasetError(f"{out} already holds a build. Leave out --no-resume to go on, or choose another --out.")
    with TerminalProgress(enabled=not json) as report:
        result = run_build(request, _engine(engine, settings, out.resolve(), address), report)
    _tell(result, out, json)
    if result.problems:
        raise typer.Exit(1)


def _engine(name: str, settings: DataSettings, root: Path, address: str | None) -> "Engine":
    match name:
        case "ray":
            from data_tools.ray_engine import RayEngine

            return RayEngine(settings, root, address)
        case "inline":
            from data_tools.inline import InlineEngine
            from data_tools.work import Work

            return InlineEngine(Work(settings.build, root))
        case _:
            from data_tools.build import local_engine

            return local_engine(settings, root)


def refilter(folder: Folder, config: Config = None, overrides: Overrides = None, json: Json = False) -> None:
    """Apply other thresholds to a finished dataset; nothing is computed again. Only 'thresholds' of the file is read;
    without a file, --set changes the dataset's own thresholds."""
    from data_tools.build import BuildResult
    from data_tools.build import refilter as run_refilter
    from data_tools.dataset import read_index
    from magicgen.config import apply_override, check_config

    if config is not None:
        settings = load_settings(config, overrides)
    else:
        values = {"thresholds": read_index(folder).thresholds.model_dump(mode="json")}
        for override in overrides or ():
            apply_override(values, override)
        settings = check_config(values, DataSettings, source="the settings", overrides=overrides or ())
    _tell(BuildResult(run_refilter(folder, settings)), folder, json)


def _tell(result: object, out: Path, json: bool) -> None:
    from data_tools.build import BuildResult
    from magicgen.commands.output import as_json, note, results, warn

    assert isinstance(result, BuildResult)
    counts = result.index.counts
    if json:
        problems = [vars(problem) for problem in result.problems]
        as_json({"folder": out, "content": result.index.content, "counts": counts, "problems": problems})
        return
    for problem in result.problems:
        warn(f"{problem.what}: {problem.reason}")
    note(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in counts.items() if value))
    if result.index.build.annotation.kind == "embedded":
        note("annotated without weights (the low-quality path); see docs/data.md for better annotators")
    results([out])
    sys.stdout.flush()
