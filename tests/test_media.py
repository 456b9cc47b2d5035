"""Images and videos in and out: every kind of photo, every kind of broken file, nothing half-written."""

import contextlib
import errno
import logging
import os
import struct
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from magicgen.errors import MediaError
from magicgen.media import (
    atomic,
    check_output,
    crop_to_aspect,
    fit,
    read_image,
    read_mask,
    read_video,
    resize,
    write_bytes,
    write_image,
    write_json,
    write_video,
)


def smooth_frames(count: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    small = rng.integers(0, 255, (count, 5, 7, 3), dtype=np.uint8)
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC) for frame in small])


def clip(folder: Path, count: int = 9, height: int = 48, width: int = 64) -> Path:
    return write_video(folder / "clip.mp4", smooth_frames(count, height, width), 8)


class TestImages:
    @pytest.mark.parametrize(
        ("mode", "colour", "name"),
        [
            ("RGB", (10, 200, 30), "a.png"),
            ("L", 77, "a.png"),
            ("1", 1, "a.png"),
            ("P", 3, "a.png"),
            ("CMYK", (255, 0, 0, 0), "a.jpg"),
            ("CMYK", (0, 0, 0, 255), "a.tif"),
            ("LA", (50, 255), "a.png"),
            ("RGBA", (10, 20, 30, 255), "a.webp"),
        ],
    )
    def test_modes(self, tmp_path, mode, colour, name):
        image = Image.new(mode, (40, 20), colour)
        image.save(tmp_path / name)
        pixels = read_image(tmp_path / name)
        assert pixels.shape == (20, 40, 3)
        assert pixels.dtype == np.uint8
        wanted = np.array(image.convert("RGB"))[0, 0]
        assert np.abs(pixels.astype(int) - wanted).max() <= 12

    def test_transparency_lies_on_white(self, tmp_path):
        Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "a.png")
        assert (read_image(tmp_path / "a.png") == 255).all()
        palette = Image.new("P", (20, 20), 0)
        palette.putpalette([0, 0, 0] * 256)
        palette.save(tmp_path / "b.png", transparency=0)
        assert (read_image(tmp_path / "b.png") == 255).all()

    def test_sixteen_bits(self, tmp_path):
        Image.fromarray(np.full((20, 30), 257 * 128, np.uint16)).save(tmp_path / "a.png")
        assert (read_image(tmp_path / "a.png") == 128).all()
        cv2.imwrite(str(tmp_path / "b.png"), np.full((20, 30, 3), 257 * 90, np.uint16))
        assert np.abs(read_image(tmp_path / "b.png").astype(int) - 90).max() <= 1

    def test_floats_are_refused(self, tmp_path):
        Image.fromarray(np.zeros((20, 30), np.float32)).save(tmp_path / "a.tif")
        with pytest.raises(MediaError, match="floating-point"):
            read_image(tmp_path / "a.tif")

    def test_exif_rotation(self, tmp_path):
        image = Image.new("RGB", (60, 30), (0, 0, 0))
        image.paste((255, 255, 255), (0, 0, 30, 30))
        exif = Image.Exif()
        exif[0x0112] = 6  # turn clockwise to see it upright
        image.save(tmp_path / "a.jpg", exif=exif)
        pixels = read_image(tmp_path / "a.jpg")
        assert pixels.shape == (60, 30, 3)
        assert pixels[5, 15].min() > 200
        assert pixels[55, 15].max() < 50

    def test_first_frame_of_an_animation_is_stated(self, tmp_path, caplog):
        frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        with caplog.at_level(logging.WARNING):
            pixels = read_image(tmp_path / "a.gif")
        assert pixels[0, 0].tolist() == [255, 0, 0]
        assert "first frame" in caplog.text

    @pytest.mark.parametrize("size", [(1, 1), (15, 100), (20000, 20), (20000, 20000)])
    def test_sizes_are_checked_before_decoding(self, tmp_path, size):
        header = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
        (tmp_path / "a.png").write_bytes(header + _chunk(b"IDAT", b"") + _chunk(b"IEND", b""))
        with pytest.raises(MediaError, match=r"pixels"):
            read_image(tmp_path / "a.png")

    def test_broken_files(self, tmp_path):
        Image.fromarray(smooth_frames(1, 40, 40)[0]).save(tmp_path / "good.png")
        data = (tmp_path / "good.png").read_bytes()
        for index, broken in enumerate((b"", b"no picture", data[: len(data) // 2], b"%!PS-Adobe-3.0 EPSF-3.0\n")):
            target = tmp_path / f"{index}.png"
            target.write_bytes(broken)
            with pytest.raises(MediaError, match=str(target)):
                read_image(target)
        for missing in (tmp_path / "none.png", tmp_path, tmp_path / ("x" * 400), "a\0b.png"):
            with pytest.raises(MediaError):
                read_image(missing)

    def test_masks(self, tmp_path):
        shape = np.zeros((20, 30), np.uint8)
        shape[5:10, 6:20] = 1
        variants = {
            "one": Image.fromarray(shape),
            "full": Image.fromarray(shape * 255),
            "rgb": Image.fromarray(np.repeat(shape[..., None] * 128, 3, axis=-1)),
            "alpha": Image.fromarray(np.dstack([np.full((20, 30, 3), 9, np.uint8), shape * 255])),
            "deep": Image.fromarray(shape.astype(np.uint16) * 65535),
        }
        for name, image in variants.items():
            image.save(tmp_path / f"{name}.png")
            assert (read_mask(tmp_path / f"{name}.png") == (shape > 0)).all(), name
        Image.new("L", (30, 20)).save(tmp_path / "empty.png")
        assert not read_mask(tmp_path / "empty.png").any()


def _chunk(kind: bytes, data: bytes) -> bytes:
    import zlib

    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


class TestVideos:
    @pytest.mark.parametrize(("count", "height", "width"), [(1, 32, 32), (2, 33, 51), (9, 48, 64)])
    def test_round_trip(self, tmp_path, count, height, width):
        frames = smooth_frames(count, height, width)
        video = read_video(write_video(tmp_path / "a.mp4", frames, 8))
        assert video.frames.shape == (count, height + height % 2, width + width % 2, 3)
        assert video.fps == 8
        error = video.frames[:, :height, :width].astype(float) - frames
        assert 10 * np.log10(255**2 / np.mean(error**2)) > 26  # chroma has half the size, and the pictures are tiny

    def test_same_bytes(self, tmp_path):
        first = clip(tmp_path).read_bytes()
        for _ in range(40):  # decoding in between once changed one file in twenty
            read_video(tmp_path / "clip.mp4")
            assert clip(tmp_path).read_bytes() == first, "other bytes for the same frames"

    def test_max_frames(self, tmp_path):
        assert len(read_video(clip(tmp_path), max_frames=4).frames) == 4
        with pytest.raises(MediaError):
            read_video(clip(tmp_path), max_frames=0)

    def test_rotation_beside_the_stream(self, tmp_path):
        frames = np.zeros((2, 32, 48, 3), np.uint8)
        frames[:, :, :24] = 255
        path = write_video(tmp_path / "a.mp4", frames, 8)
        data = path.read_bytes()
        upright = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
        clockwise = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 32 << 16, 0, 1 << 30)
        track = data.index(b"tkhd")
        start = data.index(upright, track)
        path.write_bytes(data[:start] + clockwise + data[start + 36 :])
        turned = read_video(path).frames
        assert turned.shape == (2, 48, 32, 3)
        assert turned[0, 4].min() > 200  # the left half has become the top
        assert turned[0, 44].max() < 50

    def test_broken_files(self, tmp_path):
        data = clip(tmp_path, count=40).read_bytes()
        broken = {"zero": b"", "text": b"hello " * 100, "stub": data[:200]}
        broken.update({"half": data[: len(data) // 2], "last": data[:-50]})
        broken["no index"] = data.replace(b"moov", b"xxxx")
        for name, content in broken.items():
            path = tmp_path / f"{name}.mp4"
            path.write_bytes(content)
            with pytest.raises(MediaError, match=name):
                read_video(path)

    def test_refused_arrays(self, tmp_path):
        for frames, fps in (
            (np.zeros((0, 8, 8, 3), np.uint8), 8.0),
            (np.zeros((2, 8, 8, 3), np.float32), 8.0),
            (np.zeros((8, 8, 3), np.uint8), 8.0),
            (np.zeros((1, 8, 8, 3), np.uint8), float("nan")),
        ):
            with pytest.raises(MediaError):
                write_video(tmp_path / "a.mp4", frames, fps)
        assert not list(tmp_path.iterdir())


def _broken_off(target: Path, error: BaseException) -> None:
    with atomic(target) as temporary:
        temporary.write_bytes(b"half")
        raise error


class TestOutputs:
    def test_check_output(self, tmp_path):
        assert check_output(tmp_path / "a.mp4") == tmp_path / "a.mp4"
        assert not list(tmp_path.iterdir())
        for path, word in (
            (tmp_path / "none" / "a.mp4", "does not exist"),
            (tmp_path / "a.txt", "must end"),
            (tmp_path / "a", "must end"),
        ):
            with pytest.raises(MediaError, match=word):
                check_output(path)
        with pytest.raises(MediaError, match="must end"):
            check_output(tmp_path / "a.png", (".mp4",))
        (tmp_path / "folder.mp4").mkdir()
        with pytest.raises(MediaError, match="is a folder"):
            check_output(tmp_path / "folder.mp4")

    @pytest.mark.skipif(os.geteuid() == 0, reason="the super-user may write into read-only folders")
    def test_read_only_folder(self, tmp_path):
        tmp_path.chmod(0o555)
        with pytest.raises(MediaError, match="not permitted"):
            check_output(tmp_path / "a.mp4")
        tmp_path.chmod(0o755)

    @pytest.mark.parametrize(("number", "word"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")])
    def test_errors_of_the_system_leave_the_old_file(self, tmp_path, number, word):
        target = write_bytes(tmp_path / "a.bin", b"old")
        with pytest.raises(MediaError, match=word):
            _broken_off(target, OSError(number, os.strerror(number)))
        assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
        assert target.read_bytes() == b"old"

    def test_file_too_large_for_the_system(self, tmp_path):
        import resource
        import signal

        before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        noise = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
            with pytest.raises(MediaError, match="cannot be written"):
                write_video(tmp_path / "a.mp4", noise, 8)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert not list(tmp_path.iterdir())

    def test_interrupt_leaves_nothing(self, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            _broken_off(tmp_path / "a.bin", KeyboardInterrupt())
        assert not list(tmp_path.iterdir())

    def test_json_and_images(self, tmp_path):
        value = {"path": tmp_path, "nan": float("nan"), "array": np.arange(3), "number": np.float32(0.5), "t": (1, "e")}
        text = write_json(tmp_path / "a.json", value).read_text()
        assert '"nan": null' in text
        assert '"number": 0.5' in text
        image = smooth_frames(1, 20, 30)[0]
        assert (read_image(write_image(tmp_path / "a.png", image)) == image).all()
        mask = image[..., 0] > 100
        assert (read_mask(write_image(tmp_path / "m.png", mask)) == mask).all()
        with pytest.raises(MediaError):
            write_image(tmp_path / "b.png", image.astype(float))


class TestSizes:
    @settings(deadline=None, max_examples=50)
    @given(*(st.integers(16, 400) for _ in range(4)))
    def test_crop_has_the_aspect_and_fits(self, rows, columns, height, width):
        y0, y1, x0, x1 = crop_to_aspect((rows, columns), height, width)
        assert 0 <= y0 < y1 <= rows
        assert 0 <= x0 < x1 <= columns
        assert (y1 - y0 == rows) or (x1 - x0 == columns)
        assert abs((y1 - y0) * width - (x1 - x0) * height) <= max(height, width)

    def test_resize_and_fit(self):
        frames = smooth_frames(2, 40, 60)
        assert resize(frames, 20, 30).shape == (2, 20, 30, 3)
        assert fit(frames, 30, 30).shape == (2, 30, 30, 3)
        assert (fit(frames[0], 40, 40) == frames[0][:, 10:50]).all()


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF", b"II*\0", b"\0\0\0\x18ftyp"]),
    st.binary(max_size=300),
)
def test_random_bytes_only_raise_media_errors(start, rest):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.mp4")
        path.write_bytes(start + rest)
        for reader in (read_image, read_mask, read_video):
            with contextlib.suppress(MediaError):
                reader(path)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 1))
def test_flipped_bytes_only_raise_media_errors(position, value, kind):
    with tempfile.TemporaryDirectory() as folder:
        if kind:
            path = clip(Path(folder), count=3, height=32, width=32)
        else:
            path = write_image(Path(folder, "a.png"), smooth_frames(1, 20, 20)[0])
        data = bytearray(path.read_bytes())
        data[position % len(data)] = value
        path.write_bytes(bytes(data))
        with contextlib.suppress(MediaError):
            _ = read_video(path) if kind else read_image(path)
