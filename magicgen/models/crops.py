"""Square crops of drawn figures, as the small networks that read the storybook world are shown them."""

import cv2
import numpy as np
import numpy.typing as npt
import torch

UInt8 = npt.NDArray[np.uint8]
Square = tuple[float, float, float]
"""Centre x, y and half the side of a crop, in pixels."""
MARGIN = 0.06
"""Room around a figure's box, as a share of the box's longer side."""


def square_of(box: tuple[float, float, float, float], height: int, width: int, margin: float) -> Square:
    """The square around a normalised box, ``margin`` of its longer side added on every side."""
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    return 0.5 * (x0 + x1), 0.5 * (y0 + y1), 0.5 * max(x1 - x0, y1 - y0, 1.0) * (1 + 2 * margin)


def cropped(picture: UInt8, square: Square, side: int) -> UInt8:
    """What a square of a picture (H, W, 3) shows, (side, side, 3); beyond the picture its edge is repeated."""
    x, y, half = square
    scale = side / (2 * half)
    matrix = np.array([[scale, 0, side / 2 - scale * x], [0, scale, side / 2 - scale * y]])
    return np.asarray(cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def as_input(crops: UInt8) -> torch.Tensor:
    """(B, side, side, 3) uint8 -> (B, 3, side, side) float32 in [-1, 1]."""
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float().div(127.5).sub(1)
