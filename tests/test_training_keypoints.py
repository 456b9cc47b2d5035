"""The keypoint head: joints of drawn figures, crops that agree with them, a run at toy size."""

import json
from pathlib import Path

import numpy as np
import torch

from magicgen.models.crops import MARGIN, cropped, square_of
from magicgen.models.keypoint_head import CROP, KeypointHead
from magicgen.models.keypoint_reader import read_keypoints
from magicgen.synthetic.skeleton import KEYPOINT_NAMES
from magicgen.training.keypoint_head import (
    ROOM,
    STORED,
    jittered,
    posed_figures,
    train_keypoints,
)
from magicgen.training.story_options import KeypointTraining
from magicgen.training.tasks import load_training

CONFIG = Path(__file__).parents[1] / "configs" / "train" / "keypoint_head.yaml"


def test_the_head_is_small_and_answers_inside_the_crop() -> None:
    head = KeypointHead(KEYPOINT_NAMES).eval()
    assert sum(values.numel() for values in head.parameters()) < 300_000
    with torch.no_grad():
        found = head(torch.randn(2, 3, CROP, CROP))
    assert found.shape == (2, len(KEYPOINT_NAMES), 2)
    assert (found > 0).all()
    assert (found < 1).all()


def test_joints_lie_in_their_crops_and_move_with_them() -> None:
    figures = posed_figures(1, 3, 64, 96, False)
    inner = ROOM / (1 + 2 * ROOM)
    seen = figures.joints[figures.joints[..., 2] > 0]
    assert (seen[:, :2] > inner - 0.12).all()
    assert (seen[:, :2] < 1 - inner + 0.12).all()
    for number in range(len(figures.crops)):
        image, joints = jittered(np.random.default_rng(number), figures.crops[number], figures.joints[number])
        assert image.shape == (CROP, CROP, 3)
        assert np.abs(joints[..., :2].mean() - 0.5) < 0.25


def test_a_marked_joint_is_still_marked_after_jitter() -> None:
    crop = np.zeros((STORED, STORED, 3), np.uint8)
    crop[38:43, 58:63] = 255
    joints = np.array([[60.5 / STORED, 40.5 / STORED, 1]], np.float32)
    for seed in range(5):
        image, moved = jittered(np.random.default_rng(seed), crop, joints)
        column, row = (moved[0, :2] * CROP).astype(int)
        assert image[row, column].mean() > 60


def test_what_the_head_finds_is_told_in_the_picture() -> None:
    head = KeypointHead(KEYPOINT_NAMES).eval()
    box = (0.25, 0.25, 0.5, 0.75)
    found = read_keypoints(head, np.zeros((64, 128, 3), np.uint8), box)
    x, y, half = square_of(box, 64, 128, MARGIN)
    assert (np.abs(found * (128, 64) - (x, y)) <= half + 1).all()
    assert cropped(np.full((64, 128, 3), 9, np.uint8), (0, 0, 40), CROP).min() == 9, "edges are repeated"


def test_a_run_at_toy_size_writes_weights_and_scores(tmp_path: Path) -> None:
    options = load_training(
        CONFIG,
        [f"out={tmp_path}", "pictures=3", "passes=2", "batch_size=4", "test_pictures=2", "height=64", "width=96"],
    )
    assert isinstance(options, KeypointTraining)
    folder = train_keypoints(options, log=lambda text: None)
    scores = json.loads((folder / "scores.json").read_text())["held-out drawings"]
    assert 0 <= scores["pck@0.1"] <= 1
    assert (folder / "diffusion_pytorch_model.safetensors").stat().st_size < 500_000
    assert KeypointHead.from_pretrained(folder).config.joints[0] == "nose"
