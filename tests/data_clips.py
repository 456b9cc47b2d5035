"""Tiny videos for the tests of the dataset builder: drawn, with exact masks, in milliseconds."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

UInt8 = npt.NDArray[np.uint8]
HEIGHT, WIDTH, FRAMES = 48, 64, 30


def texture(seed: int, height: int = 2 * HEIGHT, width: int = 2 * WIDTH) -> UInt8:
    """Smooth random colours."""
    import cv2

    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (height // 6, width // 6, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def moving_square(seed: int = 0, frames: int = FRAMES) -> tuple[UInt8, UInt8]:
    """A bright square that moves over a slowly panning ground: (T, H, W, 3) frames and (T, H, W) numbers 0 and 1."""
    ground = texture(seed)
    video = np.empty((frames, HEIGHT, WIDTH, 3), np.uint8)
    labels = np.zeros((frames, HEIGHT, WIDTH), np.uint8)
    for t in range(frames):
        pan = t // 3
        video[t] = ground[pan : pan + HEIGHT, pan : pan + WIDTH]
        x = 4 + t
        video[t, 14:32, x : x + 18] = (240, 40, 30)
        labels[t, 14:32, x : x + 18] = 1
    return video, labels


def save_video(path: Path, video: UInt8, fps: int = 24, times: list[int] | None = None) -> Path:
    """Write an H.264 .mp4; ``times`` are presentation times in 1/fps where they are uneven."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = video.shape[1:3]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=fps, options={"crf": "12", "threads": "1"})
        stream.height, stream.width = height // 2 * 2, width // 2 * 2
        stream.pix_fmt = "yuv420p"
        for number, pixels in enumerate(video):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[: stream.height, : stream.width]))
            frame.pts, frame.time_base = (times or range(len(video)))[number], Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def save_clip(folder: Path, seed: int = 0, frames: int = FRAMES, caption: str = "") -> Path:
    """A folder with ``video.mp4`` and ``masks/``; returns the video."""
    video, labels = moving_square(seed, frames)
    path = save_video(folder / "video.mp4", video)
    (folder / "masks").mkdir(exist_ok=True)
    for number, label in enumerate(labels):
        Image.fromarray(label).save(folder / "masks" / f"{number:05d}.png")
    if caption:
        (folder / "caption.txt").write_text(caption)
    return path
