"""Reading the joints of a drawn figure from a picture by :class:`~magicgen.models.keypoint_head.KeypointHead`."""

import numpy as np
import numpy.typing as npt
import torch

from magicgen.models.crops import MARGIN, as_input, cropped, square_of
from magicgen.models.keypoint_head import CROP, KeypointHead

UInt8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def read_keypoints(head: KeypointHead, picture: UInt8, box: tuple[float, float, float, float]) -> Floats:
    """(17, 2) float32 joints of the figure in a normalised box, x and y from 0 to 1 across the picture."""
    height, width = picture.shape[:2]
    x, y, half = square_of(box, height, width, MARGIN)
    with torch.no_grad():
        found = head(as_input(cropped(picture, (x, y, half), CROP)[None]).to(head.device))[0].float().cpu().numpy()
    return np.asarray((found * 2 * half + (x - half, y - half)) / (width, height), np.float32)
