"""One segmenter for all visitors: it looks at one picture at a time, so they take turns."""

import threading
from collections.abc import Callable

from magicgen.control.geometry import Box
from magicgen.segmentation.grabcut import GrabCutSegmenter
from magicgen.segmentation.protocol import Bools, Segmenter, UInt8, outline

# (picture (H, W, 3), box or None, clicks (x, y, belongs to the thing?)) -> mask (H, W)
Outline = Callable[[UInt8, Box | None, list[tuple[float, float, bool]]], Bools]


def shared_outline(segmenter: Segmenter | None = None) -> Outline:
    """Finds things by clicks and boxes; safe to call from several threads.

    Args:
        segmenter: the one without weights, by default.
    """
    ask, turn = outline(segmenter or GrabCutSegmenter()), threading.Lock()

    def take_turn(picture: UInt8, box: Box | None, clicks: list[tuple[float, float, bool]]) -> Bools:
        with turn:
            return ask(picture, box, clicks)

    return take_turn
