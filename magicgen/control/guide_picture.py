"""What a guide was taken to mean, as a picture: the photo dimmed and grey, its two maps laid over it in colour.

Orange and blue, because most people who confuse colours tell these two apart; marks on the drawing area have them too.
"""

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.guide import Layer, Maps, resized
from magicgen.photo.files import Pixels
from magicgen.photo.transfer import shrunk

LONGEST = 1024
"""Longer side of the picture at most."""
DIM = 0.6
"""What is left of the photo's lightness."""
TINT = 0.65
"""How much of a pixel is colour where a map is 1."""


def layer_colour(layer: Layer) -> tuple[int, int, int]:
    """The colour of a layer, (red, green, blue) from 0 to 255: orange for the reflection, blue for the scene."""
    return (230, 97, 0) if layer is Layer.REFLECTION else (26, 133, 255)


def guide_picture(photo: Pixels, maps: Maps) -> npt.NDArray[np.uint8]:
    """Draw the maps of a guide over its photo.

    Args:
        photo: (H, W, 3) uint8 or uint16.
        maps: (h, w, 2) float32 in [0, 1] of any size (``control.guide.guide_maps``).

    Returns:
        (rows, columns, 3) uint8, the photo's size or smaller, at most :data:`LONGEST` a side: grey where nothing is
        said, tinted as far as something is; where both layers are meant, the mixture of their colours.
    """
    scale = min(1.0, LONGEST / max(photo.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in photo.shape[:2])
    grey = np.asarray(cv2.cvtColor(shrunk(photo, height, width), cv2.COLOR_RGB2GRAY), np.float32)
    ground = DIM * 255 * grey[..., None]
    said = resized(maps, height, width)
    colours = np.array([layer_colour(Layer(channel)) for channel in range(2)], np.float32)
    mixed = said @ colours / np.maximum(said.sum(axis=2, keepdims=True), 1e-6)
    tinted = ground + TINT * said.max(axis=2, keepdims=True) * (mixed - ground)
    return np.asarray(np.round(tinted.clip(0, 255)), np.uint8)
