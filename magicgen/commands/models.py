"""``magicgen convert`` and ``magicgen download``: weights into folders that can be loaded."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magicgen.commands.output import as_json, note, results, size, table
from magicgen.errors import ConfigError

if TYPE_CHECKING:
    from magicgen.weights.convert import Converted

Source = Annotated[
    Path,
    typer.Argument(
        help="A released MagicMotion .pt (or .safetensors), or the folder of a training run.", show_default=False
    ),
]
Out = Annotated[Path, typer.Option(help="The folder to make.", show_default=False)]
Base = Annotated[
    Path | None, typer.Option(help="config.json of the transformer that it steers; by default CogVideoX-5b-I2V's.")
]
Steps = Annotated[
    int | None,
    typer.Option(min=1, help="Training runs: default number of denoising steps; else 1 for video, 4 for stories."),
]
Clip = Annotated[
    str | None, typer.Option(help="Training runs: default clip as FRAMESxHEIGHTxWIDTH; by default what was trained on.")
]
Fps = Annotated[float, typer.Option(min=1, help="Training runs: default frames per second.")]
ModelName = Annotated[str, typer.Argument(help="magicmotion-5b, or a Hub id like OWNER/NAME.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List files and sizes; fetch nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON.")]


def convert(
    source: Source,
    out: Out,
    base: Base = None,
    steps: Steps = None,
    clip: Clip = None,
    fps: Fps = 8.0,
    json: Json = False,
) -> None:
    """Turn a released checkpoint (strictly: every key that does not fit is named) or a training run into a folder."""
    if source.is_dir():
        _convert_run(source, out, steps, clip, fps, json)
        return
    from magicgen.weights.convert import convert as run_conversion
    from magicgen.weights.sources import read_json

    config = None if base is None else read_json(base)
    note(f"converting {source}")
    _tell(run_conversion(source, out, config), json)


def _convert_run(source: Path, out: Path, steps: int | None, clip: str | None, fps: float, json: bool) -> None:
    shape = None
    if clip is not None:
        if re.fullmatch(r"\d+x\d+x\d+", clip) is None:
            raise ConfigError(f"--clip '{clip}': expected FRAMESxHEIGHTxWIDTH, as in 49x256x384.")
        frames, height, width = (int(number) for number in clip.split("x"))
        shape = (frames, height, width)
    folder = _export(source, out, steps, shape, fps)
    if json:
        as_json({"folder": folder, "kind": "pipeline"})
    else:
        results([folder])


def _export(source: Path, out: Path, steps: int | None, shape: tuple[int, int, int] | None, fps: float) -> Path:
    """A run of any task, by its settings."""
    from magicgen.training.export import export_run
    from magicgen.weights.sources import read_json

    settings = source / "settings.json"
    task = read_json(settings).get("task") if settings.is_file() else None
    if task == "story":
        from magicgen.training.story import export_story

        return export_story(source, out, steps or 4)
    if task == "reflection":
        from magicgen.training.reflection import export_adapter

        return export_adapter(source, out)
    return export_run(source, out, steps=steps or 1, clip=shape, fps=fps)


def download(model: ModelName, dry_run: DryRun = False, json: Json = False) -> None:
    """Fetch a model from the Hugging Face Hub (and convert released checkpoints); lists files and sizes first."""
    from magicgen.progress import TerminalProgress
    from magicgen.weights.hub import download as fetch
    from magicgen.weights.hub import list_files

    files = list_files(model)
    rows = [("file", "size"), *((f"{f.repo}/{f.path}", "?" if f.bytes is None else size(f.bytes)) for f in files)]
    total = sum(file.bytes or 0 for file in files)
    if dry_run:
        if json:
            as_json({"model": model, "bytes": total, "files": [vars(file) for file in files]})
        else:
            print(table([*rows, ("in all", size(total))]))
        return
    note(table([*rows, ("in all", size(total))]))
    with TerminalProgress() as report:
        folder = fetch(model, _convert_one, report)
    if json:
        as_json({"model": model, "folder": folder})
    else:
        results([folder])


def _convert_one(source: Path, out: Path) -> Any:
    from magicgen.weights.convert import convert as run_conversion

    return run_conversion(source, out)


def _tell(converted: "Converted", json: bool) -> None:
    kind = type(converted.kind).__name__.lower()
    if json:
        as_json(
            {
                "folder": converted.folder,
                "kind": kind,
                "tensors": converted.tensors,
                "parameters": converted.parameters,
            }
        )
        return
    note(f"{kind}: {converted.tensors} tensors, {converted.parameters / 1e6:.1f} M numbers")
    results([converted.folder])
