"""A person's picture of a character in the form in which story models know characters."""

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]


def as_slot(reference: UInt8, height: int, width: int) -> UInt8:
    """A picture in the form of a front view, (height, width, 3): whole, centred, standing on the ground of sheets."""
    scale = min(0.92 * height / reference.shape[0], width / reference.shape[1])
    rows, columns = max(1, round(reference.shape[0] * scale)), max(1, round(reference.shape[1] * scale))
    slot = np.full((height, width, 3), 255, np.uint8)
    top, left = height - rows - round(0.04 * height), (width - columns) // 2
    method = cv2.INTER_AREA if reference.shape[0] > rows else cv2.INTER_CUBIC
    fitted = (
        reference
        if reference.shape[:2] == (rows, columns)
        else cv2.resize(reference, (columns, rows), interpolation=method)
    )
    slot[top : top + rows, left : left + columns] = fitted
    return slot
