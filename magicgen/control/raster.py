"""Tracks to condition maps: the one place where pixels are made from intent.

The conventions are those of the public MagicMotion demos (quanhaol/MagicMotion, measured on its map videos): black
ground, one flat colour per object, filled masks, boxes as outlines centred on the box edge.
"""

import colorsys

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.tracks import Floats, Level, Tracks

UInt8 = npt.NDArray[np.uint8]

# Entries 1.. of the default palette of the supervision package, which the public maps use at half opacity over black.
_PALETTE = (
    "FF4040 FFA1A0 FF7633 FFB633 D1D435 4CFB12 94CF1A 40DE8A 1B9640 00D6C1 2E9CAA 00C4FF 364797 6675FF 0019EF 863AFF "
    "530087 CD3AFF FF97CA FF39C9 A351FB"
).split()
_GOLDEN = 0.618033988749895


def map_colour(index: int) -> tuple[int, int, int]:
    """The RGB colour of object ``index`` (from 0) on a condition map: the public palette at half brightness; beyond its
    21 entries further hues, so that no two objects share a colour."""
    if index < len(_PALETTE):
        red, green, blue = bytes.fromhex(_PALETTE[index])
        return red // 2, green // 2, blue // 2
    hue = (index - len(_PALETTE)) * _GOLDEN % 1.0
    red_f, green_f, blue_f = colorsys.hsv_to_rgb(hue, 0.55 + 0.4 * (index % 2), 0.4 + 0.1 * (index % 3))
    return int(red_f * 255), int(green_f * 255), int(blue_f * 255)


def line_thickness(height: int, width: int) -> int:
    """The thickness of a box outline handed to OpenCV, which draws one pixel more for even values: min(H, W) // 100."""
    return max(1, min(height, width) // 100)


def rasterise(tracks: Tracks, level: Level) -> UInt8:
    """Condition maps (T, H, W, 3) uint8 RGB of a trajectory at one level of detail.

    Frame 0 shows every first mask filled (the later object in front). In the other frames the mask level shows the
    masks, the box level the outlines of the boxes, the sparse-box level outlines in the kept frames and black in all
    others. An absent object (a box of NaN, an empty mask) is not drawn; parts outside the picture are cut off.

    Raises:
        TrajectoryError: the tracks do not hold what the level needs.
    """
    seen = tracks.at_level(level)
    height, width = seen.size
    maps = np.zeros((seen.frames, height, width, 3), np.uint8)
    for index in range(len(seen.names)):
        colour = map_colour(index)
        maps[0][seen.first_masks[index]] = colour
        for frame in range(1, seen.frames):
            if seen.masks is not None:
                maps[frame][seen.masks[index, frame]] = colour
            else:
                draw_box(maps[frame], seen.boxes[index, frame], colour, line_thickness(height, width))
    return maps


def draw_box(image: UInt8, box: Floats, colour: tuple[int, int, int], thickness: int) -> None:
    """Draw the outline of a normalised box (4,) in place; nothing for a box with NaN. The lines are centred on the
    pixels x0 * W, y0 * H, x1 * W and y1 * H (exclusive maximum), as in the public maps."""
    if not np.isfinite(box).all():
        return
    height, width = image.shape[:2]
    x0, y0, x1, y1 = (round(float(value)) for value in box * np.array([width, height, width, height]))
    cv2.rectangle(image, (x0, y0), (x1, y1), colour, thickness)
