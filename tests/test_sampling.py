"""Schedules, guidance and the denoising loop."""

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler, FlowMatchEulerDiscreteScheduler

from magicgen.errors import GenerationFailed, MagicGenError
from magicgen.progress import Cancelled, CancelToken
from magicgen.sampling import Scheduler, clean_prediction, control_active, denoise, guided

ZERO_SNR = {"rescale_betas_zero_snr": True, "snr_shift_scale": 1.0, "timestep_spacing": "trailing"}


def schedulers() -> list[Scheduler]:
    return [
        CogVideoXDDIMScheduler(prediction_type="v_prediction", clip_sample=False, **ZERO_SNR),
        CogVideoXDDIMScheduler(prediction_type="sample", clip_sample=False, **ZERO_SNR),
        CogVideoXDPMScheduler(prediction_type="v_prediction", clip_sample=False, **ZERO_SNR),
        FlowMatchEulerDiscreteScheduler(),
    ]


def oracle(scheduler: Scheduler, clean: torch.Tensor):
    """What a perfect network would answer."""

    def predict(latents: torch.Tensor, timestep: torch.Tensor, step: int) -> torch.Tensor:
        if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
            sigma = timestep / 1000
            return (latents - (1 - sigma) * clean) / sigma - clean
        if scheduler.config.prediction_type == "sample":
            return clean
        alpha = scheduler.alphas_cumprod[int(timestep)]
        noise = (latents - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        return alpha.sqrt() * noise - (1 - alpha).sqrt() * clean

    return predict


@pytest.mark.parametrize("scheduler", schedulers(), ids=lambda s: f"{type(s).__name__}")
@pytest.mark.parametrize("steps", [1, 4, 9])
def test_a_perfect_network_gives_the_clean_latent(scheduler: Scheduler, steps: int) -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(1, 2, 4, 4, 4, generator=generator)
    seen = []
    result = denoise(
        oracle(scheduler, clean),
        scheduler,
        torch.randn(clean.shape, generator=generator),
        steps,
        generator=generator,
        callback=lambda report: seen.append((report.step, report.num_steps, report.denoised)),
    )
    torch.testing.assert_close(result, clean, atol=2e-3, rtol=1e-3)
    assert [step for step, _, _ in seen] == list(range(1, steps + 1))
    assert all(torch.allclose(denoised, clean, atol=2e-3) for _, _, denoised in seen)


def test_first_timestep_is_pure_noise() -> None:
    scheduler = schedulers()[0]
    scheduler.set_timesteps(8)
    assert int(scheduler.timesteps[0]) == 999
    assert float(scheduler.alphas_cumprod[999]) < 1e-8


def test_guidance_and_control_span() -> None:
    one, two = torch.ones(2), torch.full((2,), 2.0)
    assert torch.equal(guided(two, one, 1.0), two)
    assert torch.equal(guided(two, one, 3.0), torch.full((2,), 4.0))
    assert [control_active(step, 4, (0.0, 0.5)) for step in range(4)] == [True, True, False, False]
    assert all(control_active(step, 1, (0.0, 1.0)) for step in range(1))


def test_cancel_interrupt_and_replaced_latents() -> None:
    scheduler, noise = schedulers()[1], torch.randn(1, 1, 2, 2, 2)
    token = CancelToken()
    steps = []

    def stop_after_two(report) -> None:
        steps.append(report.step)
        if report.step == 2:
            token.cancel()

    with pytest.raises(Cancelled):
        denoise(lambda x, t, s: x, scheduler, noise, 6, callback=stop_after_two, cancel=token)
    assert steps == [1, 2]
    counted = []
    denoise(lambda x, t, s: counted.append(s) or x, scheduler, noise, 6, interrupted=lambda: len(counted) == 3)
    assert counted == [0, 1, 2]
    replaced = denoise(lambda x, t, s: x, scheduler, noise, 1, callback=lambda report: torch.zeros_like(noise))
    assert float(replaced.abs().max()) == 0


def test_nan_is_a_clear_failure() -> None:
    scheduler, noise = schedulers()[1], torch.randn(1, 1, 2, 2, 2)
    with pytest.raises(GenerationFailed, match="not numbers"):
        denoise(lambda x, t, s: x * float("nan"), scheduler, noise, 2)


def test_unknown_parameterisation() -> None:
    scheduler = schedulers()[1]
    scheduler.register_to_config(prediction_type="magic")
    with pytest.raises(MagicGenError, match="magic"):
        clean_prediction(scheduler, torch.zeros(1), torch.zeros(1), torch.tensor(5))
