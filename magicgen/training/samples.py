"""Sampled videos in tensorboard, as animated pictures; its own writer needs another library for them."""

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

FRAME_MS = 125


def log_video(writer: Any, name: str, frames: npt.NDArray[np.uint8], step: int) -> None:
    """Add a video to a ``SummaryWriter``.

    Args:
        writer: a ``torch.utils.tensorboard.SummaryWriter``.
        name: its tag.
        frames: (T, H, W, 3) uint8.
        step: the step that it belongs to.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary

    picture = Summary.Image(
        height=frames.shape[1], width=frames.shape[2], colorspace=3, encoded_image_string=animated(frames)
    )
    writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=picture)]), step)


def animated(frames: npt.NDArray[np.uint8]) -> bytes:
    """(T, H, W, 3) uint8 as an endless GIF."""
    first, *rest = [Image.fromarray(frame) for frame in frames]
    file = BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=FRAME_MS, loop=0)
    return file.getvalue()
