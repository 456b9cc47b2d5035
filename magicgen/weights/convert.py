"""MagicMotion's released checkpoints (.pt) to safetensors folders: strict, and nothing but tensors is unpickled."""

import errno
import pickle
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never
from uuid import uuid4

import torch
from diffusers import ModelMixin

from magicgen import __version__
from magicgen.errors import GenerationFailed, WeightsError
from magicgen.media import write_json
from magicgen.models.control_branch import SHARED_CONFIG, ControlBranch
from magicgen.models.segmentation_head import LatentSegmentationHead

PREFIXES = ("module.", "controlnet.", "perception_head.")
# Wrappers under which training programs store the tensors.
NESTS = ("state_dict", "module", "model")
NAMED_AT_MOST = 20

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Branch:
    """The checkpoint is a trajectory ControlNet."""


@dataclass(frozen=True)
class Head:
    """The checkpoint is a latent segmentation ("perception") head."""


Kind = Branch | Head


@dataclass(frozen=True)
class Converted:
    """What was written: the folder, what it is, and how many tensors and numbers it holds."""

    folder: Path
    kind: Kind
    tensors: int
    parameters: int


def convert(source: Path, out: Path, base_config: Mapping[str, Any] | None = None) -> Converted:
    """Turn a checkpoint into a folder for ``from_pretrained``; whole or not at all.

    Args:
        source: a ``.pt`` of MagicMotion (pickled tensors, bare or under ``state_dict``, with or without the prefixes of
            :data:`PREFIXES`), or a ``.safetensors`` with the same keys.
        out: the folder to make; it must not exist or be empty.
        base_config: configuration of the transformer that the branch steers; by default CogVideoX-5b-I2V's.

    Raises:
        WeightsError: not a checkpoint, other keys or shapes than expected (each is named), or no place to write to.
        GenerationFailed: the disk filled up on the way.
    """
    _check_target(source, out)
    state = _plain_names(read_checkpoint(source))
    kind = recognise(state, source)
    model = _empty_model(kind, dict(base_config or {}))
    state = _fitted(state, model.state_dict(), source, kind)
    model.load_state_dict(state, strict=True, assign=True)
    _save(model, out, {"source": source.name, "bytes": source.stat().st_size, "magicgen": __version__})
    return Converted(out, kind, len(state), sum(tensor.numel() for tensor in state.values()))


def read_checkpoint(source: Path) -> State:
    """The tensors of a file, mapped into memory where its format allows; code in the file is never run.

    Raises:
        WeightsError: no such file, damaged, or something else than tensors.
    """
    if not source.is_file():
        raise WeightsError(f"There is no checkpoint {source}. Check the path.")
    if source.suffix == ".safetensors":
        return _read_safetensors(source)
    try:
        mapped = zipfile.is_zipfile(source)  # only torch's newer format can be mapped
        value = torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{source} holds more than tensors, and loading it could run code; it is not opened. Ask its author for "
            "safetensors or for a file with tensors only."
        ) from None
    except Exception as error:  # torch answers damaged files with many exception classes
        raise WeightsError(f"{source} cannot be read as a checkpoint ({_first_line(error)}). Fetch it again.") from None
    return _unnested(value, source)


def recognise(state: State, source: Path) -> Kind:
    """Whether the tensors are a control branch or a segmentation head.

    Raises:
        WeightsError: neither.
    """
    if any(name.startswith("out_projectors.") for name in state):
        return Branch()
    if any(name.startswith("convs.") for name in state):
        return Head()
    raise WeightsError(
        f"{source} is neither a MagicMotion control branch (out_projectors.*) nor a segmentation head (convs.*); its "
        f"keys begin with {_listed(sorted(state)[:5])}."
    )


def expected_shapes(kind: Kind, base_config: Mapping[str, Any] | None = None) -> dict[str, tuple[int, ...]]:
    """Key names and shapes of the released format, in which projections are 1x1 convolutions (C, C, 1, 1)."""
    model = _empty_model(kind, dict(base_config or {}))
    return {name: _released_shape(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()}


def _released_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape, 1, 1) if name.startswith("out_projectors.") and name.endswith(".weight") else shape


def _empty_model(kind: Kind, base: dict[str, Any]) -> ModelMixin:
    """The class at its full size without memory behind it."""
    layers, patch = int(base.get("num_layers", 42)), int(base.get("patch_size", 2))
    latent = int(base.get("out_channels", 16))
    with torch.device("meta"):
        match kind:
            case Branch():
                shared = {name: base[name] for name in SHARED_CONFIG if name in base}
                return ControlBranch(control_layers=tuple(range(layers)), in_channels=2 * latent, **shared)
            case Head():
                width = int(base.get("num_attention_heads", 48)) * int(base.get("attention_head_dim", 64))
                return LatentSegmentationHead(layers, width, out_channels=latent, patch_size=patch)
            case _:
                assert_never(kind)


