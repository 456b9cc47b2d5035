"""Spatial sparse attention in the place of plain attention, in chosen layers of a CogVideoX transformer."""

from collections.abc import Mapping
from typing import Any

import torch

from magicgen.attention.apply import attention_layers
from magicgen.attention.processor import project_heads, rotate
from magicgen.attention.spatial_sparse import SpatialSparseAttention, SpatialSparseConfig
from magicgen.attention.tokens import TokenGrid
from magicgen.errors import PlanError


class SpatialSparseProcessor:
    """Projects, normalises and rotates as diffusers does, then runs the layer's own ``spatial_sparse`` module.

    The grid comes as ``attention_kwargs={"grid": TokenGrid(...)}``: token numbers alone do not tell height from width.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
        grid: TokenGrid | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Video [B,V,C] and text [B,T,C] tokens to the same shapes, (video, text)."""
        if attention_mask is not None or grid is None:
            raise PlanError("spatial sparse attention needs the token grid and takes no attention mask")
        text = encoder_hidden_states.shape[1]
        tokens = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        q, k, v = project_heads(attn, tokens)
        q, k = rotate(q, image_rotary_emb, text), rotate(k, image_rotary_emb, text)
        attended = attn.spatial_sparse(q, k, v, tokens, grid)
        output = attn.to_out[1](attn.to_out[0](attended.transpose(1, 2).flatten(2)))
        return output[:, text:], output[:, :text]


def add_spatial_sparse_layers(model: torch.nn.Module, settings: Mapping[str, Any]) -> frozenset[int]:
    """Gives layers of ``model`` a fresh :class:`SpatialSparseAttention`, to be trained with the model.

    Args:
        model: a CogVideoX transformer under construction.
        settings: ``layers`` (their numbers) and the fields of :class:`SpatialSparseConfig`, as ``config.json`` holds
            them.

    Returns:
        The numbers of the layers.

    Raises:
        PlanError: there is no such layer, or a setting is impossible.
    """
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, (list, tuple)) else value
        for key, value in settings.items()
        if key != "layers"
    }
    config = SpatialSparseConfig(**fields)
    attentions, layers = attention_layers(model), frozenset(settings["layers"])
    if not layers or not layers <= set(range(len(attentions))):
        raise PlanError(
            f"spatial sparse attention: layers {sorted(layers)} are not among the {len(attentions)} layers of the model"
        )
    for layer in layers:
        attention = attentions[layer]
        width = attention.to_q.in_features
        attention.spatial_sparse = SpatialSparseAttention(width, attention.heads, width // attention.heads, config)
        attention.set_processor(SpatialSparseProcessor())
    return layers
