"""``--segmenter``: who makes the mask of an object that was drawn as a box."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from magicgen.control.geometry import Box
from magicgen.media import read_image, write_image
from magicgen.segmentation.choose import picture_segmenter
from tests.cli_runner import Run

HEIGHT, WIDTH = 64, 96


@pytest.fixture
def job(tmp_path: Path, small_model: Path) -> list[object]:
    """A blue disc before a sandy ground, drawn as a box."""
    photo = np.full((HEIGHT, WIDTH, 3), (190, 170, 120), np.uint8)
    cv2.circle(photo, (30, 32), 14, (20, 40, 160), -1)
    path = {
        "version": 1,
        "frames": 5,
        "objects": [
            {
                "name": "disc",
                "keyframes": [
                    {"frame": 0, "box": [0.15, 0.25, 0.48, 0.75]},
                    {"frame": 4, "box": [0.6, 0.25, 0.93, 0.75]},
                ],
            }
        ],
    }
    (tmp_path / "path.json").write_text(json.dumps(path))
    image = write_image(tmp_path / "photo.png", photo)
    out = tmp_path / "out.mp4"
    return ["animate", image, "--trajectory", tmp_path / "path.json", "--model", small_model, "--out", out]


def test_grabcut_cuts_the_disc_out_of_its_box(job: list[object]) -> None:
    ask = picture_segmenter("grabcut")
    assert ask is not None
    mask = ask(read_image(Path(str(job[1]))), Box(0.15, 0.25, 0.48, 0.75))
    assert 0.55 < mask.sum() / (0.33 * WIDTH * 0.5 * HEIGHT) < 0.9


@pytest.mark.parametrize("segmenter", ["grabcut", "none"])
def test_runs_with_and_without_a_segmenter(run: Run, job: list[object], segmenter: str, tmp_path: Path) -> None:
    code, _, err = run(*job, "--segmenter", segmenter, "--dry-run")
    assert code == 0, err
    assert (tmp_path / "out.overlay.mp4").exists()


def test_unknown_segmenters_and_missing_checkpoints_are_named(run: Run, job: list[object]) -> None:
    code, _, err = run(*job, "--segmenter", "dino", "--dry-run")
    assert code == 2
    assert "expected grabcut" in err
    code, _, err = run(*job, "--segmenter", "sam:absent.pth", "--dry-run")
    assert code == 2
    assert "no SAM checkpoint" in err
