"""Sampling: schedules, guidance, and the one denoising loop that every pipeline runs.

Sources: CogVideoX (arXiv 2408.06072) for the zero-terminal-SNR schedule and its DPM solver, both from diffusers;
classifier-free guidance (arXiv 2207.12598); rectified flow (arXiv 2209.03003) through diffusers' Euler scheduler.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler, FlowMatchEulerDiscreteScheduler

from magicgen.errors import GenerationFailed, MagicGenError
from magicgen.progress import CancelToken

Scheduler: TypeAlias = CogVideoXDDIMScheduler | CogVideoXDPMScheduler | FlowMatchEulerDiscreteScheduler
Predict = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


@dataclass(frozen=True)
class StepReport:
    """What a callback sees after a step.

    Attributes:
        step: steps done so far, 1..num_steps.
        num_steps: how many there are.
        timestep: the timestep that was just used.
        latents: (B, F, C, h, w) the state after the step; a callback may return another one.
        denoised: (B, F, C, h, w) the clean latent predicted in this step, good for a preview.
    """

    step: int
    num_steps: int
    timestep: float
    latents: torch.Tensor
    denoised: torch.Tensor


StepCallback = Callable[[StepReport], torch.Tensor | None]


def guided(conditional: torch.Tensor, unconditional: torch.Tensor, scale: float) -> torch.Tensor:
    """Classifier-free guidance (arXiv 2207.12598, eq. 6 with w = scale - 1)."""
    return unconditional + scale * (conditional - unconditional)


def control_active(step: int, num_steps: int, span: tuple[float, float]) -> bool:
    """Whether control applies in step 0..num_steps-1 when it is limited to the fraction ``span`` of the run."""
    return span[0] * num_steps <= step + 0.5 <= span[1] * num_steps


def clean_prediction(
    scheduler: Scheduler, output: torch.Tensor, latents: torch.Tensor, timestep: torch.Tensor
) -> torch.Tensor:
    """The clean latent that a network output stands for, by the scheduler's parameterisation.

    Flow-match networks predict the velocity ``noise - clean`` at ``(1 - s) clean + s noise``, s = timestep / 1000.
    """
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        return latents - timestep / scheduler.config.num_train_timesteps * output
    alpha = scheduler.alphas_cumprod.to(latents.device)[int(timestep)]
    match scheduler.config.prediction_type:
        case "sample":
            return output
        case "v_prediction":
            return alpha.sqrt() * latents - (1 - alpha).sqrt() * output
        case "epsilon":
            return (latents - (1 - alpha).sqrt() * output) / alpha.sqrt().clamp_min(1e-4)
        case other:
            raise MagicGenError(f"Unknown prediction type '{other}'; expected sample, v_prediction or epsilon.")


def denoise(
    predict: Predict,
    scheduler: Scheduler,
    latents: torch.Tensor,
    num_steps: int,
    *,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    callback: StepCallback | None = None,
    cancel: CancelToken | None = None,
    interrupted: Callable[[], bool] | None = None,
    skip: int = 0,
) -> torch.Tensor:
    """Turn noise into a clean latent.

    Args:
        predict: ``(latents, timestep (), step) -> output`` in the scheduler's parameterisation, guidance included.
        scheduler: any of the three supported; its timesteps are set here.
        latents: (B, F, C, h, w) noise, already scaled by ``init_noise_sigma``.
        num_steps: number of steps.
        generator: source of the solver's own noise (only CogVideoX's DPM solver draws any).
        callback: called after every step; a returned tensor replaces the latents.
        cancel: looked at before every step.
        interrupted: looked at before every step; once true, the latents are returned as they are.
        skip: steps left out at the start, for latents that are a picture noised to the timestep of step ``skip``.

    Raises:
        progress.Cancelled: ``cancel`` was set.
        GenerationFailed: the latents became NaN or infinite.
    """
    scheduler.set_timesteps(num_steps, device=latents.device)
    timesteps = scheduler.timesteps
    previous: torch.Tensor | None = None
    for step, timestep in enumerate(timesteps):
        if step < skip:
            continue
        if cancel is not None:
            cancel.raise_if_cancelled()
        if interrupted is not None and interrupted():
            break
        output = predict(latents, timestep, step).float()
        denoised = clean_prediction(scheduler, output, latents.float(), timestep)
        if isinstance(scheduler, CogVideoXDPMScheduler):
            earlier = timesteps[step - 1] if step > 0 else None
            advanced, previous = scheduler.step(
                output, previous, timestep, earlier, latents.float(), generator=generator, return_dict=False
            )
        else:
            advanced = scheduler.step(output, timestep, latents.float(), return_dict=False)[0]
        latents = advanced.to(latents.dtype)
        if callback is not None:
            replaced = callback(StepReport(step + 1, len(timesteps), float(timestep), latents, denoised))
            latents = latents if replaced is None else replaced
    if not torch.isfinite(latents).all():
        raise GenerationFailed(
            "The model produced values that are not numbers. Lower the guidance scale or the control weight, or load "
            "the model in bfloat16 or float32 instead of float16."
        )
    return latents


def mirrored_noise(draws: int, shape: Sequence[int], generator: torch.Generator | None) -> torch.Tensor:
    """(draws, *shape) noise, every second one the negative of the one before: in the mean of the answers all that
    follows the noise in a straight line cancels."""
    half = torch.randn((-(-draws // 2), *shape), generator=generator, device="cpu")
    return torch.stack([half, -half], dim=1).flatten(0, 1)[:draws]
