"""Training of the storybook reader, and its accuracy on drawings that it has not seen."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from magicgen.media import write_bytes
from magicgen.models.storybook_reader import CROP, Reading, StorybookReader, tint_distance
from magicgen.progress import ProgressEvent, silent
from magicgen.synthetic.accessories import ACCESSORIES
from magicgen.synthetic.characters import Design
from magicgen.synthetic.colours import NAMED_COLOURS, Images
from magicgen.synthetic.kinds import KINDS
from magicgen.synthetic.layout import panel_scene, random_story
from magicgen.synthetic.plan import SceneSettings
from magicgen.synthetic.scene import EVALUATION_STREAM
from magicgen.training.story_options import ReaderTraining

MARGIN = 0.06
"""What is shown around a box, as a share of its longer side."""


@dataclass(frozen=True)
class Figures:
    """Crops of figures with some room for jitter, (n, 96, 96, 3) uint8, and what they show.

    Attributes:
        labels: (n, 3) int64: kind, colour, accessory.
        tints: (n, parts, 3) float32 RGB, 0..1. has: (n, parts) bool, the parts that a figure has.
    """

    crops: Images
    labels: np.ndarray
    tints: np.ndarray
    has: np.ndarray


def square_crop(picture: Images, box: tuple[float, float, float, float], margin: float, side: int) -> Images:
    """The square around a normalised box, at ``side`` pixels; beyond the picture its edge is repeated."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    half = 0.5 * max(x1 - x0, y1 - y0) * (1 + 2 * margin)
    scale = side / (2 * half)
    matrix = np.array([[scale, 0, side / 2 - scale * 0.5 * (x0 + x1)], [0, scale, side / 2 - scale * 0.5 * (y0 + y1)]])
    return cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)


def drawn_figures(seed: int, count: int, height: int, width: int, held_out: bool) -> Figures:
    """Every visible figure of ``count`` random panels."""
    kinds, colours, wears = list(KINDS), list(NAMED_COLOURS), list(ACCESSORIES)
    settings = SceneSettings(frames=1, height=height, width=width)
    crops, labels, tints, has = [], [], [], []
    stream = EVALUATION_STREAM if held_out else 0xC1A55
    for index in range(count):
        rng = np.random.default_rng([stream, seed, index, 7])
        panel = random_story(rng, 1, 3, held_out, width / height).panels[0]
        clip = panel_scene(panel, settings)
        for figure, mask in zip(panel.figures, clip.tracks.masks[:, 0], strict=True):  # type: ignore[index]
            whole = (figure.box[2] - figure.box[0]) * (figure.box[3] - figure.box[1])
            if mask.mean() < 0.25 * whole:
                continue
            design = figure.design
            crops.append(square_crop(clip.video[0], figure.box, 0.25, 96))
            worn = 0 if design.accessory is None else 1 + wears.index(design.accessory)
            labels.append((kinds.index(design.kind), colours.index(design.colour), worn))
            tints.append(tints_of(design))
            has.append(parts_of(design))
    return Figures(np.stack(crops), np.asarray(labels), np.stack(tints), np.asarray(has))


def tints_of(design: Design) -> npt.NDArray[np.float32]:
    """(parts, 3) float32 RGB, 0..1, in the order of :data:`~magicgen.models.storybook_reader.PARTS`."""
    paint = design.paint
    tints = np.asarray([paint.main, paint.second, paint.skin, paint.hair, design.accessory_paint])
    return (tints / 255).astype(np.float32)


def parts_of(design: Design) -> tuple[bool, ...]:
    """Which of the parts a figure has."""
    human = KINDS[design.kind].human
    return True, True, human, human, design.accessory is not None


