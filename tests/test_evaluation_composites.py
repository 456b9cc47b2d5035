"""Objects cut from clips and pasted into other clips."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.make_composites import RealClip, Shape, compose, main, read_clips
from magicgen.errors import DatasetError
from magicgen.evaluation.samples import ClipFolders, Sample, samples
from magicgen.media import read_video
from tests.data_clips import save_clip

SHAPE = Shape(5, 48, 64)


def drawn_clip(name: str, colour: tuple[int, int, int]) -> RealClip:
    """A disc of one colour in the middle of a grey ramp, growing by a pixel a frame."""
    rows, columns = np.mgrid[:48, :64]
    labels = np.stack([((rows - 24) ** 2 + (columns - 32) ** 2 < (9 + t) ** 2) for t in range(7)]).astype(np.int32)
    video = np.repeat(np.repeat(columns[None, ..., None] * 3, 7, axis=0), 3, axis=-1).astype(np.uint8)
    video[labels > 0] = colour
    return RealClip(name, video, labels)


CLIPS = [drawn_clip("red", (220, 20, 20)), drawn_clip("blue", (20, 20, 220)), drawn_clip("green", (20, 220, 20))]


def test_objects_come_from_other_clips_and_the_masks_are_where_their_colours_are() -> None:
    made = compose(np.random.default_rng(3), CLIPS, 2, SHAPE, live=False)
    assert made.video.shape == (5, 48, 64, 3)
    assert made.masks.shape == (2, 5, 48, 64)
    assert not (made.masks[0] & made.masks[1]).any()
    colours = {"red": (220, 20, 20), "blue": (20, 20, 220), "green": (20, 220, 20)}
    for source, mask in zip(made.sources, made.masks, strict=True):
        name = source.split(":")[0]
        assert name != made.background
        assert mask[0].any()
        inside = made.video[0][mask[0]].astype(int)
        assert np.median(np.abs(inside - colours[name]).max(axis=-1)) < 12


def test_the_same_generator_makes_the_same_pixels() -> None:
    first, second = (compose(np.random.default_rng(8), CLIPS, 3, SHAPE, live=True) for _ in range(2))
    assert np.array_equal(first.video, second.video)
    assert np.array_equal(first.masks, second.masks)
    assert len(first.sources) == 4  # the moving background's own object is tracked too


def test_the_program_writes_the_layout_that_the_benchmark_reads(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 4)):
        save_clip(tmp_path / "clips" / name, seed, frames=9)
    arguments = [str(tmp_path / "clips"), "--out", str(tmp_path / "set"), "--count", "2"]
    assert main([*arguments, "--frames", "5", "--height", "48", "--width", "64"]) == 0
    folder = tmp_path / "set" / "composite_001"
    assert len(read_video(folder / "video.mp4").frames) == 5
    with Image.open(folder / "masks" / "00000.png") as image:
        assert set(np.unique(np.asarray(image))) == {0, 1, 2}
    sample = list(samples(ClipFolders(tmp_path / "set", 5, 48, 64)))[1]
    assert isinstance(sample, Sample)
    assert len(sample.tracks.names) == 2


def test_too_few_clips_are_named(tmp_path: Path) -> None:
    save_clip(tmp_path / "a", frames=9)
    with pytest.raises(DatasetError, match="at least two"):
        read_clips(tmp_path, SHAPE)
    assert main([str(tmp_path / "nothing"), "--out", str(tmp_path / "set")]) == 2


def test_masks_that_do_not_belong_are_named(tmp_path: Path) -> None:
    save_clip(tmp_path / "a", frames=9)
    (tmp_path / "a" / "masks" / "00003.png").unlink()
    with pytest.raises(DatasetError, match="9 frames and 8 masks"):
        read_clips(tmp_path, SHAPE)
