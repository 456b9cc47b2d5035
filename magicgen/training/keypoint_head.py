"""Training of the keypoint head on drawn figures, and how often it finds joints of figures that it has not seen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from magicgen.models.crops import MARGIN, as_input, cropped, square_of
from magicgen.models.keypoint_head import CROP, KeypointHead
from magicgen.progress import ProgressEvent, silent
from magicgen.synthetic.geometry import Floats
from magicgen.synthetic.layout import panel_scene, random_story
from magicgen.synthetic.plan import SceneSettings
from magicgen.synthetic.scene import EVALUATION_STREAM
from magicgen.synthetic.skeleton import KEYPOINT_NAMES
from magicgen.training.one_cycle import fit_in_one_cycle, keep_scores
from magicgen.training.story_options import KeypointTraining

UInt8 = npt.NDArray[np.uint8]
STORED, ROOM = 96, 0.25
LEAST_SEEN = 0.25
NEAR = 0.1
"""A joint counts as found within this share of the longer side of its figure's box (PCK@0.1)."""


@dataclass(frozen=True)
class PosedFigures:
    """Crops of figures with some room, (n, 96, 96, 3) uint8; joints (n, 17, 3): x, y across the crop, visibility."""

    crops: UInt8
    joints: Floats


def posed_figures(seed: int, count: int, height: int, width: int, held_out: bool) -> PosedFigures:
    """Every figure of ``count`` random panels that is not mostly hidden."""
    settings = SceneSettings(frames=1, height=height, width=width)
    stream = EVALUATION_STREAM if held_out else 0x10E7
    crops, joints = [], []
    for index in range(count):
        rng = np.random.default_rng([stream, seed, index, 17])
        panel = random_story(rng, 1, 3, held_out, width / height).panels[0]
        clip = panel_scene(panel, settings)
        assert clip.tracks.masks is not None
        for number, figure in enumerate(panel.figures):
            x0, y0, x1, y1 = figure.box
            if clip.tracks.masks[number, 0].mean() < LEAST_SEEN * (x1 - x0) * (y1 - y0):
                continue
            x, y, half = square_of(figure.box, height, width, ROOM)
            points = np.array(clip.keypoints[number, 0], np.float32)
            points[:, :2] = (points[:, :2] * (width, height) - (x - half, y - half)) / (2 * half)
            crops.append(cropped(clip.video[0], (x, y, half), STORED))
            joints.append(points)
    return PosedFigures(np.stack(crops), np.stack(joints))


def jittered(rng: np.random.Generator, crop: UInt8, joints: Floats) -> tuple[UInt8, Floats]:
    """Shifted, scaled, blurred and noisy, as generated figures are; (64, 64, 3) and the joints in it."""
    half = 0.5 * STORED / (1 + 2 * ROOM) * (1 + 2 * MARGIN) / rng.uniform(0.9, 1.12)
    x, y = STORED / 2 + rng.uniform(-0.05, 0.05, 2) * STORED
    image = cropped(crop, (x, y, half), CROP)
    if rng.random() < 0.5:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2)), np.uint8)
    noisy = image.astype(np.float32) * rng.uniform(0.9, 1.1) + rng.normal(0, rng.uniform(0, 10), image.shape)
    moved = joints.copy()
    moved[:, :2] = (joints[:, :2] * STORED - (x - half, y - half)) / (2 * half)
    return np.clip(noisy, 0, 255).astype(np.uint8), moved


def train_keypoints(
    options: KeypointTraining, *, report: Callable[[ProgressEvent], None] = silent, log: Callable[[str], None] = print
) -> Path:
    """Train, test, and write the head in half precision with ``scores.json``; returns the folder."""
    torch.manual_seed(options.seed)
    figures = posed_figures(options.seed, options.pictures, options.height, options.width, False)
    log(f"{len(figures.crops)} figures drawn")
    head = KeypointHead(KEYPOINT_NAMES, options.widths, options.features)
    steps = max(2, options.passes * len(figures.crops) // options.batch_size)
    rng = np.random.default_rng([options.seed, 3])

    def loss_of_next() -> torch.Tensor:
        chosen = rng.integers(len(figures.crops), size=options.batch_size)
        pairs = [jittered(rng, figures.crops[index], figures.joints[index]) for index in chosen]
        target = torch.from_numpy(np.stack([joints for _, joints in pairs]))
        missed = (head(as_input(np.stack([image for image, _ in pairs]))) - target[..., :2]).abs().sum(-1)
        # hidden joints are guessed too, but count less
        return (missed * (0.3 + 0.7 * (target[..., 2] > 0))).mean()

    fit_in_one_cycle(
        head.train(),
        loss_of_next,
        steps,
        learning_rate=options.learning_rate,
        weight_decay=0.02,
        report=report,
        log=log,
        log_every=100,
    )
    head.eval().half().save_pretrained(options.out)
    accuracy = keypoint_accuracy(head.float(), options)
    scores = {"held-out drawings": accuracy, "seed": options.seed, "figures": len(figures.crops)}
    keep_scores(options.out, scores, log)
    return options.out


@torch.no_grad()
def keypoint_accuracy(head: KeypointHead, options: KeypointTraining) -> dict[str, float]:
    """PCK@0.1 on figures with held-out looks: of all visible joints, of the limbs' ends, and of hidden joints."""
    figures = posed_figures(options.seed, options.test_pictures, options.height, options.width, True)
    rng = np.random.default_rng([options.seed, 5])
    pairs = [jittered(rng, crop, joints) for crop, joints in zip(figures.crops, figures.joints, strict=True)]
    target = np.stack([joints for _, joints in pairs])
    found = head(as_input(np.stack([image for image, _ in pairs]))).numpy()
    # the longer side of the box takes this share of the crop
    side = 1 / (1 + 2 * MARGIN)
    near = np.linalg.norm(found - target[..., :2], axis=-1) <= NEAR * side
    seen = target[..., 2] > 0
    ends = np.array([name.startswith(("hand", "foot")) for name in KEYPOINT_NAMES])
    mean = np.linalg.norm(figures.joints[..., :2].mean(axis=0) - figures.joints[..., :2], axis=-1) * (1 + 2 * ROOM)
    return {
        "pck@0.1": round(float(near[seen].mean()), 4),
        "pck@0.1 hands and feet": round(float(near[:, ends][seen[:, ends]].mean()), 4),
        "pck@0.1 hidden": round(float(near[~seen].mean()), 4) if (~seen).any() else float("nan"),
        "pck@0.1 of the mean pose": round(float((mean <= NEAR)[seen].mean()), 4),
        "figures": float(len(target)),
    }
