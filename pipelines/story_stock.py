"""Stories with a stock CogVideoX checkpoint, which has no branch for sketches: no training, no cast.

The subjects' pictures, cut out and pasted into the place, are noised to a timestep given by a strength (SDEdit, arXiv
2108.01073) and denoised under regional text attention: every subject's words act in its box
(``magicgen.attention.regions``). A still is a video of one latent frame. Text-to-video and image-to-video folders work;
the latter are also shown the rough picture itself. Identity comes from words and pasted pictures alone, so it is weaker
than with the story model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from magicgen.attention.regions import RegionBox, RegionPlan, regional_attention
from magicgen.control.story import Character, Panel, Subject
from magicgen.control.story_canvas import blended, differs, lined
from magicgen.control.story_slot import as_slot
from magicgen.errors import StoryError, WeightsError
from magicgen.progress import CancelToken
from magicgen.sampling import StepReport, denoise, guided
from magicgen.synthetic.story_examples import ALONE_BOX, SLOTS

UInt8 = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]
VIEWS = ("seen from the front", "seen from the side, facing right", "seen from behind")
PAPER = "on a plain white background"
SUBJECTS = 6
"""Subjects whose words fit beside the global prompt."""
REFERENCE_STRENGTH = 0.8
"""Noise on the reference from which a subject alone is drawn: enough for another pose, too little for other colours."""
OFFSET = 2.0
"""What CogVideoX 1.5 is told as ``ofs``."""


@dataclass(frozen=True)
class StockOptions:
    """How a stock checkpoint is run.

    Attributes:
        steps, guidance: of every picture.
        strength: noise on the rough picture of a panel, 0..1; more of it repairs more and keeps less.
        base_ratio: share of attention without regions, which keeps a picture of one piece.
    """

    steps: int = 30
    guidance: float = 6.0
    strength: float = 0.6
    base_ratio: float = 0.2


class StockStoryPainter:
    """Draws the stages of a story with ``CogVideoXPipeline`` or ``CogVideoXImageToVideoPipeline``."""

    def __init__(self, pipe: Any, options: StockOptions | None = None) -> None:
        self.pipe, self.options = pipe, options or StockOptions()
        config = pipe.transformer.config
        self.height, self.width = 8 * int(config.sample_height), 8 * int(config.sample_width)
        self.shows_draft = config.in_channels == 2 * config.out_channels

    def load_character(self, adapter: Path, name: str) -> None:
        """Refuse: adapters of characters belong to the story model.

        Raises:
            WeightsError: always.
        """
        raise WeightsError(
            f"The adapter of {name} ({adapter}) fits the story model only, not a stock CogVideoX folder."
        )

    def sheet(self, character: Character, references: Sequence[UInt8], *, seed: int, steps: int | None = None) -> UInt8:
        """The character from the front, the side and the back, (h, 3 w, 3)."""
        boxes = tuple((index / SLOTS, 0.0, (index + 1) / SLOTS, 1.0) for index in range(SLOTS))
        prompts = tuple(f"{character.description}, standing, {view}" for view in VIEWS)
        words = f"character sheet, front view, side view and back view {PAPER}"
        drawn = self.draw(words, prompts, boxes, self.height, self.width, seed=seed, steps=steps)
        if references:
            slot = as_slot(references[0], self.height, self.width // SLOTS)
            drawn[:, : slot.shape[1]] = slot
        return drawn

    def slot(self, sheet: UInt8) -> UInt8:
        """The front view of a sheet."""
        return np.ascontiguousarray(sheet[:, : sheet.shape[1] // SLOTS])

    def place_sketch(self, background: str, *, height: int, width: int, seed: int) -> UInt8 | None:
        """None: places are drawn from their words."""
        return None

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
        """An empty place, (height, width, 3), from its words; a ``sketch`` is not used."""
        return self.draw(f"{background}, empty scene without people", (), (), height, width, seed=seed, steps=steps)

    def alone(self, subject: Subject, slot: UInt8 | None, *, seed: int, steps: int | None = None) -> UInt8:
        """One subject on a plain ground, begun from its reference where there is one."""
        draft = None
        if slot is not None:
            draft = np.full((self.height, self.width, 3), 255, np.uint8)
            middle = as_slot(slot, self.height, self.width // SLOTS)
            left = (self.width - middle.shape[1]) // 2
            draft[:, left : left + middle.shape[1]] = middle
        return self.draw(
            PAPER,
            (subject.prompt,),
            (ALONE_BOX,),
            self.height,
            self.width,
            seed=seed,
            steps=steps,
            draft=draft,
            strength=REFERENCE_STRENGTH,
        )

    def panel(
        self,
        panel: Panel,
        slots: Mapping[str, UInt8],
        *,
        plate: UInt8 | None = None,
        sketch: UInt8 | None = None,
        crops: UInt8 | None = None,
        keypoints: npt.NDArray[np.float32] | None = None,
        height: int,
        width: int,
        seed: int,
        steps: int | None = None,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> UInt8:
        """The picture of a panel, from its pasted ``crops``, else from the sketch in ink, else from words alone.

        Away from the figures everything stays the plate.

        Raises:
            StoryError: ``keypoints`` are given; no part of a stock model is shown joints.
        """
        if keypoints is not None:
            raise StoryError("A stock CogVideoX folder has no branch that is shown joints; draw after sketches.")
        draft = crops
        if draft is None and plate is not None and sketch is not None:
            draft = lined(_sized(plate, height, width), cv2.cvtColor(sketch, cv2.COLOR_GRAY2RGB))
        drawn = self.draw(
            panel.background,
            tuple(subject.prompt for subject in panel.subjects),
            tuple(subject.box for subject in panel.subjects),
            height,
            width,
            draft=plate if draft is None else draft,
            strength=self.options.strength if draft is not None else 0.9,
            seed=seed,
            steps=steps,
            progress=progress,
            cancel=cancel,
        )
        if plate is None or draft is None:
            return drawn
        place = _sized(plate, height, width)
        return blended(drawn, place, _near_figures(_sized(draft, height, width), place))

    @torch.no_grad()
    def draw(
        self,
        words: str,
        prompts: tuple[str, ...],
        boxes: tuple[RegionBox, ...],
        height: int,
        width: int,
        *,
        seed: int,
        steps: int | None = None,
        draft: UInt8 | None = None,
        strength: float = 1.0,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> UInt8:
        """One picture (height, width, 3) from words, words in boxes, and a rough picture with noise on it.

        Raises:
            StoryError: a size that is no multiple of 16, or more subjects than words fit for.
        """
        if height % 16 or width % 16:
            raise StoryError(f"A picture's sides are multiples of 16 pixels; got {height} x {width}.")
        if len(prompts) > SUBJECTS:
            raise StoryError(f"A stock model draws up to {SUBJECTS} subjects at once; got {len(prompts)}.")
        pipe, device = self.pipe, self.pipe._execution_device
        text, plan = self._told(words, prompts, boxes, height // 16, width // 16)
        bare = self._embed([""], self.pipe.transformer.config.max_text_seq_length)
        count = steps or self.options.steps
        shown = None if draft is None else self._latents(_sized(draft, height, width))
        generator = torch.Generator().manual_seed(seed % 2**63)
        channels, frames = pipe.transformer.config.out_channels, pipe.transformer.config.patch_size_t or 1
        noise = torch.randn((1, frames, channels, height // 8, width // 8), generator=generator).to(device, text.dtype)
        latents, skip = self._start(noise, shown, strength, count)
        given = self._given(shown if shown is not None else torch.zeros_like(noise), height, width)

        def predict(latents: torch.Tensor, timestep: torch.Tensor, step: int) -> torch.Tensor:
            time = timestep.reshape(1).to(device)
            with regional_attention((pipe.transformer,), None if plan is None else (plan,), self.options.base_ratio):
                output = self._predicted(latents, text, time, given)
            return guided(output, self._predicted(latents, bare, time, given), self.options.guidance)

        def told(report: StepReport) -> None:
            if progress is not None:
                progress(report.step, report.num_steps)

        clean = denoise(
            predict, pipe.scheduler, latents, count, generator=generator, callback=told, cancel=cancel, skip=skip
        )
        video = pipe.decode_latents(clean.to(pipe.vae.dtype))
        picture = ((video[0, :, 0].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy())

    def _told(
        self, words: str, prompts: tuple[str, ...], boxes: tuple[RegionBox, ...], rows: int, columns: int
    ) -> tuple[torch.Tensor, RegionPlan | None]:
        """Text embeddings, as many as the model was built for, and who may look at them."""
        length = int(self.pipe.transformer.config.max_text_seq_length)
        if not prompts:
            return self._embed([words], length), None
        local = max(1, length // (len(prompts) + 2))
        parts = [self._embed([words], length - local * len(prompts)), *(self._embed([p], local) for p in prompts)]
        plan = RegionPlan(length - local * len(prompts), local, rows, columns, boxes, cast=False)
        return torch.cat(parts, dim=1), plan

    def _embed(self, words: list[str], length: int) -> torch.Tensor:
        pipe = self.pipe
        told: torch.Tensor = pipe.encode_prompt(
            words, do_classifier_free_guidance=False, max_sequence_length=length, device=pipe._execution_device
        )[0]
        return told.to(pipe.transformer.dtype)

    def _latents(self, picture: UInt8) -> torch.Tensor:
        """(1, F, C, h, w) of a still."""
        vae = self.pipe.vae
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None, :, None].to(vae.device, vae.dtype).div(127.5).sub(1)
        latent = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
        frames = self.pipe.transformer.config.patch_size_t or 1
        return latent.permute(0, 2, 1, 3, 4).to(self.pipe.transformer.dtype).repeat(1, frames, 1, 1, 1)

    def _start(
        self, noise: torch.Tensor, draft: torch.Tensor | None, strength: float, steps: int
    ) -> tuple[torch.Tensor, int]:
        scheduler = self.pipe.scheduler
        if draft is None or strength >= 1:
            return noise * scheduler.init_noise_sigma, 0
        skip = min(steps - 1, max(0, round((1 - strength) * steps)))
        scheduler.set_timesteps(steps, device=noise.device)
        alpha = scheduler.alphas_cumprod.to(noise)[int(scheduler.timesteps[skip])]
        return alpha.sqrt() * draft + (1 - alpha).sqrt() * noise, skip

    def _given(self, draft: torch.Tensor, height: int, width: int) -> dict[str, Any]:
        """What every call of the transformer gets beside latents, text and time."""
        config = self.pipe.transformer.config
        given: dict[str, Any] = {"draft": draft if self.shows_draft else None, "image_rotary_emb": None, "ofs": None}
        if config.use_rotary_positional_embeddings:
            given["image_rotary_emb"] = self.pipe._prepare_rotary_positional_embeddings(
                height, width, draft.shape[1], draft.device
            )
        if config.ofs_embed_dim is not None:
            given["ofs"] = torch.full((1,), OFFSET, device=draft.device, dtype=draft.dtype)
        return given

    def _predicted(
        self, latents: torch.Tensor, text: torch.Tensor, time: torch.Tensor, given: dict[str, Any]
    ) -> torch.Tensor:
        frames = latents if given["draft"] is None else torch.cat([latents, given["draft"]], dim=2)
        output: torch.Tensor = self.pipe.transformer(
            hidden_states=frames,
            encoder_hidden_states=text,
            timestep=time,
            ofs=given["ofs"],
            image_rotary_emb=given["image_rotary_emb"],
            return_dict=False,
        )[0]
        return output


def load_stock_painter(folder: Path, device: torch.device | str) -> StockStoryPainter:
    """A stock checkpoint from its folder; single precision on the CPU, bfloat16 elsewhere.

    Raises:
        OSError: files are missing.
    """
    from diffusers import DiffusionPipeline

    dtype = torch.float32 if str(device) == "cpu" else torch.bfloat16
    pipe = DiffusionPipeline.from_pretrained(folder, dtype=dtype, local_files_only=True)
    return StockStoryPainter(pipe.to(device))


def _near_figures(draft: UInt8, place: UInt8) -> npt.NDArray[np.float32]:
    """(H, W) float32 in [0, 1]: where a rough picture is not the empty place, filled, and a rim."""
    shown = differs(draft, place).astype(np.uint8)
    contours, _ = cv2.findContours(shown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(shown), contours, -1, 1, cv2.FILLED)
    reach = max(3, min(shown.shape) // 32) | 1
    wide = cv2.dilate(filled, np.ones((reach, reach), np.uint8)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), 1.0), np.float32)


def _sized(picture: UInt8, height: int, width: int) -> UInt8:
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
