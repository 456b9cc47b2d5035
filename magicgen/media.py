"""Images and videos in and out: checked before decoding, written whole or not at all.

Arrays: images (H, W, 3) uint8 RGB, videos (T, H, W, 3) uint8 RGB, origin top left. Every failure that a person can
mend is a :class:`~magicgen.errors.MediaError`.
"""

import errno
import json
import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, TypeVar
from uuid import uuid4

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.errors import MediaError
from magicgen.pixels import to_mask, to_rgb

UInt8 = npt.NDArray[np.uint8]
Decoded = TypeVar("Decoded")

MIN_SIDE = 16
MAX_SIDE = 16384
# Below twice Pillow's own limit, so that the check here always speaks first and names both numbers.
MAX_PIXELS = 120_000_000
MAX_VIDEO_BYTES = 6 * 1024**3
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
VIDEO_SUFFIXES = (".mp4",)
# Pillow also knows formats that start other programs (EPS) or have no use as a photo; only these are opened.
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
# swscale's bicubic with accurate rounding and chroma interpolated in both directions (SWS_BICUBIC | SWS_ACCURATE_RND |
# SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP): without them a colourful frame loses 15 dB between RGB and yuv420p and back.
_SCALER = 0x4 | 0x40000 | 0x2000 | 0x4000
_CRF = "14"  # visually lossless for flat colour maps and photos alike

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Video:
    """A decoded video: ``frames`` (T, H, W, 3) uint8 RGB and ``fps`` in frames per second."""

    frames: UInt8
    fps: float


