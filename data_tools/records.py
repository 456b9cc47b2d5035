"""What flows between the stages: small frozen records with paths, never frames.

Conventions: boxes are pixels of the stored clip, ``(x0, y0, x1, y1)`` with exclusive maximum, NaN where an object is
not visible; a frame index counts the decoded frames of the stored clip from 0; masks are COCO RLE text (columns first)
of size (height, width), None where an object is not visible. Masks of different objects of a clip never overlap.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

Score = float | None
Box = tuple[float, float, float, float]
NO_BOX: Box = (float("nan"), float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class VideoFile:
    """An input: where it lies and the SHA-256 of its bytes."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class VideoFacts:
    """What the probe found. ``rotation`` in degrees; ``variable_rate`` where frame times are uneven."""

    codec: str
    width: int
    height: int
    rotation: int
    fps_num: int
    fps_den: int
    frames: int
    duration_s: float
    variable_rate: bool
    hdr: bool
    pixel_format: str


@dataclass(frozen=True)
class Shot:
    """Frames ``start`` .. ``end`` - 1 of a video without a cut between them."""

    start: int
    end: int


@dataclass(frozen=True)
class ClipFacts:
    """A stored clip and where it came from; ``file`` is relative to the dataset's folder, times in seconds."""

    clip_id: str
    source_sha256: str
    source_uri: str
    source: VideoFacts
    file: str
    sha256: str
    width: int
    height: int
    fps_num: int
    fps_den: int
    frames: int
    start_frame: int
    end_frame: int
    start_s: float
    end_s: float

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.fps_num / self.fps_den


@dataclass(frozen=True)
class Phrase:
    """A moving object in words, and who said so ('rule', 'llm', 'sidecar', 'none')."""

    text: str
    origin: str


@dataclass(frozen=True)
class Track:
    """One object through a clip of T frames.

    Attributes:
        source: 'flow', 'flow+sam', 'gdino+sam2' or 'given'.
        rle: T masks. boxes: T boxes. area: T pixel counts.
        confidence, forward_backward: T values in [0, 1] or None where the annotator gives none.
        scores: raw scores by name; see :mod:`data_tools.scores`.
    """

    track_id: int
    label: str
    phrase: str
    score: Score
    source: str
    rle: tuple[str | None, ...]
    boxes: tuple[Box, ...]
    area: tuple[int, ...]
    confidence: tuple[Score, ...]
    forward_backward: tuple[Score, ...]
    scores: Mapping[str, Score] = field(default_factory=dict)

    @property
    def visible(self) -> tuple[bool, ...]:
        """Whether any pixel of the object is seen, by frame."""
        return tuple(rle is not None for rle in self.rle)


@dataclass(frozen=True)
class ClipRecord:
    """A clip on its way through the stages, and a row of the dataset at the end."""

    facts: ClipFacts
    caption: str = ""
    caption_origin: str = "none"
    phrases: tuple[Phrase, ...] = ()
    tracks: tuple[Track, ...] = ()
    keep_frames: tuple[int, ...] = ()
    keep_policy: str = ""
    scores: Mapping[str, Score] = field(default_factory=dict)
    image_hash: str = ""
    stages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What the filters say: 'kept' or 'rejected' with the names of the filters, and the ids of the tracks kept."""

    status: str
    reasons: tuple[str, ...]
    tracks: tuple[int, ...]
    thresholds: str


@dataclass(frozen=True)
class Resources:
    """What one copy of a stage needs: processor cores, GPUs, bytes of memory."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int = 1 << 30


R = TypeVar("R", contravariant=True)
S = TypeVar("S", covariant=True)


class Stage(Protocol[R, S]):
    """A step that knows no engine: ``setup()`` once in a process (load weights), then a call a record."""

    name: str
    version: int

    @property
    def resources(self) -> Resources:
        """What a copy needs."""
        ...

    def setup(self) -> None:
        """Load what the calls need."""
        ...

    def __call__(self, record: R) -> Sequence[S]:
        """One record in, any number out."""
        ...


Log = Callable[[str], None]
