"""The token sequence of a video transformer: text first, then frames x height x width, frame-major.

Shape legend of this package: B batch, H heads, N all tokens, T text tokens, V video tokens, D head dimension, F frames,
P places (height x width) of one frame.
"""

from dataclasses import dataclass
from enum import Enum

import torch

from magicgen.errors import PlanError


class Order(Enum):
    """How the video tokens are lined up when a band is cut out of them."""

    FRAME_MAJOR = "frame_major"
    TOKEN_MAJOR = "token_major"


@dataclass(frozen=True)
class TokenGrid:
    """Sizes of one sequence: ``text`` tokens, then ``frames * height * width`` video tokens (after patching)."""

    text: int
    frames: int
    height: int
    width: int

    def __post_init__(self) -> None:
        for name, value, least in (
            ("text", self.text, 0),
            ("frames", self.frames, 1),
            ("height", self.height, 1),
            ("width", self.width, 1),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise PlanError(f"token grid: {name} is {value!r}; expected a whole number of at least {least}")

    @property
    def places(self) -> int:
        """Tokens of one frame."""
        return self.height * self.width

    @property
    def video(self) -> int:
        """Video tokens."""
        return self.frames * self.places

    @property
    def total(self) -> int:
        """All tokens, text included."""
        return self.text + self.video

    def same_video(self, other: "TokenGrid") -> bool:
        """Whether frames, height and width agree (patterns do not depend on the number of text tokens)."""
        return (self.frames, self.height, self.width) == (other.frames, other.height, other.width)

    def __str__(self) -> str:
        return f"{self.text} text + {self.frames}x{self.height}x{self.width} video tokens"

    def video_position(self, order: Order, device: torch.device | None = None) -> torch.Tensor:
        """Position in ``order`` of each frame-major video token: int64 [V].

        In token-major order the frames of one place stand next to each other, so that attention to the same place in
        other frames becomes a band around the diagonal (the reordering of Sparse VideoGen, arXiv 2502.01776).
        """
        positions = torch.arange(self.video, device=device)
        if order is Order.TOKEN_MAJOR:
            positions = positions.view(self.places, self.frames).T.reshape(-1)
        return positions

    def to_token_major(self, video: torch.Tensor) -> torch.Tensor:
        """View of frame-major ``video`` [B,H,V,D] as [B,H,P,F,D]."""
        return video.unflatten(2, (self.frames, self.places)).transpose(2, 3)

    def from_token_major(self, video: torch.Tensor) -> torch.Tensor:
        """View of token-major ``video`` [B,H,V,D] as [B,H,F,P,D]."""
        return video.unflatten(2, (self.places, self.frames)).transpose(2, 3)