def path_inside(folder: str | os.PathLike[str], name: str) -> Path:
    """The file that a document in ``folder`` names; a document may come from anybody, so it reaches nothing outside.

    Raises:
        MediaError: an absolute path, one with "..", or a link that leads out of the folder.
    """
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    outside = posix.is_absolute() or windows.is_absolute() or windows.drive or ".." in (*posix.parts, *windows.parts)
    if outside or not name.strip() or "\0" in name:
        raise MediaError(f"expected a path relative to the file's folder, without '..'; got {name[:120]!r}")
    try:
        target = (Path(folder) / name).resolve()
        inside = target.is_relative_to(Path(folder).resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise MediaError(f"{name[:120]!r} is no usable path ({str(error)[:80]})") from error
    if not inside:
        raise MediaError(f"{name[:120]!r} leads out of the file's folder; copy it there")
    return target


def read_image(path: str | os.PathLike[str], *, max_side: int = MAX_SIDE) -> UInt8:
    """The picture in a file as (H, W, 3) uint8 sRGB, upright.

    The EXIF rotation is applied, an embedded colour profile converted (CMYK too), transparency laid on white, 16-bit
    values scaled. Of an animated picture the first frame is taken, with a warning in the log. Sizes are checked from
    the header before any pixel is decoded: 16 to ``max_side`` pixels a side and at most 120 million pixels.

    Raises:
        MediaError: no such file, not a picture, damaged, too small or too large.
    """
    return read_with(path, to_rgb, max_side)


def read_mask(path: str | os.PathLike[str], *, max_side: int = MAX_SIDE) -> npt.NDArray[np.bool_]:
    """A mask picture as (H, W) bool: the transparency where there is one, else every pixel brighter than half of the
    brightest, so that 0/255, 0/1, 16-bit and palette masks are all read.

    Raises:
        MediaError: as :func:`read_image`.
    """
    return read_with(path, to_mask, max_side)


def read_video(path: str | os.PathLike[str], *, max_frames: int | None = None) -> Video:
    """Decode a video, at most ``max_frames`` frames of it; every frame that is in the file, none twice.

    The rotation that phones store beside the stream is applied.

    Raises:
        MediaError: no such file, empty, not a video, truncated, too large, or frames of different sizes.
    """
    import av

    source = _existing_file(path, "video")
    if max_frames is not None and max_frames < 1:
        raise MediaError(f"max_frames must be at least 1; got {max_frames}.")
    frames: list[UInt8] = []
    try:
        with av.open(str(source)) as container:
            if not container.streams.video:
                raise MediaError(f"{source} has no video stream (an audio file?). Expected a video such as an .mp4.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            _check_size(source, stream.codec_context.width, stream.codec_context.height, max_side=MAX_SIDE)
            rate = stream.average_rate or stream.guessed_rate
            fps = float(rate) if rate else 25.0
            for frame in _decoded(source, container, stream, frames):
                turned = np.rot90(frame.to_ndarray(format="rgb24", interpolation=_SCALER), round(frame.rotation / 90))
                _check_frame(source, frames, turned)
                frames.append(turned)
                if len(frames) == max_frames:
                    break
            declared = int(stream.frames)
    except MediaError:
        raise
    except Exception as error:
        where = f" after {len(frames)} frames" if frames else ""
        raise MediaError(
            f"{source} cannot be decoded as a video{where} ({_reason(error)}). Expected an undamaged .mp4, .mov, "
            ".webm, .avi or .gif; export or download it again."
        ) from error
    if not frames:
        raise MediaError(f"{source} holds no frame that can be decoded. Export or download it again.")
    _check_complete(source, len(frames), declared, max_frames)
    return Video(np.stack(frames), fps)


def write_video(path: str | os.PathLike[str], frames: UInt8, fps: float) -> Path:
    """Write (T, H, W, 3) uint8 RGB as H.264 yuv420p .mp4; whole or not at all.

    Chroma is stored at half size, so odd sizes are padded by repeating the last row or column. The same input gives
    the same bytes, on every processor.

    Raises:
        MediaError: wrong shape or rate, wrong suffix, missing or read-only folder, full disk.
    """
    target = _target(path, VIDEO_SUFFIXES)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise MediaError(f"A video is (T, H, W, 3) uint8 with T >= 1; got {frames.dtype} {frames.shape}.")
    if not (math.isfinite(fps) and 0.1 <= fps <= 1000):
        raise MediaError(f"Frames per second must lie between 0.1 and 1000; got {fps}.")
    with atomic(target) as temporary:
        _encode(temporary, frames, fps)
    return target


def write_image(path: str | os.PathLike[str], image: npt.NDArray[Any]) -> Path:
    """Write (H, W, 3) uint8 RGB, (H, W) uint8 grey or (H, W) bool (as 0 / 255) as .png, .jpg or .webp.

    Raises:
        MediaError: wrong shape, wrong suffix, missing or read-only folder, full disk.
    """
    from PIL import Image

    target = _target(path, IMAGE_SUFFIXES)
    pixels = image.astype(np.uint8) * 255 if image.dtype == np.bool_ else image
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise MediaError(f"An image is (H, W, 3) uint8, (H, W) uint8 or (H, W) bool; got {image.dtype} {image.shape}.")
    kind = {".png": "PNG", ".webp": "WEBP"}.get(target.suffix.lower(), "JPEG")
    buffer = BytesIO()
    options = {"quality": 95} if kind != "PNG" else {}
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format=kind, **options)
    return write_bytes(target, buffer.getvalue())


def write_json(path: str | os.PathLike[str], value: object) -> Path:
    """Write plain data as indented JSON, whole or not at all. numpy values become plain ones, paths and other objects
    strings, and numbers that JSON does not know (NaN, infinity) null.

    Raises:
        MediaError: wrong suffix, missing or read-only folder, full disk.
    """
    target = _target(path, (".json",))
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return write_bytes(target, text.encode("utf-8"))


def write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write bytes, whole or not at all.

    Raises:
        MediaError: missing or read-only folder, full disk.
    """
    target = Path(path)
    with atomic(target) as temporary:
        temporary.write_bytes(data)
    return target


def check_output(path: str | os.PathLike[str], suffixes: Sequence[str] | None = None) -> Path:
    """Make sure, before any work, that ``path`` can be written: right suffix, not a folder, and its folder exists and
    takes a small file.

    Args:
        path: where the result will go.
        suffixes: the endings allowed, lower case with dot; by default every one that this module writes.

    Raises:
        MediaError: one of these does not hold; the message names it.
    """
    target = _target(path, suffixes or (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, ".json"))
    probe = _temporary_name(target)
    try:
        with _explained(target):
            probe.write_bytes(bytes(4096))
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    return target


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name in the same folder, moved to ``path`` at the end; removed when anything, Ctrl-C included, goes
    wrong, so that ``path`` is the old file or the whole new one.

    Raises:
        MediaError: for every ``OSError`` inside (missing or read-only folder, full disk).
    """
    target = Path(path)
    temporary = _temporary_name(target)
    try:
        with _explained(target):
            yield temporary
            _flush(temporary)
            os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def resize(pixels: UInt8, height: int, width: int) -> UInt8:
    """Resize an image (H, W, 3) or a video (T, H, W, 3) without keeping the aspect: area mean when shrinking, cubic
    when enlarging."""
    if pixels.ndim == 4:
        return np.stack([resize(frame, height, width) for frame in pixels])
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = height * width < pixels.shape[0] * pixels.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=method), np.uint8)


