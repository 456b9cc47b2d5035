"""From a model's name to the folder that holds it, before anything is loaded."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magicgen.control.tracks import Level, level_name
from magicgen.errors import WeightsError

TINY = "tiny"
MAGICMOTION = "magicmotion-5b"
PRESETS = (TINY, MAGICMOTION)
LEVELS = ("mask", "box", "sparse_box")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class HubFiles:
    """Files of one Hub repository: its id, and the patterns of the files that are needed (all, when empty)."""

    repo: str
    patterns: tuple[str, ...] = ()


# The released weights: the base in diffusers' layout (its loose .safetensors copies left out), and MagicMotion's own.
MAGICMOTION_BASE = HubFiles(
    "THUDM/CogVideoX-5b-I2V",
    ("model_index.json", "scheduler/*", "text_encoder/*", "tokenizer/*", "transformer/*", "vae/*", "LICENSE*"),
)
MAGICMOTION_BRANCHES = {
    "mask": HubFiles("quanhaol/MagicMotion", ("ckpts/stage1/mask.pt",)),
    "box": HubFiles("quanhaol/MagicMotion", ("ckpts/stage2/box.pt",)),
    "sparse_box": HubFiles("quanhaol/MagicMotion", ("ckpts/stage3/sparse_box.pt",)),
}
MAGICMOTION_HEADS = {
    "box_head": HubFiles("quanhaol/MagicMotion", ("ckpts/stage2/box_perception_head.pt",)),
    "sparse_box_head": HubFiles("quanhaol/MagicMotion", ("ckpts/stage3/sparse_box_perception_head.pt",)),
}


@dataclass(frozen=True)
class PipelineFolder:
    """A folder written by ``TrajectoryVideoPipeline.save_pretrained``: one branch for all levels."""

    name: str
    folder: Path


@dataclass(frozen=True)
class ReleasedMagicMotion:
    """A stock CogVideoX image-to-video folder and one converted branch for each level that is there.

    Attributes:
        name: as given by the person.
        base: folder with ``model_index.json`` and a folder for each part (transformer, vae, text encoder ...).
        branches: level name -> folder with ``config.json`` and safetensors.
    """

    name: str
    base: Path
    branches: tuple[tuple[str, Path], ...]

    def branch(self, level: Level) -> Path:
        """The branch that was trained for a level.

        Raises:
            WeightsError: it is not there.
        """
        wanted = level_name(level)
        for name, folder in self.branches:
            if name == wanted:
                return folder
        have = ", ".join(name for name, _ in self.branches) or "none"
        raise WeightsError(
            f"{self.name} has no control branch for the level '{wanted}' (there: {have}). Convert it with "
            f"'magicgen convert SOURCE.pt --out {self.base.parent / wanted}', or choose another --level."
        )


ModelSource = PipelineFolder | ReleasedMagicMotion


def home() -> Path:
    """Where downloaded and converted models are kept: ``$MAGICGEN_HOME``, by default ``~/.cache/magicgen``."""
    return Path(os.environ.get("MAGICGEN_HOME") or Path.home() / ".cache" / "magicgen")


def preset_folder(name: str) -> Path:
    """The folder of a preset: inside the package for ``tiny``, under :func:`home` for the others."""
    if name == TINY:
        return Path(__file__).resolve().parents[1] / "presets" / TINY
    return home() / "models" / name


def hub_folder(repo: str) -> Path:
    """Where ``magicgen download`` puts a Hub repository."""
    return home() / "models" / repo.replace("/", "--")


def resolve_model(name: str) -> ModelSource:
    """Find a model by preset name, folder or Hub id, without loading it and without the network.

    Args:
        name: ``tiny``, ``magicmotion-5b``, the path of a folder, or a Hub id that was downloaded before.

    Raises:
        WeightsError: nothing is there, or something that is no model; the message says what to fetch, and where to put
            it.
    """
    if name == TINY:
        return _tiny()
    if name == MAGICMOTION:
        return _released(name, preset_folder(name))
    path = Path(name).expanduser()
    if path.is_dir():
        return _folder(name, path)
    if _HUB_ID.fullmatch(name) and not path.exists():
        return _hub_id(name)
    what = "is a file; give the folder that holds model_index.json" if path.exists() else "is no preset and no folder"
    raise WeightsError(
        f"The model '{name}' {what}. Expected {' or '.join(PRESETS)}, a folder written by save_pretrained, or a Hub id "
        "like OWNER/NAME."
    )


def read_json(path: Path) -> dict[str, Any]:
    """A configuration of a model folder.

    Raises:
        WeightsError: it is missing or no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{path} is missing; the model folder is incomplete. Fetch it again.") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as JSON ({error}). Fetch the model again.") from None
    if not isinstance(value, dict):
        raise WeightsError(f"{path} holds no JSON object. Fetch the model again.")
    return value


def _tiny() -> ModelSource:
    folder = preset_folder(TINY)
    if not (folder / "model_index.json").is_file():
        raise WeightsError(
            f"This installation has no weights for '{TINY}' in {folder}. Install the package again, or train them with "
            "'magicgen train' and pass the folder with --model."
        )
    return PipelineFolder(TINY, folder)


def _hub_id(name: str) -> ModelSource:
    folder = hub_folder(name)
    if folder.is_dir():
        return _folder(name, folder)
    raise WeightsError(
        f"The model '{name}' has not been downloaded. Run 'magicgen download {name}' (add --dry-run to see the sizes "
        f"first), or put its files into {folder}."
    )


def _folder(name: str, folder: Path) -> ModelSource:
    if (folder / "base").is_dir():
        return _released(name, folder)
    index = read_json(folder / "model_index.json") if (folder / "model_index.json").is_file() else None
    if index is None:
        hint = ""
        if (folder / "config.json").is_file():
            hint = " It holds a single part of a model (config.json); give the folder of the whole pipeline."
        raise WeightsError(f"{folder} has no model_index.json, so it is no model folder.{hint}")
    match index.get("_class_name"):
        case "TrajectoryVideoPipeline":
            return PipelineFolder(name, folder)
        case "CogVideoXImageToVideoPipeline":
            return ReleasedMagicMotion(name, folder, ())
        case other:
            raise WeightsError(
                f"{folder} holds a {other}; expected a TrajectoryVideoPipeline, or a CogVideoXImageToVideoPipeline as "
                "the base of released branches."
            )


def _released(name: str, folder: Path) -> ModelSource:
    base = folder / "base"
    missing = [
        str(base / part)
        for part in ("model_index.json", "transformer/config.json", "vae/config.json", "text_encoder/config.json")
        if not (base / part).is_file()
    ]
    branches = tuple((level, folder / level) for level in LEVELS if (folder / level / "config.json").is_file())
    if not missing and branches:
        return ReleasedMagicMotion(name, base, branches)
    fetch = (
        f"Run 'magicgen download {MAGICMOTION}' (add --dry-run to see the sizes first). Without a network, put "
        f"{MAGICMOTION_BASE.repo} into {base}, and convert {MAGICMOTION_BRANCHES['mask'].repo}'s checkpoints with "
        f"'magicgen convert ckpts/stage1/mask.pt --out {folder / 'mask'}' (stage2/box.pt: {folder / 'box'}; "
        f"stage3/sparse_box.pt: {folder / 'sparse_box'})."
    )
    absent = missing or [str(folder / level) for level in LEVELS]
    raise WeightsError(f"The weights of '{name}' are not here; missing: {', '.join(absent)}. {fetch}")
