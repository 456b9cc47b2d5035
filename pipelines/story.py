"""Stories: places, characters from several sides, subjects alone, and panels in which they stand where the layout says.

Every stage is one call that returns a picture, so that each can be looked at, edited and made again; a panel depends on
its own inputs and seed alone. AutoStory's order (arXiv 2311.11243): a subject is drawn alone, cut out, turned into
lines, composed at its box, and the panel is drawn from that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from diffusers import DiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor

from magicgen.attention.regions import RegionBox, RegionPlan
from magicgen.control.story import Facing, Panel, Subject
from magicgen.control.story_sketch import Composition, Cutout, compose, cut_out
from magicgen.errors import StoryError
from magicgen.models import BlockTransformAutoencoder, ControlBranch, VideoTransformer, WordTextEncoder
from magicgen.models.conditioning import decode_video
from magicgen.models.story import StoryConditions, StoryNetwork
from magicgen.progress import CancelToken
from magicgen.sampling import Scheduler, StepCallback, denoise, guided
from magicgen.synthetic.poses import Action
from magicgen.synthetic.skeleton import Frame, draw_keypoints
from magicgen.synthetic.story_examples import (
    ALONE_BOX,
    ALONE_SIZE,
    GROUND,
    PAPER,
    SHEET_YAWS,
    SIZE,
    SLOTS,
    canonical_place,
    skeleton_points,
)

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
PAPER_SHADE = 245
INK_DISTANCE = 14
"""Difference from the paper, of 255, from which a pixel belongs to the drawing."""
_FACING_WORDS: Mapping[Facing, str] = {
    "front": "",
    "left": "facing left",
    "right": "facing right",
    "away": "facing away",
}


@dataclass(frozen=True)
class DrawSettings:
    """How a picture is drawn.

    Attributes:
        seed: of the noise, drawn on the CPU.
        steps: denoising steps; None for the model's own number.
        guidance: classifier-free guidance on the local prompts; 1 is none.
        regional: words and references act in their boxes only; off for comparison.
        base_ratio: how much of the unmasked attention is mixed in.
        strength: with a picture to start from, how much of it is made anew (1: all).
    """

    seed: int = 0
    steps: int | None = None
    guidance: float = 1.0
    regional: bool = True
    base_ratio: float = 0.0
    strength: float = 1.0


@dataclass(frozen=True, eq=False)
class Picture:
    """What a picture is drawn from; empty fields are unknown to the model.

    Attributes:
        background: the global prompt.
        prompts, boxes: local prompts and normalised boxes, at most SLOTS of each.
        plate: (H, W, 3) uint8, the place without its subjects.
        cast: reference of each subject, (H, W / SLOTS, 3) uint8, or None.
        condition: (H, W, 3) uint8, lines or skeletons on black.
        start: (H, W, 3) uint8, for models without a sketch branch: composed crops, noised by ``strength``.
    """

    background: str
    prompts: tuple[str, ...] = ()
    boxes: tuple[RegionBox, ...] = ()
    plate: UInt8 | None = None
    cast: tuple[UInt8 | None, ...] = ()
    condition: UInt8 | None = None
    start: UInt8 | None = None


class StoryPipeline(DiffusionPipeline):
    """The story model with its stages.

    Args:
        transformer, branch, text_encoder, vae, scheduler: as trained by configs/train/story_tiny.yaml.
        words, local: text tokens of the global prompt and of each subject.
        height, width: size that the model draws best, multiples of 16.
        steps: number of denoising steps that it needs.
    """

    model_cpu_offload_seq = "text_encoder->branch->transformer->vae"

    def __init__(
        self,
        transformer: VideoTransformer,
        branch: ControlBranch,
        text_encoder: WordTextEncoder,
        vae: BlockTransformAutoencoder,
        scheduler: Scheduler,
        words: int = 32,
        local: int = 16,
        height: int = 128,
        width: int = 192,
        steps: int = 6,
    ) -> None:
        super().__init__()
        self.register_modules(
            transformer=transformer, branch=branch, text_encoder=text_encoder, vae=vae, scheduler=scheduler
        )
        self.register_to_config(words=words, local=local, height=height, width=width, steps=steps)
        self.network = StoryNetwork(transformer, branch, text_encoder, vae).eval()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return self.config.height, self.config.width

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of a prompt that the model has never seen."""
        return self.text_encoder.unknown_words(prompt)

    @torch.no_grad()
    def __call__(
        self,
        picture: Picture,
        settings: DrawSettings | None = None,
        *,
        callback: StepCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> UInt8:
        """Draw one picture, (H, W, 3) uint8.

        Raises:
            StoryError: more subjects than the model takes, or pictures of another size.
            progress.Cancelled: ``cancel`` was set.
        """
        settings = settings or DrawSettings()
        self._check(picture)
        height, width = self.size
        device = self._execution_device
        shape = (1, 1, self.vae.config.latent_channels, height // 8, width // 8)
        generator = torch.Generator().manual_seed(settings.seed)
        latents = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
        count = settings.steps or self.config.steps
        skip = 0
        if picture.start is not None:
            latents, skip = self._noised(picture.start, latents, count, settings.strength)
        given = self._conditions(picture, settings, device)
        free = self._conditions(
            Picture(picture.background, ("",) * len(picture.prompts), picture.boxes, picture.plate, (), None),
            settings,
            device,
        )

        def predict(state: torch.Tensor, timestep: torch.Tensor, step: int) -> torch.Tensor:
            times = timestep.to(device).float().expand(1)
            output = self.network(state, times, given, settings.base_ratio)
            if settings.guidance == 1:
                return output
            return guided(output, self.network(state, times, free, settings.base_ratio), settings.guidance)

        latents = denoise(predict, self.scheduler, latents, count, callback=callback, cancel=cancel, skip=skip)
        frames = decode_video(self.vae, latents)[0, :, 0]
        return ((frames.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()

    def draw_plate(self, background: str, settings: DrawSettings) -> UInt8:
        """An empty place."""
        return self(Picture(background), settings)

    def draw_sheet(self, description: str, settings: DrawSettings, reference: UInt8 | None = None) -> UInt8:
        """A character from the front, from the side and from behind, in one picture (multi-view consistency through
        full attention between the views); ``reference``: its front view, (H, W / SLOTS, 3)."""
        height, width = self.size
        noun = f"{_article(description)} stands"
        prompts = (noun, f"{noun} facing right", f"{noun} facing away")
        boxes = tuple((i / SLOTS, 0.0, (i + 1) / SLOTS, 1.0) for i in range(SLOTS))
        points = []
        for index, yaw in enumerate(SHEET_YAWS):
            centre = (index + 0.5) * width / SLOTS
            place = canonical_place(height, centre, SIZE, yaw, Action.STANDS, Frame())
            points.append(skeleton_points(place, height, width, Action.STANDS))
        condition = draw_keypoints(np.stack(points), height, width)
        cast = () if reference is None else (reference,) * SLOTS
        return self(Picture(PAPER, prompts, boxes, self.paper(), cast, condition), settings)

    def front_of(self, sheet: UInt8) -> UInt8:
        """The reference of a character: the first third of its sheet."""
        return np.ascontiguousarray(sheet[:, : sheet.shape[1] // SLOTS])

    def reference_from(self, picture: UInt8, mask: Bools) -> UInt8:
        """A front view from somebody's own picture: the masked character at the size and place of a sheet's."""
        height, width = self.size
        third = width // SLOTS
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows) == 0:
            raise StoryError("The reference picture shows nothing before its background.")
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        figure, alpha = picture[window].astype(np.float32), mask[window].astype(np.float32)
        scale = min(1.12 * SIZE * height / figure.shape[0], 0.94 * third / figure.shape[1])
        size = max(1, round(figure.shape[1] * scale)), max(1, round(figure.shape[0] * scale))
        figure, alpha = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (figure, alpha))
        canvas = np.full((height, third, 3), PAPER_SHADE, np.float32)
        top, left = round(GROUND * height) - size[1], (third - size[0]) // 2
        part = canvas[top : top + size[1], left : left + size[0]]
        part += alpha[..., None] * (figure - part)
        return np.round(canvas).astype(np.uint8)

    def draw_alone(self, subject: Subject, settings: DrawSettings, reference: UInt8 | None = None) -> UInt8:
        """A subject of a panel alone on paper, in its pose and view, from its words and its reference."""
        height, width = self.size
        action = action_of(subject)
        place = canonical_place(height, 0.5 * width, ALONE_SIZE, subject.yaw, action, Frame())
        condition = draw_keypoints(skeleton_points(place, height, width, action)[None], height, width)
        picture = Picture(PAPER, (local_prompt(subject),), (ALONE_BOX,), self.paper(), (reference,), condition)
        return self(picture, settings)

    def cut(self, alone: UInt8) -> Cutout:
        """The subject of a picture on paper, cropped, with its lines.

        Raises:
            StoryError: nothing is drawn.
        """
        return cut_out(alone, drawn_on_paper(alone))

    def draw_panel(
        self,
        panel: Panel,
        plate: UInt8,
        cutouts: Mapping[int, Cutout],
        references: Mapping[str, UInt8],
        settings: DrawSettings,
        *,
        callback: StepCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> UInt8:
        """A panel: its subjects drawn onto the plate, from back to front, as many at a time as the model takes.

        Args:
            panel: boxes and words.
            plate: (H, W, 3) uint8, its empty place.
            cutouts: dense condition of each subject, by index; a subject without one is drawn from words and box.
            references: front view by character.
            settings: see :class:`DrawSettings`.
            callback, cancel: as in ``denoise``.
        """
        height, width = self.size
        order = panel.drawing_order()
        result = plate
        for start in range(0, max(len(order), 1), SLOTS):
            chosen = order[start : start + SLOTS]
            part = panel.model_copy(update={"subjects": tuple(panel.subjects[i] for i in chosen)})
            told = {n: cutouts[i] for n, i in enumerate(chosen) if i in cutouts}
            composition = compose(part, told, height, width)
            result = self(
                self.panel_picture(part, result, composition, references), settings, callback=callback, cancel=cancel
            )
        return result

    def panel_picture(
        self, panel: Panel, plate: UInt8, composition: Composition, references: Mapping[str, UInt8]
    ) -> Picture:
        """What the model is told of a panel with at most SLOTS subjects."""
        boxes = []
        for subject, landed in zip(panel.subjects, composition.boxes, strict=True):
            box = subject.box if landed is None else (landed.x0, landed.y0, landed.x1, landed.y1)
            boxes.append((max(box[0], 0.0), max(box[1], 0.0), min(box[2], 1.0), min(box[3], 1.0)))
        return Picture(
            panel.background,
            tuple(local_prompt(subject) for subject in panel.subjects),
            tuple(boxes),
            plate,
            tuple(references.get(subject.character) for subject in panel.subjects),
            cv2.cvtColor(composition.sketch, cv2.COLOR_GRAY2RGB),
        )

    def paper(self) -> UInt8:
        """The plain ground of sheets and of subjects alone."""
        return np.full((*self.size, 3), PAPER_SHADE, np.uint8)

    def _conditions(self, picture: Picture, settings: DrawSettings, device: torch.device) -> StoryConditions:
        height, width = self.size
        cast = np.full((height, width, 3), 255, np.uint8)
        known = torch.zeros(1, 1, 1, height // 8, width // 8, device=device)
        for index, reference in enumerate(picture.cast):
            if reference is not None:
                columns = slice(index * width // SLOTS, index * width // SLOTS + reference.shape[1])
                cast[:, columns] = reference
                known[..., index * (width // 8) // SLOTS : (index + 1) * (width // 8) // SLOTS] = 1
        blank = np.zeros((height, width, 3), np.uint8)
        plate = torch.tensor([float(picture.plate is not None)], device=device)
        prompts = (*picture.prompts, *("",) * (SLOTS - len(picture.prompts)))
        boxes = (*picture.boxes, *(None,) * (SLOTS - len(picture.boxes)))
        words, local = self.config.words, self.config.local
        plan = RegionPlan(words, local, height // 16, width // 16, boxes)
        return StoryConditions(
            plate=self._latent(blank if picture.plate is None else picture.plate, device) * plate,
            plate_known=plate,
            cast=self._latent(cast, device) * known,
            cast_known=known,
            map=self._latent(blank if picture.condition is None else picture.condition, device),
            text=self.network.embed([picture.background], [prompts], words, local),
            plans=(plan,) if settings.regional else None,
        )

    def _latent(self, picture: UInt8, device: torch.device) -> torch.Tensor:
        signed = torch.from_numpy(picture).to(device).permute(2, 0, 1)[None].float().div(127.5).sub(1)
        return self.network.encode(signed)

    def _noised(self, start: UInt8, noise: torch.Tensor, count: int, strength: float) -> tuple[torch.Tensor, int]:
        """A picture noised to the step from which ``strength`` of the run is left, and how many steps that skips."""
        skip = min(count - 1, max(0, round(count * (1 - strength))))
        self.scheduler.set_timesteps(count)
        time = self.scheduler.timesteps[skip : skip + 1]
        clean = self._latent(start, noise.device)
        return self.scheduler.add_noise(clean, noise, time.to(noise.device)), skip

    def _check(self, picture: Picture) -> None:
        if len(picture.prompts) > SLOTS or len(picture.boxes) != len(picture.prompts):
            raise StoryError(
                f"One picture takes up to {SLOTS} subjects with a box each; got {len(picture.prompts)} prompts and "
                f"{len(picture.boxes)} boxes."
            )
        for name in ("plate", "condition", "start"):
            given = getattr(picture, name)
            if given is not None and given.shape[:2] != self.size:
                raise StoryError(
                    f"The {name} is {given.shape[1]}x{given.shape[0]} pixels; the model draws "
                    f"{self.size[1]}x{self.size[0]}."
                )


def local_prompt(subject: Subject) -> str:
    """A subject's words, with its pose and view where the prompt leaves them out."""
    words = subject.prompt
    action, view = action_of(subject).value, _FACING_WORDS[subject.facing]
    if not any(other.value in words.split() for other in Action):
        words = f"{words} {action}"
    if view and "facing" not in words:
        words = f"{words} {view}"
    return words


def action_of(subject: Subject) -> Action:
    """The drawn action that a pose means; standing for words that the storybook world has no pose for."""
    given = (subject.pose or "").lower().split()
    for action in Action:
        if any(word in (action.value, action.value.removesuffix("s")) for word in given):
            return action
    return Action.STANDS


def drawn_on_paper(picture: UInt8) -> Bools:
    """(H, W) bool: what stands on plain paper, holes filled; paper is what the border is connected to.

    A drawing has outlines, so a white figure on white paper is found too.
    """
    smooth = cv2.medianBlur(picture, 3)
    shade = np.median(np.concatenate([smooth[0], smooth[:, 0], smooth[:, -1]]), axis=0)
    ink = (np.abs(smooth.astype(np.float32) - shade).max(axis=2) > INK_DISTANCE).astype(np.uint8)
    ink = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    flooded = np.pad(ink, 1)
    cv2.floodFill(flooded, None, (0, 0), 2)
    figure = (flooded[1:-1, 1:-1] != 2).astype(np.uint8)
    figure = cv2.morphologyEx(figure, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, facts, _ = cv2.connectedComponentsWithStats(figure)
    if count < 2:
        return np.zeros(figure.shape, np.bool_)
    largest = int(facts[1:, cv2.CC_STAT_AREA].max())
    kept = [n for n in range(1, count) if facts[n, cv2.CC_STAT_AREA] >= 0.04 * largest]
    return np.isin(labels, kept)


def _article(description: str) -> str:
    first = description.split(" ", 1)[0].lower()
    if first in ("a", "an", "the"):
        return description
    return f"{'an' if first[:1] in tuple('aeiou') else 'a'} {description}"