def crop_to_aspect(size: tuple[int, int], height: int, width: int) -> tuple[int, int, int, int]:
    """The largest centred window with the aspect height : width in a picture of ``size`` (H, W), as pixel bounds
    (y0, y1, x0, x1); the window that :func:`fit` keeps."""
    rows, columns = size
    scale = min(rows / height, columns / width)
    kept_rows, kept_columns = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
    return top, top + kept_rows, left, left + kept_columns


def fit(pixels: UInt8, height: int, width: int) -> UInt8:
    """Centre crop to the aspect height : width, then resize; images (H, W, 3) and videos (T, H, W, 3)."""
    y0, y1, x0, x1 = crop_to_aspect((pixels.shape[-3], pixels.shape[-2]), height, width)
    return resize(pixels[..., y0:y1, x0:x1, :], height, width)


def read_with(
    path: str | os.PathLike[str], decode: Callable[[Any, Path], Decoded], max_side: int = MAX_SIDE
) -> Decoded:
    """Open a picture with all checks and hand it to ``decode`` (the open Pillow image, the file)."""
    from PIL import Image

    source = _existing_file(path, "image")
    try:
        Image.init()
        formats = [name for name in _FORMATS if name in Image.OPEN]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on sizes, which are checked here, and on damaged EXIF tags
            with Image.open(source, formats=formats) as image:
                _check_size(source, *image.size, max_side=max_side)
                if getattr(image, "is_animated", False) and image.format != "MPO":
                    _log.warning("%s is animated; its first frame is used.", source)
                pixels = decode(image, source)
    except MediaError:
        raise
    except Image.DecompressionBombError as error:
        raise MediaError(
            f"{source} has too many pixels ({error}); at most {MAX_PIXELS} are accepted. Scale it down first."
        ) from None
    except Exception as error:  # Pillow's decoders answer damaged files with almost any exception class
        raise MediaError(
            f"{source} cannot be read as an image ({_reason(error)}). Expected an undamaged PNG, JPEG, WebP, TIFF, "
            "BMP, GIF or AVIF file."
        ) from error
    return pixels


def _existing_file(path: str | os.PathLike[str], kind: str) -> Path:
    source = Path(path)
    try:
        if not source.exists():
            raise MediaError(f"There is no {kind} at {source}. Check the path.")
        if not source.is_file():
            raise MediaError(
                f"{source} is a folder or a device; expected an {kind} file.".replace("an video", "a video")
            )
        if source.stat().st_size == 0:
            raise MediaError(f"{source} is empty (0 bytes). Export or download it again.")
    except (OSError, ValueError) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(f"{path!s} cannot be opened ({_reason(error)}).") from error
    return source


