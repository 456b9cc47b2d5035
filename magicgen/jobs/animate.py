"""Animate a photo along a trajectory: checked first, then generated, then written with preview and sidecar."""

import logging
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from magicgen.config import StrictModel
from magicgen.control.overlay import overlay
from magicgen.control.tracks import level_name
from magicgen.errors import GenerationFailed, MediaError
from magicgen.evaluation.adherence import finite_or_none, measure_adherence
from magicgen.jobs.attention import Attention, planned_attention, settle_attention
from magicgen.jobs.estimate import Estimate, estimate
from magicgen.jobs.inputs import (
    ClipInputs,
    ClipShape,
    SegmentPicture,
    UInt8,
    clip_inputs,
    document_frames,
    fitting_size,
    read_document,
)
from magicgen.jobs.loading import LoadOptions, Offload, adapter_file, load_adapter, load_pipeline
from magicgen.jobs.preview import LatentPreview
from magicgen.jobs.sidecar import VERSION, inputs_to_json
from magicgen.media import VIDEO_SUFFIXES, check_output, read_image, write_json, write_video
from magicgen.progress import CancelToken, ProgressEvent, Report, Stage, silent
from magicgen.weights import ModelSource, PipelineFolder, check_grid, inventory, resolve_model
from magicgen.weights.facts import ModelFacts, model_facts
from magicgen.weights.files import Component

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(allow_inf_nan=False)]
LEAST_FREE_BYTES = 64 * 1024**2
LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "opencv-python", "av")

_log = logging.getLogger(__name__)


