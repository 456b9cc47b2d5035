"""Trackers by name; SAM 2 with random weights."""

from pathlib import Path

import numpy as np
import pytest

from magicgen.errors import ConfigError, WeightsError
from magicgen.evaluation.trackers import FlowTracker, Sam2Tracker, load_tracker, tracker_kind
from tests.squares import square_tracks, square_video


def test_trackers_by_name() -> None:
    assert tracker_kind("flow").name == "magicgen flow tracker"
    assert tracker_kind("sam2=weights/sam2.1-hiera-large").name == "SAM 2 (sam2.1-hiera-large)"
    for text in ("sam2", "sam2=", "yolo"):
        with pytest.raises(ConfigError, match="sam2=FOLDER"):
            tracker_kind(text)


def test_the_flow_tracker_follows_a_square() -> None:
    tracks = square_tracks(height=64, width=96)
    assert tracks.masks is not None
    found = load_tracker(FlowTracker())(square_video(height=64, width=96), tracks.first_masks)
    assert found.shape == tracks.masks.shape
    assert np.array_equal(found[:, 0], tracks.first_masks)
    assert (found & tracks.masks).sum() > 0.7 * (found | tracks.masks).sum()


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="hf download"):
        load_tracker(Sam2Tracker(str(tmp_path)))


@pytest.mark.slow
def test_sam2_follows_masks_and_leaves_empty_ones_empty(tmp_path: Path) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    vision = transformers.Sam2VideoConfig().vision_config
    transformers.Sam2VideoModel(transformers.Sam2VideoConfig(vision_config=vision)).save_pretrained(tmp_path)
    parts = transformers.Sam2ImageProcessor(), transformers.Sam2VideoVideoProcessor()
    transformers.Sam2VideoProcessor(*parts).save_pretrained(tmp_path)
    track = load_tracker(Sam2Tracker(str(tmp_path), "cpu"))
    masks = np.concatenate([square_tracks(frames=3).first_masks, np.zeros((1, 32, 48), bool)])
    found = track(square_video(frames=3), masks)
    assert found.shape == (2, 3, 32, 48)
    assert np.array_equal(found[:, 0], masks)
    assert not found[1].any()
