"""From a finished (or running) run to a pipeline folder in half precision that ``magicgen animate --model`` loads."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import yaml

from magicgen.errors import WeightsError
from magicgen.training.adapters import write_adapter
from magicgen.training.networks import NetworkSet
from magicgen.training.options import TrainingOptions
from magicgen.training.run import build_networks, load_averaged

if TYPE_CHECKING:
    from pipelines.trajectory_video import TrajectoryVideoPipeline


def export_run(
    run: Path,
    out: Path,
    *,
    steps: int = 4,
    guidance: float = 1.0,
    clip: tuple[int, int, int] | None = None,
    fps: float = 8.0,
) -> Path:
    """Write the averaged weights of a run as a pipeline folder; of a run that trained adapters alone, the adapter.

    Args:
        run: the ``out`` folder of a training run.
        out: the folder to write; it must not exist yet. It is written under another name and renamed.
        steps, guidance, fps: defaults of the pipeline.
        clip: its default frames, height and width; by default those of the training.

    Returns:
        ``out``, with ``model_index.json``, a safetensors folder per component, ``segmentation_head/``, ``train.yaml``;
        or with ``pytorch_lora_weights.safetensors`` (diffusers' format, for ``magicgen animate --lora``).

    Raises:
        WeightsError: the run has no settings or ``out`` exists.
    """
    settings = run / "settings.json"
    if not settings.is_file():
        raise WeightsError(
            f"{run} is not a training run: it has no settings.json. Give the 'out' folder of 'magicgen train'."
        )
    if out.exists():
        raise WeightsError(f"{out} exists already; choose another folder or delete it first.")
    options = TrainingOptions.model_validate(json.loads(settings.read_text()))
    networks = _networks(options, run)
    temporary = out.with_name(out.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    if options.model.lora is not None:
        transformer = networks.trainable.transformer
        if set(options.train) <= {"lora", "head"}:
            write_adapter(transformer, temporary)
            return _finish(temporary, out, options)
        transformer.fuse_lora()
        transformer.unload_lora()
    data = options.data
    pipeline = _pipeline(networks, clip or (data.frames, data.height, data.width), steps, guidance, fps)
    pipeline.save_pretrained(temporary)
    networks.trainable.head.save_pretrained(temporary / "segmentation_head")
    return _finish(temporary, out, options)


def _pipeline(
    networks: NetworkSet, clip: tuple[int, int, int], steps: int, guidance: float, fps: float
) -> "TrajectoryVideoPipeline":
    """The networks in half precision, with their defaults; ``clip``: frames, height, width."""
    from pipelines.trajectory_video import TrajectoryVideoPipeline

    models = networks.trainable.to(torch.float16)
    frames, height, width = clip
    return TrajectoryVideoPipeline(
        transformer=models.transformer,
        branch=models.branch,
        text_encoder=models.text_encoder,
        tokenizer=networks.tokenizer,
        vae=networks.vae,
        scheduler=networks.scheduler,
        default_steps=steps,
        default_guidance=guidance,
        default_frames=frames,
        default_height=height,
        default_width=width,
        default_fps=fps,
    )


def _finish(temporary: Path, out: Path, options: TrainingOptions) -> Path:
    (temporary / "train.yaml").write_text(yaml.safe_dump(options.model_dump(mode="json"), sort_keys=False))
    temporary.rename(out)
    return out


def _networks(options: TrainingOptions, run: Path) -> NetworkSet:
    # Checkpoints hold every part, unless the frozen ones were narrowed: those come from where the run got them.
    bare = options.model_copy(update={"start_from": None}) if options.frozen_storage == "full" else options
    networks = build_networks(bare)
    load_averaged(networks, run)
    return networks
