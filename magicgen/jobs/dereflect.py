"""Remove the reflection of a photo: checked first, then solved, then written with its layers and a sidecar."""

import hashlib
import platform
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from magicgen.config import StrictModel
from magicgen.control.guide import MaskMark, Prompt, RemovalGuide, SegmentRegion, SegmentText, TextMark
from magicgen.control.guide_file import guide_from_json, guide_to_json
from magicgen.control.guide_picture import guide_picture
from magicgen.control.tracks import Bools
from magicgen.errors import ConfigError, GenerationFailed, GuideError, MagicGenError, MediaError, WeightsError
from magicgen.jobs.animate import LIBRARIES, installed_version
from magicgen.jobs.loading import choose_device
from magicgen.media import write_image, write_json
from magicgen.photo.files import SUFFIXES, Photo, Pixels, check_photo_output, read_photo, write_photo
from magicgen.photo.transfer import shrunk
from magicgen.progress import CancelToken, ProgressEvent, Report, silent
from magicgen.segmentation.choose import make_segmenter, parse_choice
from magicgen.segmentation.protocol import Segmenter
from magicgen.weights.sources import PipelineFolder, preset_folder, resolve_model

VERSION = 1
ADAPTER = "reflection_tiny"
SOLVING, WRITING = "Removing the reflection", "Writing the photo"
SEGMENT_SIDE = 512
"""Shorter side at which a segmenter looks at a photo."""


class DereflectSettings(StrictModel):
    """What decides a result beside the photo and the guide.

    ``model`` is the backbone (``tiny`` or a pipeline folder), ``adapter`` the reflection adapter (``reflection_tiny``
    or a folder); ``strength`` blends photo (0) and result (1); ``octaves`` is how many times the refiner doubles the
    working size; ``mirrored`` averages the answers for the photo and its mirror image; ``segmenter`` finds the regions
    that clicks and boxes mean (``grabcut``, ``sam:CHECKPOINT.pth``, or ``none``: they stand for themselves).
    """

    model: str = "tiny"
    adapter: str = ADAPTER
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    octaves: Annotated[int, Field(ge=0, le=4)] = 1
    mirrored: bool = True
    segmenter: str = "grabcut"
    layers: bool = False
    overwrite: bool = False
    device: str | None = None


@dataclass(frozen=True, eq=False)
class PreparedRemoval:
    """A removal that was checked and can start."""

    image: Path
    photo: Photo
    guide: RemovalGuide
    settings: DereflectSettings
    base: Path
    adapter: Path
    out: Path
    digest: str

    @property
    def sidecar_path(self) -> Path:
        """``NAME.json``."""
        return self.out.with_suffix(".json")

    @property
    def reflection_path(self) -> Path:
        """``NAME.reflection.SUFFIX``, written with ``layers``."""
        return self.out.with_name(f"{self.out.stem}.reflection{self.out.suffix}")

    @property
    def mask_path(self) -> Path:
        """``NAME.mask.png``, written with ``layers``."""
        return self.out.with_name(f"{self.out.stem}.mask.png")

    @property
    def guide_path(self) -> Path:
        """``NAME.guide.png``, what the marks were taken to mean; written with ``layers`` where there are marks."""
        return self.out.with_name(f"{self.out.stem}.guide.png")

    @property
    def beside(self) -> tuple[Path, ...]:
        """Everything that is written beside the photo."""
        layers = (self.reflection_path, self.mask_path) if self.settings.layers else ()
        guide = (self.guide_path,) if self.settings.layers and not self.guide.empty else ()
        return (self.sidecar_path, *layers, *guide)


@dataclass(frozen=True)
class RemovalResult:
    """What a run wrote, seconds of its parts, and what was measured: ``changed_share`` of the pixels, and with marks
    how far they were ``followed`` (0 to 1)."""

    image: Path
    reflection: Path | None
    mask: Path | None
    guide: Path | None
    sidecar: Path
    timings: dict[str, float]
    measured: dict[str, Any] = field(default_factory=dict)


