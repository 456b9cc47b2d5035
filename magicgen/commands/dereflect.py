"""``magicgen dereflect``: a photo through glass without its reflection."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magicgen.commands.output import as_json, note, results
from magicgen.errors import ConfigError, GuideError

if TYPE_CHECKING:
    from magicgen.control.guide import Layer, RemovalGuide
    from magicgen.jobs.dereflect import PreparedRemoval

Image = Annotated[Path | None, typer.Argument(help="The photo: PNG, JPEG, TIFF, WebP ...", show_default=False)]
Out = Annotated[Path, typer.Option(help="The photo to write (.png, .jpg, .webp, .tif).", show_default=False)]
Points = Annotated[
    list[str] | None, typer.Option("--point", help="X,Y,+ for a reflection, X,Y,- for the scene; 0 to 1.")
]
Boxes = Annotated[list[str] | None, typer.Option("--box", help="X0,Y0,X1,Y1 around a reflection; 0 to 1.")]
KeepBoxes = Annotated[list[str] | None, typer.Option("--keep-box", help="X0,Y0,X1,Y1 around what is to stay.")]
Strokes = Annotated[
    list[str] | None, typer.Option("--stroke", help="X0,Y0,X1,Y1,...,+ along a reflection (- along the scene); 0 to 1.")
]
Brush = Annotated[float, typer.Option(help="Width of strokes as a share of the photo's shorter side.")]
Mask = Annotated[Path | None, typer.Option(help="A mask picture of the photo's size: white is reflection.")]
KeepMask = Annotated[Path | None, typer.Option(help="A mask picture: white is to stay.")]
Text = Annotated[list[str] | None, typer.Option(help="Words for what is reflected (needs text segmenter weights).")]
GuideFile = Annotated[Path | None, typer.Option("--guide", help="A guide file (docs/reflection.md).")]
Strength = Annotated[float, typer.Option(help="0 leaves the photo, 1 removes all that was found.")]
Layers = Annotated[
    bool, typer.Option("--layers", help="Also write NAME.reflection.*, NAME.mask.png; with marks NAME.guide.png.")
]
ModelName = Annotated[str, typer.Option(help="Backbone: tiny or a folder.")]
Adapter = Annotated[str, typer.Option(help="Adapter: reflection_tiny or a folder.")]
Octaves = Annotated[int, typer.Option(help="How many times the refiner doubles the working size.")]
Mirrored = Annotated[bool, typer.Option("--mirrored/--single", help="Average with the mirror image: better, slower.")]
SegmenterName = Annotated[str, typer.Option("--segmenter", help="grabcut, sam:CHECKPOINT.pth, or none.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda ...; by default the GPU where there is one.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="The output may be the photo itself.")]
Sidecar = Annotated[Path | None, typer.Option("--from-sidecar", help="Repeat the run that this .json describes.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything; load and write nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON.")]


def dereflect(
    out: Out,
    image: Image = None,
    point: Points = None,
    box: Boxes = None,
    keep_box: KeepBoxes = None,
    stroke: Strokes = None,
    brush: Brush = 0.03,
    mask: Mask = None,
    keep_mask: KeepMask = None,
    text: Text = None,
    guide: GuideFile = None,
    strength: Strength = 1.0,
    layers: Layers = False,
    model: ModelName = "tiny",
    adapter: Adapter = "reflection_tiny",
    octaves: Octaves = 1,
    mirrored: Mirrored = True,
    segmenter: SegmenterName = "grabcut",
    device: Device = None,
    overwrite: Overwrite = False,
    from_sidecar: Sidecar = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Remove the reflection of a photo taken through glass.

    Without points, boxes, masks or words the result is automatic. Size, bit depth, transparency, EXIF and profile
    stay; pixels without reflection stay bit for bit (in lossless formats). NAME.json beside the result repeats the run.
    """
    from magicgen.config import check_config
    from magicgen.control.guide import RemovalGuide
    from magicgen.jobs.dereflect import DereflectSettings, prepare_removal, read_removal_sidecar

    if from_sidecar is not None:
        if image is not None:
            raise ConfigError("--from-sidecar holds the photo; leave IMAGE out.")
        settings, marks, image = read_removal_sidecar(from_sidecar)
    else:
        if image is None:
            raise ConfigError("Give a photo (or --from-sidecar FILE).")
        settings = check_config(
            {
                "model": model,
                "adapter": adapter,
                "strength": strength,
                "octaves": octaves,
                "mirrored": mirrored,
                "segmenter": segmenter,
                "layers": layers,
                "overwrite": overwrite,
                "device": device,
            },
            DereflectSettings,
            source="command line",
        )
        given = _from_file(guide).marks + _marks(point, box, keep_box, mask, keep_mask, text)
        given += tuple(_stroke(line, brush) for line in stroke or ())
        marks = RemovalGuide(given)
    prepared = prepare_removal(image, marks, out, settings)
    if dry_run:
        height, width = prepared.photo.size
        bits = 8 if prepared.photo.depth == 255 else 16
        note(f"{width}x{height} pixels, {bits} bits, {len(marks.marks)} marks: ready")
        return
    _run(prepared, json)


