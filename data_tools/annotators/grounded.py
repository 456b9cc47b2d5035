"""Grounding DINO finds what the phrases name, SAM 2 follows it both ways; objects that come later are found too.

Both run through transformers. Their weights are fetched from the Hub or read from local folders; nothing is loaded
before the annotator is made.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from data_tools.annotators.found import FoundTrack, UInt8, pixel_box
from data_tools.records import ClipFacts, Phrase
from data_tools.settings import GroundedAnnotation
from magicgen.errors import WeightsError

Bools = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Detection:
    """A box (pixels, x0 y0 x1 y1) that shows what a phrase names."""

    box: Box
    phrase: str
    score: float


class Detector(Protocol):
    """Finds what phrases name in a picture."""

    def detect(self, frame: UInt8, phrases: Sequence[str]) -> list[Detection]:
        """(H, W, 3) uint8 RGB -> detections, the surest first."""
        ...


class VideoTracker(Protocol):
    """Follows objects from one frame through a whole clip."""

    def follow(self, video: UInt8, frame: int, boxes: Sequence[Box]) -> tuple[Bools, npt.NDArray[np.float32]]:
        """Boxes on one frame -> (N, T, H, W) masks and (N, T) confidences in [0, 1]."""
        ...


class GroundedAnnotator:
    """Detection on key frames; what no track explains there starts a new one."""

    def __init__(
        self,
        settings: GroundedAnnotation,
        detector: Detector | None = None,
        tracker: VideoTracker | None = None,
    ) -> None:
        self.settings = settings
        self.detector = detector or GroundingDino(settings)
        self.tracker = tracker or Sam2Tracker(settings)

    def annotate(self, video: UInt8, facts: ClipFacts, phrases: Sequence[Phrase]) -> list[FoundTrack]:
        """Tracks of what the phrases name; without any, of ``fallback_phrases``."""
        words = [phrase.text for phrase in phrases] or list(self.settings.fallback_phrases)
        found: list[FoundTrack] = []
        for frame in range(0, len(video), self.settings.redetect_every):
            known = [pixel_box(track.masks[frame]) for track in found]
            fresh = self._fresh(self.detector.detect(video[frame], words), known)
            if not fresh:
                continue
            masks, confidences = self.tracker.follow(video, frame, [one.box for one in fresh])
            found += [
                FoundTrack(mask, "gdino+sam2", one.phrase, one.score, tuple(float(value) for value in confidence))
                for one, mask, confidence in zip(fresh, masks, confidences, strict=True)
            ]
        return sorted(found, key=lambda track: -(track.score or 0.0))

    def _fresh(self, detections: Sequence[Detection], known: Sequence[Box]) -> list[Detection]:
        """The detections that overlap neither a track nor a surer detection."""
        boxes, fresh = list(known), []
        for one in sorted(detections, key=lambda detection: -detection.score):
            if all(box_iou(one.box, box) < self.settings.new_object_iou for box in boxes):
                boxes.append(one.box)
                fresh.append(one)
        return fresh


def box_iou(first: Box, second: Box) -> float:
    """Intersection over union; 0 where a box is NaN."""
    if any(math.isnan(value) for value in (*first, *second)):
        return 0.0
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / (sum(areas) - width * height)


class GroundingDino:
    """Grounding DINO (Liu et al. 2023): prompts are lower case, every phrase ends with a full stop."""

    def __init__(self, settings: GroundedAnnotation) -> None:
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        self._settings = settings
        self._processor = _loaded(AutoProcessor, settings.detector, "annotation.detector", "Grounding DINO")
        model = _loaded(AutoModelForZeroShotObjectDetection, settings.detector, "annotation.detector", "Grounding DINO")
        self._model = model.to(settings.device).eval()

    def detect(self, frame: UInt8, phrases: Sequence[str]) -> list[Detection]:
        """See :class:`Detector`."""
        import torch

        text = " ".join(f"{phrase.lower().strip(' .')}." for phrase in phrases)
        inputs = self._processor(images=frame, text=text, return_tensors="pt").to(self._settings.device)
        with torch.inference_mode():
            outputs = self._model(**inputs)
        result = self._processor.post_process_grounded_object_detection(
            outputs,
            inputs.input_ids,
            threshold=self._settings.box_threshold,
            text_threshold=self._settings.text_threshold,
            target_sizes=[frame.shape[:2]],
        )[0]
        return [
            Detection(_as_box(box.tolist()), nearest_phrase(str(label), phrases), float(score))
            for box, label, score in zip(result["boxes"], result["text_labels"], result["scores"], strict=True)
        ]


def nearest_phrase(label: str, phrases: Sequence[str]) -> str:
    """The phrase that shares most words with a label: the detector answers with the words that it recognised, which may
    be half a phrase or parts of two."""
    words = set(label.replace(".", " ").lower().split())
    return max(phrases, key=lambda phrase: len(words & set(phrase.lower().split())) / (1 + len(phrase.split())))


class Sam2Tracker:
    """SAM 2 video (Ravi et al. 2024): the clip stays in main memory, one session a set of new objects."""

    def __init__(self, settings: GroundedAnnotation) -> None:
        from transformers import Sam2VideoModel, Sam2VideoProcessor

        self._device = settings.device
        self._processor = _loaded(Sam2VideoProcessor, settings.tracker, "annotation.tracker", "SAM 2")
        self._model = _loaded(Sam2VideoModel, settings.tracker, "annotation.tracker", "SAM 2").to(self._device).eval()

    def follow(self, video: UInt8, frame: int, boxes: Sequence[Box]) -> tuple[Bools, npt.NDArray[np.float32]]:
        """See :class:`VideoTracker`."""
        import torch

        masks = np.zeros((len(boxes), *video.shape[:3]), np.bool_)
        confidence = np.zeros(masks.shape[:2], np.float32)
        with torch.inference_mode():
            session = self._processor.init_video_session(
                video=list(video), inference_device=self._device, video_storage_device="cpu"
            )
            self._processor.add_inputs_to_inference_session(
                session, frame_idx=frame, obj_ids=list(range(len(boxes))), input_boxes=[[list(box) for box in boxes]]
            )
            # The first frame must pass before the iterators know the objects' memory.
            self._model(inference_session=session, frame_idx=frame)
            for backwards in (False, True) if frame > 0 else (False,):
                steps = self._model.propagate_in_video_iterator(session, start_frame_idx=frame, reverse=backwards)
                for output in steps:
                    place = output.frame_idx
                    logits = self._processor.post_process_masks(
                        [output.pred_masks], original_sizes=[video.shape[1:3]], binarize=False
                    )[0]
                    masks[:, place] = (logits[:, 0] > 0).cpu().numpy()
                    confidence[:, place] = _confidence(output, len(boxes))
        return masks, confidence


def _confidence(output: Any, count: int) -> Any:
    import torch

    scores = getattr(output, "object_score_logits", None)
    if scores is None:
        return np.ones(count, np.float32)
    return torch.sigmoid(scores.float()).reshape(-1)[:count].cpu().numpy()


def _loaded(kind: Any, name: str, setting: str, what: str) -> Any:
    try:
        return kind.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{what} ({setting}: {name}) cannot be loaded ({str(error).strip().splitlines()[0]}). Give a Hub id while "
            "online, or a local folder with the model in transformers' format."
        ) from error


def _as_box(values: Sequence[float]) -> Box:
    x0, y0, x1, y1 = values
    return x0, y0, x1, y1
