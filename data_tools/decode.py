"""Streaming video in and lossless clips out: one frame in memory at a time.

A frame that needs no scaling, turning or tone mapping goes from decoder to encoder as it is, so that a stored clip
decodes to exactly the pixels of its source.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from magicgen.errors import MediaError
from magicgen.media import MAX_SIDE, MIN_SIDE, atomic

UInt8 = npt.NDArray[np.uint8]
_PLAIN = "yuv420p"
_HDR_CURVES = {16: "pq", 18: "hlg"}  # ITU-T H.273 numbers of SMPTE ST 2084 and ARIB STD-B67
# x264 with a quantiser of 0 is lossless; one thread makes the bytes the same on every machine.
_LOSSLESS = {"qp": "0", "preset": "ultrafast", "threads": "1"}


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """(container, first video stream) of a file.

    Raises:
        MediaError: missing, empty, not a video, no video stream, or a size out of range.
    """
    import av

    try:
        if not path.exists():
            raise MediaError(f"There is no video at {path}. Check the path.")
        if not path.is_file():
            raise MediaError(f"{path} is a folder or a device; expected a video file.")
        if path.stat().st_size == 0:
            raise MediaError(f"{path} is empty (0 bytes). Export or download it again.")
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MediaError(f"{path} has no video stream (an audio file?).")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            width, height = stream.codec_context.width, stream.codec_context.height
            if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE:
                raise MediaError(f"{path} is {width}x{height} pixels; {MIN_SIDE} to {MAX_SIDE} a side are accepted.")
            yield container, stream
    except MediaError:
        raise
    except (OSError, ValueError, av.error.FFmpegError) as error:
        raise MediaError(f"{path} cannot be decoded as a video ({_reason(error)}).") from error


def frames_of(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames in display order.

    Raises:
        MediaError: a packet is cut off, a frame is damaged, or the size changes on the way.
    """
    count, size = 0, None
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise MediaError(f"{path} breaks off after {count} frames.")
        for frame in packet.decode():
            if frame.is_corrupt:
                raise MediaError(f"{path} is damaged at frame {count}.")
            if size not in (None, (frame.width, frame.height)):
                raise MediaError(f"{path} changes its size at frame {count}; expected one size throughout.")
            size = (frame.width, frame.height)
            count += 1
            yield frame


def check_complete(path: Path, decoded: int, declared: int) -> None:
    """Raises:
    MediaError: far fewer frames than the header promises, or none at all.
    """
    if decoded == 0:
        raise MediaError(f"{path} holds no frame that can be decoded.")
    if decoded < declared - max(2, declared // 20):
        raise MediaError(f"{path} is truncated: its header promises {declared} frames, {decoded} can be decoded.")


def stored_size(width: int, height: int, rotation: int, short_side: int) -> tuple[int, int]:
    """(height, width) of the stored clip: upright, the short side at most ``short_side``, both even."""
    if rotation % 180:
        width, height = height, width
    scale = min(1.0, short_side / min(width, height))
    return (height // 2 * 2, width // 2 * 2) if scale == 1.0 else (_even(height * scale), _even(width * scale))


def _even(value: float) -> int:
    return max(2, round(value / 2) * 2)


class ClipWriter:
    """Writes one lossless .mp4 (H.264, yuv420p) frame by frame."""

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction) -> None:
        import av

        self.size, self.rate, self.count = size, rate, 0
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        self._stream: Any = self._container.add_stream("libx264", rate=rate, options=_LOSSLESS)
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = _PLAIN

    def add(self, frame: Any, rotation: int) -> None:
        """Append a decoded frame (av.VideoFrame), turned upright and scaled as the stored size asks."""
        ready = _prepared(frame, rotation, self.size)
        if self.count == 0:
            self._stream.codec_context.color_range = ready.color_range
            self._stream.codec_context.colorspace = ready.colorspace
        ready.pts, ready.time_base, ready.pict_type = self.count, 1 / self.rate, 0
        self._container.mux(self._stream.encode(ready))
        self.count += 1

    def close(self) -> None:
        """Write what is still in the encoder, and the index."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


@contextmanager
def clip_writer(path: Path, size: tuple[int, int], rate: Fraction) -> Iterator[ClipWriter]:
    """A :class:`ClipWriter` whose file appears under ``path`` when the block ends well."""
    with atomic(path) as temporary:
        writer = ClipWriter(temporary, size, rate)
        yield writer
        writer.close()


def hdr_curve(frame: Any) -> str | None:
    """'pq' or 'hlg' for high dynamic range, else None."""
    return _HDR_CURVES.get(int(getattr(frame, "color_trc", 0) or 0))


def _prepared(frame: Any, rotation: int, size: tuple[int, int]) -> Any:
    import av

    curve = hdr_curve(frame)
    if frame.format.name == _PLAIN and rotation == 0 and (frame.height, frame.width) == size and curve is None:
        return frame
    height, width = size if rotation % 180 == 0 else size[::-1]
    if (height, width) == (frame.height // 2 * 2, frame.width // 2 * 2):
        height, width = frame.height, frame.width  # an odd side is cut by a pixel, not scaled
    if curve is None:
        pixels = frame.reformat(width=width, height=height, format="rgb24", interpolation="BICUBIC").to_ndarray()
    else:
        from data_tools.hdr import tone_mapped

        deep = frame.reformat(width=width, height=height, format="rgb48le", interpolation="BICUBIC").to_ndarray()
        pixels = tone_mapped(deep, curve)
    upright = np.rot90(pixels, rotation // 90)[: size[0], : size[1]]
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(upright), format="rgb24").reformat(format=_PLAIN)


def small_bgr(frame: Any, side: int = 256) -> UInt8:
    """(h, w, 3) uint8 BGR with the long side at most ``side``: what the shot detector looks at."""
    scale = min(1.0, side / max(frame.width, frame.height))
    width, height = max(16, round(frame.width * scale)), max(16, round(frame.height * scale))
    pixels = frame.reformat(width=width, height=height, format="bgr24", interpolation="AREA").to_ndarray()
    return np.asarray(pixels, np.uint8)


def _reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0][:160] if text else type(error).__name__).rstrip(".")
