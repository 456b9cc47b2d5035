"""What a model folder holds, read from the headers of its safetensors files: nothing is loaded."""

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from magicgen.errors import WeightsError
from magicgen.weights.sources import ModelSource, PipelineFolder, ReleasedMagicMotion, read_json

MAX_HEADER_BYTES = 100 * 1024**2


@dataclass(frozen=True)
class Component:
    """One part of a model: its name, its folder, how many numbers and bytes its weight files hold."""

    name: str
    folder: Path
    parameters: int
    bytes: int


def inventory(source: ModelSource, level_word: str | None = None) -> list[Component]:
    """The parts that would be loaded.

    Args:
        source: from :func:`~magicgen.weights.sources.resolve_model`.
        level_word: ``mask``, ``box`` or ``sparse_box``; released weights have one branch for each.

    Raises:
        WeightsError: a weight file is missing, cut off or damaged.
    """
    match source:
        case PipelineFolder(_, folder):
            return _components(folder)
        case ReleasedMagicMotion(_, base, branches):
            chosen = [_component(f"branch ({name})", path) for name, path in branches if level_word in (None, name)]
            return _components(base) + chosen
        case _:
            assert_never(source)


def _components(folder: Path) -> list[Component]:
    index = read_json(folder / "model_index.json")
    named = [
        name
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and value[:1] != [None] and (folder / name).is_dir()
    ]
    found = [_component(name, folder / name) for name in named]
    return [component for component in found if component.bytes]


def _component(name: str, folder: Path) -> Component:
    files = list(_weight_files(folder))
    sizes = [_numbers(path) for path in files]
    return Component(name, folder, sum(sizes), sum(path.stat().st_size for path in files))


def _weight_files(folder: Path) -> Iterator[Path]:
    """The safetensors files of a part; where an index names shards, exactly those."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        for name in sorted(set(read_json(index).get("weight_map", {}).values())):
            path = folder / name
            if not path.is_file():
                raise WeightsError(f"{path} is missing, although {index.name} names it. Fetch the model again.")
            yield path
        return
    yield from sorted(folder.glob("*.safetensors"))


def _numbers(path: Path) -> int:
    """How many numbers a safetensors file holds, from its header (8 bytes of length, then JSON)."""
    size = path.stat().st_size
    try:
        with open(path, "rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            if length > min(size, MAX_HEADER_BYTES):
                raise ValueError("its header is longer than the file")
            header = json.loads(handle.read(length))
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        end = max((entry["data_offsets"][1] for entry in entries), default=0)
        if 8 + length + end != size:
            raise ValueError(f"its header promises {8 + length + end} bytes, the file has {size}")
        return sum(math.prod(entry["shape"]) for entry in entries)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise WeightsError(f"{path} is no undamaged safetensors file ({error}). Fetch the model again.") from None
