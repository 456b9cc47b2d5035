"""Which segmenter a word or option means."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from magicgen.control.geometry import Box
from magicgen.errors import ConfigError
from magicgen.segmentation.protocol import Bools, Segmenter, UInt8, outline


@dataclass(frozen=True)
class GrabCut:
    """The embedded segmenter: no weights."""


@dataclass(frozen=True)
class Sam:
    """Segment Anything with the weights of ``checkpoint``."""

    checkpoint: Path
    device: str | None = None


Choice = GrabCut | Sam


def parse_choice(text: str) -> Choice | None:
    """``grabcut``, ``sam:PATH``, or ``none`` (None: boxes stand for themselves).

    Raises:
        ConfigError: anything else.
    """
    kind, _, rest = text.strip().partition(":")
    match kind.lower(), rest:
        case "none", "":
            return None
        case "grabcut", "":
            return GrabCut()
        case "sam", path if path:
            return Sam(Path(path).expanduser())
        case _:
            raise ConfigError(f"Unknown segmenter {text!r}; expected grabcut, sam:CHECKPOINT.pth or none.")


def make_segmenter(choice: Choice) -> Segmenter:
    """The segmenter; SAM's weights are read here.

    Raises:
        WeightsError: the checkpoint cannot be used.
    """
    match choice:
        case GrabCut():
            from magicgen.segmentation.grabcut import GrabCutSegmenter

            return GrabCutSegmenter()
        case Sam(checkpoint, device):
            from magicgen.segmentation.sam import SamSegmenter

            return SamSegmenter(checkpoint, device)
        case _:
            assert_never(choice)


def picture_segmenter(text: str) -> Callable[[UInt8, Box], Bools] | None:
    """``(picture, box) -> mask`` for the word of an option, see :func:`parse_choice`; the segmenter is made when it is
    first asked, so that runs without boxes to cut out load nothing."""
    choice = parse_choice(text)
    if choice is None:
        return None
    made: list[Callable[..., Bools]] = []

    def ask(picture: UInt8, box: Box) -> Bools:
        if not made:
            made.append(outline(make_segmenter(choice)))
        return made[0](picture, box)

    return ask
