"""The examples: every photo and trajectory can be read, resolved and drawn, and all three levels are there."""

from pathlib import Path

import numpy as np
import pytest

from magicgen.control.overlay import overlay
from magicgen.control.tracks import level_name
from magicgen.jobs.inputs import ClipShape, clip_inputs, read_document
from magicgen.media import read_image

EXAMPLES = Path(__file__).parents[1] / "examples"
TRAJECTORIES = sorted(EXAMPLES.glob("*/*.json"))


@pytest.mark.parametrize("path", TRAJECTORIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_example_can_be_drawn_and_moves(path: Path) -> None:
    photo = read_image(path.parent / "photo.jpg")
    inputs = clip_inputs(photo, read_document(path), ClipShape(5, 64, 96), None, None)
    preview = overlay(inputs.picture, inputs.tracks, inputs.level)
    assert preview.shape == (5, 64, 96, 3)
    assert np.abs(inputs.tracks.boxes[:, -1] - inputs.tracks.boxes[:, 0]).max() > 0.01


def test_there_are_ten_on_three_levels() -> None:
    levels = set()
    for path in TRAJECTORIES:
        photo = read_image(path.parent / "photo.jpg")
        levels.add(level_name(clip_inputs(photo, read_document(path), ClipShape(5, 32, 48), None, None).level))
    assert len(TRAJECTORIES) >= 10
    assert levels == {"mask", "box"}
    sparse = read_document(EXAMPLES / "coffee" / "trajectory.json")
    photo = read_image(EXAMPLES / "coffee" / "photo.jpg")
    assert level_name(clip_inputs(photo, sparse, ClipShape(17, 32, 48), "sparse_box", None).level) == "sparse_box"
