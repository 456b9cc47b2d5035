"""Trajectories as people write them: objects with keyframed boxes or with a mask per frame, and ``trajectory.json``.

The file format is described in docs/trajectory_format.md. The reader accepts version 1 exactly and names file, field,
what was given and what is expected for everything else.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, assert_never

from magicgen.control.geometry import Box, Interpolation, Linear, Smooth
from magicgen.control.rle import Rle, encode_rle, rle_from_json
from magicgen.errors import MediaError, TrajectoryError
from magicgen.media import path_inside, read_mask, write_bytes

T = TypeVar("T")

VERSION = 1
MAX_FRAMES = 10_000
MAX_OBJECTS = 255
MAX_NAME = 80
MAX_FILE_BYTES = 256 * 1024**2
MAX_ANGLE = 36_000.0
# Masks of one picture at two sizes differ in aspect by rounding to multiples of 16 or 32 pixels.
ASPECT_TOLERANCE = 0.03


@dataclass(frozen=True)
class Keyframe:
    """A box at one frame. ``angle`` (degrees, counter-clockwise as seen, more than one turn allowed) is how far the
    object has turned; the box is the upright box before turning about its centre."""

    frame: int
    box: Box
    angle: float = 0.0


@dataclass(frozen=True)
class BoxMotion:
    """Boxes at keyframes, held before the first and after the last one.

    Attributes:
        keyframes: at least one, frames rising.
        interpolation: the way between neighbours.
        mask: the object's mask on frame 0, or None to let the segmenter make one from the box.
    """

    keyframes: tuple[Keyframe, ...]
    interpolation: Interpolation = field(default_factory=Linear)
    mask: Rle | None = None


@dataclass(frozen=True)
class MaskMotion:
    """A visible mask in every frame; None or a mask without pixels where the object is absent (never on frame 0)."""

    masks: tuple[Rle | None, ...]


@dataclass(frozen=True)
class TrajectoryObject:
    """A named object and what it does."""

    name: str
    motion: BoxMotion | MaskMotion


@dataclass(frozen=True)
class Trajectory:
    """What every object does over ``frames`` frames; of two objects that meet, the later one lies in front.

    Raises:
        TrajectoryError: no object, names that repeat, frames out of range, masks of different aspects, and so on.
    """

    frames: int
    objects: tuple[TrajectoryObject, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.frames <= MAX_FRAMES:
            raise TrajectoryError(f"frames: expected 1 to {MAX_FRAMES} frames; got {str(self.frames)[:40]}")
        if not 1 <= len(self.objects) <= MAX_OBJECTS:
            raise TrajectoryError(
                f"objects: expected 1 to {MAX_OBJECTS} objects; got {len(self.objects)}. Draw a box around the object "
                "that shall move."
            )
        names = [item.name for item in self.objects]
        for index, item in enumerate(self.objects):
            where = f"objects[{index}]"
            if not item.name.strip() or len(item.name) > MAX_NAME or not item.name.isprintable():
                raise TrajectoryError(
                    f"{where}.name: expected 1 to {MAX_NAME} printable characters; got {item.name[:MAX_NAME]!r}"
                )
            if item.name in names[:index]:
                raise TrajectoryError(f"{where}.name: {item.name!r} is used twice; give every object its own name")
            match item.motion:
                case BoxMotion():
                    _check_keyframes(item.motion, self.frames, where)
                case MaskMotion():
                    _check_masks(item.motion, self.frames, where)
                case _:
                    assert_never(item.motion)
        _check_aspects(self)

    def resampled(self, frames: int) -> "Trajectory":
        """The same motion over another number of frames: keyframes are moved to the nearest new frame (of several that
        fall together the latest is kept, on frame 0 the earliest), masks taken from the nearest old frame.

        Raises:
            TrajectoryError: ``frames`` out of range.
        """
        if not 1 <= frames <= MAX_FRAMES:
            raise TrajectoryError(f"frames: expected 1 to {MAX_FRAMES} frames; got {frames}")
        if frames == self.frames:
            return self
        objects = []
        for item in self.objects:
            match item.motion:
                case BoxMotion() as motion:
                    keyframes = _resample_keyframes(motion.keyframes, self.frames, frames)
                    objects.append(replace(item, motion=replace(motion, keyframes=keyframes)))
                case MaskMotion(masks):
                    picked = tuple(masks[_moved(frame, frames, self.frames)] for frame in range(frames))
                    objects.append(replace(item, motion=MaskMotion(picked)))
                case _:
                    assert_never(item.motion)
        return Trajectory(frames, tuple(objects))

    def keyframe_frames(self) -> tuple[int, ...]:
        """The frames, rising, at which any object with boxes has a keyframe."""
        motions = (item.motion for item in self.objects)
        return tuple(sorted({key.frame for m in motions if isinstance(m, BoxMotion) for key in m.keyframes}))


def read_trajectory(path: str | os.PathLike[str]) -> Trajectory:
    """Read ``trajectory.json``, version 1.

    Raises:
        TrajectoryError: no such file, not JSON, or any field that is not as described in docs/trajectory_format.md; the
            message starts with the file and the dotted path of the field.
    """
    source = Path(path)
    try:
        document = _load_json(source)
        return _Reader(source.parent).trajectory(document)
    except TrajectoryError as error:
        raise TrajectoryError(f"{source}: {error}") from error.__cause__


def parse_trajectory(text: str, folder: str | os.PathLike[str] = ".") -> Trajectory:
    """The same from a string; mask files are looked for in ``folder``.

    Raises:
        TrajectoryError: as :func:`read_trajectory`.
    """
    return _Reader(Path(folder)).trajectory(_parse_json(text))


def write_trajectory(path: str | os.PathLike[str], trajectory: Trajectory) -> Path:
    """Write ``trajectory.json`` with all masks inside as COCO RLE; reading it gives an equal trajectory.

    Raises:
        MediaError: missing or read-only folder, full disk.
    """
    return write_bytes(path, trajectory_to_json(trajectory).encode("utf-8"))


def trajectory_to_json(trajectory: Trajectory) -> str:
    """The text of ``trajectory.json``."""
    objects = [_object_to_json(item) for item in trajectory.objects]
    document = {"version": VERSION, "frames": trajectory.frames, "objects": objects}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _object_to_json(item: TrajectoryObject) -> dict[str, Any]:
    match item.motion:
        case MaskMotion(masks):
            return {"name": item.name, "masks": [None if mask is None else mask.to_json() for mask in masks]}
        case BoxMotion(keyframes, interpolation, mask):
            result: dict[str, Any] = {"name": item.name}
            if mask is not None:
                result["mask"] = mask.to_json()
            result["keyframes"] = [_keyframe_to_json(keyframe) for keyframe in keyframes]
            result["interpolation"] = _interpolation_name(interpolation)
            return result
        case _:
            assert_never(item.motion)


def _keyframe_to_json(keyframe: Keyframe) -> dict[str, Any]:
    box = keyframe.box
    result: dict[str, Any] = {"frame": keyframe.frame, "box": [box.x0, box.y0, box.x1, box.y1]}
    return {**result, "angle": keyframe.angle} if keyframe.angle else result


def _interpolation_name(interpolation: Interpolation) -> str:
    match interpolation:
        case Linear():
            return "linear"
        case Smooth():
            return "smooth"
        case _:
            assert_never(interpolation)


def _load_json(source: Path) -> object:
    try:
        if not source.is_file():
            raise TrajectoryError("there is no such file; check the path")
        if source.stat().st_size > MAX_FILE_BYTES:
            raise TrajectoryError(f"the file is larger than {MAX_FILE_BYTES // 1024**2} MiB")
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        if isinstance(error, TrajectoryError):
            raise
        raise TrajectoryError(f"cannot be read as UTF-8 text ({str(error)[:120]})") from error
    return _parse_json(text)


def _parse_json(text: str) -> object:
    def constant(name: str) -> object:
        raise TrajectoryError(f"{name} is no number of JSON; expected finite numbers")

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        twice = next((key for key in keys if keys.count(key) > 1), None) if len(set(keys)) < len(keys) else None
        if twice is not None:
            raise TrajectoryError(f"the key {twice[:80]!r} stands twice in one object; keep one")
        return dict(pairs)

    try:
        return json.loads(text, parse_constant=constant, object_pairs_hook=unique)
    except TrajectoryError:
        raise
    except (ValueError, RecursionError) as error:
        raise TrajectoryError(f"is not valid JSON ({str(error)[:120]})") from error


def _described(value: object) -> str:
    return repr(value)[:80]


@dataclass(frozen=True)
class _Reader:
    folder: Path

    def trajectory(self, document: object) -> Trajectory:
        fields = _fields(document, "the document", required=("version", "frames", "objects"), optional=())
        if type(fields["version"]) is not int or fields["version"] != VERSION:
            raise TrajectoryError(f"version: expected {VERSION}; got {_described(fields['version'])}")
        frames = _whole(fields["frames"], "frames")
        if not 1 <= frames <= MAX_FRAMES:
            raise TrajectoryError(f"frames: expected 1 to {MAX_FRAMES} frames; got {_described(frames)}")
        items = _sequence(fields["objects"], "objects")
        if len(items) > MAX_OBJECTS:
            raise TrajectoryError(f"objects: expected 1 to {MAX_OBJECTS} objects; got {len(items)}")
        return Trajectory(frames, tuple(self.item(item, f"objects[{index}]") for index, item in enumerate(items)))

    def item(self, value: object, where: str) -> TrajectoryObject:
        known = ("mask", "masks", "keyframes", "interpolation")
        fields = _fields(value, where, required=("name",), optional=known)
        name = fields["name"]
        if not isinstance(name, str):
            raise TrajectoryError(f"{where}.name: expected text; got {_described(name)}")
        if ("masks" in fields) == ("keyframes" in fields):
            raise TrajectoryError(f"{where}: expected either 'keyframes' (boxes) or 'masks' (one per frame)")
        if "masks" in fields:
            for key in ("mask", "interpolation"):
                if key in fields:
                    raise TrajectoryError(f"{where}.{key}: belongs to 'keyframes'; with 'masks' leave it out")
            masks = _sequence(fields["masks"], f"{where}.masks")
            runs = (self.dense_mask(mask, f"{where}.masks[{index}]") for index, mask in enumerate(masks))
            return TrajectoryObject(name, MaskMotion(tuple(runs)))
        return TrajectoryObject(name, self.box_motion(fields, where))

    def box_motion(self, fields: dict[str, Any], where: str) -> BoxMotion:
        keyframes = _sequence(fields["keyframes"], f"{where}.keyframes")
        parsed = tuple(self.keyframe(key, f"{where}.keyframes[{index}]") for index, key in enumerate(keyframes))
        mask = self.mask(fields["mask"], f"{where}.mask") if "mask" in fields else None
        named: dict[object, Interpolation] = {"linear": Linear(), "smooth": Smooth()}
        word = fields.get("interpolation", "linear")
        if not isinstance(word, str) or word not in named:
            raise TrajectoryError(f"{where}.interpolation: expected 'linear' or 'smooth'; got {_described(word)}")
        return BoxMotion(tuple(sorted(parsed, key=lambda key: key.frame)), named[word], mask)

    def keyframe(self, value: object, where: str) -> Keyframe:
        fields = _fields(value, where, required=("frame", "box"), optional=("angle",))
        corners = _sequence(fields["box"], f"{where}.box")
        if len(corners) != 4:
            raise TrajectoryError(f"{where}.box: expected four numbers [x0, y0, x1, y1]; got {_described(corners)}")
        numbers = [_number(corner, f"{where}.box[{index}]") for index, corner in enumerate(corners)]
        box = _located(lambda: Box(*numbers), f"{where}.box")
        return Keyframe(
            _whole(fields["frame"], f"{where}.frame"), box, _number(fields.get("angle", 0), f"{where}.angle")
        )

    def dense_mask(self, value: object, where: str) -> Rle | None:
        return None if value is None else _located(lambda: rle_from_json(value), where)

    def mask(self, value: object, where: str) -> Rle:
        if isinstance(value, str):
            return _located(lambda: self.mask_file(value), where)
        if isinstance(value, dict):
            return _located(lambda: rle_from_json(value), where)
        raise TrajectoryError(f"{where}: expected the path of a PNG file or a COCO RLE; got {_described(value)}")

    def mask_file(self, name: str) -> Rle:
        if PurePosixPath(name).suffix.lower() != ".png":
            raise TrajectoryError(f"expected a .png file (white object on black); got {name[:120]!r}")
        try:
            target = path_inside(self.folder, name)
        except MediaError as error:
            raise TrajectoryError(str(error)) from error
        try:
            return encode_rle(read_mask(target))
        except MediaError as error:
            raise TrajectoryError(str(error)) from error


def _located(make: Callable[[], T], where: str) -> T:
    """Run ``make``; its error gets the dotted path in front."""
    try:
        return make()
    except TrajectoryError as error:
        raise TrajectoryError(f"{where}: {error}") from error


def _fields(value: object, where: str, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TrajectoryError(
            f"{where}: expected an object with the keys {', '.join(required)}; got {_described(value)}"
        )
    known = (*required, *optional)
    unknown = [key for key in value if key not in known]
    if unknown:
        raise TrajectoryError(f"{where}.{unknown[0][:80]}: unknown key; expected {', '.join(known)}")
    missing = [key for key in required if key not in value]
    if missing:
        raise TrajectoryError(f"{where}.{missing[0]}: is missing; expected {', '.join(required)}")
    return value


def _sequence(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise TrajectoryError(f"{where}: expected a list; got {_described(value)}")
    return value


def _whole(value: object, where: str) -> int:
    if type(value) is not int:
        raise TrajectoryError(f"{where}: expected a whole number; got {_described(value)}")
    return value


def _number(value: object, where: str) -> float:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        number = None
    if number is None or not abs(number) < float("inf"):
        raise TrajectoryError(f"{where}: expected a finite number; got {_described(value)}")
    return number


def _check_keyframes(motion: BoxMotion, frames: int, where: str) -> None:
    if not motion.keyframes:
        raise TrajectoryError(f"{where}.keyframes: expected at least one keyframe; got none")
    previous = -1
    for index, key in enumerate(motion.keyframes):
        here = f"{where}.keyframes[{index}]"
        if not 0 <= key.frame < frames:
            raise TrajectoryError(
                f"{here}.frame: expected 0 to {frames - 1}, since the trajectory has {frames} frames; "
                f"got {str(key.frame)[:40]}"
            )
        if key.frame == previous:
            raise TrajectoryError(f"{here}.frame: frame {key.frame} has two keyframes; keep one")
        if key.frame < previous:
            raise TrajectoryError(f"{here}.frame: keyframes must be in rising order; {key.frame} follows {previous}")
        if not abs(key.angle) <= MAX_ANGLE:
            raise TrajectoryError(f"{here}.angle: expected at most {MAX_ANGLE:g} degrees; got {key.angle}")
        previous = key.frame
    if motion.keyframes[0].box.clipped() is None:
        raise TrajectoryError(
            f"{where}.keyframes[0].box: the object lies outside the picture on frame 0, so there is nothing to move; "
            "start with a box that shows it"
        )
    if motion.mask is not None and motion.mask.area == 0:
        raise TrajectoryError(f"{where}.mask: the mask has no pixels; mark the object in white")


def _check_masks(motion: MaskMotion, frames: int, where: str) -> None:
    if len(motion.masks) != frames:
        raise TrajectoryError(
            f"{where}.masks: expected one mask (or null) for each of the {frames} frames; got {len(motion.masks)}"
        )
    first = motion.masks[0]
    if first is None or first.area == 0:
        raise TrajectoryError(
            f"{where}.masks[0]: the object must be visible on frame 0, which shows what it looks like; got no pixels"
        )


def _check_aspects(trajectory: Trajectory) -> None:
    """All masks belong to one picture, so they have one aspect."""
    reference: tuple[int, int] | None = None
    for index, item in enumerate(trajectory.objects):
        masks = item.motion.masks if isinstance(item.motion, MaskMotion) else (item.motion.mask,)
        for frame, mask in enumerate(masks):
            if mask is None:
                continue
            reference = reference or mask.size
            if not same_aspect(mask.size, reference):
                named = f"masks[{frame}]" if isinstance(item.motion, MaskMotion) else "mask"
                raise TrajectoryError(
                    f"objects[{index}].{named}: is {mask.size[1]}x{mask.size[0]} pixels, another aspect than the "
                    f"{reference[1]}x{reference[0]} of the first mask; all masks must belong to the same picture"
                )


def same_aspect(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes (H, W) may show the same picture: aspects within 3 %, for rounding to multiples of 16 or 32."""
    ratio = (one[0] * other[1]) / (one[1] * other[0])
    return 1 / (1 + ASPECT_TOLERANCE) <= ratio <= 1 + ASPECT_TOLERANCE


def _moved(frame: int, old: int, new: int) -> int:
    """Frame of ``old`` frames -> the nearest of ``new`` frames that span the same time."""
    return 0 if old == 1 else round(frame * (new - 1) / (old - 1))


def _resample_keyframes(keyframes: tuple[Keyframe, ...], old: int, new: int) -> tuple[Keyframe, ...]:
    placed = {_moved(key.frame, old, new): key for key in keyframes}
    if _moved(keyframes[0].frame, old, new) == 0:
        placed[0] = keyframes[0]
    return tuple(replace(placed[frame], frame=frame) for frame in sorted(placed))
