"""How far a build is, from its manifest; needs no lock."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_tools.dataset import inputs_of
from data_tools.layout import Layout
from data_tools.work import read_video_state
from magicgen.errors import DatasetError


@dataclass(frozen=True)
class Status:
    """Counts, and the reasons of everything that failed."""

    inputs: int
    copies: int
    videos: dict[str, int]
    clips: int
    annotated: int
    failures: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def read_status(root: Path) -> Status:
    """Raises:
    DatasetError: no build was ever started there.
    """
    layout = Layout(root)
    if not layout.state.is_dir():
        raise DatasetError(f"{root} holds no build. Give the --out folder of 'magicgen-data build'.")
    inputs = inputs_of(layout)
    failures = {entry.path: entry.error for entry in inputs if entry.error}
    names = {entry.sha256: entry.path for entry in reversed(inputs) if entry.sha256}
    videos: Counter[str] = Counter()
    clips: list[str] = []
    for sha256, path in names.items():
        file = layout.video(sha256)
        if not file.is_file():
            videos["waiting"] += 1
            continue
        state = read_video_state(file)
        videos[state.status] += 1
        clips += [clip.clip_id for clip in state.clips]
        if state.status != "done":
            failures[path] = state.reason
    for clip_id in clips:
        if layout.failure(clip_id).is_file():
            failures[f"clip {clip_id}"] = layout.failure(clip_id).read_text(encoding="utf-8")
    annotated = sum(layout.row(clip_id).is_file() for clip_id in clips)
    copies = len([entry for entry in inputs if entry.sha256]) - len(names)
    return Status(len(inputs), copies, dict(videos), len(clips), annotated, failures)


def status_text(status: Status) -> str:
    """For people."""
    videos = ", ".join(f"{count} {name}" for name, count in sorted(status.videos.items())) or "none"
    lines = [
        f"inputs      {status.inputs}" + (f" ({status.copies} copies)" if status.copies else ""),
        f"videos      {videos}",
        f"clips       {status.annotated} of {status.clips} annotated",
        f"failures    {len(status.failures)}",
    ]
    return "\n".join([*lines, *(f"  {what}: {reason}" for what, reason in sorted(status.failures.items()))])
