"""What the Animate tab does, without its looks: from a drawing to a checked run, a preview, a video, a history."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from magicgen.config import check_config
from magicgen.control.camera import CameraMove, camera_trajectory, with_camera
from magicgen.control.carry import carry_masks
from magicgen.control.geometry import Box
from magicgen.control.map_video import write_map_video
from magicgen.control.overlay import overlay
from magicgen.control.resolve import resolve
from magicgen.control.retrace import retrace
from magicgen.control.rle import encode_rle
from magicgen.control.tracks import Bools, boxes_from_masks
from magicgen.control.trajectory import MaskMotion, Trajectory, parse_trajectory, trajectory_to_json
from magicgen.errors import ConfigError, MediaError, TrajectoryError
from magicgen.jobs.animate import (
    AnimateSettings,
    Prepared,
    Result,
    foresee,
    load,
    load_key,
    prepare,
    run,
    write_overlay,
)
from magicgen.jobs.inputs import read_document
from magicgen.jobs.sidecar import read_sidecar
from magicgen.media import read_video, write_image, write_json, write_video
from magicgen.progress import CancelToken, ProgressEvent, Report, counted, duration
from magicgen.ui.outlines import Outline
from magicgen.ui.photos import Photo, shrunk, take_photo
from magicgen.ui.shelf import Shelf
from magicgen.ui.visitors import Made, Visitor
from magicgen.ui.work import Done, watch

UInt8 = npt.NDArray[np.uint8]

# A few masks need some hundred kilobytes, a long clip with a mask in every frame some megabytes.
MAX_DRAWING_BYTES = 32 * 1024**2
# Mask files that a drawing may name lie here, that is, nowhere: a drawing from a browser holds its masks.
NOWHERE = Path("/dev/null")
CARRIED_SIDE = 640
MAX_CLIP_PIXELS = 97 * 1024 * 1024


@dataclass(frozen=True)
class Restored:
    """What a sidecar brings back: the photo at the clip's size, the drawing and all settings."""

    photo: Photo
    drawing: dict[str, Any]
    settings: AnimateSettings


