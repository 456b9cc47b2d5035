"""What follows masks through a video when it is scored: the project's own tracker, or SAM 2 where its weights are."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from magicgen.control.tracks import Bools
from magicgen.errors import ConfigError, WeightsError

UInt8 = npt.NDArray[np.uint8]
# (video (T, H, W, 3) uint8, masks of frame 0 (N, H, W) bool) -> (N, T, H, W) bool
Tracker = Callable[[UInt8, Bools], Bools]


@dataclass(frozen=True)
class FlowTracker:
    """:func:`magicgen.segmentation.propagate.propagate_masks`; needs no weights."""

    name: str = "magicgen flow tracker"


@dataclass(frozen=True)
class Sam2Tracker:
    """SAM 2 video (Ravi et al. 2024) as MagicMotion's paper tracks, in transformers' format.

    Attributes:
        weights: a local folder, or the id of a model that is in the Hub's local cache.
        device: a torch device, or None for the GPU where there is one.
    """

    weights: str
    device: str | None = None

    @property
    def name(self) -> str:
        """For tables."""
        return f"SAM 2 ({Path(self.weights).name})"


TrackerKind = FlowTracker | Sam2Tracker


def tracker_kind(text: str) -> TrackerKind:
    """``flow``, or ``sam2=FOLDER_OR_ID``.

    Raises:
        ConfigError: another word.
    """
    word, _, weights = text.partition("=")
    if text == "flow":
        return FlowTracker()
    if word == "sam2" and weights:
        return Sam2Tracker(weights)
    raise ConfigError(f"The tracker is 'flow' or 'sam2=FOLDER' (a folder with SAM 2 weights); got '{text[:60]}'.")


def load_tracker(kind: TrackerKind) -> Tracker:
    """The tracker, ready to be called.

    Raises:
        WeightsError: SAM 2's weights are not there.
    """
    match kind:
        case FlowTracker():
            from magicgen.segmentation.propagate import propagate_masks

            return propagate_masks
        case Sam2Tracker():
            return _sam2(kind)
        case _:
            assert_never(kind)


HOW_TO_GET = "Fetch it with 'hf download facebook/sam2.1-hiera-large --local-dir FOLDER' and give sam2=FOLDER."


def _sam2(kind: Sam2Tracker) -> Tracker:
    folder = Path(kind.weights)
    if folder.exists() and not (folder / "config.json").is_file():
        raise WeightsError(f"{folder} holds no SAM 2 in transformers' format (no config.json). {HOW_TO_GET}")
    import torch
    from transformers import Sam2VideoModel, Sam2VideoProcessor

    device = kind.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        processor = Sam2VideoProcessor.from_pretrained(kind.weights, local_files_only=True)
        model = Sam2VideoModel.from_pretrained(kind.weights, local_files_only=True).to(device).eval()
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"SAM 2 cannot be loaded from {kind.weights} ({str(error).strip().splitlines()[0][:200]}). {HOW_TO_GET}"
        ) from None

    def track(video: UInt8, first_masks: Bools) -> Bools:
        found = np.zeros((len(first_masks), *video.shape[:3]), np.bool_)
        # An empty mask cannot be followed; its object stays absent.
        numbers = [number for number, mask in enumerate(first_masks) if mask.any()]
        if numbers:
            with torch.inference_mode():
                found[numbers] = _followed(model, processor, device, video, first_masks[numbers])
        found[:, 0] = first_masks
        return found

    return track


def _followed(model: Any, processor: Any, device: str, video: UInt8, masks: Bools) -> Bools:
    session = processor.init_video_session(video=list(video), inference_device=device, video_storage_device="cpu")
    processor.add_inputs_to_inference_session(
        session, frame_idx=0, obj_ids=list(range(len(masks))), input_masks=[mask.astype(np.float32) for mask in masks]
    )
    found = np.zeros((len(masks), *video.shape[:3]), np.bool_)
    # The first frame must pass before the iterator knows the objects' memory.
    model(inference_session=session, frame_idx=0)
    for output in model.propagate_in_video_iterator(session, start_frame_idx=0):
        logits = processor.post_process_masks([output.pred_masks], original_sizes=[video.shape[1:3]], binarize=False)[0]
        found[:, output.frame_idx] = (logits[:, 0] > 0).cpu().numpy()
    return found
