"""Measures of stories with general image encoders, under the names of ViStoryBench (arXiv 2505.24862).

CIDS is the cosine of the features of a character's crop and of its reference (cross), or of its crops in two panels
(self); ViStoryBench takes CLIP features for characters that are no people. DINO is the same with DINOv2 features (arXiv
2304.07193), CLIP_T the cosine of a panel and its words. CSD, PA, Aes and IS need weights of their own, which this
project does not load: they are null. The weights are read from local folders in the form of ``transformers``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from magicgen.errors import WeightsError
from magicgen.evaluation.story import Wanted

UInt8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
DINO_MEAN, DINO_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MARGIN = 0.06
ELSEWHERE = {
    "CSD_cross": "needs the style encoder of CSD",
    "CSD_self": "needs the style encoder of CSD",
    "PA": "needs a vision language model as judge",
    "Aes": "needs the aesthetic predictor v2.5",
    "IS": "needs Inception v3",
}


class ImageEncoder:
    """CLIP or DINOv2 from a local folder: pictures (and, for CLIP, words) to unit vectors."""

    def __init__(self, model: Any, tokenizer: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.mean, self.std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
        config = model.config
        self.side = int(getattr(config, "vision_config", config).image_size)

    @torch.no_grad()
    def pictures(self, pictures: Sequence[UInt8]) -> Floats:
        """(n, D) unit vectors of (H, W, 3) uint8 pictures of any size; they are scaled to the encoder's square."""
        sized = [cv2.resize(each, (self.side, self.side), interpolation=cv2.INTER_AREA) for each in pictures]
        values = (np.stack(sized).astype(np.float32) / 255 - self.mean) / self.std
        inputs = torch.from_numpy(values).permute(0, 3, 1, 2)
        if hasattr(self.model, "get_image_features"):
            return _unit(_pooled(self.model.get_image_features(pixel_values=inputs)))
        return _unit(self.model(pixel_values=inputs).last_hidden_state[:, 0])

    @torch.no_grad()
    def words(self, text: str) -> Floats | None:
        """(D,) unit vector; None without a text encoder or its tokenizer."""
        if self.tokenizer is None or not hasattr(self.model, "get_text_features"):
            return None
        length = int(self.model.config.text_config.max_position_embeddings)
        told = self.tokenizer([text], return_tensors="pt", truncation=True, max_length=length)
        pooled = _pooled(
            self.model.get_text_features(input_ids=told["input_ids"], attention_mask=told["attention_mask"])
        )
        return np.asarray(_unit(pooled)[0], np.float32)


def load_clip(folder: Path) -> ImageEncoder:
    """A CLIP model from its folder; words need the tokenizer's files beside it.

    Raises:
        WeightsError: transformers or the weights are missing.
    """
    tokenizer = None
    if (folder / "tokenizer.json").is_file() or (folder / "vocab.json").is_file():
        tokenizer = _loaded(folder, "AutoTokenizer")
    return ImageEncoder(_loaded(folder, "CLIPModel").eval(), tokenizer, CLIP_MEAN, CLIP_STD)


def load_dino(folder: Path) -> ImageEncoder:
    """A DINOv2 model from its folder.

    Raises:
        WeightsError: transformers or the weights are missing.
    """
    return ImageEncoder(_loaded(folder, "Dinov2Model").eval(), None, DINO_MEAN, DINO_STD)


@dataclass(frozen=True)
class PanelFeatures:
    """Unit vectors of one panel by measure: of its characters' crops by name, and the cosine with its words."""

    crops: dict[str, dict[str, Floats]] = field(default_factory=dict)
    words: float = math.nan


@dataclass
class FeatureJudge:
    """Reads panels with the encoders that are there; references are read once each.

    ``clip``, ``dino``: None where no weights were given.
    """

    clip: ImageEncoder | None = None
    dino: ImageEncoder | None = None

    @property
    def encoders(self) -> dict[str, ImageEncoder]:
        """By the name of the measure."""
        return {name: each for name, each in (("CIDS", self.clip), ("DINO", self.dino)) if each is not None}

    def panel(self, picture: UInt8, wanted: Sequence[Wanted], words: str) -> PanelFeatures:
        """Read the characters of a panel, (H, W, 3) uint8, where they should stand; of one name the first."""
        named = {each.name: each for each in reversed(wanted)}
        crops = {
            measure: dict(zip(named, encoder.pictures([_crop(picture, each) for each in named.values()]), strict=True))
            for measure, encoder in self.encoders.items()
            if named
        }
        told = None if self.clip is None else self.clip.words(words)
        cosine = math.nan if told is None or self.clip is None else float(self.clip.pictures([picture])[0] @ told)
        return PanelFeatures(crops, cosine)

    def references(self, pictures: Mapping[str, UInt8]) -> PanelFeatures:
        """Read the references of a story by name."""
        crops = {
            measure: dict(zip(pictures, encoder.pictures(list(pictures.values())), strict=True))
            for measure, encoder in self.encoders.items()
            if pictures
        }
        return PanelFeatures(crops)


def feature_summary(
    judge: FeatureJudge, stories: Sequence[Sequence[PanelFeatures]], references: Sequence[PanelFeatures]
) -> dict[str, Any]:
    """Means over characters and pairs of panels; null for what cannot be measured; ``missing`` says why."""
    found: dict[str, Any] = {}
    missing = dict(ELSEWHERE)
    for measure, option in (("CIDS", "clip"), ("DINO", "dino")):
        if measure not in judge.encoders:
            found |= {f"{measure}_cross": None, f"{measure}_self": None}
            missing |= {f"{measure}_cross": f"no weights given (--{option})", f"{measure}_self": "the same"}
            continue
        cross = [
            float(vector @ known.crops[measure][name])
            for panels, known in zip(stories, references, strict=True)
            for panel in panels
            for name, vector in panel.crops.get(measure, {}).items()
            if name in known.crops.get(measure, {})
        ]
        own = [
            float(first.crops[measure][name] @ second.crops[measure][name])
            for panels in stories
            for index, first in enumerate(panels)
            for second in panels[index + 1 :]
            for name in first.crops.get(measure, {})
            if name in second.crops.get(measure, {})
        ]
        found |= {f"{measure}_cross": _mean(cross), f"{measure}_self": _mean(own)}
    words = [panel.words for panels in stories for panel in panels if not math.isnan(panel.words)]
    found["CLIP_T"] = _mean(words)
    if not words:
        missing["CLIP_T"] = "no weights given (--clip)" if judge.clip is None else "no tokenizer beside the weights"
    return {**found, **dict.fromkeys(ELSEWHERE), "missing": missing}


def _crop(picture: UInt8, wanted: Wanted) -> UInt8:
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = wanted.box
    more = MARGIN * max((x1 - x0) * width, (y1 - y0) * height)
    left, right = max(0, round(x0 * width - more)), min(width, round(x1 * width + more))
    top, bottom = max(0, round(y0 * height - more)), min(height, round(y1 * height + more))
    return np.ascontiguousarray(picture[top : max(bottom, top + 1), left : max(right, left + 1)])


def _loaded(folder: Path, kind: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise WeightsError("CLIP and DINO measures need transformers; pip install transformers.") from None
    try:
        return getattr(transformers, kind).from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise WeightsError(
            f"{folder} cannot be loaded as {kind} ({reason}); expected a local folder with config.json and "
            "model.safetensors."
        ) from error


def _pooled(output: Any) -> torch.Tensor:
    """The projected features, which some versions of transformers return inside of an output."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def _unit(vectors: torch.Tensor) -> Floats:
    return np.asarray(torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy(), np.float32)


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None
