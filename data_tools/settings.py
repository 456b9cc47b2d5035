"""Everything a build can be told: what changes annotations (hashed), thresholds (applied afterwards), the run."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from magicgen.config import StrictModel

# Part of the hash: raise it when a stage changes what it makes of the same input.
PIPELINE_VERSION = 2

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class ShotSettings(StrictModel):
    """Cuts: PySceneDetect's AdaptiveDetector (its published sweep: threshold 3.5, window 3)."""

    adaptive_threshold: NotNegative = 3.5
    window: Positive = 3
    min_content: NotNegative = 15.0
    min_frames: Positive = 12
    trim: Annotated[int, Field(ge=0)] = 2  # frames left out on both sides of a cut, where fades and blends hide


class ClipSettings(StrictModel):
    """Clips cut from shots and stored without loss."""

    min_frames: Positive = 25
    max_frames: Positive = 97
    short_side: Positive = 480
    fps: Annotated[float, Field(gt=0)] | None = None  # None: the source's own rate

    @model_validator(mode="after")
    def _order(self) -> "ClipSettings":
        if self.min_frames > self.max_frames:
            raise ValueError("min_frames must not exceed max_frames")
        if self.short_side % 2:
            raise ValueError("short_side must be even")
        return self


class SidecarText(StrictModel):
    """Captions from a file beside the video (``NAME.txt``, ``caption.txt``) or a CSV with 'path' and 'caption'."""

    kind: Literal["sidecar"] = "sidecar"
    table: Path | None = None


class ModelCaptions(StrictModel):
    """Captions from an image-to-text model of transformers (a local folder or a Hub id)."""

    kind: Literal["transformers"]
    model: str
    device: str = "cpu"


class NounPhrases(StrictModel):
    """Phrases by rule: the nouns of the caption with their adjectives."""

    kind: Literal["rule"] = "rule"


class LlmPhrases(StrictModel):
    """Phrases from a language model behind an OpenAI-compatible address."""

    kind: Literal["llm"]
    url: str
    model: str
    key_variable: str | None = None  # the environment variable that holds the key


class TextSettings(StrictModel):
    """Caption, then the moving objects named in it."""

    captions: Annotated[SidecarText | ModelCaptions, Field(discriminator="kind")] = SidecarText()
    phrases: Annotated[NounPhrases | LlmPhrases, Field(discriminator="kind")] = NounPhrases()


class EmbeddedAnnotation(StrictModel):
    """No weights: camera-compensated motion, GrabCut, flow propagation. The low-quality path; its tracks say 'flow'."""

    kind: Literal["embedded"] = "embedded"


class SamPrompts(StrictModel):
    """Segment Anything (a checkpoint of vit_b, vit_l or vit_h) refines what the embedded discovery finds."""

    kind: Literal["sam"]
    checkpoint: Path
    device: str = "cpu"
    every: Positive = 8  # frames between refined key frames


class GroundedAnnotation(StrictModel):
    """Grounding DINO finds the phrases, SAM 2 video follows them, both ways and with re-detection (transformers)."""

    kind: Literal["grounded"]
    detector: str = "IDEA-Research/grounding-dino-tiny"
    tracker: str = "facebook/sam2.1-hiera-tiny"
    device: str = "cpu"
    box_threshold: Annotated[float, Field(ge=0, le=1)] = 0.25
    text_threshold: Annotated[float, Field(ge=0, le=1)] = 0.3
    redetect_every: Positive = 16
    new_object_iou: Annotated[float, Field(ge=0, le=1)] = 0.5
    fallback_phrases: tuple[str, ...] = ("person", "animal", "vehicle")  # for clips without a caption


class GivenMasks(StrictModel):
    """Masks beside the video (``masks/NNNNN.png``, 0 background, 1..N objects): of every frame, or the first only."""

    kind: Literal["given"]
    use: Literal["all", "first"] = "all"


Annotation = EmbeddedAnnotation | SamPrompts | GroundedAnnotation | GivenMasks


class ModelScores(StrictModel):
    """Scores that need weights; without a path the score stays null."""

    clip_model: str | None = None
    aesthetic_head: Path | None = None
    text_detector: Path | None = None  # a DB text-detection network as ONNX, read by OpenCV
    device: str = "cpu"


class BuildSettings(StrictModel):
    """What decides the content of a dataset before filtering."""

    shots: ShotSettings = ShotSettings()
    clips: ClipSettings = ClipSettings()
    text: TextSettings = TextSettings()
    annotation: Annotated[Annotation, Field(discriminator="kind")] = EmbeddedAnnotation()
    model_scores: ModelScores = ModelScores()
    max_tracks: Positive = 8
    sparse_frames: Annotated[int, Field(gt=0, lt=10)] = 5
    sparse_policy: Literal["ends", "uniform", "curvature"] = "curvature"

    def digest(self) -> str:
        """The hash that names this configuration in manifests and clip ids."""
        return _digest({"version": PIPELINE_VERSION, **self.model_dump(mode="json")})


class Band(StrictModel):
    """The values that pass, ends included; an end left out is open. A score that is null passes."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _order(self) -> "Band":
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not exceed max")
        return self

    def holds(self, value: float | None) -> bool:
        """Whether a score passes."""
        if value is None:
            return True
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)


class TrackThresholds(StrictModel):
    """Which tracks of a clip are kept; the names are those of the track scores (docs/data.md)."""

    visible_share: Band = Band(min=0.6)
    longest_gap: Band = Band(max=0.2)
    area_mean: Band = Band(min=0.004, max=0.83)
    box_side_min: Band = Band(min=0.02)
    border_touch: Band = Band()
    area_jump: Band = Band(max=4.0)
    centre_jump: Band = Band(max=0.25)
    forward_backward: Band = Band()
    residual: Band = Band(min=0.0008)
    motion_ratio: Band = Band(min=1.3)


class ClipThresholds(StrictModel):
    """Which clips are kept; the names are those of the clip scores (docs/data.md)."""

    objects: Band = Band(min=1, max=5)
    objects_first_frame: Band = Band(min=1)
    area_share: Band = Band(min=0.008, max=0.83)
    duration: Band = Band(min=0.8)
    motion: Band = Band(min=0.0008)
    order: Band = Band(max=0.75)
    cut_inside: Band = Band(max=6.0)
    flow_consistency: Band = Band()
    camera_inliers: Band = Band()
    static_overlay: Band = Band(max=0.02)
    sharpness: Band = Band()
    copy_distance: Band = Band(min=7)
    aesthetic: Band = Band()
    text_area: Band = Band()
    caption_match: Band = Band()


class Thresholds(StrictModel):
    """Decisions, made from the stored scores; changing them recomputes nothing."""

    tracks: TrackThresholds = TrackThresholds()
    clips: ClipThresholds = ClipThresholds()

    def digest(self) -> str:
        """The hash stored beside every decision."""
        return _digest(self.model_dump(mode="json"))


class RunSettings(StrictModel):
    """How the work is done; changes nothing in the result."""

    workers: Positive | None = None  # None: one a core
    time_limit_s: Annotated[float, Field(gt=0)] = 600.0
    attempts: Positive = 2
    memory_mb: Positive | None = None  # limit of one worker's address space


class DataSettings(StrictModel):
    """One file for ``magicgen-data build``."""

    build: BuildSettings = BuildSettings()
    thresholds: Thresholds = Thresholds()
    run: RunSettings = RunSettings()


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