def prepare_removal(
    image: Path,
    guide: RemovalGuide,
    out: Path,
    settings: DereflectSettings,
    segment_text: SegmentText | None = None,
) -> PreparedRemoval:
    """Check everything that can be wrong, without loading a model.

    Raises:
        MagicGenError: of the kind that fits; the message says how to mend it.
    """
    parse_choice(settings.segmenter)
    source = resolve_model(settings.model)
    if not isinstance(source, PipelineFolder):
        raise WeightsError(f"Reflection removal needs the backbone of its adapter ('tiny'), not {settings.model}.")
    adapter = adapter_folder(settings.adapter)
    photo = read_photo(image)
    check_photo_output(out, photo)
    if out.exists() and image.exists() and out.samefile(image) and not settings.overwrite:
        raise MediaError(f"{out} is the photo itself; choose another output, or allow it with --overwrite.")
    prepared = PreparedRemoval(image, photo, guide, settings, source.folder, adapter, out, _digest(image))
    for path in prepared.beside:
        if path.exists() and path.samefile(image):
            raise MediaError(f"{path}, which is written beside {out.name}, is the photo itself; choose another output.")
    for mark in guide.marks:
        if isinstance(mark, TextMark) and segment_text is None:
            raise GuideError(
                f"The words '{mark.text}' need a text segmenter (Grounding DINO), and none is installed here. Use "
                "--point, --box or --mask instead; docs/reflection.md says how to add one."
            )
        if isinstance(mark, MaskMark) and mark.mask.shape != photo.size:
            raise GuideError(
                f"The mask is {mark.mask.shape[1]}x{mark.mask.shape[0]} pixels, the photo {photo.size[1]}x"
                f"{photo.size[0]} (upright); give a mask of the photo's size."
            )
    return prepared


def adapter_folder(name: str) -> Path:
    """The folder of an adapter: the shipped one, or a path.

    Raises:
        WeightsError: nothing is there.
    """
    folder = preset_folder("tiny").parent / name if name == ADAPTER else Path(name).expanduser()
    if not (folder / "config.json").is_file():
        raise WeightsError(
            f"There is no reflection adapter in {folder} (config.json is missing). Expected '{ADAPTER}' or a folder "
            "written by 'magicgen train' and exported."
        )
    return folder


