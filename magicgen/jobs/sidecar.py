"""The JSON file beside every result: everything that decided it, inputs included, so that it alone repeats the run."""

import base64
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, assert_never

import numpy as np

from magicgen.control.rle import encode_rle, rle_from_json
from magicgen.control.tracks import Bools, BoxLevel, Level, MaskLevel, SparseBoxLevel, Tracks, level_name
from magicgen.errors import ConfigError, MagicGenError
from magicgen.jobs.inputs import ClipInputs, UInt8

VERSION = 1


def inputs_to_json(inputs: ClipInputs) -> dict[str, Any]:
    """Plain data of a clip's inputs: the picture as PNG in base64, masks as COCO RLE, absent boxes as null."""
    tracks = inputs.tracks
    return {
        "level": _level_to_json(inputs.level),
        "fps": inputs.fps,
        "objects": [_object_to_json(tracks, index) for index in range(len(tracks.names))],
        "picture_png": base64.b64encode(_png(inputs.picture)).decode("ascii"),
    }


def inputs_from_json(value: Mapping[str, Any]) -> ClipInputs:
    """The inverse of :func:`inputs_to_json`.

    Raises:
        KeyError, TypeError, ValueError: not what that function writes.
    """
    from PIL import Image

    with Image.open(BytesIO(base64.b64decode(value["picture_png"], validate=True)), formats=["PNG"]) as image:
        picture = np.array(image.convert("RGB"), dtype=np.uint8)
    objects = value["objects"]
    boxes = [[[np.nan] * 4 if box is None else box for box in item["boxes"]] for item in objects]
    dense = all(item["masks"] is not None for item in objects)
    turning = all(item["angles"] is not None for item in objects)
    tracks = Tracks(
        tuple(str(item["name"]) for item in objects),
        np.stack([_mask(item["first_mask"]) for item in objects]),
        np.asarray(boxes, dtype=np.float32),
        np.stack([[_mask(mask) for mask in item["masks"]] for item in objects]) if dense else None,
        np.asarray([item["angles"] for item in objects], dtype=np.float32) if turning else None,
    )
    level = _level_from_json(value["level"])
    tracks.at_level(level)
    return ClipInputs(picture, tracks, level, None if value["fps"] is None else float(value["fps"]))


def read_sidecar(path: Path) -> tuple[dict[str, Any], ClipInputs]:
    """The settings and inputs of an earlier run.

    Raises:
        ConfigError: the file cannot be read, or is no sidecar of ``magicgen animate``.
    """
    document = _load(path)
    if not isinstance(document, dict) or document.get("kind") != "animate" or document.get("version") != VERSION:
        raise ConfigError(
            f"{path} is no sidecar of 'magicgen animate' (version {VERSION}); give the .json beside a video."
        )
    try:
        return dict(document["settings"]), inputs_from_json(document["inputs"])
    except (KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, MagicGenError):
            raise ConfigError(f"{path}: {error}") from None
        raise ConfigError(f"{path} is damaged ({type(error).__name__}: {str(error)[:100]}).") from None


def _load(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no sidecar {path}. Check the path.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as JSON ({str(error)[:100]}).") from None


def _png(picture: UInt8) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _object_to_json(tracks: Tracks, index: int) -> dict[str, Any]:
    boxes = [box.tolist() if np.isfinite(box).all() else None for box in tracks.boxes[index]]
    return {
        "name": tracks.names[index],
        "boxes": boxes,
        "angles": None if tracks.angles is None else tracks.angles[index].tolist(),
        "first_mask": encode_rle(tracks.first_masks[index]).to_json(),
        "masks": None if tracks.masks is None else [encode_rle(mask).to_json() for mask in tracks.masks[index]],
    }


def _mask(value: object) -> Bools:
    return rle_from_json(value).decode()


def _level_to_json(level: Level) -> dict[str, Any]:
    match level:
        case MaskLevel() | BoxLevel():
            return {"name": level_name(level)}
        case SparseBoxLevel(frames):
            return {"name": level_name(level), "frames": list(frames)}
        case _:
            assert_never(level)


def _level_from_json(value: Mapping[str, Any]) -> Level:
    match value["name"]:
        case "mask":
            return MaskLevel()
        case "box":
            return BoxLevel()
        case "sparse_box":
            return SparseBoxLevel(tuple(int(frame) for frame in value["frames"]))
        case other:
            raise ConfigError(f"unknown level {other!r}")
