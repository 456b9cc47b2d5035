"""Where everything lies in a dataset's folder.

dataset.json                 what the dataset is: settings, parts, counts; written last, the only file readers trust
parts/part-00000.parquet     a row a clip, decisions included
clips/ab/CLIP.mp4            the clips, lossless
state/                       what a build has done; needed to go on, not to read
    inputs-0-of-1.json       every input with its hash or its error
    videos/SHA.json          a finished or quarantined video
    rows/ab/CLIP.parquet     a finished clip, without a decision
    failed/CLIP.json         a clip that failed, with its reason
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths of one dataset."""

    root: Path

    @property
    def index(self) -> Path:
        """``dataset.json``."""
        return self.root / "dataset.json"

    @property
    def parts(self) -> Path:
        """The folder of the Parquet files."""
        return self.root / "parts"

    @property
    def state(self) -> Path:
        """The folder of the manifest."""
        return self.root / "state"

    def clip(self, clip_id: str) -> Path:
        """A stored clip."""
        return self.root / "clips" / clip_id[:2] / f"{clip_id}.mp4"

    def row(self, clip_id: str) -> Path:
        """A finished clip's row."""
        return self.state / "rows" / clip_id[:2] / f"{clip_id}.parquet"

    def failure(self, clip_id: str) -> Path:
        """A failed clip's reason."""
        return self.state / "failed" / f"{clip_id}.json"

    def video(self, sha256: str) -> Path:
        """A video's outcome."""
        return self.state / "videos" / f"{sha256}.json"

    def inputs(self, shard: str) -> Path:
        """The inputs of one shard, such as ``0-of-1``."""
        return self.state / f"inputs-{shard}.json"
