"""Trajectory-controlled image-to-video: a photo and what its objects do -> a video.

MagicMotion (arXiv 2503.16421) on the shared backbone: the photo goes into the image latents, the condition map of the
trajectory into the control branch; models that were trained for it also see a motion draft in the image latents.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DiffusionPipeline
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.loaders import CogVideoXLoraLoaderMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from magicgen.control.correction import corrected, with_texture
from magicgen.control.draft import Draft, motion_draft
from magicgen.control.raster import rasterise
from magicgen.control.tracks import Level, Tracks
from magicgen.errors import TrajectoryError
from magicgen.models import ControlBranch, VideoTransformer
from magicgen.models.conditioning import (
    DRAFT_CHANNELS,
    decode_video,
    draft_state_channels,
    encode_video,
    image_condition,
    to_signed,
)
from magicgen.models.precision import matrix_precision
from magicgen.models.steered import Conditions, SteeredNetwork
from magicgen.models.transformer import ControlWeight
from magicgen.progress import CancelToken
from magicgen.sampling import Predict, Scheduler, StepCallback, StepReport, control_active, denoise, guided

Generator = torch.Generator | list[torch.Generator]


@dataclass
class TrajectoryVideoOutput(BaseOutput):
    """Generated videos.

    Attributes:
        frames: by ``output_type``: "np" (B, T, H, W, 3) float32 in [0, 1]; "uint8" the same in 0..255; "pt" (B, T, 3,
            H, W); "pil" lists of pictures; "latent" (B, F, C, h, w).
    """

    frames: Any


class TrajectoryVideoPipeline(DiffusionPipeline, CogVideoXLoraLoaderMixin):
    """A diffusers pipeline: ``from_pretrained``, ``save_pretrained``, LoRA, offload.

    Args:
        transformer: the backbone.
        branch: the control branch, or None for the plain image-to-video model.
        text_encoder: T5, or the closed-vocabulary encoder of small models (then ``tokenizer`` is None).
        vae: an autoencoder of the CogVideoX kind.
        scheduler: CogVideoX DDIM or DPM, or flow-match Euler.
        default_steps, default_guidance: what a call without these arguments uses.
        default_frames, default_height, default_width, default_fps: the clip that the weights make best.
    """

    model_cpu_offload_seq = "text_encoder->branch->transformer->vae"
    _optional_components = ["tokenizer", "branch"]  # noqa: RUF012 (read by diffusers on the class)
    _callback_tensor_inputs = ["latents", "denoised"]  # noqa: RUF012

    def __init__(
        self,
        transformer: VideoTransformer,
        text_encoder: Any,
        vae: Any,
        scheduler: Scheduler,
        branch: ControlBranch | None = None,
        tokenizer: Any = None,
        default_steps: int = 50,
        default_guidance: float = 6.0,
        default_frames: int = 49,
        default_height: int = 480,
        default_width: int = 720,
        default_fps: float = 8.0,
    ) -> None:
        super().__init__()
        self.register_modules(
            transformer=transformer,
            branch=branch,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            vae=vae,
            scheduler=scheduler,
        )
        self.register_to_config(
            default_steps=default_steps,
            default_guidance=default_guidance,
            default_frames=default_frames,
            default_height=default_height,
            default_width=default_width,
            default_fps=default_fps,
        )
        self._interrupt = False
        self._guidance_scale = default_guidance
        self._num_timesteps = 0
        self._current_timestep: float | None = None

    @property
    def knows_drafts(self) -> bool:
        """Whether the weights were trained with motion drafts."""
        config = self.transformer.config
        return bool(config.in_channels - 2 * config.out_channels == DRAFT_CHANNELS)

    @property
    def guidance_scale(self) -> float:
        """Guidance of the running or last call."""
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether the call predicts with and without the prompt."""
        return self._guidance_scale > 1

    @property
    def num_timesteps(self) -> int:
        """Steps of the running or last call."""
        return self._num_timesteps

    @property
    def current_timestep(self) -> float | None:
        """The timestep being worked on, None between calls."""
        return self._current_timestep

    @property
    def interrupt(self) -> bool:
        """Set ``pipe._interrupt = True`` in a callback to stop after the current step and keep what there is."""
        return self._interrupt

    def unknown_words(self, prompt: str) -> list[str]:
        """Words that a closed-vocabulary text encoder does not know; empty for open ones."""
        find = getattr(self.text_encoder, "unknown_words", None)
        return [] if find is None else find(prompt)

    @torch.no_grad()
    def __call__(
        self,
        image: npt.NDArray[np.uint8] | Image.Image,
        tracks: Tracks | None,
        level: Level,
        prompt: str = "",
        negative_prompt: str | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        control_weight: ControlWeight = 1.0,
        control_range: tuple[float, float] = (0.0, 1.0),
        use_draft: bool | None = None,
        num_videos_per_prompt: int = 1,
        generator: Generator | None = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        output_type: str = "np",
        return_dict: bool = True,
        attention_kwargs: dict[str, Any] | None = None,
        autocast: bool | None = None,
        callback_on_step_end: Callable[..., dict[str, Any]] | PipelineCallback | MultiPipelineCallbacks | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        cancel: CancelToken | None = None,
    ) -> TrajectoryVideoOutput | tuple[Any]:
        """Make videos in which the objects of ``image`` move along ``tracks``.

        Args:
            image: the first frame, (H, W, 3) uint8 or a PIL picture, of the size of the tracks.
            tracks: what the objects do, 4n + 1 frames.
            level: how much of the tracks the model is told.
            prompt, negative_prompt: text; the negative one serves guidance above 1.
            num_inference_steps, guidance_scale: by default those of the weights.
            control_weight: factor of the control residuals: one number, or one for each block of the branch.
            control_range: the fraction of the run in which control applies, e.g. (0, 0.6).
            use_draft: feed the motion draft; by default where the weights know it.
            num_videos_per_prompt: how many videos.
            generator: source of all random numbers, on the CPU for results that do not depend on the device.
            latents: (B, F, C, h, w) noise to start from instead of drawn noise.
            prompt_embeds, negative_prompt_embeds: (B, L, D) instead of text.
            output_type: "np", "uint8", "pt", "pil" or "latent".
            autocast: bfloat16 matrix work over float32 weights; by default on CPUs that have it in hardware.
            callback_on_step_end: diffusers' callback ``(pipe, step, timestep, tensors) -> tensors``; the tensors are
                ``latents`` and ``denoised``.
            cancel: checked before every step.

        Returns:
            :class:`TrajectoryVideoOutput` or ``(frames,)``.

        Raises:
            TrajectoryError: picture, tracks and model do not fit together.
            progress.Cancelled: ``cancel`` was set.
        """
        # 1. Check the input and settle the defaults.
        first = np.asarray(image.convert("RGB")) if isinstance(image, Image.Image) else image
        use_draft = self.knows_drafts if use_draft is None else use_draft
        tracks = self.check_inputs(first, tracks, use_draft, control_weight)
        steps = self._begin(num_inference_steps, guidance_scale)
        device = self._execution_device

        # 2. Encode text.
        prompts = self.encode_prompt(
            prompt, negative_prompt, num_videos_per_prompt, prompt_embeds, negative_prompt_embeds, device
        )

        # 3. Draw what the tracks say, and encode it.
        draft = with_texture(motion_draft(first, tracks, level), first, tracks) if use_draft else None
        latents, conditions = self.prepare_conditions(
            first, rasterise(tracks, level), draft, prompts, num_videos_per_prompt, generator, latents, device
        )

        # 4. Denoise.
        with matrix_precision(autocast, device, self.transformer.dtype), self.progress_bar(total=steps) as bar:
            latents = denoise(
                self.predictor(conditions, steps, control_weight, control_range, attention_kwargs),
                self.scheduler,
                latents,
                steps,
                generator=generator,
                callback=self._step_callback(callback_on_step_end, callback_on_step_end_tensor_inputs, bar),
                cancel=cancel,
                interrupted=lambda: self._interrupt,
            )
        self._current_timestep = None

        # 5. Decode.
        frames = latents if output_type == "latent" else self.decode(latents, output_type, draft, conditions.image)
        self.maybe_free_model_hooks()
        return TrajectoryVideoOutput(frames=frames) if return_dict else (frames,)

    def _begin(self, steps: int | None, guidance_scale: float | None) -> int:
        """Set what the properties tell of a call; returns its number of steps."""
        self._num_timesteps = self.config.default_steps if steps is None else steps
        self._guidance_scale = self.config.default_guidance if guidance_scale is None else guidance_scale
        self._interrupt = False
        return self._num_timesteps

    def check_inputs(
        self, image: npt.NDArray[np.uint8], tracks: Tracks | None, use_draft: bool, control_weight: ControlWeight
    ) -> Tracks:
        """Raise TrajectoryError where picture, tracks and model do not fit together; the tracks otherwise."""
        if tracks is None:
            raise TrajectoryError("No trajectory was given; pass Tracks that say what the objects of the picture do.")
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise TrajectoryError(f"The picture must be (H, W, 3) uint8; got {image.dtype} {image.shape}.")
        if image.shape[:2] != tracks.size:
            raise TrajectoryError(
                f"The picture is {image.shape[1]}x{image.shape[0]} and the trajectory is drawn for "
                f"{tracks.size[1]}x{tracks.size[0]} pixels; bring both to one size first."
            )
        spatial, temporal = self._compression()
        step = spatial * self.transformer.config.patch_size
        height, width = tracks.size
        if height % step or width % step:
            raise TrajectoryError(f"Height and width must be multiples of {step}; got {height}x{width}.")
        if (tracks.frames - 1) % temporal:
            raise TrajectoryError(f"The model makes {temporal}n + 1 frames; the trajectory has {tracks.frames}.")
        if self.transformer.config.patch_size_t is not None:
            raise TrajectoryError(
                "Models that patch time (CogVideoX 1.5) have no trajectory control; use CogVideoX 1.0."
            )
        if use_draft and not self.knows_drafts:
            raise TrajectoryError("These weights were trained without motion drafts; leave use_draft off.")
        self._check_position_table(tracks.frames, height // spatial, width // spatial)
        if self.branch is not None and not isinstance(control_weight, int | float):
            expected = len(self.branch.config.control_layers)
            if not isinstance(control_weight, torch.Tensor) and len(control_weight) != expected:
                raise TrajectoryError(f"control_weight needs 1 or {expected} numbers; got {len(control_weight)}.")
        return tracks

    def _check_position_table(self, frames: int, height: int, width: int) -> None:
        config = self.transformer.config
        if not config.use_learned_positional_embeddings:
            return
        table = (config.sample_frames, config.sample_height, config.sample_width)
        if table != (frames, height, width):
            spatial, _ = self._compression()
            raise TrajectoryError(
                f"These weights carry a position table learned for {table[0]} frames of "
                f"{table[1] * spatial}x{table[2] * spatial}; the trajectory asks for {frames} frames of "
                f"{height * spatial}x{width * spatial}. Use that size, or call interpolate_positions first."
            )

    def interpolate_positions(self, frames: int, height: int, width: int) -> None:
        """Bring the learned position tables of backbone and branch to another clip size (pixels), in place."""
        from magicgen.models.positions import interpolate_position_table

        spatial, temporal = self._compression()
        for model in (self.transformer, self.branch):
            if model is not None:
                interpolate_position_table(model, (frames - 1) // temporal + 1, height // spatial, width // spatial)

    def encode_prompt(
        self,
        prompt: str,
        negative_prompt: str | None,
        count: int,
        prompt_embeds: torch.Tensor | None,
        negative_prompt_embeds: torch.Tensor | None,
        device: torch.device,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(count, L, D) embeddings of the prompt and, where guidance needs it, of the negative prompt."""
        if prompt_embeds is None:
            prompt_embeds = self._embed(prompt, device).expand(count, -1, -1)
        if self.do_classifier_free_guidance and negative_prompt_embeds is None:
            negative_prompt_embeds = self._embed(negative_prompt or "", device).expand(count, -1, -1)
        dtype = self.transformer.dtype
        negative = None if negative_prompt_embeds is None else negative_prompt_embeds.to(device, dtype)
        return prompt_embeds.to(device, dtype), negative

    def _embed(self, prompt: str, device: torch.device) -> torch.Tensor:
        if self.tokenizer is None:
            return self.text_encoder(self.text_encoder.tokens([prompt]).to(device))
        length = self.transformer.config.max_text_seq_length
        ids = self.tokenizer(
            [prompt], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        return self.text_encoder(ids.to(device))[0]

    def encode(
        self, video: npt.NDArray[np.uint8], generator: Generator | None, count: int, device: torch.device
    ) -> torch.Tensor:
        """(T, H, W, 3) uint8 -> (count, F, C, h, w) latents in the transformer's dtype."""
        signed = to_signed(torch.from_numpy(np.ascontiguousarray(video))[None]).to(device)
        generators = generator if isinstance(generator, list) else [generator] * count
        latents = torch.cat([encode_video(self.vae, signed, each) for each in generators])
        return latents.to(self.transformer.dtype)

    def prepare_conditions(
        self,
        first: npt.NDArray[np.uint8],
        drawn: npt.NDArray[np.uint8],
        draft: Draft | None,
        prompts: tuple[torch.Tensor, torch.Tensor | None],
        count: int,
        generator: Generator | None,
        latents: torch.Tensor | None,
        device: torch.device,
    ) -> tuple[torch.Tensor, Conditions]:
        """Noise to start from, and conditions, of ``count`` videos.

        Random numbers are drawn in the order of the public code: picture, noise, condition map.

        Args:
            first: (H, W, 3) picture. drawn: (T, H, W, 3) condition map.
            prompts: embeddings, as :meth:`encode_prompt` gives them.
            latents: the noise, if it is not to be drawn.
        """
        image_latent = self.encode(first[None], generator, count, device)
        latents = self.prepare_latents(image_latent, len(drawn), generator, latents)
        condition = self.encode(drawn, generator, count, device)
        image = self.prepare_image_condition(first, image_latent, draft, latents.shape[1], len(drawn))
        return latents, Conditions(image, None if self.branch is None else condition, *prompts)

    def prepare_latents(
        self,
        image_latent: torch.Tensor,
        frames: int,
        generator: Generator | None,
        latents: torch.Tensor | None,
    ) -> torch.Tensor:
        """Noise (B, F, C, h, w), scaled for the scheduler."""
        _, temporal = self._compression()
        shape = (image_latent.shape[0], (frames - 1) // temporal + 1, *image_latent.shape[2:])
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=image_latent.device, dtype=image_latent.dtype)
        elif tuple(latents.shape) != shape:
            raise TrajectoryError(f"latents must be {shape}; got {tuple(latents.shape)}.")
        return latents.to(image_latent) * getattr(self.scheduler, "init_noise_sigma", 1.0)

    def prepare_image_condition(
        self,
        first: npt.NDArray[np.uint8],
        image_latent: torch.Tensor,
        draft: Draft | None,
        latent_frames: int,
        frames: int,
    ) -> torch.Tensor:
        """The image half of the backbone's input, with the motion draft where there is one."""
        config = self.transformer.config
        extra = config.in_channels - 2 * config.out_channels
        if not self.knows_drafts:
            return image_condition(image_latent, latent_frames, extra, None, None)
        if draft is None:
            held = self.encode(np.repeat(first[None], frames, axis=0), None, len(image_latent), image_latent.device)
            return image_condition(image_latent, latent_frames, extra, held, None)
        carried = self.encode(draft.frames, None, image_latent.shape[0], image_latent.device)
        state = draft_state_channels(torch.from_numpy(draft.state)[None]).to(carried)
        return image_condition(
            image_latent, latent_frames, extra, carried, state.expand(carried.shape[0], -1, -1, -1, -1)
        )

    def predictor(
        self,
        conditions: Conditions,
        steps: int,
        control_weight: ControlWeight,
        control_range: tuple[float, float],
        attention_kwargs: dict[str, Any] | None,
    ) -> Predict:
        """The network as ``denoise`` wants it: control, guidance and embeddings bound."""
        twice = self.do_classifier_free_guidance
        given = conditions.told_twice() if twice else conditions
        network = SteeredNetwork(self.transformer, self.branch, given, control_weight, attention_kwargs)

        def predict(latents: torch.Tensor, timestep: torch.Tensor, step: int) -> torch.Tensor:
            self._current_timestep = float(timestep)
            controlled = control_active(step, steps, control_range)
            if not twice:
                return network(latents, timestep, controlled)
            unconditional, conditional = network(torch.cat([latents, latents]), timestep, controlled).chunk(2)
            return guided(conditional, unconditional, self._guidance_scale)

        return predict

    def decode(
        self, latents: torch.Tensor, output_type: str, draft: Draft | None = None, image: torch.Tensor | None = None
    ) -> Any:
        """(B, F, C, h, w) latents -> frames in the wanted form.

        With a draft and the image half that holds its latents, for networks that correct it, its details are put back.
        """
        frames = self._pixels(latents)
        if draft is not None and image is not None and self.transformer.config.predicts_residual:
            before = self._pixels(image[:1, :, : latents.shape[2]])[0].mul(255).numpy()
            clips = [corrected(draft, before, clip.mul(255).numpy()) for clip in frames]
            frames = torch.from_numpy(np.stack(clips)).div(255)
        match output_type:
            case "pt":
                return frames.permute(0, 1, 4, 2, 3)
            case "np":
                return frames.numpy()
            case "uint8" | "pil":
                pixels = frames.mul(255).round().to(torch.uint8).numpy()
                return pixels if output_type == "uint8" else [[Image.fromarray(f) for f in clip] for clip in pixels]
            case _:
                raise TrajectoryError(f"output_type must be np, uint8, pt, pil or latent; got '{output_type}'.")

    def _pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """(B, F, C, h, w) latents -> (B, T, H, W, 3) float32 in [0, 1] on the CPU."""
        video = decode_video(self.vae, latents).float().add(1).div(2).clamp(0, 1)
        return video.permute(0, 2, 3, 4, 1).cpu().contiguous()

    def enable_model_cpu_offload(self, *args: Any, **kwargs: Any) -> None:
        """As in diffusers; branch and backbone, which alternate in every step, stay on the device together."""
        super().enable_model_cpu_offload(*args, **kwargs)
        hook = getattr(self.transformer, "_hf_hook", None)
        if self.branch is not None and hook is not None:
            hook.prev_module_hook = None

    def _compression(self) -> tuple[int, int]:
        """(spatial, temporal) compression of the autoencoder."""
        config = self.vae.config
        return 2 ** (len(config.block_out_channels) - 1), int(config.temporal_compression_ratio)

    def _step_callback(self, callback: Any, names: Sequence[str], bar: Any) -> StepCallback:
        """diffusers' callback, and the progress bar, as ``denoise`` calls them."""
        if isinstance(callback, PipelineCallback | MultiPipelineCallbacks):
            names = callback.tensor_inputs
        unknown = [name for name in names if name not in self._callback_tensor_inputs]
        if unknown:
            raise TrajectoryError(f"Callbacks can see {self._callback_tensor_inputs}; asked for {unknown}.")

        def after_step(report: StepReport) -> torch.Tensor | None:
            bar.update()
            if callback is None:
                return None
            tensors = {name: getattr(report, name) for name in names}
            changed = callback(self, report.step - 1, report.timestep, tensors)
            return (changed or {}).get("latents")

        return after_step