def _jittered(rng: np.random.Generator, crop: Images) -> Images:
    """Shifted, scaled, mirrored, blurred, grainy and faded, as generated figures are."""
    scale = rng.uniform(0.9, 1.12) * CROP / (96 / 1.5 * (1 + 2 * MARGIN))
    shift = rng.uniform(-0.05, 0.05, 2) * CROP + CROP / 2 - scale * 48
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    image = cv2.warpAffine(crop, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.5))
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    noisy = image.astype(np.float32) * rng.uniform(0.9, 1.1) + rng.normal(0, rng.uniform(0, 12), image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def as_input(crops: Images) -> torch.Tensor:
    """(n, 64, 64, 3) uint8 -> (n, 3, 64, 64) in [-1, 1]."""
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def train_reader(
    options: ReaderTraining,
    *,
    report: Callable[[ProgressEvent], None] = silent,
    log: Callable[[str], None] = print,
) -> Path:
    """Train, test, and write the reader in half precision with ``scores.json``; returns the folder."""
    torch.manual_seed(options.seed)
    figures = drawn_figures(options.seed, options.pictures, options.height, options.width, False)
    log(f"{len(figures.crops)} figures drawn")
    reader = _fresh_reader(options)
    steps = options.passes * (len(figures.crops) // options.batch_size)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=options.learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, total_steps=steps)
    rng = np.random.default_rng([options.seed, 3])
    reader.train()
    for step in range(steps):
        chosen = rng.integers(len(figures.crops), size=options.batch_size)
        inputs = as_input(np.stack([_jittered(rng, figures.crops[i]) for i in chosen]))
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
            read = reader(inputs)
        loss = _loss(read, figures, chosen)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        report(ProgressEvent(f"Training, loss {float(loss.detach()):.3f}", step + 1, steps, None))
        if (step + 1) % 200 == 0:
            log(f"step {step + 1} of {steps} loss {float(loss.detach()):.3f}")
    reader.eval().half().save_pretrained(options.out)
    scores = {
        "real drawings": reader_accuracy(reader.float(), options),
        "seed": options.seed,
        "figures": len(figures.crops),
    }
    write_bytes(options.out / "scores.json", json.dumps(scores, indent=2).encode())
    log(str(scores))
    return options.out


def _fresh_reader(options: ReaderTraining) -> StorybookReader:
    """An untrained reader, or that of ``start_from`` as far as it knows the same."""
    reader = StorybookReader(tuple(KINDS), tuple(NAMED_COLOURS), tuple(ACCESSORIES))
    if options.start_from is not None:
        known = StorybookReader.from_pretrained(options.start_from).float()
        reader.load_state_dict(known.state_dict())
    return reader


def _loss(read: Reading, figures: Figures, chosen: npt.NDArray[np.int64]) -> torch.Tensor:
    target = torch.from_numpy(figures.labels[chosen])
    parts = (read.kind, read.colour, read.accessory)
    named = sum((F.cross_entropy(part.float(), target[:, n]) for n, part in enumerate(parts)), torch.zeros(()))
    has = torch.from_numpy(figures.has[chosen]).float()[..., None]
    off = F.smooth_l1_loss(read.tints.float(), torch.from_numpy(figures.tints[chosen]), beta=0.05, reduction="none")
    return named + 8 * (off * has).mean()


@torch.no_grad()
def reader_accuracy(reader: StorybookReader, options: ReaderTraining) -> dict[str, float]:
    """Share of right answers on drawings with held-out combinations.

    ``tint error`` is the mean of :func:`~magicgen.models.storybook_reader.tint_distance` in grey levels; 95 of 100
    figures lie within ``tint tolerance``.
    """
    figures = drawn_figures(options.seed, options.test_pictures, options.height, options.width, True)
    rng = np.random.default_rng([options.seed, 5])
    read = reader(as_input(np.stack([_jittered(rng, crop) for crop in figures.crops])))
    off = tint_distance(read.tints, torch.from_numpy(figures.tints), torch.from_numpy(figures.has))
    right = torch.stack(
        [
            part.argmax(1) == torch.from_numpy(figures.labels[:, n])
            for n, part in enumerate((read.kind, read.colour, read.accessory))
        ]
    ).float()
    kind, colour, accessory = (float(value) for value in right.mean(1))
    return {
        "kind": round(kind, 4),
        "colour": round(colour, 4),
        "accessory": round(accessory, 4),
        "kind and colour": round(float((right[0] * right[1]).mean()), 4),
        "tint error": round(float(off.mean()), 2),
        "tint tolerance": round(float(off.quantile(0.95)), 2),
        "figures": float(len(figures.crops)),
    }
