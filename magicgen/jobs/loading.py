"""From a model's folder to a pipeline on a device."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, assert_never

from magicgen.control.tracks import Level
from magicgen.errors import ConfigError, GenerationFailed, WeightsError
from magicgen.weights.facts import model_facts
from magicgen.weights.sources import ModelSource, PipelineFolder, ReleasedMagicMotion

Offload = Literal["auto", "none", "model", "group", "sequential"]
# Models above this many parameters run in half precision on a GPU; smaller ones gain nothing by it.
HALF_FROM = 500_000_000
ADAPTER_FILE = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class LoadOptions:
    """Where a model runs: ``device`` is a torch device name, or None for the GPU if there is one, else the CPU."""

    device: str | None = None
    offload: Offload = "auto"


def load_pipeline(source: ModelSource, level: Level, options: LoadOptions) -> Any:
    """Load a ``TrajectoryVideoPipeline`` for a level.

    Raises:
        WeightsError: files are missing or do not fit the classes.
        ConfigError: no such device.
        GenerationFailed: not enough memory.
    """
    import torch
    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    device = choose_device(options.device)
    try:
        pipeline = _build(source, level, device)
        _place(pipeline, device, options.offload)
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise GenerationFailed(
            f"Not enough memory to load {source.name} ({_first_line(error)}). Use --offload sequential, or a smaller "
            "model."
        ) from None
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        if isinstance(error, WeightsError | ConfigError):
            raise
        raise WeightsError(
            f"The model {source.name} cannot be loaded ({_first_line(error)}). Its files are incomplete, damaged or of "
            "another architecture; fetch or convert it again."
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def adapter_file(lora: str) -> Path:
    """The LoRA file that a file or folder stands for.

    Raises:
        WeightsError: there is none.
    """
    path = Path(lora)
    path = path / ADAPTER_FILE if path.is_dir() else path
    if not path.is_file() or path.suffix != ".safetensors":
        raise WeightsError(
            f"--lora {lora}: no adapter there; expected a .safetensors file, or a folder with {ADAPTER_FILE}."
        )
    return path


def load_adapter(pipeline: Any, lora: str) -> None:
    """Put a LoRA on a pipeline's backbone.

    Raises:
        WeightsError: it is damaged or made for another backbone.
    """
    from safetensors import SafetensorError

    path = adapter_file(lora)
    try:
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, local_files_only=True)
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"The adapter {path} does not fit this model ({_first_line(error)}).") from error
    if not pipeline.get_active_adapters():
        raise WeightsError(f"The adapter {path} holds nothing for this model's transformer.")


def choose_device(name: str | None) -> Any:
    """A torch device by name; None means the GPU where there is one, else the CPU."""
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"The device '{name}' cannot be used ({_first_line(error)}). Try --device cpu.") from None
    return device


def _build(source: ModelSource, level: Level, device: Any) -> Any:
    import torch

    from pipelines.trajectory_video import TrajectoryVideoPipeline

    match source:
        case PipelineFolder(_, folder):
            large = sum(path.stat().st_size for path in folder.rglob("*.safetensors")) > 2 * HALF_FROM
            dtype = torch.bfloat16 if large and device.type == "cuda" else torch.float32
            return TrajectoryVideoPipeline.from_pretrained(folder, dtype=dtype, local_files_only=True)
        case ReleasedMagicMotion():
            return _released(source, level)
        case _:
            assert_never(source)


def _released(source: ReleasedMagicMotion, level: Level) -> Any:
    """Stock CogVideoX parts with the branch of a level, in bfloat16 as released."""
    import torch
    from diffusers import AutoencoderKLCogVideoX, CogVideoXDPMScheduler
    from transformers import AutoTokenizer, T5EncoderModel

    from magicgen.models import ControlBranch, VideoTransformer
    from pipelines.trajectory_video import TrajectoryVideoPipeline

    base, half, facts = source.base, torch.bfloat16, model_facts(source)
    vae = AutoencoderKLCogVideoX.from_pretrained(base, subfolder="vae", dtype=half)
    vae.enable_tiling()
    vae.enable_slicing()
    return TrajectoryVideoPipeline(
        transformer=VideoTransformer.from_pretrained(base, subfolder="transformer", dtype=half),
        branch=ControlBranch.from_pretrained(source.branch(level), dtype=half),
        text_encoder=T5EncoderModel.from_pretrained(base, subfolder="text_encoder", dtype=half),
        tokenizer=AutoTokenizer.from_pretrained(base, subfolder="tokenizer"),
        vae=vae,
        scheduler=CogVideoXDPMScheduler.from_pretrained(base, subfolder="scheduler"),
        default_steps=facts.steps,
        default_guidance=facts.guidance,
        default_frames=facts.frames,
        default_height=facts.height,
        default_width=facts.width,
        default_fps=facts.fps,
    )


def _place(pipeline: Any, device: Any, offload: Offload) -> None:
    import torch

    if device.type != "cuda":
        if offload not in ("auto", "none"):
            raise ConfigError(f"--offload {offload} moves parts between CPU and GPU; there is no GPU in use here.")
        pipeline.to(device)
        return
    if offload == "auto":
        needed = sum(p.numel() * p.element_size() for part in _modules(pipeline) for p in part.parameters())
        free, _ = torch.cuda.mem_get_info(device)
        # What is left over has to hold activations and the decoder's work.
        offload = "none" if needed < 0.7 * free else "model"
        logging.getLogger(__name__).info("offload: %s", offload)
    match offload:
        case "none":
            pipeline.to(device)
        case "model":
            pipeline.enable_model_cpu_offload(device=device)
        case "group":
            pipeline.enable_group_offload(onload_device=device, offload_type="leaf_level", use_stream=True)
        case "sequential":
            pipeline.enable_sequential_cpu_offload(device=device)
        case _:
            assert_never(offload)


def _modules(pipeline: Any) -> list[Any]:
    import torch

    return [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0][:300] if lines else type(error).__name__).rstrip(".")
