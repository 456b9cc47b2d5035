"""Scores that need weights. Without them a score stays None: never a stand-in under the same name."""

from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.records import Score
from data_tools.settings import ModelScores
from magicgen.errors import WeightsError

UInt8 = npt.NDArray[np.uint8]


class ModelScorer:
    """CLIP similarity and an aesthetic head on it (transformers), text area (a DB network in OpenCV).

    Raises:
        WeightsError: a model was named and cannot be loaded.
    """

    def __init__(self, settings: ModelScores) -> None:
        self._settings = settings
        self._clip: Any
        self._processor: Any
        self._clip, self._processor = _load_clip(settings) if settings.clip_model else (None, None)
        self._head = _load_head(settings) if settings.aesthetic_head else None
        self._detector = _load_detector(settings) if settings.text_detector else None

    def scores(self, video: UInt8, caption: str) -> dict[str, Score]:
        """Of (T, H, W, 3) uint8 RGB; see :data:`data_tools.scores.CLIP_SCORES`."""
        frame = video[len(video) // 2]
        result: dict[str, Score] = {}
        if self._clip is not None:
            result.update(self._clip_scores(frame, caption))
        if self._detector is not None:
            result["text_area"] = self._text_area(frame)
        return result

    def _clip_scores(self, frame: UInt8, caption: str) -> dict[str, Score]:
        import torch

        assert self._clip is not None
        assert self._processor is not None
        texts = [caption or "a video"]
        inputs = self._processor(text=texts, images=frame, return_tensors="pt", padding=True, truncation=True)
        with torch.inference_mode():
            output = self._clip(**inputs.to(self._settings.device))
        image = torch.nn.functional.normalize(output.image_embeds, dim=-1)
        text = torch.nn.functional.normalize(output.text_embeds, dim=-1)
        match = float((image @ text.T).item()) if caption else None
        aesthetic = None if self._head is None else float(self._head(image.float()).item())
        return {"caption_match": match, "aesthetic": aesthetic}

    def _text_area(self, frame: UInt8) -> float:
        assert self._detector is not None
        quads, _ = self._detector.detect(np.ascontiguousarray(frame[..., ::-1]))
        import cv2

        covered = np.zeros(frame.shape[:2], np.uint8)
        for quad in quads:
            cv2.fillPoly(covered, [np.asarray(quad, np.int32)], 1)
        return float(covered.mean())


def _load_clip(settings: ModelScores) -> tuple[Any, Any]:
    from transformers import CLIPModel, CLIPProcessor

    try:
        model = CLIPModel.from_pretrained(settings.clip_model).to(settings.device).eval()
        return model, CLIPProcessor.from_pretrained(settings.clip_model)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"model_scores.clip_model: {settings.clip_model} cannot be loaded ({str(error).splitlines()[0]}). Give "
            "a local folder or a Hub id such as openai/clip-vit-large-patch14, or leave it out."
        ) from error


def _load_head(settings: ModelScores) -> Any:
    import torch
    from safetensors.torch import load_file

    if settings.clip_model is None:
        raise WeightsError("model_scores.aesthetic_head needs model_scores.clip_model, whose embeddings it reads.")
    try:
        state = load_file(str(settings.aesthetic_head))
        weight, bias = state["weight"], state["bias"]
    except (OSError, KeyError, ValueError) as error:
        raise WeightsError(
            f"model_scores.aesthetic_head: {settings.aesthetic_head} is no linear head ({error}). Expected safetensors "
            "with 'weight' (1, C) and 'bias' (1,)."
        ) from error
    head = torch.nn.Linear(weight.shape[1], 1)
    head.load_state_dict({"weight": weight, "bias": bias})
    return head.to(settings.device).eval()


def _load_detector(settings: ModelScores) -> Any:
    import cv2

    try:
        detector = cv2.dnn.TextDetectionModel_DB(str(settings.text_detector))
    except cv2.error as error:
        raise WeightsError(
            f"model_scores.text_detector: {settings.text_detector} is no text detector for OpenCV ({error.err}). "
            "Expected a DB network as ONNX."
        ) from error
    detector.setInputParams(1 / 255, (736, 736), (122.7, 116.7, 104.0))
    return detector