class AnimateDesk:
    """The callables behind the Animate tab; everything that belongs to one person is in the :class:`Visitor`.

    Args:
        shelf: the loaded model.
        outline: finds an object from a box and clicks.
    """

    def __init__(self, shelf: Shelf, outline: Outline | None) -> None:
        self.shelf, self._outline = shelf, outline
        self._spent: dict[tuple[object, ...], float] = {}

    @property
    def outlines(self) -> bool:
        """Whether objects can be found by clicks."""
        return self._outline is not None

    def find_object(self, visitor: Visitor, wanted: dict[str, Any]) -> dict[str, Any]:
        """An outline: ``{"id", "turn", "box", "clicks"}`` -> ``{"id", "turn", "mask", "box"}``, or with ``"error"``
        instead of the last two."""
        known = {"id": wanted.get("id"), "turn": wanted.get("turn")}
        try:
            given = wanted.get("box")
            box = None if given is None else Box(*(float(value) for value in given)).clipped()
            clicks = [(float(c["x"]), float(c["y"]), bool(c["keep"])) for c in wanted.get("clicks", [])][:100]
            if visitor.photo is None or self._outline is None or (box is None and not clicks):
                return {**known, "error": "There is no photo under this box."}
            mask = self._outline(visitor.photo.shown, box, clicks)
        except (KeyError, TypeError, ValueError) as error:
            return {**known, "error": f"No outline was found ({str(error)[:200]}). Paint it with the brush."}
        if not mask.any():
            return {**known, "error": "No outline was found here. Paint it with the brush, or draw a box."}
        return {**known, "mask": encode_rle(mask).to_json(), "box": boxes_from_masks(mask).tolist()}

    def prepare(self, visitor: Visitor, drawing: dict[str, Any] | None, settings: AnimateSettings) -> Prepared:
        """Check a run; nothing is loaded.

        Raises:
            MagicGenError: what is wrong, in words.
        """
        if visitor.photo is None:
            raise MediaError("There is no photo yet. Choose one, or drop one onto the drawing area.")
        trajectory = self.read(drawing)
        size = settings.height or 0, settings.width or 0
        if (settings.frames or trajectory.frames) * max(size[0] * size[1], 1) > MAX_CLIP_PIXELS:
            raise ConfigError("The clip has more than a hundred million pixels; lower the height, width or frames.")
        if settings.level == "mask":
            trajectory = self._with_masks(trajectory, visitor.photo)
        path = visitor.place(".trajectory.json")
        path.write_text(trajectory_to_json(trajectory), encoding="utf-8")
        try:
            return prepare(visitor.photo.path, path, visitor.place(".mp4"), settings, self._segment)
        finally:
            path.unlink(missing_ok=True)

    def read(self, drawing: dict[str, Any] | None) -> Trajectory:
        """The drawing as a trajectory.

        Raises:
            TrajectoryError: nothing was drawn, or something that the format does not know.
        """
        if not drawing or not drawing.get("objects"):
            raise TrajectoryError("Nothing is drawn yet. Draw a box around an object, or click on it.")
        text = json.dumps(drawing)
        if len(text) > MAX_DRAWING_BYTES:
            raise TrajectoryError("The drawing has more than 32 MiB; use fewer objects with masks, or fewer frames.")
        return parse_trajectory(text, NOWHERE)

    def _with_masks(self, trajectory: Trajectory, photo: Photo) -> Trajectory:
        """Masks in every frame for what was drawn as boxes; a trajectory of masks as it is."""
        if all(isinstance(item.motion, MaskMotion) for item in trajectory.objects):
            return trajectory
        small = shrunk(photo.shown, CARRIED_SIDE)
        height, width = small.shape[:2]
        tracks = resolve(trajectory, height, width, first_masks=lambda box: self._segment(small, box))
        return carry_masks(tracks)

    def _segment(self, picture: UInt8, box: Box) -> Bools:
        """For objects that have no mask yet when a run starts."""
        if self._outline is not None:
            return self._outline(picture, box, [])
        height, width = picture.shape[:2]
        mask = np.zeros((height, width), np.bool_)
        x0, y0, x1, y1 = (round(value) for value in box.as_array() * (width, height, width, height))
        mask[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
        return mask

    def with_camera(
        self, visitor: Visitor, drawing: dict[str, Any] | None, frames: int, moves: list[CameraMove]
    ) -> dict[str, Any]:
        """A drawing as a moving camera sees it.

        Raises:
            MagicGenError: no photo, no move, objects given by masks.
        """
        if visitor.photo is None:
            raise MediaError("There is no photo yet. Choose one first.")
        if not moves:
            raise TrajectoryError("The camera stands still; set zoom, shift or turn first.")
        size = visitor.photo.shown.shape[0], visitor.photo.shown.shape[1]
        if not drawing or not drawing.get("objects"):
            return _document(camera_trajectory(frames, size, moves))
        return _document(with_camera(self.read(drawing), size, moves))

    def preview(self, prepared: Prepared) -> Path:
        """The overlay video, drawn by the rasteriser that feeds the model."""
        return write_overlay(prepared)

    def describe(self, prepared: Prepared) -> str:
        """What the run will take, and what the last run of this kind took here."""
        expected = foresee(prepared)
        shape = prepared.shape
        spent = "time unknown" if expected.seconds is None else f"about {duration(expected.seconds)}"
        lines = [
            f"{shape.frames} frames of {shape.width} x {shape.height}, "
            f"{counted(prepared.settings.steps or 1, 'step')}, seed {prepared.settings.seed}. "
            f"Memory about {expected.bytes / 2**30:.1f} GiB, {spent} ({expected.basis})."
        ]
        measured = self._spent.get(self._kind(prepared))
        if measured is not None:
            lines.append(f"Measured here: {duration(measured)} for the last run of this kind.")
        return " ".join(lines)

    def run(self, prepared: Prepared, token: CancelToken) -> Iterator[ProgressEvent | Done[Made]]:
        """Load, generate, write; yields progress with previews, then what was made.

        Raises:
            Cancelled: the visitor stopped it.
            MagicGenError: it failed.
        """

        def work(report: Report) -> Made:
            report(ProgressEvent("Loading the model", 0, None))
            pipeline, load_s = self.shelf.get("animate", load_key(prepared), lambda: load(prepared))
            result = run(prepared, pipeline, load_s=load_s, report=report, cancel=token, previews=True)
            self._spent[self._kind(prepared)] = result.timings["generate_s"]
            frames = read_video(result.video).frames[:, : prepared.shape.height, : prepared.shape.width]
            seen = prepared.out.with_suffix(".seen.mp4")
            fps = prepared.settings.fps or prepared.facts.fps
            write_video(seen, overlay(frames, prepared.inputs.tracks, prepared.inputs.level), fps)
            return _made(prepared, result, seen, frames)

        yield from watch(work, token)

    def import_file(self, path: Path) -> dict[str, Any]:
        """A ``trajectory.json`` or a map video as a drawing.

        Raises:
            MagicGenError: it cannot be read.
        """
        document = read_document(path)
        if isinstance(document, Trajectory):
            return _document(document)
        return _document(retrace(document.tracks, document.level))

    def restore(self, visitor: Visitor, path: Path) -> Restored:
        """Everything that the sidecar of an earlier run says.

        Raises:
            ConfigError: it is no sidecar.
        """
        values, inputs = read_sidecar(path)
        settings = check_config(values, AnimateSettings, source=path.name)
        source = visitor.place(".png")
        write_image(source, inputs.picture)
        photo = take_photo(source, visitor.folder)
        drawing = _document(retrace(inputs.tracks, inputs.level))
        return Restored(photo, drawing, settings)

    def export(self, visitor: Visitor, prepared: Prepared, drawing: dict[str, Any]) -> tuple[Path, Path]:
        """``trajectory.json`` and the map video of a drawing, as files."""
        document = visitor.folder / "trajectory.json"
        write_json(document, drawing)
        maps = visitor.folder / "map.mp4"
        write_map_video(maps, prepared.inputs.tracks, prepared.inputs.level, prepared.settings.fps or 8.0)
        return document, maps

    def _kind(self, prepared: Prepared) -> tuple[object, ...]:
        settings = prepared.settings
        twice = (settings.guidance or 0) > 1
        return (*load_key(prepared), prepared.shape, settings.steps, settings.attention, twice)


def _document(trajectory: Trajectory) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(trajectory_to_json(trajectory))
    return document


def _made(prepared: Prepared, result: Result, seen: Path, frames: UInt8) -> Made:
    settings, shape = prepared.settings, prepared.shape
    poster = prepared.out.with_suffix(".png")
    write_image(poster, frames[-1])
    facts = [
        f"{shape.frames} frames of {shape.width} x {shape.height}, level {settings.level}, seed {settings.seed}, "
        f"{counted(settings.steps or 1, 'step')}; {duration(result.timings['generate_s'])} to generate.",
        followed(result.measured),
    ]
    caption = f"seed {settings.seed}, {settings.level}"
    return Made(result.video, result.overlay, seen, result.sidecar, poster, caption, tuple(facts))


def followed(measured: Mapping[str, Any]) -> str:
    """The measures of a run in words; nothing where nothing was measured."""
    last = [value for value in (measured.get("last_box_iou") or {}).values() if value is not None]
    words = []
    if measured.get("box_iou") is not None:
        words.append(f"Follows the boxes: {100 * measured['box_iou']:.0f} % overlap")
    if last:
        words.append(f"{100 * sum(last) / len(last):.0f} % in the last box")
    if measured.get("background_psnr") is not None:
        words.append(f"background {measured['background_psnr']:.1f} dB from the photo")
    return f"{', '.join(words)} (measured with the {measured.get('tracker')})." if words else ""
