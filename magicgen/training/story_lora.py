"""Training of a character: low-rank adapters (LoRA, arXiv 2106.09685) of the story model from sheets or a few pictures.

The character is cut out of its pictures and pasted into places of the drawn world, as a rough draft or as lines, so
that the adapter learns the character and not the ground behind it. The reference is left out in half of the examples:
what the cast shows need not be learned.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import yaml

from magicgen.control.story import Facing, Panel, Subject
from magicgen.control.story_sketch import Cutout, compose, cut_out, paste
from magicgen.errors import ConfigError, StoryError
from magicgen.media import read_image, write_bytes
from magicgen.models import BlockTransformAutoencoder, ControlBranch, VideoTransformer, WordTextEncoder
from magicgen.models.story import StoryNetwork
from magicgen.progress import ProgressEvent, silent
from magicgen.synthetic.landscapes import PLACES, TIMES, draw_place
from magicgen.synthetic.plan import place_words
from magicgen.synthetic.story_examples import SLOTS, StoryPicture, pasted_roughly
from magicgen.training.options import OptimizerOptions
from magicgen.training.single import claim_folder, follow, training_device
from magicgen.training.story import StoryStep, StoryTrainer
from magicgen.training.story_data import StoryExamples
from magicgen.training.story_options import CharacterTraining, StoryData, StoryModel, StoryTraining
from magicgen.weights.sources import preset_folder

UInt8 = npt.NDArray[np.uint8]
CutMask = Callable[[UInt8], npt.NDArray[np.bool_]]
PROJECTIONS = ["to_q", "to_k", "to_v", "to_out.0"]
BACKBONE_FILE = "diffusion_pytorch_model.safetensors"
VIEWS: tuple[Facing, ...] = ("front", "right", "away")
CAST_SHARE, CROPS_SHARE, SKETCH_SHARE = 0.5, 0.5, 0.7


@dataclass(frozen=True, eq=False)
class View:
    """The character from one side: cut out, and which way it looks."""

    cutout: Cutout
    facing: Facing


class CharacterExamples(StoryExamples):
    """Endless panels with one character; example ``i`` comes from (seed, i)."""

    def __init__(self, views: list[View], slot: UInt8, description: str, options: StoryData, seed: int) -> None:
        super().__init__(options, seed)
        self.views, self.slot, self.description = views, slot, description

    def __getitem__(self, index: int) -> StoryPicture:
        rng = np.random.default_rng([0x10A, self.seed, index])
        height, width = self.options.height, self.options.width
        place, time = str(rng.choice(list(PLACES))), str(rng.choice(list(TIMES)))
        plate = draw_place(rng, height, width, place, time)
        view = self.views[int(rng.integers(len(self.views)))]
        panel = self._panel(rng, view, place_words(place, time))
        composed = compose(panel, {0: view.cutout}, height, width)
        picture = paste(panel, {0: view.cutout}, plate)
        mask = composed.owner >= 0
        condition = np.zeros_like(picture)
        if rng.random() < SKETCH_SHARE:
            condition = cv2.cvtColor(composed.sketch, cv2.COLOR_GRAY2RGB)
        boxes = np.full((SLOTS, 4), np.nan, np.float32)
        boxes[0] = panel.subjects[0].box
        cast = np.full_like(picture, 255)
        known = bool(rng.random() < CAST_SHARE)
        if known:
            cast[:, : width // SLOTS] = cv2.resize(self.slot, (width // SLOTS, height), interpolation=cv2.INTER_AREA)
        return StoryPicture(
            picture=picture,
            subjects=mask,
            plate=plate,
            cast=cast,
            cast_known=(known,) + (False,) * (SLOTS - 1),
            condition=condition,
            boxes=boxes,
            background=panel.background,
            prompts=(panel.subjects[0].prompt,) + ("",) * (SLOTS - 1),
            crops=pasted_roughly(rng, picture, plate, mask) if rng.random() < CROPS_SHARE else None,
        )

    def _panel(self, rng: np.random.Generator, view: View, background: str) -> Panel:
        """The view somewhere on the ground, with a box of its aspect."""
        rows, columns = view.cutout.mask.shape
        tall = float(rng.uniform(0.45, 0.8))
        wide = min(0.9, tall * self.options.height * columns / (rows * self.options.width))
        x0, y1 = float(rng.uniform(0.03, 0.97 - wide)), float(rng.uniform(0.86, 0.97))
        turned = "" if view.facing == "front" else f" facing {view.facing}"
        words = f"a {self.description} stands{turned}"
        box = (x0, y1 - tall, x0 + wide, y1)
        subject = Subject(character="it", prompt=words, box=box, pose="stands", facing=view.facing)
        return Panel(background=background, subjects=(subject,))


def train_character(
    options: CharacterTraining,
    cut: CutMask,
    *,
    resume: bool,
    report: Callable[[ProgressEvent], None] = silent,
    log: Callable[[str], None] = print,
) -> Path:
    """Run to the end; returns the adapter's folder, ``out/lora``.

    Args:
        options: what to learn from.
        cut: finds the character on its plain ground, (H, W, 3) uint8 -> (H, W) bool.

    Raises:
        ConfigError: the folder is in use and ``resume`` is off; no story model in ``base``.
        MediaError: a picture that cannot be read.
        StoryError: nobody stands on a picture.
        GenerationFailed: the loss became NaN.
    """
    network, model, data = _base(options)
    base = hashlib.sha256((_base_folder(options) / "transformer" / BACKBONE_FILE).read_bytes()).hexdigest()
    views, slot = character_views(options, cut)
    add_adapter(network, options.rank)
    claim_folder(options, options.out, resume=resume)
    optimizer = OptimizerOptions(learning_rate=options.learning_rate, warmup_steps=10, ema_decay=0.98)
    training = StoryTraining(
        task="story",
        out=options.out,
        seed=options.seed,
        steps=options.steps,
        model=model,
        data=data.model_copy(update={"batch_size": options.batch_size, "workers": 0}),
        optimizer=optimizer,
        checkpoint_every=options.checkpoint_every,
    )
    trainer = StoryTrainer(training, network, training_device())
    trainer.dataset = CharacterExamples(views, slot, options.description, training.data, options.seed)

    def told(steps: list[StoryStep]) -> str:
        return f"loss {sum(each.loss for each in steps) / len(steps):.5f}"

    follow(trainer, told, resume=resume, report=report, log=log)
    trainer.ema.copy_to(trainer.parameters)
    network.transformer.save_lora_adapter(options.out / "lora")
    about = {"description": options.description, "base_digest": base}
    write_bytes(options.out / "lora" / "character.json", json.dumps(about, indent=2).encode())
    return options.out / "lora"


def add_adapter(network: StoryNetwork, rank: int) -> None:
    """Freeze the network and give its backbone low-rank adapters, in place; they change nothing before training."""
    from peft import LoraConfig

    network.requires_grad_(False)
    network.transformer.add_adapter(
        LoraConfig(r=rank, lora_alpha=rank, init_lora_weights=True, target_modules=PROJECTIONS)
    )


def character_views(options: CharacterTraining, cut: CutMask) -> tuple[list[View], UInt8]:
    """Everything that the pictures show of the character, and its reference for the cast.

    Raises:
        MediaError: a picture that cannot be read.
        StoryError: nobody stands on any of them.
    """
    views: list[View] = []
    slots: list[UInt8] = []
    for path in options.sheets:
        sheet = read_image(path)
        third = sheet.shape[1] // SLOTS
        for index, facing in enumerate(VIEWS):
            part = np.ascontiguousarray(sheet[:, index * third : (index + 1) * third])
            views += _view(part, facing, cut)
            slots += [part] if index == 0 else []
    for path in options.pictures:
        picture = read_image(path)
        views += _view(picture, "front", cut)
        slots.append(_upright(picture))
    if not views:
        raise StoryError("Nobody could be cut out of the pictures; expected a character on a plain ground in each.")
    return views, slots[0]


def _upright(picture: UInt8) -> UInt8:
    """The picture on white, as high as twice its width, standing on the lower edge: the form of a cast slot."""
    height, width = picture.shape[:2]
    tall, wide = max(height, 2 * width), max(width, -(-height // 2))
    slot = np.full((tall, wide, 3), 255, np.uint8)
    slot[tall - height :, (wide - width) // 2 : (wide - width) // 2 + width] = picture
    return slot


def _view(picture: UInt8, facing: Facing, cut: CutMask) -> list[View]:
    try:
        return [View(cut_out(picture, cut(picture)), facing)]
    except StoryError:
        return []


def _base_folder(options: CharacterTraining) -> Path:
    return preset_folder("tiny").parent / "story_tiny" if options.base == "tiny" else Path(options.base)


def _base(options: CharacterTraining) -> tuple[StoryNetwork, StoryModel, StoryData]:
    """The story model's network in single precision, with the settings that it was trained with."""
    folder = _base_folder(options)
    told = folder / "train.yaml"
    if not told.is_file():
        raise ConfigError(f"{folder} holds no story model (train.yaml is missing); expected 'tiny' or its folder.")
    values: dict[str, Any] = yaml.safe_load(told.read_text(encoding="utf-8"))
    # written as JSON: lists stand for tuples
    settings = StoryTraining.model_validate_json(json.dumps(values))
    network = StoryNetwork(
        VideoTransformer.from_pretrained(folder / "transformer", dtype=torch.float32),
        ControlBranch.from_pretrained(folder / "branch", dtype=torch.float32),
        WordTextEncoder.from_pretrained(folder / "text_encoder", dtype=torch.float32),
        BlockTransformAutoencoder.from_pretrained(folder / "vae"),
    )
    return network, settings.model, settings.data
