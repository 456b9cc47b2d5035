"""Training of the storybook reader, and its accuracy on drawings that it has not seen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from magicgen.models.crops import MARGIN, as_input, cropped, square_of
from magicgen.models.storybook_reader import CROP, Reading, StorybookReader, tint_distance
from magicgen.progress import ProgressEvent, silent
from magicgen.synthetic.accessories import ACCESSORIES
from magicgen.synthetic.characters import Design
from magicgen.synthetic.colours import NAMED_COLOURS, Images
from magicgen.synthetic.kinds import KINDS
from magicgen.synthetic.layout import panel_scene, random_story
from magicgen.synthetic.plan import SceneSettings
from magicgen.synthetic.scene import EVALUATION_STREAM
from magicgen.training.one_cycle import fit_in_one_cycle, keep_scores
from magicgen.training.story_options import ReaderTraining

STORED, ROOM = 96, 0.25
"""Side of a stored crop in pixels; room around its figure's box for jitter, as a share of the box's longer side."""


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
            crops.append(cropped(clip.video[0], square_of(figure.box, height, width, ROOM), STORED))
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
    scale = rng.uniform(0.9, 1.12) * CROP / (STORED / (1 + 2 * ROOM) * (1 + 2 * MARGIN))
    shift = rng.uniform(-0.05, 0.05, 2) * CROP + CROP / 2 - scale * STORED / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    image = cv2.warpAffine(crop, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.5))
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    noisy = image.astype(np.float32) * rng.uniform(0.9, 1.1) + rng.normal(0, rng.uniform(0, 12), image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


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
    rng = np.random.default_rng([options.seed, 3])

    def loss_of_next() -> torch.Tensor:
        chosen = rng.integers(len(figures.crops), size=options.batch_size)
        inputs = as_input(np.stack([_jittered(rng, figures.crops[i]) for i in chosen]))
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
            read = reader(inputs)
        return _loss(read, figures, chosen)

    fit_in_one_cycle(
        reader.train(),
        loss_of_next,
        steps,
        learning_rate=options.learning_rate,
        weight_decay=0.02,
        report=report,
        log=log,
        log_every=200,
    )
    reader.eval().half().save_pretrained(options.out)
    accuracy = reader_accuracy(reader.float(), options)
    scores = {"real drawings": accuracy, "seed": options.seed, "figures": len(figures.crops)}
    keep_scores(options.out, scores, log)
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
