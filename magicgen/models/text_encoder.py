"""Text encoder over a closed vocabulary: word embeddings with learned positions.

Small models trained on a synthetic world know a few hundred words. This encoder says which words it does not know
instead of guessing.
"""

import re
from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

WORD = re.compile(r"[a-z]+")


class WordTextEncoder(ModelMixin, ConfigMixin):
    """Prompts -> (B, max_length, embed_dim); row 0 of the table is the padding, known words follow in order.

    Args:
        vocabulary: the known words, lower case.
        embed_dim: width of the embeddings (the backbone's ``text_embed_dim``).
        max_length: words per prompt (the backbone's ``max_text_seq_length``); further words are dropped.
    """

    _supports_gradient_checkpointing = False

    @register_to_config
    def __init__(self, vocabulary: Sequence[str] = (), embed_dim: int = 64, max_length: int = 24) -> None:
        super().__init__()
        self.words = nn.Embedding(len(vocabulary) + 1, embed_dim)
        self.positions = nn.Parameter(torch.randn(max_length, embed_dim) * 0.02)
        nn.init.normal_(self.words.weight, std=0.5)
        self._number = {word: index + 1 for index, word in enumerate(vocabulary)}

    def tokens(self, prompts: Sequence[str]) -> torch.Tensor:
        """Word numbers, (B, max_length) int64; unknown words are skipped."""
        rows = torch.zeros(len(prompts), self.config.max_length, dtype=torch.long)
        for row, prompt in zip(rows, prompts, strict=True):
            known = [self._number[word] for word in WORD.findall(prompt.lower()) if word in self._number]
            known = known[: self.config.max_length]
            row[: len(known)] = torch.tensor(known, dtype=torch.long)
        return rows

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of a prompt that the model has never seen, in order, each once."""
        return list(dict.fromkeys(word for word in WORD.findall(prompt.lower()) if word not in self._number))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, L) int64 -> (B, L, embed_dim)."""
        return self.words(tokens) + self.positions[: tokens.shape[1]]
