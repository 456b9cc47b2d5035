"""One segmenter for all visitors: it looks at one picture at a time, so they take turns."""

import threading
from collections.abc import Callable

from magicgen.control.geometry import Box
from magicgen.segmentation.choose import make_segmenter, parse_choice
from magicgen.segmentation.protocol import Bools, UInt8, outline

# (picture (H, W, 3), box or None, clicks (x, y, belongs to the thing?)) -> mask (H, W)
Outline = Callable[[UInt8, Box | None, list[tuple[float, float, bool]]], Bools]


def shared_outline(word: str) -> Outline | None:
    """Finds things by clicks and boxes; safe to call from several threads. Made when it is first asked.

    Args:
        word: ``grabcut``, ``sam:CHECKPOINT`` or ``none`` (then there is none).

    Raises:
        ConfigError: another word.
    """
    choice = parse_choice(word)
    if choice is None:
        return None
    made: list[Callable[..., Bools]] = []
    turn = threading.Lock()

    def take_turn(picture: UInt8, box: Box | None, clicks: list[tuple[float, float, bool]]) -> Bools:
        with turn:
            if not made:
                made.append(outline(make_segmenter(choice)))
            return made[0](picture, box, clicks)

    return take_turn
