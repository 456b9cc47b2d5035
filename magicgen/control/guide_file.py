"""Guide files: a :class:`~magicgen.control.guide.RemovalGuide` as JSON.

``{"version": 1, "marks": [{"kind": "point", "layer": "reflection", "at": [0.6, 0.3]}, ...]}`` with the kinds ``point``
(``at``), ``box`` (``box``: x0, y0, x1, y1), ``stroke`` (``points``, ``width``), ``mask`` (``mask``: a picture's path
relative to the file, or a COCO RLE object) and ``text`` (``text``). A reader refuses what it does not know.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_never

from magicgen.control.geometry import Box
from magicgen.control.guide import (
    BoxMark,
    Layer,
    Mark,
    MaskMark,
    PointMark,
    RemovalGuide,
    StrokeMark,
    TextMark,
)
from magicgen.control.rle import encode_rle, rle_from_json
from magicgen.errors import GuideError, MagicGenError, MediaError
from magicgen.media import path_inside, read_mask, write_json

VERSION = 1
LAYERS = {"reflection": Layer.REFLECTION, "transmission": Layer.TRANSMISSION}
FIELDS = {"point": ("at",), "box": ("box",), "stroke": ("points", "width"), "mask": ("mask",), "text": ("text",)}
MAX_BYTES = 64 * 1024**2


def read_guide(path: Path) -> RemovalGuide:
    """Read a guide file.

    Raises:
        GuideError: the file cannot be read, or holds something unknown or wrong; file and mark are named.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise GuideError(f"{path} is larger than {MAX_BYTES // 1024**2} MiB; that is no guide file.")
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GuideError(f"There is no guide file {path}. Check the path.") from None
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, GuideError):
            raise
        raise GuideError(f"{path} cannot be read as JSON ({str(error)[:100]}).") from None
    return guide_from_json(document, str(path), path.parent)


def write_guide(path: Path, guide: RemovalGuide) -> Path:
    """Write a guide file; masks go in as COCO RLE."""
    return write_json(path, guide_to_json(guide))


def guide_to_json(guide: RemovalGuide) -> dict[str, Any]:
    """A guide as plain data."""
    return {"version": VERSION, "marks": [_mark_to_json(mark) for mark in guide.marks]}


def guide_from_json(document: object, source: str, folder: Path) -> RemovalGuide:
    """The inverse of :func:`guide_to_json`.

    Args:
        document: parsed JSON.
        source: what messages call it.
        folder: where relative mask paths start.

    Raises:
        GuideError: see :func:`read_guide`.
    """
    if not isinstance(document, dict) or document.get("version") != VERSION or not _is_list(document.get("marks")):
        raise GuideError(f'{source}: expected {{"version": {VERSION}, "marks": [...]}}.')
    unknown = sorted(set(document) - {"version", "marks"})
    if unknown:
        raise GuideError(f"{source}: unknown field '{unknown[0]}'; expected version and marks.")
    marks = []
    for number, value in enumerate(document["marks"]):
        where = f"{source}, marks[{number}]"
        try:
            marks.append(_mark_from_json(value, folder))
        except MagicGenError as error:
            raise GuideError(f"{where}: {error}") from None
        except (TypeError, ValueError) as error:
            raise GuideError(f"{where}: wrong value ({str(error)[:100]}).") from None
    try:
        return RemovalGuide(tuple(marks))
    except GuideError as error:
        raise GuideError(f"{source}: {error}") from None


def _mark_to_json(mark: Mark) -> dict[str, Any]:
    layer = mark.layer.name.lower()
    match mark:
        case PointMark(x, y, _):
            return {"kind": "point", "layer": layer, "at": [x, y]}
        case BoxMark(box, _):
            return {"kind": "box", "layer": layer, "box": [box.x0, box.y0, box.x1, box.y1]}
        case StrokeMark(points, width, _):
            return {"kind": "stroke", "layer": layer, "points": [list(point) for point in points], "width": width}
        case MaskMark(mask, _):
            return {"kind": "mask", "layer": layer, "mask": encode_rle(mask).to_json()}
        case TextMark(text, _):
            return {"kind": "text", "layer": layer, "text": text}
        case _:
            assert_never(mark)


def _mark_from_json(value: object, folder: Path) -> Mark:
    if not isinstance(value, Mapping):
        raise GuideError(f"expected an object with kind and layer; got {value!r:.60}")
    kind, layer_name = value.get("kind"), value.get("layer")
    if kind not in FIELDS:
        raise GuideError(f"unknown kind {kind!r:.40}; expected one of {', '.join(FIELDS)}")
    if layer_name not in LAYERS:
        raise GuideError(f"unknown layer {layer_name!r:.40}; expected reflection or transmission")
    expected = {"kind", "layer", *FIELDS[kind]}
    if set(value) != expected:
        odd = sorted(set(value) ^ expected)[0]
        raise GuideError(f"a {kind} has the fields {', '.join(sorted(expected))}; '{odd}' is missing or unknown")
    layer = LAYERS[layer_name]
    match kind:
        case "point":
            x, y = _numbers(value["at"], 2, "at")
            return PointMark(x, y, layer)
        case "box":
            return BoxMark(Box(*_numbers(value["box"], 4, "box")), layer)
        case "stroke":
            if not _is_list(value["points"]):
                raise GuideError("points: expected a list of [x, y]")
            points = tuple((x, y) for x, y in (_numbers(point, 2, "points") for point in value["points"]))
            return StrokeMark(points, _numbers([value["width"]], 1, "width")[0], layer)
        case "mask":
            return MaskMark(_mask(value["mask"], folder), layer)
        case _:
            if not isinstance(value["text"], str):
                raise GuideError("text: expected words")
            return TextMark(value["text"], layer)


def _mask(value: object, folder: Path) -> Any:
    if isinstance(value, str):
        try:
            return read_mask(path_inside(folder, value))
        except MediaError as error:
            raise GuideError(f"mask: {error}") from error
    return rle_from_json(value).decode()


def _numbers(value: object, count: int, field: str) -> list[float]:
    good = isinstance(value, list) and len(value) == count
    if not good or any(isinstance(part, bool) or not isinstance(part, int | float) for part in value):  # type: ignore[attr-defined]
        raise GuideError(f"{field}: expected {count} number{'s' if count > 1 else ''}; got {value!r:.60}")
    return [float(part) for part in value]  # type: ignore[attr-defined]


def _is_list(value: object) -> bool:
    return isinstance(value, list)
