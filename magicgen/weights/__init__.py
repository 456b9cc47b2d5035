"""Model weights: what the presets are, where they lie, how released files become safetensors. The only network code."""

from magicgen.weights.files import Component, inventory
from magicgen.weights.grid import check_grid
from magicgen.weights.sources import (
    MAGICMOTION,
    TINY,
    HubFiles,
    ModelSource,
    PipelineFolder,
    ReleasedMagicMotion,
    resolve_model,
)

__all__ = [
    "MAGICMOTION",
    "TINY",
    "Component",
    "HubFiles",
    "ModelSource",
    "PipelineFolder",
    "ReleasedMagicMotion",
    "check_grid",
    "inventory",
    "resolve_model",
]
