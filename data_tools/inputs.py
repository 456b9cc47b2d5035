"""Which videos a build is given: files and folders, links followed once, every trouble named."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from magicgen.errors import DatasetError

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".gif")


@dataclass(frozen=True)
class Shard:
    """Part ``index`` of ``count`` of the inputs, by the hash of their paths."""

    index: int = 0
    count: int = 1

    @property
    def name(self) -> str:
        """Such as ``0-of-4``."""
        return f"{self.index}-of-{self.count}"

    def holds(self, path: Path) -> bool:
        """Whether an input belongs to this part."""
        return int(sha256(str(path).encode(errors="surrogateescape")).hexdigest(), 16) % self.count == self.index


WHOLE = Shard()


def parse_shard(text: str) -> Shard:
    """``i/N`` with 0 <= i < N.

    Raises:
        DatasetError: anything else.
    """
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise DatasetError(f"--shard {text}: expected I/N with 0 <= I < N, such as 0/4 for the first of four parts.")
    return Shard(int(index), int(count))


@dataclass(frozen=True)
class Inputs:
    """Video files, and inputs that are none with the reason."""

    videos: tuple[Path, ...]
    refused: dict[str, str]


def find_inputs(given: Iterable[Path], shard: Shard) -> Inputs:
    """Files as they are, folders searched for videos (links followed, every real folder once)."""
    videos: dict[str, Path] = {}
    refused: dict[str, str] = {}
    for path in (Path(os.path.abspath(path)) for path in given):  # links stay as they are named
        try:
            reason = _trouble(path)
            found = [] if reason else ([path] if path.is_file() else list(_videos_below(path, refused)))
        except OSError as error:
            reason, found = error.strerror or str(error), []
        if reason:
            refused[str(path)] = reason
        elif not found and path.is_dir():
            refused[str(path)] = f"the folder holds no video ({', '.join(SUFFIXES)})"
        videos.update((str(video), video) for video in found)
    ordered = tuple(videos[name] for name in sorted(videos) if shard.holds(videos[name]))
    return Inputs(ordered, refused)


def _trouble(path: Path) -> str:
    if path.exists():
        return "" if path.is_file() or path.is_dir() else "it is neither a file nor a folder"
    return "a loop of symbolic links or a broken one" if path.is_symlink() else "there is no such file or folder"


def _videos_below(folder: Path, refused: dict[str, str]) -> Iterator[Path]:
    seen: set[str] = set()

    def unreadable(error: OSError) -> None:
        refused[str(error.filename)] = error.strerror or "the folder cannot be read"

    for here, folders, files in os.walk(folder, followlinks=True, onerror=unreadable):
        real = os.path.realpath(here)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(files):
            path = Path(here, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                reason = _trouble(path)
                if reason:
                    refused[str(path)] = reason
                else:
                    yield path
