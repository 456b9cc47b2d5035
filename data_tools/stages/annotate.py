"""Tracks of the moving objects of a clip: an annotator behind one protocol, then masks to records."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import assert_never

import numpy as np
import numpy.typing as npt

from data_tools.annotators.found import Annotator, FoundTrack, pixel_box
from data_tools.frames import LastClip
from data_tools.layout import Layout
from data_tools.records import ClipRecord, Resources, Track
from data_tools.settings import (
    Annotation,
    BuildSettings,
    EmbeddedAnnotation,
    GivenMasks,
    GroundedAnnotation,
    SamPrompts,
)
from magicgen.control.rle import encode_rle


class Annotate:
    """Stage: adds tracks and the sparse keep list."""

    name, version = "annotate", 2

    def __init__(self, settings: BuildSettings, layout: Layout, clips: LastClip | None = None) -> None:
        self.settings, self.layout = settings, layout
        self.clips = clips or LastClip()
        self.annotator: Annotator | None = None

    @property
    def resources(self) -> Resources:
        """A GPU where the annotator runs on one."""
        on_gpu = str(getattr(self.settings.annotation, "device", "cpu")).startswith("cuda")
        return Resources(cpus=1, gpus=float(on_gpu), memory=3 << 30)

    def setup(self) -> None:
        """Load the annotator's weights."""
        self.annotator = make_annotator(self.settings.annotation)

    def __call__(self, record: ClipRecord) -> Sequence[ClipRecord]:
        if self.annotator is None:
            self.setup()
        assert self.annotator is not None
        video = self.clips.frames(self.layout.root / record.facts.file)
        found = self.annotator.annotate(video, record.facts, record.phrases)[: self.settings.max_tracks]
        tracks = to_tracks(found)
        keep = keep_frames(tracks, len(video), self.settings.sparse_frames, self.settings.sparse_policy)
        return [replace(record, tracks=tracks, keep_frames=keep, keep_policy=self.settings.sparse_policy)]


def make_annotator(settings: Annotation) -> Annotator:
    """The annotator that a configuration names.

    Raises:
        WeightsError: its weights are missing or damaged.
    """
    match settings:
        case EmbeddedAnnotation():
            from data_tools.annotators.embedded import EmbeddedAnnotator

            return EmbeddedAnnotator()
        case SamPrompts():
            from data_tools.annotators.sam import SamAnnotator

            return SamAnnotator(settings)
        case GroundedAnnotation():
            from data_tools.annotators.grounded import GroundedAnnotator

            return GroundedAnnotator(settings)
        case GivenMasks(use=use):
            from data_tools.annotators.given import GivenAnnotator

            return GivenAnnotator(first_only=use == "first")
        case _:
            assert_never(settings)


def to_tracks(found: Sequence[FoundTrack]) -> tuple[Track, ...]:
    """Records of tracks: overlaps resolved (the later object lies in front), empty tracks left out."""
    visible = [track.masks.copy() for track in found]
    for index in range(len(visible)):
        for front in visible[index + 1 :]:
            visible[index] &= ~front
    kept = [(track, masks) for track, masks in zip(found, visible, strict=True) if masks.any()]
    return tuple(_to_track(number, track, masks) for number, (track, masks) in enumerate(kept, start=1))


def _to_track(number: int, found: FoundTrack, masks: npt.NDArray[np.bool_]) -> Track:
    nothing: tuple[float | None, ...] = (None,) * len(masks)
    return Track(
        track_id=number,
        label=found.phrase or f"object_{number}",
        phrase=found.phrase,
        score=found.score,
        source=found.source,
        rle=tuple(encode_rle(mask).counts if mask.any() else None for mask in masks),
        boxes=tuple(pixel_box(mask) for mask in masks),
        area=tuple(int(mask.sum()) for mask in masks),
        confidence=found.confidence or nothing,
        forward_backward=found.forward_backward or nothing,
    )


def keep_frames(tracks: Sequence[Track], frames: int, count: int, policy: str) -> tuple[int, ...]:
    """The frames that keep their boxes at the sparse level; the last frame always, frame 0 by definition.

    ``ends``: the last frame only; ``uniform``: evenly spaced; ``curvature``: where the boxes, drawn as straight lines
    between kept frames, are furthest from the truth (Douglas and Peucker 1973, on all box coordinates together).
    """
    last = frames - 1
    if last < 1:
        return ()
    match policy:
        case "ends":
            return (last,)
        case "uniform":
            return tuple(sorted({round(last * k / count) for k in range(1, count + 1)}))
        case _:
            return _curved_frames(tracks, last, count)


def _curved_frames(tracks: Sequence[Track], last: int, count: int) -> tuple[int, ...]:
    boxes = np.array([track.boxes for track in tracks], dtype=np.float64)
    kept = [0, last]
    while len(kept) - 1 < count and len(boxes):
        errors = [_line_error(boxes, start, end) for start, end in pairwise(kept)]
        error, frame = max(errors)
        if error <= 0.5:  # straight to half a pixel
            break
        kept = sorted([*kept, frame])
    return tuple(kept[1:])


def _line_error(boxes: npt.NDArray[np.float64], start: int, end: int) -> tuple[float, int]:
    if end - start < 2:
        return 0.0, start
    share = np.linspace(0, 1, end - start + 1)[1:-1, None]
    line = boxes[:, start, None] * (1 - share) + boxes[:, end, None] * share
    errors = np.nan_to_num(np.abs(boxes[:, start + 1 : end] - line)).max(axis=(0, 2))
    return float(errors.max()), start + 1 + int(errors.argmax())