class AnimateSettings(StrictModel):
    """What decides a video beside its photo and trajectory. ``None`` means: what suits the model or the file.

    ``seed`` is the seed of the CPU generator that draws all noise; ``control_weight`` one factor or one for each block
    of the branch; ``control_range`` the fraction of the steps in which control applies; ``attention`` is ``dense``,
    ``auto`` (a shipped plan where one fits and gains) or a plan file.
    """

    model: str = "tiny"
    lora: str | None = None
    prompt: str = ""
    negative_prompt: str | None = None
    level: Literal["mask", "box", "sparse_box"] | None = None
    frames: Positive | None = None
    height: Positive | None = None
    width: Positive | None = None
    fps: Annotated[float, Field(gt=0, le=240)] | None = None
    steps: Annotated[int, Field(gt=0, le=1000)] | None = None
    guidance: Annotated[float, Field(ge=0, le=50)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    control_weight: Weight | Annotated[tuple[Weight, ...], Field(min_length=1)] = 1.0
    control_range: tuple[Share, Share] = (0.0, 1.0)
    use_draft: bool | None = None
    interpolate_positions: bool = False
    attention: str = "dense"
    device: str | None = None
    offload: Offload = "auto"

    @model_validator(mode="after")
    def _ordered(self) -> "AnimateSettings":
        if self.control_range[0] >= self.control_range[1]:
            raise ValueError("control_range must rise, as in [0, 0.6]")
        return self


@dataclass(frozen=True)
class Prepared:
    """A run that was checked and can start: settings without None, inputs at the clip's size, the model's folder."""

    settings: AnimateSettings
    inputs: ClipInputs
    source: ModelSource
    facts: ModelFacts
    out: Path
    attention: Attention
    warnings: tuple[str, ...] = ()

    @property
    def overlay_path(self) -> Path:
        """``NAME.overlay.mp4``."""
        return self.out.with_suffix(".overlay.mp4")

    @property
    def sidecar_path(self) -> Path:
        """``NAME.json``."""
        return self.out.with_suffix(".json")

    @property
    def shape(self) -> ClipShape:
        """Frames, height and width."""
        return ClipShape(self.inputs.tracks.frames, *self.inputs.tracks.size)


@dataclass(frozen=True)
class Result:
    """What a run wrote, how long its parts took in seconds, and what was measured on the video."""

    video: Path
    overlay: Path
    sidecar: Path
    timings: dict[str, float]
    measured: dict[str, Any] = field(default_factory=dict)


def prepare(
    image: Path, trajectory: Path, out: Path, settings: AnimateSettings, segment: SegmentPicture | None = None
) -> Prepared:
    """Check everything that can be wrong, without loading a model.

    Args:
        image: the photo.
        trajectory: a ``trajectory.json`` or a map video.
        out: the ``.mp4`` to write; preview and sidecar go beside it.
        settings: see :class:`AnimateSettings`.
        segment: makes the mask of an object that was drawn as a box alone.

    Raises:
        MagicGenError: of the kind that fits; the message says how to mend it.
    """
    _check_place(out)
    if settings.lora is not None:
        adapter_file(settings.lora)
    source = resolve_model(settings.model)
    facts = model_facts(source)
    document = read_document(trajectory)
    photo = read_image(image)
    fixed = facts.bound_to_size and not settings.interpolate_positions
    usual = (facts.height, facts.width)
    size = (photo.shape[0], photo.shape[1])
    height, width = fitting_size(size, usual, settings.height, settings.width, facts.size_step, fixed=fixed)
    shape = ClipShape(settings.frames or document_frames(document), height, width)
    _check_shape(facts, shape, settings)
    inputs = clip_inputs(photo, document, shape, settings.level, segment)
    return _settled(settings, inputs, source, facts, out)


def prepare_again(inputs: ClipInputs, settings: AnimateSettings, out: Path) -> Prepared:
    """The same for inputs that a sidecar holds."""
    _check_place(out)
    if settings.lora is not None:
        adapter_file(settings.lora)
    source = resolve_model(settings.model)
    facts = model_facts(source)
    _check_shape(facts, ClipShape(inputs.tracks.frames, *inputs.tracks.size), settings)
    return _settled(settings, inputs, source, facts, out)


def write_overlay(prepared: Prepared) -> Path:
    """Write the preview video: the condition maps over the photo."""
    frames = overlay(prepared.inputs.picture, prepared.inputs.tracks, prepared.inputs.level)
    return write_video(prepared.overlay_path, frames, prepared.settings.fps or prepared.facts.fps)


def parts(prepared: Prepared) -> list[Component]:
    """The weights that the run will load."""
    return inventory(prepared.source, level_name(prepared.inputs.level))


def foresee(prepared: Prepared) -> Estimate:
    """Memory and time of the run."""
    settings = prepared.settings
    return estimate(prepared.facts, parts(prepared), prepared.shape, settings.steps or 1, settings.guidance or 0.0)


def load(prepared: Prepared) -> Any:
    """The pipeline for a run; also serves other runs with the same :func:`load_key`."""
    settings, shape = prepared.settings, prepared.shape
    pipeline = load_pipeline(prepared.source, prepared.inputs.level, LoadOptions(settings.device, settings.offload))
    if settings.lora is not None:
        load_adapter(pipeline, settings.lora)
    bound = (prepared.facts.frames, prepared.facts.height, prepared.facts.width)
    if settings.interpolate_positions and prepared.facts.bound_to_size and bound != _triple(shape):
        pipeline.interpolate_positions(*_triple(shape))
    return pipeline


def load_key(prepared: Prepared) -> tuple[object, ...]:
    """Runs with equal keys can share a loaded pipeline."""
    settings = prepared.settings
    resized = _triple(prepared.shape) if settings.interpolate_positions else None
    level = None if isinstance(prepared.source, PipelineFolder) else level_name(prepared.inputs.level)
    return (prepared.source, settings.lora, level, settings.device, settings.offload, resized)


def run(
    prepared: Prepared,
    pipeline: Any,
    *,
    load_s: float = 0.0,
    report: Report = silent,
    cancel: CancelToken | None = None,
    previews: bool = False,
    measure: bool = True,
) -> Result:
    """Generate and write video, preview and sidecar.

    With ``previews`` every step reports a picture of the state so far. With ``measure`` the objects are followed
    through the finished video and compared with what was asked for.

    Raises:
        progress.Cancelled: ``cancel`` was set; no video is written.
        GenerationFailed: out of memory, or the model made values that are no numbers.
    """
    overlay_path = write_overlay(prepared)
    started = time.perf_counter()
    frames, attention = _generate(prepared, pipeline, report, cancel, previews)
    sampled = time.perf_counter()
    report(ProgressEvent("Writing", 0, 1))
    try:
        video = write_video(prepared.out, frames, prepared.settings.fps or prepared.facts.fps)
        written = time.perf_counter()
        timings = {"load_s": load_s, "generate_s": sampled - started, "write_s": written - sampled}
        # Whoever stops the measuring keeps a video that can be repeated.
        write_json(prepared.sidecar_path, _sidecar(prepared, timings, {}, attention))
        measured = _measured(prepared, frames, report) if measure else {}
        timings["measure_s"] = time.perf_counter() - written
        write_json(prepared.sidecar_path, _sidecar(prepared, timings, measured, attention))
    except MediaError as error:  # the place was checked before, so it went bad in between
        raise GenerationFailed(str(error)) from error
    report(ProgressEvent("Writing", 1, 1))
    return Result(video, overlay_path, prepared.sidecar_path, timings, measured)


def _measured(prepared: Prepared, frames: UInt8, report: Report) -> dict[str, Any]:
    """Adherence as plain data; null where there is nothing to measure."""
    report(ProgressEvent("Measuring", 0, 1))
    inputs = prepared.inputs
    adherence = measure_adherence(frames, inputs.tracks, inputs.level)
    return {
        "box_iou": finite_or_none(adherence.box_iou),
        "last_box_iou": {
            name: finite_or_none(value) for name, value in zip(inputs.tracks.names, adherence.last_box_iou, strict=True)
        },
        "background_psnr": finite_or_none(adherence.background_psnr),
        "tracker": adherence.tracker,
    }


def _check_place(out: Path) -> None:
    """The three files that a run writes can be written, and there is room for them."""
    check_output(out, VIDEO_SUFFIXES)
    if shutil.disk_usage(out.parent).free < LEAST_FREE_BYTES:
        raise MediaError(
            f"The disk of {out.parent} is full (less than 64 MiB free); make room or choose another folder."
        )


def _check_shape(facts: ModelFacts, shape: ClipShape, settings: AnimateSettings) -> None:
    interpolate = settings.interpolate_positions
    check_grid(facts.transformer, *_triple(shape), interpolate_positions=interpolate)


def _settled(
    settings: AnimateSettings, inputs: ClipInputs, source: ModelSource, facts: ModelFacts, out: Path
) -> Prepared:
    """Fill in what the person left open, and collect what they should know."""
    warnings = []
    clip = ClipShape(inputs.tracks.frames, *inputs.tracks.size)
    attention = settle_attention(settings.attention, source, facts, clip, settings.device)
    if settings.attention != "dense":
        warnings.append(attention.reason)
    unknown = facts.unknown_words(" ".join((settings.prompt, settings.negative_prompt or "")))
    if unknown:
        words = ", ".join(f"'{word}'" for word in unknown)
        warnings.append(f"the model {settings.model} does not know {words} and ignores what it does not know")
    tracks = inputs.tracks
    if tracks.still:
        warnings.append(
            "nothing moves: every object stays where it is on the first frame, as with a path of one point; give the "
            "path a second point, or the box a second keyframe"
        )
    if tracks.frames != facts.frames and not facts.bound_to_size:
        warnings.append(
            f"the model {settings.model} usually makes {facts.frames} frames; this trajectory has {tracks.frames} "
            f"(--frames {facts.frames} resamples it)"
        )
    settled = settings.model_copy(
        update={
            "level": level_name(inputs.level),
            "frames": tracks.frames,
            "height": tracks.size[0],
            "width": tracks.size[1],
            "fps": settings.fps or inputs.fps or facts.fps,
            "steps": settings.steps or facts.steps,
            "guidance": facts.guidance if settings.guidance is None else settings.guidance,
        }
    )
    return Prepared(settled, inputs, source, facts, out, attention, tuple(warnings))


def _triple(shape: ClipShape) -> tuple[int, int, int]:
    return shape.frames, shape.height, shape.width


def _generate(
    prepared: Prepared, pipeline: Any, report: Report, cancel: CancelToken | None, previews: bool
) -> tuple[UInt8, dict[str, Any]]:
    import torch

    settings = prepared.settings
    assert settings.steps is not None
    stage = Stage(report, "Sampling", settings.steps)
    picture = LatentPreview(pipeline, prepared.inputs.picture) if previews else None

    def after_step(_pipe: Any, _step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        stage.advance(preview=None if picture is None else picture(tensors["denoised"]))
        return {}

    try:
        with planned_attention(prepared.attention, pipeline) as record:
            frames = pipeline(
                prepared.inputs.picture,
                prepared.inputs.tracks,
                prepared.inputs.level,
                settings.prompt,
                negative_prompt=settings.negative_prompt,
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance,
                control_weight=_weight(settings.control_weight),
                control_range=settings.control_range,
                use_draft=settings.use_draft,
                generator=torch.Generator("cpu").manual_seed(settings.seed),
                output_type="uint8",
                callback_on_step_end=after_step,
                callback_on_step_end_tensor_inputs=("denoised",) if previews else (),
                cancel=cancel,
            ).frames[0]
    except (MemoryError, torch.OutOfMemoryError) as error:
        shape = prepared.shape
        raise GenerationFailed(
            f"Out of memory at {shape.frames} frames of {shape.height}x{shape.width} ({str(error)[:120]}). "
            "Use a smaller --height and --width, fewer --frames, or --offload sequential."
        ) from None
    return np.asarray(frames, dtype=np.uint8), record


def _weight(weight: float | Sequence[float]) -> float | list[float]:
    return float(weight) if isinstance(weight, int | float) else list(weight)


def _sidecar(
    prepared: Prepared, timings: dict[str, float], measured: dict[str, Any], attention: dict[str, Any]
) -> dict[str, Any]:
    return {
        "version": VERSION,
        "kind": "animate",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "output": prepared.out.name,
        "settings": prepared.settings.model_dump(mode="json"),
        "timings": timings,
        "measured": measured,
        "attention": attention,
        "versions": {name: installed_version(name) for name in ("magicgen", *LIBRARIES)},
        "machine": {"python": platform.python_version(), "system": platform.platform()},
        "inputs": inputs_to_json(prepared.inputs),
    }


def installed_version(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
