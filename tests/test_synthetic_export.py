"""A scene written to a folder reads back: masks exactly, video closely, facts as JSON."""

import json
from pathlib import Path

import numpy as np
import pytest

from magicgen.errors import MediaError
from magicgen.media import read_image, read_video
from magicgen.synthetic import SceneSettings, random_scene
from magicgen.synthetic.export import label_colour, write_scene


def test_round_trip(tmp_path: Path) -> None:
    clip = random_scene(np.random.default_rng(1), SceneSettings(frames=5, height=64, width=96, min_objects=3))
    write_scene(clip, tmp_path / "clip")
    facts = json.loads((tmp_path / "clip" / "scene.json").read_text())
    assert facts["caption"] == clip.caption
    assert clip.tracks.masks is not None
    for frame in range(5):
        picture = read_image(tmp_path / "clip" / "masks" / f"{frame:05d}.png")
        for index, item in enumerate(facts["objects"]):
            assert np.array_equal((picture == item["label"]).all(axis=-1), clip.tracks.masks[index, frame])
    video = read_video(tmp_path / "clip" / "video.mp4")
    assert video.frames.shape == clip.video.shape
    assert np.abs(video.frames.astype(int) - clip.video).mean() < 12


def test_labels_differ() -> None:
    assert len({label_colour(index) for index in range(63)} | {(0, 0, 0)}) == 64


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    clip = random_scene(np.random.default_rng(1), SceneSettings(frames=1, height=64, width=96))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MediaError, match="file"):
        write_scene(clip, tmp_path / "file" / "clip")
