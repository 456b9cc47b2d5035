"""One build a folder: the second is refused, and a killed one leaves no lock behind (the system drops it)."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_tools.inputs import Shard
from magicgen.errors import DatasetError


@contextmanager
def locked(root: Path, shard: Shard) -> Iterator[None]:
    """Hold the folder for one build: whole builds exclude everything, shards only themselves and whole builds.

    Raises:
        DatasetError: another build works there.
    """
    whole = shard.count == 1
    with _held(root / ".lock", fcntl.LOCK_EX if whole else fcntl.LOCK_SH, root):
        if whole:
            yield
            return
        with _held(root / f".lock-{shard.name}", fcntl.LOCK_EX, root):
            yield


@contextmanager
def locked_briefly(root: Path) -> Iterator[None]:
    """Wait for one's turn to rewrite the index (several shards may end at once)."""
    with open(root / ".lock-index", "a", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _held(path: Path, kind: int, root: Path) -> Iterator[None]:
    with open(path, "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            raise DatasetError(
                f"Another build works in {root} (process {owner}). Wait for it, or build into another folder."
            ) from None
        if kind == fcntl.LOCK_EX:
            handle.truncate(0)
            handle.write(f"{os.getpid()} on {os.uname().nodename}")
            handle.flush()
        yield