def load_removal(prepared: PreparedRemoval) -> Any:
    """The pipeline for a run; it serves every run with the same :func:`removal_key`.

    Raises:
        WeightsError: the files are damaged or do not fit each other.
    """
    from diffusers.utils import logging as diffusers_logging

    from pipelines.reflection_removal import ReflectionRemovalPipeline

    diffusers_logging.set_verbosity_error()
    settings = prepared.settings
    device = choose_device(settings.device)
    try:
        pipeline = ReflectionRemovalPipeline.from_adapter(
            prepared.adapter, prepared.base, settings.octaves, settings.mirrored
        )
        pipeline.to(device)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, MagicGenError):
            raise
        raise WeightsError(
            f"The reflection adapter {prepared.adapter} cannot be loaded ({str(error).splitlines()[0][:200]})."
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def removal_key(prepared: PreparedRemoval) -> tuple[object, ...]:
    """Runs with equal keys can share a loaded pipeline."""
    settings = prepared.settings
    return ("dereflect", prepared.base, prepared.adapter, settings.octaves, settings.mirrored, settings.device)


def remove_reflection(
    prepared: PreparedRemoval,
    pipeline: Any,
    *,
    segment: SegmentRegion | None = None,
    segment_text: SegmentText | None = None,
    load_s: float = 0.0,
    report: Report = silent,
    cancel: CancelToken | None = None,
) -> RemovalResult:
    """Solve and write the photo, its layers where asked, and the sidecar.

    Args:
        prepared: of :func:`prepare_removal`.
        pipeline: of :func:`load_removal`.
        segment: a segmenter that was set to this photo; by default the one of the settings.
        segment_text: understands words.
        load_s: seconds that loading took, for the sidecar.
        report: progress; after each octave with a picture of the answer so far, at its working size.
        cancel: stops between tiles.

    Raises:
        progress.Cancelled: ``cancel`` was set; nothing is written.
        GenerationFailed: out of memory, or the output went bad in between.
    """
    settings, photo = prepared.settings, prepared.photo
    started = time.perf_counter()
    report(ProgressEvent(SOLVING, 0))

    def tell(done: int, total: int, picture: npt.NDArray[np.uint8] | None) -> None:
        left = (time.perf_counter() - started) / done * (total - done)
        report(ProgressEvent(SOLVING, done, total, left, picture))

    try:
        result = pipeline(
            photo.pixels,
            prepared.guide,
            segment=segment or region_segmenter(settings.segmenter, photo.pixels),
            segment_text=segment_text,
            strength=settings.strength,
            cancel=cancel,
            tell=tell,
        )
    except MemoryError:
        raise GenerationFailed(f"Out of memory for a photo of {photo.size[1]}x{photo.size[0]} pixels.") from None
    solved = time.perf_counter()
    report(ProgressEvent(WRITING, 0, 1))
    measured = {"changed_share": result.changed}
    if result.meant is not None:
        measured["followed"] = result.followed
    try:
        image = write_photo(prepared.out, photo.with_pixels(result.transmission))
        reflection, mask, guide = _write_layers(prepared, result) if settings.layers else (None, None, None)
        timings = {"load_s": load_s, "solve_s": solved - started, "write_s": time.perf_counter() - solved}
        write_json(prepared.sidecar_path, _sidecar(prepared, timings, measured))
    except MediaError as error:  # the place was checked before, so it went bad in between
        raise GenerationFailed(str(error)) from error
    report(ProgressEvent(WRITING, 1, 1))
    return RemovalResult(image, reflection, mask, guide, prepared.sidecar_path, timings, measured)


def _write_layers(prepared: PreparedRemoval, result: Any) -> tuple[Path, Path, Path | None]:
    """The reflection, the mask, and with marks the picture of what they were taken to mean."""
    photo = prepared.photo
    reflection = write_photo(prepared.reflection_path, Photo(result.reflection, None, photo.exif, photo.icc))
    mask = write_image(prepared.mask_path, result.mask)
    if result.meant is None:
        return reflection, mask, None
    return reflection, mask, write_image(prepared.guide_path, guide_picture(photo.pixels, result.meant))


def region_segmenter(choice: str, pixels: Pixels) -> SegmentRegion | None:
    """The segmenter of a word, set to a photo when it is first asked; None for ``none``."""
    chosen = parse_choice(choice)
    if chosen is None:
        return None
    ready: list[Segmenter] = []

    def ask(prompt: Prompt) -> Bools:
        if not ready:
            made = make_segmenter(chosen)
            height, width = pixels.shape[:2]
            scale = min(1.0, SEGMENT_SIDE / min(height, width))
            small = shrunk(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
            made.set_image(np.round(small * 255).astype(np.uint8))
            ready.append(made)
        clicks = [(x, y) for x, y, _ in prompt.points]
        return ready[0].predict(clicks, [on for _, _, on in prompt.points], prompt.box).mask

    return ask


def read_removal_sidecar(path: Path) -> tuple[DereflectSettings, RemovalGuide, Path]:
    """Settings, guide and photo of an earlier run.

    Raises:
        ConfigError: no sidecar of ``magicgen dereflect``, or its photo is gone or was changed.
    """
    import json

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.get("kind") != "dereflect" or document.get("version") != VERSION:
            raise ConfigError(f"{path} is no sidecar of 'magicgen dereflect' (version {VERSION}).")
        settings = DereflectSettings.model_validate(document["settings"])
        guide = guide_from_json(document["guide"], str(path), path.parent)
        image = Path(document["input"]["path"])
        if not image.is_absolute():
            image = path.parent / image
        if _digest(image) != document["input"]["sha256"]:
            raise ConfigError(f"{path}: the photo {image} is not the one of that run any more.")
        return settings, guide, image
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: {error.filename} does not exist.") from None
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, MagicGenError):
            raise
        raise ConfigError(f"{path} is damaged ({type(error).__name__}: {str(error)[:100]}).") from None


def photos_in(folder: Path) -> list[Path]:
    """The photos of a folder, sorted by name.

    Raises:
        ConfigError: there are none.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise ConfigError(f"{folder} holds no photo ({', '.join(SUFFIXES)}).")
    return found


def _sidecar(prepared: PreparedRemoval, timings: dict[str, float], measured: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "kind": "dereflect",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "output": prepared.out.name,
        "input": {"path": str(prepared.image.resolve()), "sha256": prepared.digest},
        "size": list(prepared.photo.size),
        "bits": 8 if prepared.photo.depth == 255 else 16,
        "settings": prepared.settings.model_dump(mode="json"),
        "guide": guide_to_json(prepared.guide),
        "timings": timings,
        "measured": measured,
        "versions": {name: installed_version(name) for name in ("magicgen", *LIBRARIES)},
        "machine": {"python": platform.python_version(), "system": platform.platform()},
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
