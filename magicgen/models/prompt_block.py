"""The self-adaptive prompt block: a person's guide as the anchor of a cross-attention over the picture.

Source: the contrastive guidance interaction block of "Towards Flexible Interactive Reflection Removal with Human
Guidance" (arXiv 2406.01555), in transformer form: ``Q = Wq (LN(x) * M + e)``, keys and values from the whole picture.
Unlike there, the block is a gated residual (zero at the start), masks are soft shares of a token, and a picture without
any guide passes unchanged, bit for bit.
"""

import torch
from torch import nn
from torch.nn import functional as F


class GuidePromptBlock(nn.Module):
    """Cross-attention whose queries are the tokens that the guide names.

    Args:
        width: D of the tokens.
        heads: attention heads.
        layers: how many layer frames there are (transmission and reflection), each with its own role embedding.
    """

    def __init__(self, width: int, heads: int, layers: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.role = nn.Parameter(torch.randn(layers, 1, width) * 0.02)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.to_out = nn.Linear(width, width)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, tokens: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Let the guide speak.

        Args:
            tokens: (B, L, N, D), L layer frames of N tokens.
            shares: (B, L, N) in [0, 1], the share of each token that the guide gives to the layer of that frame.

        Returns:
            (B, L, N, D); pictures whose shares are all zero are returned exactly as they came.
        """
        batch, layers, count, width = tokens.shape
        guided = (shares.flatten(1).amax(dim=1) > 0)[:, None, None, None]
        normed = self.norm(tokens)
        anchored = normed * shares[..., None] + self.role
        query, key, value = (
            project(x).reshape(batch, layers * count, self.heads, width // self.heads).transpose(1, 2)
            for project, x in ((self.to_q, anchored), (self.to_k, normed), (self.to_v, normed))
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        answer = self.to_out(mixed.transpose(1, 2).reshape(batch, layers, count, width))
        return torch.where(guided, tokens + torch.tanh(self.gate) * answer, tokens)
