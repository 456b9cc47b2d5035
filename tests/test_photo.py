"""Photo files keep every bit and tag; changes are brought to full size without touching the rest."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from magicgen.errors import MediaError
from magicgen.photo.files import Photo, check_photo_output, read_photo, write_photo
from magicgen.photo.transfer import apply_change, change_field, removed_light, shrunk

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (24, 36, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (24, 36, 3), dtype=np.uint16)
ALPHA = RNG.integers(0, 256, (24, 36), dtype=np.uint8)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif_block(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0x829A] = 0.02
    return exif


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_lossless_files_keep_everything(tmp_path: Path, suffix: str, alpha: np.ndarray | None) -> None:
    photo = Photo(PIXELS, alpha, exif_block().tobytes(), ICC)
    again = read_photo(write_photo(tmp_path / f"a{suffix}", photo))
    assert np.array_equal(again.pixels, PIXELS)
    assert (alpha is None and again.alpha is None) or np.array_equal(again.alpha, alpha)
    assert again.icc == ICC
    assert again.exif is not None
    assert b"Maker" in again.exif


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("alpha", [None, ALPHA.astype(np.uint16) * 257])
def test_sixteen_bits_stay_sixteen(tmp_path: Path, suffix: str, alpha: np.ndarray | None) -> None:
    again = read_photo(write_photo(tmp_path / f"a{suffix}", Photo(DEEP, alpha, None, ICC)))
    assert again.depth == 65535
    assert np.array_equal(again.pixels, DEEP)
    assert (alpha is None and again.alpha is None) or np.array_equal(again.alpha, alpha)
    assert again.icc == ICC


def test_deep_png_keeps_exif(tmp_path: Path) -> None:
    again = read_photo(write_photo(tmp_path / "a.png", Photo(DEEP, None, exif_block().tobytes())))
    assert again.exif is not None
    assert b"Maker" in again.exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotation_is_applied_alike_for_eight_and_sixteen_bits(tmp_path: Path, orientation: int) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif_block(orientation))
    wide = Photo(PIXELS.astype(np.uint16) * 257, None, exif_block(orientation).tobytes())
    write_photo(tmp_path / "b.png", wide)
    shallow, deep = read_photo(tmp_path / "a.png"), read_photo(tmp_path / "b.png")
    assert np.array_equal(shallow.pixels.astype(np.uint16) * 257, deep.pixels)
    again = read_photo(write_photo(tmp_path / "c.png", shallow))
    assert np.array_equal(again.pixels, shallow.pixels), "the rotation must not be applied twice"


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK"])
def test_other_kinds_of_pictures(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(PIXELS).convert(mode).save(path)
    photo = read_photo(path)
    assert photo.pixels.shape == PIXELS.shape
    assert photo.pixels.dtype == np.uint8
    assert photo.grey == (mode in ("L", "LA", "1"))
    if mode == "L":
        with Image.open(write_photo(tmp_path / "b.png", photo)) as written:
            assert written.mode == "L"


def test_sixteen_bit_grey(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), DEEP[..., 0])
    photo = read_photo(tmp_path / "a.png")
    assert photo.grey
    assert np.array_equal(photo.pixels[..., 1], DEEP[..., 0])


def test_what_a_file_cannot_hold_is_refused_before_work(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="16 bits"):
        check_photo_output(tmp_path / "a.jpg", Photo(DEEP))
    with pytest.raises(MediaError, match="transparency"):
        check_photo_output(tmp_path / "a.jpg", Photo(PIXELS, ALPHA))
    with pytest.raises(MediaError, match="must end in"):
        check_photo_output(tmp_path / "a.gif", Photo(PIXELS))


def test_tiny_and_broken_pictures_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "one.png")
    with pytest.raises(MediaError, match="1x1"):
        read_photo(tmp_path / "one.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    with pytest.raises(MediaError, match="cannot be read"):
        read_photo(tmp_path / "bad.png")


def smooth(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    base = 0.5 + 0.2 * np.sin(rows / height * 9) * np.cos(columns / width * 7)
    return np.repeat(base[..., None], 3, axis=2).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_change_at_full_size_equals_the_change_at_small_size(dtype: type) -> None:
    depth = np.iinfo(dtype).max
    photo = np.round(smooth(240, 320) * depth).astype(dtype)
    before = shrunk(photo, 60, 80)
    after = np.clip(before * 0.8 - 0.03, 0, 1)
    result = apply_change(photo, change_field(before, after)).astype(np.float64) / depth
    wanted = np.clip(photo / depth * 0.8 - 0.03, 0, 1)
    assert np.abs(result - wanted).max() < 0.01


def test_dark_details_of_a_darkened_place_do_not_turn_black() -> None:
    photo = np.full((96, 96, 3), 128, np.uint8)
    photo[:, ::8] = 24
    before = shrunk(photo, 24, 24)
    result = apply_change(photo, change_field(before, before - 0.03)).astype(int)
    assert np.abs(photo - result - 255 * 0.03).max() <= 1


def test_untouched_places_are_bit_exact_and_strength_blends() -> None:
    photo = RNG.integers(0, 65536, (200, 300, 3), dtype=np.uint16)
    before = shrunk(photo, 50, 75)
    after = before.copy()
    after[:25] = np.clip(after[:25] - 0.2, 0, 1)
    field = change_field(before, after)
    full, half, none = (apply_change(photo, field, strength) for strength in (1.0, 0.5, 0.0))
    assert np.array_equal(none, photo)
    assert np.array_equal(full[120:], photo[120:])
    assert (full[:80] != photo[:80]).mean() > 0.5
    middle = (photo.astype(np.float64) + full) / 2
    assert np.abs(half - middle).max() <= 1


def test_strips_have_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = np.round(smooth(100, 120) * 255).astype(np.uint8)
    before = shrunk(photo, 25, 30)
    field = change_field(before, np.clip(before - 0.1, 0, 1))
    whole = apply_change(photo, field)
    monkeypatch.setattr("magicgen.photo.transfer.STRIP_PIXELS", 7 * 120)
    assert np.array_equal(apply_change(photo, field), whole)


def test_the_removed_light_is_the_difference() -> None:
    photo = np.full((8, 9, 3), 200, np.uint8)
    assert not removed_light(photo, photo).any()
    assert np.array_equal(removed_light(photo, np.zeros_like(photo)), photo)
