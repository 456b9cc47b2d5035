"""Masks that came with the video: ``masks/NNNNN.png`` beside it, 0 for the background and 1..N for the objects."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_tools.annotators.found import FoundTrack, UInt8, video_folder
from data_tools.records import ClipFacts, Phrase
from magicgen.errors import DatasetError


class GivenAnnotator:
    """Reads the masks of every frame, or of the first one and follows them without weights."""

    def __init__(self, *, first_only: bool) -> None:
        self.first_only = first_only

    def annotate(self, video: UInt8, facts: ClipFacts, phrases: Sequence[Phrase]) -> list[FoundTrack]:
        """Raises:
        DatasetError: there are no masks, or they do not fit the video.
        """
        files = sorted((video_folder(facts) / "masks").glob("*.png"))
        numbers = source_frames(facts)
        if len(files) <= (numbers[0] if self.first_only else numbers[-1]):
            raise DatasetError(f"{facts.source_uri} has {len(files)} files in masks/; frame {numbers[-1]} has none.")
        if self.first_only:
            first = _read_labels(files[numbers[0]], video.shape[1:3])
            return _follow(video, np.stack([first == k for k in np.unique(first) if k]), phrases)
        labels = np.stack([_read_labels(files[number], video.shape[1:3]) for number in numbers])
        return [
            FoundTrack(labels == k, "given", phrases[i].text if i < len(phrases) else "", 1.0)
            for i, k in enumerate(k for k in np.unique(labels) if k)
        ]


def source_frames(facts: ClipFacts) -> list[int]:
    """The source frame behind every frame of the clip; exact where the clip keeps the source's frame rate."""
    return [round(n) for n in np.linspace(facts.start_frame, facts.end_frame - 1, facts.frames)]


def _read_labels(path: Path, size: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    import cv2
    from PIL import Image

    try:
        with Image.open(path) as image:
            labels = np.asarray(image)
    except OSError as error:
        raise DatasetError(f"{path} is not a readable mask ({error}).") from error
    if labels.ndim != 2:
        raise DatasetError(f"{path} is a colour picture; expected object numbers (a grey or palette PNG).")
    return np.asarray(cv2.resize(labels.astype(np.uint8), (size[1], size[0]), interpolation=cv2.INTER_NEAREST))


def _follow(video: UInt8, first: npt.NDArray[np.bool_], phrases: Sequence[Phrase]) -> list[FoundTrack]:
    from data_tools.annotators.embedded import followed

    return [
        FoundTrack(masks, "flow", phrases[i].text if i < len(phrases) else "")
        for i, masks in enumerate(followed(video, first))
    ]
