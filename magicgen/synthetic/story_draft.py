"""How a figure alone is begun: the ground that sets it off, and its reference brought into pose on it."""

import re

import numpy as np

from magicgen.control.story_ground import Colour, contrasting, drawn_figure
from magicgen.synthetic.colours import NAMED_COLOURS, Images
from magicgen.synthetic.poses import Action
from magicgen.synthetic.reposed import SIDEWAYS
from magicgen.synthetic.story_examples import canonical_points, moved_reference

WHOLE = 0.8
"""Share of a reference from which its ground cannot be told from the figure."""


def figure_ground(words: str, slot: Images | None, height: int, width: int) -> Images:
    """(height, width, 3) uint8: a plain ground on which a figure of these words, or of this picture, stands out."""
    if slot is not None and (mask := drawn_figure(slot)).any() and mask.mean() < WHOLE:
        colour = contrasting(slot[mask])
    else:
        colour = contrasting(_named(words))
    return np.broadcast_to(np.asarray(colour, np.uint8), (height, width, 3)).copy()


def figure_draft(slot: Images, ground: Images, yaw: float, action: Action) -> Images:
    """A reference brought into a pose on a ground of its size, (h, w, 3) uint8.

    The bare ground where the reference has no plain ground of its own, and for views from the side and from behind: the
    model draws these better from words and reference alone.
    """
    mask = drawn_figure(slot)
    if abs(yaw) > SIDEWAYS or not mask.any() or mask.mean() > WHOLE:
        return ground
    height, width = mask.shape
    return moved_reference(slot, mask, ground, canonical_points(height, width, 0.5, yaw, action), yaw)


def _named(words: str) -> list[Colour]:
    """Colours that the words name."""
    told = [NAMED_COLOURS[word] for word in re.findall("[a-z]+", words.lower()) if word in NAMED_COLOURS]
    return [(round(r), round(g), round(b)) for r, g, b in told]
