"""The attention processor for CogVideoX blocks; the only file that knows diffusers' Attention module.

diffusers' own backend switch has no effect on CogVideoX (its processor calls PyTorch directly) and is global to the
process, so a plan is installed as processors. Every parameter is named: ``Attention.forward`` drops what the signature
does not name, rotary embeddings included, with only a log line.
"""

from collections.abc import Callable
from typing import Any

import torch

from magicgen.errors import PlanError

AttendFn = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]
"""(layer, q, k, v, text tokens) -> output; tensors [B,H,N,D]."""

STOCK_PROCESSORS = ("CogVideoXAttnProcessor2_0", "FusedCogVideoXAttnProcessor2_0")
"""Class names of the processors that may be replaced without changing what a model computes."""


class PlannedProcessor:
    """Projects, normalises and rotates exactly as diffusers' CogVideoX processors do, then calls ``attend``.

    Serves separate and fused QKV projections.
    """

    def __init__(self, layer: int, attend: AttendFn) -> None:
        self.layer = layer
        self.attend = attend

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Video [B,V,C] and text [B,T,C] tokens to the same shapes, (video, text)."""
        if attention_mask is not None:
            raise PlanError("a sparse attention plan cannot be combined with an attention mask; remove one of them")
        text = encoder_hidden_states.shape[1]
        q, k, v = project_heads(attn, torch.cat([encoder_hidden_states, hidden_states], dim=1))
        q, k = rotate(q, image_rotary_emb, text), rotate(k, image_rotary_emb, text)
        attended = self.attend(self.layer, q, k, v, text)
        output = attn.to_out[1](attn.to_out[0](attended.transpose(1, 2).flatten(2)))
        return output[:, text:], output[:, :text]


def project_heads(attn: Any, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens [B,N,C] to q, k, v [B,H,N,D], normalised. LoRA layers take part: the projections are called as modules."""
    if getattr(attn, "fused_projections", False):
        parts = attn.to_qkv(tokens).chunk(3, dim=-1)
    else:
        parts = (attn.to_q(tokens), attn.to_k(tokens), attn.to_v(tokens))
    q, k, v = (part.unflatten(2, (attn.heads, -1)).transpose(1, 2) for part in parts)
    if attn.norm_q is not None:
        q = attn.norm_q(q)
    if attn.norm_k is not None:
        k = attn.norm_k(k)
    return q, k, v


def rotate(x: torch.Tensor, rotary: tuple[torch.Tensor, torch.Tensor] | None, text: int) -> torch.Tensor:
    """Rotary embedding of the video rows of ``x`` [B,H,N,D]."""
    if rotary is None:
        return x
    from diffusers.models.embeddings import apply_rotary_emb

    x[:, :, text:] = apply_rotary_emb(x[:, :, text:], rotary)
    return x
