"""``magicgen animate``: one photo, one trajectory, one video."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magicgen.commands.output import as_json, note, results, size, table, warn
from magicgen.errors import ConfigError

if TYPE_CHECKING:
    from magicgen.jobs.animate import AnimateSettings, Prepared

Image = Annotated[Path | None, typer.Argument(help="The photo: PNG, JPEG, WebP, TIFF ...", show_default=False)]
Trajectory = Annotated[
    Path | None, typer.Option(help="trajectory.json, or a map video in MagicMotion's format.", show_default=False)
]
Out = Annotated[Path, typer.Option(help="The .mp4 to write.", show_default=False)]
SegmenterName = Annotated[
    str, typer.Option("--segmenter", help="Who cuts out objects drawn as a box: grabcut, sam:CHECKPOINT.pth or none.")
]
Level = Annotated[str | None, typer.Option(help="mask, box or sparse_box; by default what the trajectory holds.")]
Prompt = Annotated[str, typer.Option(help="What the video shows.")]
Negative = Annotated[str | None, typer.Option(help="What it should not show (with --guidance above 1).")]
ModelName = Annotated[str, typer.Option(help="tiny, magicmotion-5b, a folder, or a downloaded Hub id.")]
Lora = Annotated[Path | None, typer.Option(help="An adapter: a LoRA file of diffusers' format, or its folder.")]
Frames = Annotated[int | None, typer.Option(help="Frames (4n + 1); the trajectory is resampled in time.")]
Height = Annotated[int | None, typer.Option(help="Pixels; by default as the model likes, in the photo's aspect.")]
Width = Annotated[int | None, typer.Option(help="Pixels.")]
Fps = Annotated[float | None, typer.Option(help="Frames per second of the video.")]
Steps = Annotated[int | None, typer.Option(help="Sampling steps; by default what the model was made for.")]
Guidance = Annotated[float | None, typer.Option(help="Classifier-free guidance; 1 is none.")]
Seed = Annotated[int | None, typer.Option(help="Seed of all random numbers; -1 draws one and reports it.")]
Weight = Annotated[str | None, typer.Option("--control-weight", help="One factor, or one for each block: 1,1,0.5 ...")]
Range = Annotated[str | None, typer.Option("--control-range", help="Part of the steps with control: 0,0.6.")]
Draft = Annotated[bool | None, typer.Option("--draft/--no-draft", help="Motion draft, for models that know it.")]
Interpolate = Annotated[bool, typer.Option("--interpolate-positions", help="Lift a released model's size bound.")]
Attention = Annotated[str, typer.Option(help="dense, auto, or a PLAN.json.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ...; by default the GPU where there is one.")]
OffloadName = Annotated[str, typer.Option("--offload", help="auto, none, model, group or sequential (GPU memory).")]
Sidecar = Annotated[Path | None, typer.Option("--from-sidecar", help="Repeat the run that this .json describes.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check, write the overlay, say what it would take; load nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON.")]


def animate(
    out: Out,
    image: Image = None,
    trajectory: Trajectory = None,
    level: Level = None,
    segmenter: SegmenterName = "grabcut",
    prompt: Prompt = "",
    negative_prompt: Negative = None,
    model: ModelName = "tiny",
    lora: Lora = None,
    frames: Frames = None,
    height: Height = None,
    width: Width = None,
    fps: Fps = None,
    steps: Steps = None,
    guidance: Guidance = None,
    seed: Seed = 0,
    control_weight: Weight = None,
    control_range: Range = None,
    draft: Draft = None,
    interpolate_positions: Interpolate = False,
    attention: Attention = "dense",
    device: Device = None,
    offload: OffloadName = "auto",
    from_sidecar: Sidecar = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Animate a photo: its objects move along the trajectory.

    Beside NAME.mp4 come NAME.overlay.mp4 (what the model was told, over the photo) and NAME.json (everything that
    decided the video; --from-sidecar repeats it).
    """
    from magicgen.jobs.animate import prepare, prepare_again
    from magicgen.segmentation.choose import picture_segmenter

    if from_sidecar is not None:
        if image is not None or trajectory is not None:
            raise ConfigError("--from-sidecar holds photo and trajectory; leave IMAGE and --trajectory out.")
        settings, inputs = _from_sidecar(from_sidecar)
        prepared = prepare_again(inputs, settings, out)
    else:
        if image is None or trajectory is None:
            raise ConfigError("Give a photo and --trajectory FILE (or --from-sidecar FILE).")
        given: dict[str, Any] = {
            "model": model,
            "lora": None if lora is None else str(lora),
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "level": level,
            "frames": frames,
            "height": height,
            "width": width,
            "fps": fps,
            "steps": steps,
            "guidance": guidance,
            "seed": secrets.randbelow(2**31) if seed == -1 else seed,
            "use_draft": draft,
            "interpolate_positions": interpolate_positions,
            "attention": attention,
            "device": device,
            "offload": offload,
        }
        if control_weight is not None:
            given["control_weight"] = _numbers(control_weight, "--control-weight", single=True)
        if control_range is not None:
            given["control_range"] = _numbers(control_range, "--control-range")
        prepared = prepare(image, trajectory, out, _settings(given), picture_segmenter(segmenter))
    for text in prepared.warnings:
        (note if text == prepared.attention.reason else warn)(text)
    if dry_run:
        _show_plan(prepared, json)
    else:
        _run(prepared, json)