def _run(prepared: "PreparedRemoval", json: bool) -> None:
    import time

    from magicgen.jobs.dereflect import load_removal, remove_reflection
    from magicgen.progress import TerminalProgress

    with TerminalProgress() as report:
        started = time.perf_counter()
        pipeline = load_removal(prepared)
        result = remove_reflection(prepared, pipeline, load_s=time.perf_counter() - started, report=report)
    written = [path for path in (result.image, result.reflection, result.mask, result.guide) if path is not None]
    if json:
        as_json(vars(result))
    else:
        results(written)


def _from_file(path: Path | None) -> "RemovalGuide":
    from magicgen.control.guide import RemovalGuide
    from magicgen.control.guide_file import read_guide

    return RemovalGuide() if path is None else read_guide(path)


def _marks(
    points: list[str] | None,
    boxes: list[str] | None,
    keep_boxes: list[str] | None,
    mask: Path | None,
    keep_mask: Path | None,
    words: list[str] | None,
) -> tuple[Any, ...]:
    from magicgen.control.guide import Layer, MaskMark, TextMark
    from magicgen.media import read_mask

    marks: list[Any] = []
    for path, layer in ((mask, Layer.REFLECTION), (keep_mask, Layer.TRANSMISSION)):
        if path is not None:
            marks.append(MaskMark(read_mask(path), layer))
    marks += [_box(text, "--box", Layer.REFLECTION) for text in boxes or ()]
    marks += [_box(text, "--keep-box", Layer.TRANSMISSION) for text in keep_boxes or ()]
    marks += [TextMark(text, Layer.REFLECTION) for text in words or ()]
    return (*marks, *(_point(text) for text in points or ()))


def _point(text: str) -> Any:
    from magicgen.control.guide import PointMark

    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 2:
        parts.append("+")
    if len(parts) != 3 or parts[2] not in ("+", "-"):
        raise GuideError(f"--point {text}: expected X,Y,+ (reflection) or X,Y,- (scene), such as 0.6,0.3,+.")
    x, y = _numbers(parts[:2], f"--point {text}")
    return PointMark(x, y, _layer(parts[2]))


def _stroke(text: str, brush: float) -> Any:
    from magicgen.control.guide import StrokeMark

    *places, sign = (part.strip() for part in text.split(","))
    if sign not in ("+", "-"):
        places, sign = [*places, sign], "+"
    if not places or len(places) % 2:
        raise GuideError(
            f"--stroke {text}: expected X0,Y0,X1,Y1,... and + (reflection) or - (scene), such as 0.1,0.2,0.4,0.3,+."
        )
    numbers = _numbers(places, f"--stroke {text}")
    return StrokeMark(tuple(zip(numbers[::2], numbers[1::2], strict=True)), brush, _layer(sign))


def _layer(sign: str) -> "Layer":
    from magicgen.control.guide import Layer

    return Layer.REFLECTION if sign == "+" else Layer.TRANSMISSION


def _box(text: str, option: str, layer: "Layer") -> Any:
    from magicgen.control.geometry import Box
    from magicgen.control.guide import BoxMark

    numbers = _numbers(text.split(","), f"{option} {text}")
    if len(numbers) != 4:
        raise GuideError(f"{option} {text}: expected four numbers X0,Y0,X1,Y1 between 0 and 1.")
    return BoxMark(Box(*numbers), layer)


def _numbers(parts: list[str], where: str) -> list[float]:
    try:
        return [float(part) for part in parts]
    except ValueError:
        raise GuideError(f"{where}: expected numbers between 0 and 1 separated by commas.") from None
