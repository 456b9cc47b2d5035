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
# fmt: off
_PALETTE = (
    0xFF4040, 0xFFA1A0, 0xFF7633, 0xFFB633, 0xD1D435, 0x4CFB12, 0x94CF1A, 0x40DE8A, 0x1B9640, 0x00D6C1, 0x2E9CAA,
    0x00C4FF, 0x364797, 0x6675FF, 0x0019EF, 0x863AFF, 0x530087, 0xCD3AFF, 0xFF97CA, 0xFF39C9, 0xA351FB,
)
# fmt: on
_GOLDEN = 0.618033988749895


def map_colour(index: int) -> tuple[int, int, int]:
    """The RGB colour of object ``index`` (from 0) on a condition map: the public palette at half brightness; beyond its
    21 entries further hues, so that no two objects share a colour."""
    if index < len(_PALETTE):
        red, green, blue = _PALETTE[index].to_bytes(3, "big")
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
    others. An absent object (a box of NaN, an empty mask) is not drawn; parts outside the picture are cut off. Boxes
    stay upright, as in the public maps: a turned object shows the box around its turned outline (:func:`seen_boxes`).

    Raises:
        TrajectoryError: the tracks do not hold what the level needs.
    """
    seen = tracks.at_level(level)
    height, width = seen.size
    boxes = seen_boxes(seen)
    maps = np.zeros((seen.frames, height, width, 3), np.uint8)
    for index in range(len(seen.names)):
        colour = map_colour(index)
        maps[0][seen.first_masks[index]] = colour
        for frame in range(1, seen.frames):
            if seen.masks is not None:
                maps[frame][seen.masks[index, frame]] = colour
            else:
                draw_box(maps[frame], boxes[index, frame], colour, line_thickness(height, width))
    return maps


def draw_box(image: UInt8, box: Floats, colour: tuple[int, int, int], thickness: int) -> None:
    """Draw the outline of a normalised box (4,) in place; nothing for a box with NaN. The lines are centred on the
    pixels x0 * W, y0 * H, x1 * W and y1 * H (exclusive maximum), as in the public maps."""
    if not np.isfinite(box).all():
        return
    height, width = image.shape[:2]
    x0, y0, x1, y1 = (round(float(value)) for value in box * np.array([width, height, width, height]))
    cv2.rectangle(image, (x0, y0), (x1, y1), colour, thickness)


def seen_boxes(tracks: Tracks) -> Floats:
    """(N, T, 4) upright boxes as seen: the boxes themselves where nothing turns; else the box around the outline of the
    first mask, scaled into the object's box and turned about its centre by the angle (counter-clockwise)."""
    if tracks.angles is None or not np.any(np.nan_to_num(tracks.angles)):
        return tracks.boxes
    boxes = tracks.boxes.copy()
    for index, mask in enumerate(tracks.first_masks):
        angles = np.nan_to_num(tracks.angles[index] - tracks.angles[index, 0])
        outline = _unit_outline(mask)
        for frame in np.flatnonzero(angles):
            boxes[index, frame] = _around(outline, boxes[index, frame], float(angles[frame]), tracks.size)
    return boxes


def _unit_outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(K, 2) points (x, y) of the convex hull of a mask, in its bounding box taken as [-0.5, 0.5]."""
    rows, columns = np.nonzero(mask)
    if rows.size == 0:
        return np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    corners = np.concatenate([np.stack([columns + dx, rows + dy], axis=1) for dx in (0, 1) for dy in (0, 1)])
    hull = cv2.convexHull(corners.astype(np.int32)).reshape(-1, 2).astype(np.float64)
    low, high = hull.min(axis=0), hull.max(axis=0)
    return (hull - low) / (high - low) - 0.5


def _around(outline: npt.NDArray[np.float64], box: Floats, degrees: float, size: tuple[int, int]) -> Floats:
    height, width = size
    scale = np.array([width, height], dtype=np.float64)
    centre, extent = (box[2:] + box[:2]) / 2 * scale, (box[2:] - box[:2]) * scale
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    # y points down, so this matrix turns counter-clockwise as seen.
    turned = (outline * extent) @ np.array([[cosine, sine], [-sine, cosine]]).T + centre
    return np.concatenate([turned.min(axis=0) / scale, turned.max(axis=0) / scale]).astype(np.float32)