def _check_size(source: Path, width: int, height: int, *, max_side: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise MediaError(f"{source} is {width}x{height} pixels; at least {MIN_SIDE} pixels a side are needed.")
    if max(width, height) > max_side or width * height > MAX_PIXELS:
        raise MediaError(
            f"{source} is {width}x{height} pixels; at most {max_side} a side and {MAX_PIXELS} in all are accepted. "
            "Scale it down first."
        )


def _decoded(source: Path, container: Any, stream: Any, frames: list[UInt8]) -> Iterator[Any]:
    """The frames of a stream, until a packet is cut off or a frame is damaged."""
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise MediaError(f"{source} breaks off after {len(frames)} frames. Export or download it again.")
        for frame in packet.decode():
            if frame.is_corrupt:
                raise MediaError(f"{source} is damaged at frame {len(frames)}. Export or download it again.")
            yield frame


def _check_frame(source: Path, frames: list[UInt8], pixels: UInt8) -> None:
    if frames and pixels.shape != frames[0].shape:
        raise MediaError(
            f"{source} changes its size at frame {len(frames)} from {frames[0].shape[1]}x{frames[0].shape[0]} to "
            f"{pixels.shape[1]}x{pixels.shape[0]}; expected one size throughout. Export it again."
        )
    if (len(frames) + 1) * pixels.nbytes > MAX_VIDEO_BYTES:
        raise MediaError(
            f"{source} needs more than {MAX_VIDEO_BYTES // 1024**3} GiB when decoded ({len(frames)} frames so far). "
            "Cut it into shorter or smaller pieces."
        )


def _check_complete(source: Path, decoded: int, declared: int, max_frames: int | None) -> None:
    # Edit lists may hide a few frames that the header counts; a download that broke off loses far more.
    wanted = declared if max_frames is None else min(declared, max_frames)
    if decoded < wanted - max(2, wanted // 20):
        raise MediaError(
            f"{source} is truncated: its header promises {declared} frames, only {decoded} can be decoded. "
            "Export or download it again."
        )


def _encode(path: Path, frames: UInt8, fps: float) -> None:
    import av

    height, width = (side + side % 2 for side in frames.shape[1:3])
    padding = ((0, height - frames.shape[1]), (0, width - frames.shape[2]), (0, 0))
    # The same frames must give the same bytes. Without cpu-independent, x264's assembly for its look-ahead ("mbtree")
    # gave other bytes for one clip in twenty after the process had decoded a video; and it differs between processors.
    # x264 writes the number of threads into the stream, so that is fixed too.
    options = {"crf": _CRF, "preset": "medium", "threads": "1", "x264-params": "cpu-independent=1"}
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for pixels in frames:
            padded = np.ascontiguousarray(np.pad(pixels, padding, mode="edge"))
            frame = av.VideoFrame.from_ndarray(padded, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", interpolation=_SCALER, threads=1)))
        container.mux(stream.encode(None))


def _target(path: str | os.PathLike[str], suffixes: Sequence[str]) -> Path:
    target = Path(path)
    if target.suffix.lower() not in suffixes:
        raise MediaError(
            f"The output {target} must end in {' or '.join(suffixes)}; got {target.suffix or 'no ending'!r}."
        )
    try:
        if target.is_dir():
            raise MediaError(f"The output {target} is a folder; give a file name.")
        if not target.parent.is_dir():
            raise MediaError(f"The folder {target.parent} of the output {target.name} does not exist. Make it first.")
    except OSError as error:
        raise MediaError(f"The output {target} cannot be written ({_reason(error)}).") from error
    return target


def _temporary_name(target: Path) -> Path:
    return target.with_name(f".magicgen-{uuid4().hex[:12]}{target.suffix}.part")


def _flush(path: Path) -> None:
    """Force the bytes out so that a full disk shows before the rename, not after."""
    with open(path, "rb+") as handle:
        _sync(handle)


def _sync(handle: BinaryIO) -> None:
    handle.flush()
    os.fsync(handle.fileno())


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except MediaError:
        raise
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        causes = {
            errno.ENOSPC: "the disk is full; free some space",
            errno.EDQUOT: "the disk quota is used up; free some space",
            errno.EFBIG: "the file grows beyond the size allowed here",
            errno.EROFS: "the folder is read-only; choose another",
            errno.EACCES: "writing is not permitted there; choose another folder",
            errno.EPERM: "writing is not permitted there; choose another folder",
            errno.ENOENT: "its folder does not exist; make it first",
        }
        cause = causes.get(number, _reason(error)) if number is not None else _reason(error)
        raise MediaError(f"{target} cannot be written: {cause}.") from error


def _reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0][:200] if text else type(error).__name__).rstrip(".")


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case np.generic() | np.ndarray():
            return _plain(value.tolist())
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case _:
            return str(value)