def _run(prepared: "Prepared", json: bool) -> None:
    import time

    from magicgen.jobs.animate import load, run
    from magicgen.progress import TerminalProgress

    with TerminalProgress() as report:
        note(f"loading {prepared.settings.model} (seed {prepared.settings.seed})")
        started = time.perf_counter()
        pipeline = load(prepared)
        result = run(prepared, pipeline, load_s=time.perf_counter() - started, report=report)
    if json:
        as_json(
            {
                "video": result.video,
                "overlay": result.overlay,
                "sidecar": result.sidecar,
                "seed": prepared.settings.seed,
                "timings": result.timings,
                "measured": result.measured,
            }
        )
    else:
        results([result.video])


def _show_plan(prepared: "Prepared", json: bool) -> None:
    from magicgen.jobs.animate import foresee, parts, write_overlay
    from magicgen.progress import counted, duration

    overlay = write_overlay(prepared)
    loaded, expected = parts(prepared), foresee(prepared)
    settings = prepared.settings
    if json:
        as_json(
            {
                "overlay": overlay,
                "settings": settings.model_dump(mode="json"),
                "load": [{"name": part.name, "folder": part.folder, "bytes": part.bytes} for part in loaded],
                "memory_bytes": expected.bytes,
                "seconds": expected.seconds,
                "basis": expected.basis,
                "warnings": prepared.warnings,
            }
        )
        return
    rows = [("part", "parameters", "file size")]
    rows += [(part.name, f"{part.parameters / 1e6:.1f} M", size(part.bytes)) for part in loaded]
    note(table(rows))
    shape = prepared.shape
    note(
        f"{shape.frames} frames of {shape.height}x{shape.width}, level {settings.level}, "
        f"{counted(settings.steps or 1, 'step')}, guidance {settings.guidance:g}, seed {settings.seed}"
    )
    spent = "unknown here" if expected.seconds is None else f"about {duration(expected.seconds)}"
    note(f"memory about {size(expected.bytes)}, time {spent} ({expected.basis})")
    results([overlay])


def _from_sidecar(path: Path) -> tuple["AnimateSettings", Any]:
    from magicgen.config import check_config
    from magicgen.jobs.animate import AnimateSettings
    from magicgen.jobs.sidecar import read_sidecar

    settings, inputs = read_sidecar(path)
    return check_config(settings, AnimateSettings, source=str(path)), inputs


def _settings(given: dict[str, Any]) -> "AnimateSettings":
    from magicgen.config import check_config
    from magicgen.jobs.animate import AnimateSettings

    return check_config(given, AnimateSettings, source="command line")


def _numbers(text: str, option: str, *, single: bool = False) -> float | list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option} {text}: expected numbers separated by commas.") from None
    return numbers[0] if single and len(numbers) == 1 else numbers
