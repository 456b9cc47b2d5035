"""Stories: character sheets, empty places, subjects alone and panels, all drawn by one backbone.

AutoStory (arXiv 2311.11243) on a video transformer: words act in their boxes (regional attention), characters stay by
attention to a cast of references, places by a plate, figures by sketches or skeletons through the control branch. Every
call depends on its arguments alone, so a panel can be made again without touching the others.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from diffusers import DiffusionPipeline

from magicgen.attention.cast_memory import CastCache
from magicgen.attention.regions import RegionBox, RegionPlan
from magicgen.control.story import Character, Panel, Subject
from magicgen.control.story_canvas import lines_inside, on_place, rough_picture, sized
from magicgen.control.story_slot import as_slot
from magicgen.errors import StoryError
from magicgen.models import BlockTransformAutoencoder, ControlBranch, VideoTransformer, WordTextEncoder
from magicgen.models.character_adapters import CharacterAdapters
from magicgen.models.conditioning import decode_video
from magicgen.models.story import StoryConditions, StoryNetwork
from magicgen.progress import CancelToken
from magicgen.sampling import Predict, Scheduler, StepCallback, StepReport, denoise, guided, mirrored_noise
from magicgen.synthetic.poses import Action
from magicgen.synthetic.scenery import filled_parts, sketch_of
from magicgen.synthetic.skeleton import draw_keypoints
from magicgen.synthetic.story_draft import figure_draft, figure_ground
from magicgen.synthetic.story_examples import PAPER, SHEET_YAWS, SLOTS, canonical_points

UInt8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
VIEWS = ("", " facing right", " facing away")
POSES = {action.value: action for action in Action}


@dataclass(frozen=True, eq=False)
class Picture:
    """What one picture is made from; H x W pixels, up to :data:`SLOTS` subjects.

    Attributes:
        background: the global prompt. prompts, boxes: of every subject.
        cast: for every subject the picture by which it is known, or None.
        plate: (H, W, 3) uint8, the place without subjects, or None.
        condition: (H, W, 3) uint8, sketch or skeletons on black.
        draft: (H, W, 3) uint8 a rough picture to start from, or None. strength: how much of it is noise at the start.
    """

    background: str
    prompts: tuple[str, ...]
    boxes: tuple[RegionBox, ...]
    cast: tuple[UInt8 | None, ...]
    plate: UInt8 | None
    condition: UInt8
    draft: UInt8 | None = None
    strength: float = 1.0


class StoryPipeline(DiffusionPipeline):
    """The storybook model.

    Args:
        transformer, branch, text_encoder, vae: parts of :class:`~magicgen.models.story.StoryNetwork`.
        scheduler: CogVideoX DDIM or DPM.
        words, local: text tokens of the global prompt and of each subject, as trained.
        default_height, default_width: the size of pictures that the weights make best; also that of sheets.
        default_steps, default_draws, default_guidance: what a call without these arguments uses.
        base_ratio: share of attention without regions that is mixed in.
        soft_plates: standard deviation in pixels of the blur over places that are drawn from words alone, for weights
            that draw them in patches; they are then drawn in one step.
        grain: in grey levels, how much of the grain that small weights leave is taken off (non-local means of Buades,
            Coll and Morel, 2005); 0 for none.
    """

    model_cpu_offload_seq = "text_encoder->branch->transformer->vae"
    cast_cache: CastCache
    """Keys and values of references, shared by all pictures; ``clear()`` it after a change of weights."""

    def __init__(
        self,
        transformer: VideoTransformer,
        branch: ControlBranch,
        text_encoder: WordTextEncoder,
        vae: BlockTransformAutoencoder,
        scheduler: Scheduler,
        words: int = 16,
        local: int = 12,
        default_height: int = 128,
        default_width: int = 192,
        default_steps: int = 6,
        default_draws: int = 1,
        default_guidance: float = 1.0,
        base_ratio: float = 0.0,
        soft_plates: float = 0.0,
        grain: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_modules(
            transformer=transformer, branch=branch, text_encoder=text_encoder, vae=vae, scheduler=scheduler
        )
        self.register_to_config(
            words=words,
            local=local,
            default_height=default_height,
            default_width=default_width,
            default_steps=default_steps,
            default_draws=default_draws,
            default_guidance=default_guidance,
            base_ratio=base_ratio,
            soft_plates=soft_plates,
            grain=grain,
        )
        self.network = StoryNetwork(transformer, branch, text_encoder, vae).eval()
        self._adapters = CharacterAdapters(transformer)
        self.cast_cache = CastCache()

    def unknown_words(self, prompt: str) -> list[str]:
        """Words that the text encoder does not know."""
        return self.text_encoder.unknown_words(prompt)

    def load_character(self, adapter: str | Path, name: str | None = None) -> None:
        """Take in a character's adapter, the ``lora`` folder of ``configs/train/character_lora.yaml``.

        Args:
            adapter: its folder.
            name: the character that it draws; it then acts only where that one is painted. None: everywhere.

        Raises:
            WeightsError: no adapter there, or one of another model.
        """
        self._adapters.load(adapter, name)

    @torch.no_grad()
    def __call__(
        self,
        picture: Picture,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | None = None,
        regional: bool = True,
        callback_on_step_end: StepCallback | None = None,
        cancel: CancelToken | None = None,
        draws: int | None = None,
    ) -> UInt8:
        """Draw one picture, (height, width, 3) uint8.

        Args:
            picture: what it is made from.
            height, width: multiples of 16, by default those of the weights.
            num_inference_steps, guidance_scale: by default those of the weights; guidance works on the subjects' words.
            generator: source of the noise, on the CPU.
            regional: words and cast act in their boxes; without it everything sees everything.
            callback_on_step_end: called with a :class:`~magicgen.sampling.StepReport` after every step.
            cancel: looked at before every step.
            draws: noises from which every step foresees the clean picture; their mean is taken. A small network lets
                some of its input's noise through, and each further draw lowers that.

        Raises:
            StoryError: a size that is no multiple of 16, or more subjects than the model knows.
            GenerationFailed: the network made values that are no numbers.
            progress.Cancelled: ``cancel`` was set.
        """
        # 1. Check the input and settle the defaults.
        size = (height or self.config.default_height, width or self.config.default_width)
        if size[0] % 16 or size[1] % 16 or min(size) < 32:
            raise StoryError(f"A picture's sides are multiples of 16 of at least 32 pixels; got {size[0]} x {size[1]}.")
        if len(picture.prompts) > SLOTS:
            raise StoryError(f"The story model draws up to {SLOTS} subjects at once; got {len(picture.prompts)}.")
        steps = num_inference_steps or self.config.default_steps
        scale = self.config.default_guidance if guidance_scale is None else guidance_scale
        draws = draws or self.config.default_draws

        # 2. Encode the conditions; guidance compares with the same picture without words of its subjects.
        given = self._conditions(picture, size, regional)
        wordless = replace(picture, prompts=("",) * len(picture.prompts))
        bare = None if scale == 1 else self._conditions(wordless, size, regional)

        # 3. Denoise, and decode the mean of the draws.
        noise = mirrored_noise(draws, given.plate.shape[1:], generator).to(self.device)
        latents, skip = self._start(picture, noise, steps)
        predict = self._predictor(given, bare, draws, scale)
        clean = denoise(
            predict, self.scheduler, latents, steps, callback=callback_on_step_end, cancel=cancel, skip=skip
        )
        return _pixels(decode_video(self.vae, clean.mean(dim=0, keepdim=True)))

    def _predictor(self, given: StoryConditions, bare: StoryConditions | None, draws: int, scale: float) -> Predict:
        """The network as ``denoise`` wants it: the mean of what it says to ``draws`` noises, with guidance."""
        cast, active = _fingerprint(given), self._adapters.active

        def predict(latents: torch.Tensor, timestep: torch.Tensor, step: int) -> torch.Tensor:
            time = timestep.reshape(1).to(latents.device).expand(draws)
            memory = None
            if given.lonely_cast:
                key = (cast, float(timestep), active, str(latents.device))
                memory = self.cast_cache.get(key, lambda: self.network.remember_cast(time[:1], given))
            output = self.network(latents, time, given.repeated(draws), memory)
            if bare is not None:
                output = guided(output, self.network(latents, time, bare.repeated(draws), memory), scale)
            return output.mean(dim=0, keepdim=True).expand_as(output)

        return predict

    def _smooth(self, picture: UInt8) -> UInt8:
        """Without the grain of small weights; edges stay."""
        grain = float(self.config.grain)
        return np.asarray(cv2.fastNlMeansDenoisingColored(picture, None, grain, grain, 3, 11)) if grain else picture

    def sheet(self, character: Character, references: Sequence[UInt8], *, seed: int, steps: int | None = None) -> UInt8:
        """A character from the front, the side and the back, (h, 3 w, 3) uint8, drawn in one go.

        Args:
            character: whose description is drawn.
            references: pictures of it; the first one becomes the front view.
        """
        height, width = self.config.default_height, self.config.default_width
        known = as_slot(references[0], height, width // SLOTS) if references else None
        words = _with_article(character.description)
        prompts = tuple(f"{words} stands{view}" for view in VIEWS)
        stands = [(index, yaw, Action.STANDS) for index, yaw in enumerate(SHEET_YAWS)]
        with self._adapters.playing((character.name,)):
            drawn = self(self._figures(prompts, known, stands), num_inference_steps=steps, generator=_generator(seed))
        if known is not None:
            drawn[:, : known.shape[1]] = known
        return drawn

    def _figures(
        self, prompts: tuple[str, ...], slot: UInt8 | None, stands: Sequence[tuple[int, float, Action]]
    ) -> Picture:
        """One character on a plain ground that sets it off, in some thirds (third, yaw, action) of the picture. The
        picture by which it is known, brought into pose, is the draft."""
        height, width = self.config.default_height, self.config.default_width
        known = None if slot is None else sized(slot, height, width // SLOTS)
        ground, points = figure_ground(prompts[0], known, height, width), []
        for place, yaw, action in stands:
            part = slice(place * width // SLOTS, (place + 1) * width // SLOTS)
            if known is not None:
                ground[:, part] = figure_draft(known, ground[:, part], yaw, action)
            points.append(canonical_points(height, width, (place + 0.5) / SLOTS, yaw, action))
        boxes = tuple((place / SLOTS, 0.0, (place + 1) / SLOTS, 1.0) for place, _, _ in stands)
        condition = draw_keypoints(np.stack(points), height, width)
        return Picture(PAPER, prompts, boxes, (slot,) * len(prompts), ground, condition)

    def slot(self, sheet: UInt8) -> UInt8:
        """The picture by which a character is known: the front view of a sheet."""
        return np.ascontiguousarray(sheet[:, : sheet.shape[1] // SLOTS])

    def place_sketch(self, background: str, *, height: int, width: int, seed: int) -> UInt8 | None:
        """(height, width) uint8, white lines on black: a place of the drawn world; None where the words name none."""
        return sketch_of(background, height, width, seed)

    def plate(
        self,
        background: str,
        *,
        height: int,
        width: int,
        seed: int,
        steps: int | None = None,
        sketch: UInt8 | None = None,
    ) -> UInt8:
        """An empty place, (height, width, 3) uint8.

        Words leave open what stands where: one step gives the mean of all such places, bands of soft colour. A sketch
        says it. Its parts, in the colours that the words alone give them, are the draft of a second picture; weights
        with ``soft_plates`` are asked for the colour of every part alone.

        Args:
            sketch: (height, width) uint8, white lines on black.
        """
        softness = self.config.soft_plates
        blank = np.zeros((height, width, 3), np.uint8)
        drawn = self(
            Picture(background, (), (), (), None, blank),
            height,
            width,
            num_inference_steps=1 if softness > 0 or sketch is not None else steps,
            generator=_generator(seed),
        )
        bands = np.asarray(cv2.GaussianBlur(drawn, (0, 0), softness), np.uint8) if softness > 0 else drawn
        if sketch is None:
            return bands
        told = Picture(background, (), (), (), filled_parts(sketch, bands), cv2.cvtColor(sketch, cv2.COLOR_GRAY2RGB))
        drawn = self(told, height, width, num_inference_steps=steps, generator=_generator(seed))
        if softness == 0:
            return self._smooth(drawn)
        return np.asarray(cv2.GaussianBlur(filled_parts(sketch, drawn), (0, 0), 0.7), np.uint8)

    def alone(
        self, subject: Subject, slot: UInt8 | None, *, seed: int, steps: int | None = None, regional: bool = True
    ) -> UInt8:
        """One subject on a plain ground, large, in its pose and view; (h, w, 3) uint8 of the weights' own size."""
        picture = self._figures((subject.prompt,), slot, [(SLOTS // 2, subject.yaw, pose_of(subject))])
        with self._adapters.playing((subject.character,)):
            return self(picture, num_inference_steps=steps, generator=_generator(seed), regional=regional)

    def panel(
        self,
        panel: Panel,
        slots: Mapping[str, UInt8],
        *,
        plate: UInt8 | None = None,
        sketch: UInt8 | None = None,
        crops: UInt8 | None = None,
        keypoints: Floats | None = None,
        draft: UInt8 | None = None,
        strength: float = 0.7,
        regional: bool = True,
        height: int,
        width: int,
        seed: int,
        steps: int | None = None,
        guidance: float | None = None,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> UInt8:
        """The picture of a panel, (height, width, 3) uint8.

        Args:
            panel: words and boxes. More subjects than the model knows are drawn in turns, from back to front.
            slots: pictures of the characters by name, as :meth:`slot` gives them.
            plate: (height, width, 3) uint8, the empty place.
            sketch: (height, width) uint8, white lines on black.
            crops: (height, width, 3) uint8, the plate with pasted cutouts (``control.story_sketch.paste``), which the
                model then corrects; without it the sketch is inked on the plate.
            keypoints: (subjects, 17, 3) joints instead of a sketch, see ``magicgen.synthetic.skeleton``; NaN for a
                subject without.
            draft: (height, width, 3) uint8, a rough picture such as pasted cutouts, to start from instead of noise: the
                way that needs no sketches. strength: how much noise is put on it, 0..1.
            regional: False lets all words act everywhere.
        """
        generator = _generator(seed)
        order = panel.drawing_order()
        turns = [order[start : start + SLOTS] for start in range(0, len(order), SLOTS)] or [()]
        picture: UInt8 | None = None
        for turn in turns:
            subjects = [panel.subjects[index] for index in turn]
            lines = None if sketch is None else sketch if len(turns) == 1 else lines_inside(sketch, subjects)
            joints = None if keypoints is None else keypoints[list(turn)]
            condition = _condition(lines, joints, height, width)
            ground = plate if picture is None else picture
            told = Picture(
                panel.background,
                tuple(subject.prompt for subject in subjects),
                tuple(subject.box for subject in subjects),
                tuple(slots.get(subject.character) for subject in subjects),
                rough_picture(ground, condition, crops, subjects),
                condition,
                draft,
                strength,
            )
            with self._adapters.playing([subject.character for subject in subjects]):
                drawn = self(told, height, width, steps, guidance, generator, regional, _stepped(progress), cancel)
            picture = self._smooth(drawn)
            if ground is not None and (sketch is not None or (keypoints is not None and crops is not None)):
                # bones lie inside of figures, and say nothing of their outlines
                outlines = np.zeros((height, width), np.uint8) if lines is None else lines
                picture = on_place(picture, ground, outlines, None if crops is None else told.plate)
        assert picture is not None
        return picture

    def _conditions(self, picture: Picture, size: tuple[int, int], regional: bool) -> StoryConditions:
        height, width = size
        count = SLOTS - len(picture.prompts)
        prompts = picture.prompts + ("",) * count
        known = [slot is not None for slot in picture.cast] + [False] * count
        cast = np.full((height, width, 3), 255, np.uint8)
        for index, slot in enumerate(picture.cast):
            if slot is not None:
                left, right = index * width // SLOTS, (index + 1) * width // SLOTS
                cast[:, left:right] = sized(slot, height, right - left)
        plate = np.zeros((height, width, 3), np.uint8) if picture.plate is None else sized(picture.plate, height, width)
        condition = sized(picture.condition, height, width)
        stacked = self.network.encode(self._signed(np.stack([plate, cast, condition])))
        columns = torch.arange(width // 8, device=stacked.device) * SLOTS // (width // 8)
        told = torch.tensor(known, device=stacked.device)[columns].to(stacked)
        told = told[None, None, None, None].expand(1, 1, 1, height // 8, -1)
        text = self.network.embed([picture.background], [prompts], self.config.words, self.config.local)
        boxes = tuple(picture.boxes) + (None,) * count
        plan = RegionPlan(self.config.words, self.config.local, height // 16, width // 16, boxes)
        here = torch.full((1,), float(picture.plate is not None), device=stacked.device)
        return StoryConditions(
            plate=stacked[:1] * here,
            plate_known=here,
            cast=stacked[1:2] * told,
            cast_known=told,
            map=stacked[2:3],
            text=text,
            plans=(plan,) if regional else None,
            base_ratio=float(self.config.base_ratio),
        )

    def _start(self, picture: Picture, noise: torch.Tensor, steps: int) -> tuple[torch.Tensor, int]:
        """Noise, or a draft with noise on it and the number of steps that this saves."""
        if picture.draft is None or picture.strength >= 1:
            return noise * self.scheduler.init_noise_sigma, 0
        skip = min(steps - 1, max(0, round((1 - picture.strength) * steps)))
        self.scheduler.set_timesteps(steps, device=noise.device)
        height, width = noise.shape[-2] * 8, noise.shape[-1] * 8
        draft = self.network.encode(self._signed(sized(picture.draft, height, width)[None]))
        alpha = self.scheduler.alphas_cumprod.to(noise)[int(self.scheduler.timesteps[skip])]
        return alpha.sqrt() * draft + (1 - alpha).sqrt() * noise, skip

    def _signed(self, pictures: UInt8) -> torch.Tensor:
        """(B, H, W, 3) uint8 -> (B, 3, H, W) in [-1, 1]."""
        return torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def load_story_pipeline(folder: str | Path, device: torch.device | str | None = None) -> StoryPipeline:
    """A story model from its folder, in single precision.

    Raises:
        OSError: files are missing.
    """
    pipeline = StoryPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def pose_of(subject: Subject) -> Action:
    """The action of a subject: of its pose, else of the words of its prompt; standing where there is none."""
    words = (subject.pose, *subject.prompt.split())
    return next((POSES[word] for word in words if word in POSES), Action.STANDS)


def _condition(lines: UInt8 | None, joints: Floats | None, height: int, width: int) -> UInt8:
    """What the branch is shown, (height, width, 3): a sketch, else skeletons (n, 17, 3), else nothing."""
    if lines is not None:
        return cv2.cvtColor(lines, cv2.COLOR_GRAY2RGB)
    if joints is not None:
        return draw_keypoints(np.nan_to_num(joints), height, width)
    return np.zeros((height, width, 3), np.uint8)


def _fingerprint(given: StoryConditions) -> str:
    """Tells casts apart: latents, which of them are known, and the grid."""
    seen = torch.cat([given.cast[:1], given.cast_known[:1].to(given.cast)], dim=2).float().cpu().numpy()
    return f"{seen.shape} {hashlib.sha256(seen.tobytes()).hexdigest()}"


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed % 2**63)


def _with_article(description: str) -> str:
    words = description.strip()
    if words.split(" ", 1)[0].lower() in ("a", "an", "the"):
        return words
    return f"{'an' if words[:1].lower() in 'aeiou' else 'a'} {words}"


def _stepped(progress: Progress | None) -> StepCallback | None:
    if progress is None:
        return None

    def each(report: StepReport) -> None:
        progress(report.step, report.num_steps)

    return each


def _pixels(video: torch.Tensor) -> UInt8:
    values: Any = (video[0, :, 0].float().clamp(-1, 1) + 1).mul(127.5).round().to(torch.uint8)
    return np.ascontiguousarray(values.permute(1, 2, 0).cpu().numpy())


__all__ = ["Picture", "StoryPipeline", "load_story_pipeline", "pose_of"]
