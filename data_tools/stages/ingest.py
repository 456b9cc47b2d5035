"""A video file becomes stored clips: probe, shot split, cut."""

import hashlib
import uuid
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.decode import (
    ClipWriter,
    check_complete,
    clip_writer,
    frames_of,
    hdr_curve,
    opened,
    small_bgr,
    stored_size,
)
from data_tools.layout import Layout
from data_tools.records import ClipFacts, Resources, Shot, VideoFacts, VideoFile
from data_tools.settings import BuildSettings, ClipSettings, ShotSettings
from magicgen.errors import MediaError

_NAMESPACE = uuid.UUID("5d1e4e0a-54c8-5a4e-9c5f-0d7a3b1d6c11")
_MAX_FPS = 240


@dataclass(frozen=True)
class Scan:
    """One pass over a video: facts, the time of every frame in seconds, the shots."""

    facts: VideoFacts
    times: tuple[float, ...]
    shots: tuple[Shot, ...]


@dataclass(frozen=True)
class Window:
    """Frames of a future clip, as indices of decoded frames (a frame of a slow passage may stand twice)."""

    frames: tuple[int, ...]


class Ingest:
    """Stage: :class:`VideoFile` -> :class:`ClipFacts` of the clips it wrote.

    The clips of a shot that is longer than the limit are even parts of it; shorter shots give none.
    """

    name, version = "ingest", 1

    def __init__(self, settings: BuildSettings, layout: Layout) -> None:
        self.settings, self.layout = settings, layout

    @property
    def resources(self) -> Resources:
        """One core; a few frames in memory."""
        return Resources(cpus=1, memory=1 << 29)

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, record: VideoFile) -> Sequence[ClipFacts]:
        """Raises:
        MediaError: the video cannot be decoded, or a clip cannot be written.
        """
        scan = scan_video(record.path, self.settings.shots)
        rate, grid = frame_grid(scan, self.settings.clips.fps)
        windows = cut_windows(scan, grid, self.settings)
        return self._cut(record, scan.facts, windows, rate, scan.times)

    def _cut(
        self, video: VideoFile, facts: VideoFacts, windows: Sequence[Window], rate: Fraction, times: Sequence[float]
    ) -> list[ClipFacts]:
        size = stored_size(facts.width, facts.height, facts.rotation, self.settings.clips.short_side)
        ids = [_clip_id(video.sha256, window, self.settings.digest()) for window in windows]
        paths = [self.layout.clip(clip_id) for clip_id in ids]
        _write_clips(video.path, facts.rotation, windows, paths, size, rate)
        return [
            ClipFacts(
                clip_id=clip_id,
                source_sha256=video.sha256,
                source_uri=str(video.path),
                source=facts,
                file=str(path.relative_to(self.layout.root)),
                sha256=file_digest(path),
                width=size[1],
                height=size[0],
                fps_num=rate.numerator,
                fps_den=rate.denominator,
                frames=len(window.frames),
                start_frame=window.frames[0],
                end_frame=window.frames[-1] + 1,
                start_s=times[window.frames[0]],
                end_s=times[window.frames[-1]],
            )
            for clip_id, path, window in zip(ids, paths, windows, strict=True)
        ]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        MediaError: it cannot be read (a loop of symbolic links, no permission).
    """
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(f"{path} cannot be read ({error.strerror}).") from error


def scan_video(path: Path, settings: ShotSettings) -> Scan:
    """Decode a video once, small: facts, frame times and shots.

    Raises:
        MediaError: not a video, damaged or truncated.
    """
    from scenedetect import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector

    detector = AdaptiveDetector(
        adaptive_threshold=settings.adaptive_threshold,
        window_width=settings.window,
        min_content_val=settings.min_content,
        min_scene_len=settings.min_frames,
    )
    with opened(path) as (container, stream):
        rate = _sane_rate(stream)
        times: list[float] = []
        cuts: list[int] = []
        first: Any = None
        for frame in frames_of(path, container, stream):
            first = first or frame
            times.append(float(frame.time) if frame.time is not None else len(times) / float(rate))
            found = detector.process_frame(FrameTimecode(len(times) - 1, fps=float(rate)), small_bgr(frame))
            cuts.extend(cut.frame_num for cut in found)
        check_complete(path, len(times), int(stream.frames))
        facts = _facts(stream, first, times, rate)
    edges = [0, *cuts, len(times)]
    shots = tuple(Shot(start, end) for start, end in pairwise(edges))
    return Scan(facts, tuple(times), shots)


def _sane_rate(stream: Any) -> Fraction:
    rate = Fraction(stream.average_rate or stream.guessed_rate or 25).limit_denominator(1001)
    return rate if Fraction(1, 2) <= rate <= _MAX_FPS else Fraction(25)


def _facts(stream: Any, first: Any, times: Sequence[float], rate: Fraction) -> VideoFacts:
    steps = np.diff(times)
    usual = float(np.median(steps)) if len(steps) else 1 / float(rate)
    uneven = bool(len(steps)) and usual > 0 and bool(np.mean(np.abs(steps - usual) > 0.3 * usual) > 0.02)
    if uneven and 1 / _MAX_FPS <= usual <= 2:
        rate = Fraction(1 / usual).limit_denominator(1001)
    return VideoFacts(
        codec=stream.codec_context.name,
        width=first.width,
        height=first.height,
        rotation=round(first.rotation / 90) * 90 % 360,
        fps_num=rate.numerator,
        fps_den=rate.denominator,
        frames=len(times),
        duration_s=round(times[-1] - times[0] + 1 / float(rate), 6),
        variable_rate=uneven,
        hdr=hdr_curve(first) is not None,
        pixel_format=first.format.name,
    )


def frame_grid(scan: Scan, fps: float | None) -> tuple[Fraction, tuple[int, ...]]:
    """The clip's frame rate, and which decoded frame stands at every tick of it.

    Even videos at their own rate keep every frame once; others take the frame shown at the tick's time.
    """
    own = Fraction(scan.facts.fps_num, scan.facts.fps_den)
    rate = own if fps is None else min(own, Fraction(fps).limit_denominator(1001))
    if rate == own and not scan.facts.variable_rate:
        return rate, tuple(range(len(scan.times)))
    times = np.array(scan.times) - scan.times[0]
    ticks = np.arange(0, scan.facts.duration_s, 1 / float(rate))
    shown = np.searchsorted(times, ticks + 1e-4, side="right") - 1
    return rate, tuple(int(index) for index in np.clip(shown, 0, len(times) - 1))


def cut_windows(scan: Scan, grid: Sequence[int], settings: BuildSettings) -> list[Window]:
    """The clips of a video: every shot, trimmed at its cuts, in even parts of at most the longest length."""
    windows: list[Window] = []
    places = np.array(grid)
    for shot in scan.shots:
        start = shot.start + (settings.shots.trim if shot.start > 0 else 0)
        end = shot.end - (settings.shots.trim if shot.end < scan.facts.frames else 0)
        ticks = np.flatnonzero((places >= start) & (places < end))
        windows += [Window(tuple(int(places[tick]) for tick in part)) for part in _even_parts(ticks, settings.clips)]
    return windows


def _even_parts(ticks: Any, limits: ClipSettings) -> list[Any]:
    if len(ticks) < limits.min_frames:
        return []
    parts = -(-len(ticks) // limits.max_frames)
    length = len(ticks) // parts
    if length < limits.min_frames:
        parts, length = 1, limits.max_frames
    return [ticks[k * length : (k + 1) * length] for k in range(parts)]


def _write_clips(
    video: Path, rotation: int, windows: Sequence[Window], paths: Sequence[Path], size: tuple[int, int], rate: Fraction
) -> None:
    """Decode once more and write every window's frames. Windows follow each other and share at most one (repeated)
    frame, so two files are open at most."""
    waiting = deque(zip(windows, paths, strict=True))
    if not waiting:
        return
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    writing: deque[tuple[Window, ExitStack, ClipWriter]] = deque()
    with opened(video) as (container, stream), ExitStack() as all_files:
        for index, frame in enumerate(frames_of(video, container, stream)):
            while waiting and waiting[0][0].frames[0] <= index:
                window, path = waiting.popleft()
                file = all_files.enter_context(ExitStack())
                writing.append((window, file, file.enter_context(clip_writer(path, size, rate))))
            for window, _, writer in writing:
                for _ in range(window.frames.count(index)):
                    writer.add(frame, rotation)
            while writing and writing[0][0].frames[-1] <= index:
                writing.popleft()[1].close()
            if not waiting and not writing:
                break


def _clip_id(sha256: str, window: Window, digest: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{sha256}/{window.frames[0]}/{window.frames[-1]}/{len(window.frames)}/{digest}"))
