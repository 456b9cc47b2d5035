"""Real clips in every layout."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from magicgen.control.map_video import write_map_video
from magicgen.control.tracks import MaskLevel, Tracks, boxes_from_masks
from magicgen.errors import DatasetError
from magicgen.evaluation.datasets import chosen_frames, find_clips, read_found
from magicgen.evaluation.samples import BrokenSample, ClipFolders, Sample, sample_count, samples
from magicgen.media import write_video
from tests.data_clips import moving_square, save_clip


@given(st.integers(1, 200), st.integers(1, 81))
def test_frames_are_spread_over_the_first_49(available: int, wanted: int) -> None:
    chosen = chosen_frames(available, wanted)
    assert chosen[0] == 0
    assert chosen[-1] < min(available, 49)
    assert len(chosen) % 4 == 1
    assert len(chosen) <= wanted
    assert chosen == sorted(set(chosen))
    if wanted == 17 and available >= 49:
        assert chosen == list(range(0, 49, 3))


def test_clip_folders(tmp_path: Path) -> None:
    save_clip(tmp_path / "a", frames=30, caption="a red cat")
    source = ClipFolders(tmp_path, frames=9, height=48, width=64)
    sample = next(iter(samples(source)))
    assert isinstance(sample, Sample)
    assert sample.video.shape == (9, 48, 64, 3)
    assert (sample.name, sample.caption, sample.group) == ("a", "a red cat", "1")
    assert sample.tracks.masks is not None
    red = (sample.video[..., 0] > 180) & (sample.video[..., 1] < 120)
    assert (red & sample.tracks.masks[0]).sum() > 0.8 * sample.tracks.masks[0].sum()


def test_davis(tmp_path: Path) -> None:
    video, labels = moving_square(frames=5)
    for folder, pictures, suffix in (("JPEGImages", video, "jpg"), ("Annotations", labels, "png")):
        place = tmp_path / folder / "480p" / "square"
        place.mkdir(parents=True)
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(place / f"{number:05d}.{suffix}")
    (found,) = find_clips(tmp_path)
    clip = read_found(found, 17, 48, 64)
    assert found.name == "square"
    assert clip.video.shape == (5, 48, 64, 3)
    assert clip.tracks.masks is not None
    assert np.array_equal(clip.tracks.masks[0], labels == 1)


def table(path: Path, columns: list[str], *rows: list[str]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def test_tables_of_videos_and_mask_maps(tmp_path: Path) -> None:
    masks = np.zeros((1, 9, 128, 192), np.bool_)
    for t in range(9):
        masks[0, t, 30:80, 20 + 8 * t : 80 + 8 * t] = True
    tracks = Tracks(("square",), masks[:, 0], boxes_from_masks(masks), masks)
    write_video(tmp_path / "red.mp4", np.where(masks[0, ..., None], 200, 50).repeat(3, axis=-1).astype(np.uint8), 8)
    write_map_video(tmp_path / "red_mask.mp4", tracks, MaskLevel())
    table(tmp_path / "bench.csv", ["video_path", "mask_path", "caption"], ["red.mp4", "red_mask.mp4", "a red cat"])
    (found,) = find_clips(tmp_path)
    clip = read_found(found, 5, 128, 192)
    assert clip.caption == "a red cat"
    assert clip.video.shape == (5, 128, 192, 3)
    assert clip.tracks.masks is not None
    assert (clip.tracks.masks[0, -1] == masks[0, -1]).mean() > 0.98


def test_broken_clips_are_told_and_passed_over(tmp_path: Path) -> None:
    save_clip(tmp_path / "good", frames=9)
    save_clip(tmp_path / "short", frames=9)
    (tmp_path / "short" / "masks" / "00004.png").unlink()
    (tmp_path / "empty" / "masks").mkdir(parents=True)
    save_clip(tmp_path / "bare", frames=9)
    shutil.rmtree(tmp_path / "bare" / "masks")
    found = list(samples(ClipFolders(tmp_path, 9, 48, 64)))
    assert [sample.name for sample in found if isinstance(sample, Sample)] == ["good"]
    reasons = {sample.name: sample.reason for sample in found if isinstance(sample, BrokenSample)}
    assert "8 masks and 9 frames" in reasons["short"]
    assert "0 masks and 9 frames" in reasons["bare"]
    assert "neither a video nor frames" in reasons["empty"]


def test_folders_of_nothing_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no clips"):
        sample_count(ClipFolders(tmp_path))
    table(tmp_path / "bench.csv", ["video_path", "text"], ["red.mp4", "a red cat"])
    with pytest.raises(DatasetError, match="line 2: needs a video"):
        find_clips(tmp_path)