def _fitted(state: State, wanted: Mapping[str, torch.Tensor], source: Path, kind: Kind) -> State:
    """The tensors in the class's own shapes.

    Raises:
        WeightsError: names every missing, extra and misshaped key (the first twenty of each, and how many).
    """
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    fitted, misshaped = {}, []
    for name in sorted(wanted.keys() & state.keys()):
        shape, tensor = tuple(wanted[name].shape), state[name]
        if tuple(tensor.shape) == _released_shape(name, shape):
            tensor = tensor.reshape(shape)
        if tuple(tensor.shape) != shape:
            misshaped.append(f"{name} {tuple(tensor.shape)} instead of {_released_shape(name, shape)}")
        fitted[name] = tensor
    if missing or extra or misshaped:
        what = "control branch" if isinstance(kind, Branch) else "segmentation head"
        findings = [
            f"{len(names)} {word}: {_listed(names)}"
            for word, names in (("missing", missing), ("unexpected", extra), ("misshaped", misshaped))
            if names
        ]
        raise WeightsError(
            f"{source} does not fit the {what} (expected {len(wanted)} keys, got {len(state)}). "
            + "; ".join(findings)
            + ". If it was made for another base than CogVideoX-5b-I2V, give that base's config with --base."
        )
    return fitted


def _unnested(value: Any, source: Path) -> State:
    for _ in NESTS:
        nest = next((key for key in NESTS if isinstance(value, dict) and isinstance(value.get(key), dict)), None)
        if nest is None:
            break
        value = value[nest]
    if not isinstance(value, dict) or not value:
        raise WeightsError(f"{source} holds a {type(value).__name__}; expected a dictionary of tensors.")
    wrong = [str(name) for name, tensor in value.items() if not isinstance(tensor, torch.Tensor)]
    if wrong:
        raise WeightsError(f"{source} holds entries that are no tensors: {_listed(wrong)}.")
    return {str(name): tensor for name, tensor in value.items()}


def _read_safetensors(source: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(source)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{source} cannot be read as safetensors ({_first_line(error)}). Fetch it again.") from None


def _plain_names(state: State) -> State:
    plain: State = {}
    for name, tensor in state.items():
        bare = name
        while any(bare.startswith(prefix) for prefix in PREFIXES):
            bare = bare.partition(".")[2]
        if bare in plain:
            raise WeightsError(f"The checkpoint holds '{bare}' twice, with and without a prefix; expected one of each.")
        plain[bare] = tensor
    return plain


def _check_target(source: Path, out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WeightsError(f"{out} exists already; give a new folder, or remove it first.")
    if not out.parent.is_dir():
        raise WeightsError(f"The folder {out.parent} does not exist. Make it first.")
    if source.is_file():
        needed, free = source.stat().st_size, shutil.disk_usage(out.parent).free
        if needed > free:
            raise WeightsError(
                f"{out} will need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free on that disk. Make room first."
            )


def _save(model: ModelMixin, out: Path, origin: Mapping[str, Any]) -> None:
    temporary = out.with_name(f".{out.name}.{uuid4().hex[:8]}.part")
    try:
        temporary.mkdir()
        model.save_pretrained(temporary)
        write_json(temporary / "origin.json", origin)
        if out.is_dir():
            out.rmdir()  # empty, as checked before
        temporary.rename(out)
    except Exception as error:  # safetensors wraps the operating system's error in a class of its own
        raise _save_failed(out, error) from None
    finally:
        with suppress(OSError):
            shutil.rmtree(temporary, ignore_errors=True)


def _save_failed(out: Path, error: Exception) -> WeightsError | GenerationFailed:
    text = _first_line(error)
    full = getattr(error, "errno", None) == errno.ENOSPC or "StorageFull" in text or "No space left" in text
    if full:
        return GenerationFailed(f"The disk filled up while {out} was written; nothing was kept. Make room first.")
    return WeightsError(f"{out} cannot be written ({text}). Choose another folder.")


def _listed(names: Iterable[str]) -> str:
    named = list(names)
    rest = f" ... and {len(named) - NAMED_AT_MOST} more" if len(named) > NAMED_AT_MOST else ""
    return ", ".join(named[:NAMED_AT_MOST]) + rest


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0][:200] if lines else type(error).__name__).rstrip(".")
