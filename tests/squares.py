"""One red square that moves over a grey ramp: the smallest clip with exact tracks."""

import numpy as np

from magicgen.control.tracks import Tracks, boxes_from_masks


def square_tracks(frames: int = 5, height: int = 32, width: int = 48, shift: int = 4) -> Tracks:
    """One 10 x 10 square that moves ``shift`` pixels to the right per frame."""
    masks = np.zeros((1, frames, height, width), dtype=np.bool_)
    for t in range(frames):
        masks[0, t, 8:18, 6 + shift * t : 16 + shift * t] = True
    return Tracks(("square",), masks[:, 0], boxes_from_masks(masks), masks)


def square_photo(height: int = 32, width: int = 48) -> np.ndarray:
    """A red square of :func:`square_tracks` on a grey ramp, (H, W, 3) uint8."""
    ramp = np.linspace(60, 200, width, dtype=np.uint8)
    photo = np.repeat(np.repeat(ramp[None, :, None], height, axis=0), 3, axis=2)
    photo[8:18, 6:16] = (200, 30, 30)
    return photo


def square_video(frames: int = 5, height: int = 32, width: int = 48, shift: int = 4) -> np.ndarray:
    """The square on its way, (T, H, W, 3) uint8; frame 0 is :func:`square_photo`."""
    ramp = np.linspace(60, 200, width, dtype=np.uint8)
    video = np.broadcast_to(ramp[None, None, :, None], (frames, height, width, 3)).copy()
    masks = square_tracks(frames, height, width, shift).masks
    assert masks is not None
    video[masks[0]] = (200, 30, 30)
    return video
