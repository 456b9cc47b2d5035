"""Segment Anything (Kirillov et al. 2023) as a segmenter: Meta's ``segment-anything`` with a checkpoint of one's own.

The checkpoints are ``sam_vit_b_01ec64.pth``, ``sam_vit_l_0b3195.pth`` and ``sam_vit_h_4b8939.pth``. Which of the three
sizes a file holds is read from its tensors, not from its name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from magicgen.control.geometry import Box
from magicgen.errors import WeightsError
from magicgen.segmentation.protocol import Bools, Point, Segment, UInt8, check_image, check_prompt

WIDTHS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
MARKER = "image_encoder.patch_embed.proj.weight"
MASK_SIDE = 256  # of the rough masks that SAM takes, as logits
SURE = 8.0  # logit of a pixel that a rough mask holds


class SamSegmenter:
    """:class:`~magicgen.segmentation.protocol.Segmenter` with SAM weights.

    Args:
        checkpoint: a ``.pth`` file of vit_b, vit_l or vit_h.
        device: where it runs; by default the GPU where there is one.

    Raises:
        WeightsError: no such file, not a SAM checkpoint, tensors missing, or ``segment-anything`` is not installed.
    """

    def __init__(self, checkpoint: Path, device: str | None = None) -> None:
        import torch

        try:
            from segment_anything import SamPredictor, sam_model_registry
        except ImportError as error:
            raise WeightsError(
                "The SAM segmenter needs the package segment-anything: pip install segment-anything"
            ) from error
        weights = read_checkpoint(checkpoint)
        model = sam_model_registry[model_size(weights, checkpoint)]()
        missing, extra = model.load_state_dict(weights, strict=False)
        if missing or extra:
            raise WeightsError(
                f"{checkpoint} does not fit SAM: {len(missing)} tensors missing ({', '.join(missing[:3])} ...), "
                f"{len(extra)} unknown ({', '.join(extra[:3])} ...). Download the file again."
            )
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._predictor = SamPredictor(model.to(place).eval())
        self._image: UInt8 | None = None

    def set_image(self, image: UInt8) -> None:
        """(H, W, 3) uint8 RGB; runs the image encoder (seconds on a CPU)."""
        self._image = check_image(image)
        self._predictor.set_image(image, image_format="RGB")

    def predict(
        self,
        points: Sequence[Point] = (),
        labels: Sequence[bool] = (),
        box: Box | None = None,
        mask: Bools | None = None,
    ) -> Segment:
        """See :meth:`Segmenter.predict`; the best of SAM's three masks by its own estimate, or its single mask for a
        prompt that leaves little open. The score is SAM's estimate of the overlap, cut to [0, 1]."""
        prompt = check_prompt(self._image, points, labels, box, mask)
        assert self._image is not None
        height, width = self._image.shape[:2]
        clicks = np.array([(x * width, y * height) for x, y, _ in prompt.points], np.float32).reshape(-1, 2)
        on = np.array([int(inside) for *_, inside in prompt.points])
        corners = None
        if prompt.box is not None:
            given = prompt.box
            corners = np.array([given.x0 * width, given.y0 * height, given.x1 * width, given.y1 * height], np.float32)
        several = prompt.box is None and prompt.mask is None and len(clicks) == 1
        masks, scores, _ = self._predictor.predict(
            point_coords=clicks if len(clicks) else None,
            point_labels=on if len(clicks) else None,
            box=corners,
            mask_input=None if prompt.mask is None else _logits(prompt.mask),
            multimask_output=several,
        )
        best = int(np.argmax(scores))
        return Segment(masks[best].astype(np.bool_), float(np.clip(scores[best], 0, 1)))


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Tensors by name, without running code from the file.

    Raises:
        WeightsError: it cannot be read or holds something else.
    """
    import torch

    if not path.is_file():
        raise WeightsError(f"There is no SAM checkpoint {path}. Give the path of a sam_vit_b, _l or _h .pth file.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are cut off or no checkpoints
        raise WeightsError(f"{path} cannot be read as a checkpoint: {error}. Download it again.") from error
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise WeightsError(f"{path} holds no named tensors but {type(content).__name__}; expected a SAM checkpoint.")
    return content


def model_size(weights: Mapping[str, Any], path: Path) -> str:
    """``vit_b``, ``vit_l`` or ``vit_h``, by the width of the image encoder.

    Raises:
        WeightsError: none of them.
    """
    tensor = weights.get(MARKER)
    width = None if tensor is None else int(tensor.shape[0])
    if width not in WIDTHS:
        raise WeightsError(f"{path} is not a SAM checkpoint (vit_b, vit_l or vit_h): {MARKER} has width {width}.")
    return WIDTHS[width]


def _logits(mask: Bools) -> np.ndarray:
    """(1, 256, 256) float32 as SAM's mask prompt: the picture scaled so that its longer side fills the square."""
    height, width = mask.shape
    scale = MASK_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    square = np.full((MASK_SIDE, MASK_SIDE), -SURE, np.float32)
    square[: size[1], : size[0]] = (small * 2 - 1) * SURE
    return square[None]
