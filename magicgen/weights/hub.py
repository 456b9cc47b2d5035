"""The Hugging Face Hub: what a model would download, and the download. ``HF_HUB_OFFLINE`` and tokens are respected."""

import errno
import fnmatch
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magicgen.errors import GenerationFailed, WeightsError
from magicgen.progress import ProgressEvent, Report, silent
from magicgen.weights.sources import (
    MAGICMOTION,
    MAGICMOTION_BASE,
    MAGICMOTION_BRANCHES,
    MAGICMOTION_HEADS,
    TINY,
    HubFiles,
    hub_folder,
    preset_folder,
)

TIMEOUT_S = 15.0
Convert = Callable[[Path, Path], object]


@dataclass(frozen=True)
class RemoteFile:
    """A file on the Hub; ``bytes`` is None where the Hub does not tell the size."""

    repo: str
    path: str
    bytes: int | None


def wanted_files(model: str) -> list[HubFiles]:
    """The repositories and patterns behind a preset or a Hub id.

    Raises:
        WeightsError: the model has nothing to download.
    """
    if model == TINY:
        raise WeightsError(f"'{TINY}' is part of this package; there is nothing to download.")
    if model == MAGICMOTION:
        return [MAGICMOTION_BASE, *MAGICMOTION_BRANCHES.values(), *MAGICMOTION_HEADS.values()]
    if model.count("/") != 1 or Path(model).exists():
        raise WeightsError(f"'{model}' cannot be downloaded; expected {MAGICMOTION} or a Hub id like OWNER/NAME.")
    return [HubFiles(model)]


def list_files(model: str) -> list[RemoteFile]:
    """Names and sizes of everything that a download would fetch.

    Raises:
        WeightsError: no such model, no permission, or the Hub cannot be reached.
    """
    from huggingface_hub import HfApi

    listed: dict[str, list[RemoteFile]] = {}
    result = []
    for wanted in wanted_files(model):
        if wanted.repo not in listed:
            with _explained(wanted.repo):
                _refuse_offline()
                info = HfApi().model_info(wanted.repo, files_metadata=True, timeout=TIMEOUT_S)
            listed[wanted.repo] = [RemoteFile(wanted.repo, f.rfilename, f.size) for f in info.siblings or []]
        matching = [file for file in listed[wanted.repo] if _matches(file.path, wanted)]
        if not matching:
            raise WeightsError(f"{wanted.repo} no longer holds {', '.join(wanted.patterns)}.")
        result += matching
    return result


def download(model: str, convert: Convert, report: Report = silent) -> Path:
    """Fetch a model into its folder; what is already there is not fetched again.

    Args:
        model: a preset or a Hub id.
        convert: ``(source .pt, out folder)``, used on MagicMotion's checkpoints, which are removed afterwards.
        report: hears of every file.

    Returns:
        The folder that :func:`~magicgen.weights.sources.resolve_model` finds.

    Raises:
        WeightsError: as :func:`list_files`, or too little space on the disk.
        GenerationFailed: the transfer broke off; running it again goes on where it stopped.
    """
    files = list_files(model)
    if model != MAGICMOTION:
        target = hub_folder(model)
        _check_space(target, [file for file in files if not _is_there(file, target)])
        _fetch(HubFiles(model), target)
        return target
    target = preset_folder(model)
    converted = {**MAGICMOTION_BRANCHES, **MAGICMOTION_HEADS}
    missing = {name: part for name, part in converted.items() if not (target / name / "config.json").is_file()}
    parts = {"base": MAGICMOTION_BASE, **missing}
    here = [file for file in files if any(_belongs(file, part) for part in parts.values())]
    _check_space(target, [file for file in here if not _is_there(file, target)])
    for step, (name, part) in enumerate(parts.items()):
        report(ProgressEvent(f"Fetching {name}", step, len(parts)))
        if name == "base":
            _fetch(part, target / name)
            continue
        _fetch(part, target)
        checkpoint = target / part.patterns[0]
        convert(checkpoint, target / name)
        checkpoint.unlink()
    return target


def _is_there(file: RemoteFile, target: Path) -> bool:
    folders = (target, target / "base")
    return any(
        (folder / file.path).is_file() and (folder / file.path).stat().st_size == file.bytes for folder in folders
    )


def _fetch(files: HubFiles, target: Path) -> None:
    from huggingface_hub import snapshot_download

    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"The folder {target} cannot be made ({error.strerror}). Set MAGICGEN_HOME.") from None
    with _explained(files.repo):
        _refuse_offline()
        snapshot_download(files.repo, local_dir=target, allow_patterns=list(files.patterns) or None)


def _check_space(target: Path, files: list[RemoteFile]) -> None:
    needed = sum(file.bytes or 0 for file in files)
    # A checkpoint and its converted copy lie side by side for a while.
    needed += max((file.bytes or 0 for file in files if file.path.endswith(".pt")), default=0)
    existing = next(folder for folder in (target, *target.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise WeightsError(
            f"The download needs {needed / 1e9:.1f} GB and {existing} has {free / 1e9:.1f} GB free. Make room, or set "
            "MAGICGEN_HOME to a folder on a larger disk."
        )


def _matches(path: str, wanted: HubFiles) -> bool:
    return not wanted.patterns or any(fnmatch.fnmatch(path, pattern) for pattern in wanted.patterns)


def _belongs(file: RemoteFile, wanted: HubFiles) -> bool:
    return file.repo == wanted.repo and _matches(file.path, wanted)


def _refuse_offline() -> None:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise WeightsError("HF_HUB_OFFLINE is set, so nothing is fetched. Unset it, or copy the model folder by hand.")


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """Every way in which the Hub can fail, as one of this package's errors."""
    from huggingface_hub import errors

    try:
        yield
    except (WeightsError, GenerationFailed):
        raise
    except errors.GatedRepoError:
        raise WeightsError(
            f"{repo} is gated: accept its terms on its Hub page, then log in with 'hf auth login' or set HF_TOKEN."
        ) from None
    except errors.RepositoryNotFoundError:
        raise WeightsError(f"The Hub knows no model '{repo}' (or it is private: set HF_TOKEN). Check the id.") from None
    except errors.HFValidationError as error:
        raise WeightsError(f"'{repo}' is no valid Hub id ({_first_line(error)}).") from None
    except errors.HfHubHTTPError as error:
        raise GenerationFailed(f"The Hub refused to send {repo} ({_first_line(error)}). Try again later.") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise GenerationFailed("The disk is full. Make room and run the command again; it goes on.") from None
        raise _unreachable(repo, error) from None
    except Exception as error:  # the Hub's transport raises classes of whichever HTTP library it was built with
        raise _unreachable(repo, error) from None


def _unreachable(repo: str, error: BaseException) -> GenerationFailed:
    return GenerationFailed(
        f"The Hub cannot be reached for {repo} ({_first_line(error)}). Check the network and run the command again; "
        "what was fetched is kept."
    )


def _first_line(error: Any) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0][:200] if lines else type(error).__name__).rstrip(".")
