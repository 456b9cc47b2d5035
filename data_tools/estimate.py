"""``build --dry-run``: what would be done, how long it would take and how much disk it needs."""

import os
import shutil
from pathlib import Path

from data_tools.build import BuildRequest
from data_tools.decode import opened, stored_size
from data_tools.inputs import find_inputs
from data_tools.layout import Layout
from data_tools.settings import BuildSettings, EmbeddedAnnotation
from magicgen.errors import MediaError
from magicgen.progress import duration

# Of one core, all stages with the embedded annotator (benchmarks.data --what speed), and of the lossless clips.
SECONDS_A_FRAME_480P = 0.2
BYTES_A_PIXEL = 0.65
_FRAME_480P = 854 * 480


def plan_text(request: BuildRequest) -> str:
    """Reads headers only; writes nothing."""
    settings = request.settings.build
    inputs = find_inputs(request.inputs, request.shard)
    frames, pixels, unreadable = 0, 0.0, dict(inputs.refused)
    for path in inputs.videos:
        try:
            count, area = _size_of(path, settings)
        except MediaError as error:
            unreadable[str(path)] = str(error)
            continue
        frames, pixels = frames + count, pixels + count * area
    workers = request.settings.run.workers or len(os.sched_getaffinity(0))
    seconds = pixels / _FRAME_480P * SECONDS_A_FRAME_480P / workers
    folder = next(parent for parent in (request.out.resolve(), *request.out.resolve().parents) if parent.exists())
    known = Layout(request.out).state.is_dir()
    lines = [
        f"videos      {len(inputs.videos) - len(unreadable) + len(inputs.refused)} readable, {frames} frames",
        f"annotation  {settings.annotation.kind}" + _quality(settings),
        f"time        about {duration(seconds)} with {workers} workers" + _speed_note(settings),
        f"disk        about {pixels * BYTES_A_PIXEL / 1e9:.1f} GB; {shutil.disk_usage(folder).free / 1e9:.1f} GB free",
        f"out         {request.out}" + (" (goes on with the build there)" if known else ""),
        *(f"cannot use  {path}: {reason}" for path, reason in sorted(unreadable.items())),
    ]
    return "\n".join(lines)


def _size_of(path: Path, settings: BuildSettings) -> tuple[int, int]:
    with opened(path) as (container, stream):
        height, width = stored_size(
            stream.codec_context.width, stream.codec_context.height, 0, settings.clips.short_side
        )
        seconds = float(container.duration or 0) / 1e6
        return int(stream.frames or seconds * float(stream.average_rate or 25)), height * width


def _quality(settings: BuildSettings) -> str:
    return " (no weights; low quality)" if isinstance(settings.annotation, EmbeddedAnnotation) else ""


def _speed_note(settings: BuildSettings) -> str:
    return (
        "" if isinstance(settings.annotation, EmbeddedAnnotation) else " (measured without models; theirs comes on top)"
    )
