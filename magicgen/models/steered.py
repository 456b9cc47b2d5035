"""Backbone and control branch as one network: what the two say about noise under the conditions of a trajectory."""

from dataclasses import dataclass
from typing import Any

import torch

from magicgen.models.control_branch import ControlBranch
from magicgen.models.positions import rotary_embedding
from magicgen.models.transformer import ControlWeight, VideoTransformer


@dataclass(frozen=True, eq=False)
class Conditions:
    """Everything that a run is conditioned on, encoded once: (B, F, C, h, w) latents and (B, L, D) embeddings."""

    image: torch.Tensor
    map: torch.Tensor | None
    prompt: torch.Tensor
    negative: torch.Tensor | None

    def told_twice(self) -> "Conditions":
        """2 B conditions: the first half with the negative prompt, the second with the prompt."""
        assert self.negative is not None
        return Conditions(
            torch.cat([self.image, self.image]),
            None if self.map is None else torch.cat([self.map, self.map]),
            torch.cat([self.negative, self.prompt]),
            None,
        )


class SteeredNetwork:
    """A backbone, its branch, and all that stays the same from step to step.

    Args:
        branch: None for the plain image-to-video model.
        conditions: those of every latent of a call; ``negative`` is not looked at.
        control_weight: factor of the control residuals: one number, or one for each block of the branch.
        attention_kwargs: passed on to the attention processors.
    """

    def __init__(
        self,
        transformer: VideoTransformer,
        branch: ControlBranch | None,
        conditions: Conditions,
        control_weight: ControlWeight = 1.0,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.transformer, self.branch, self.conditions = transformer, branch, conditions
        self.control_weight, self.attention_kwargs = control_weight, attention_kwargs
        frames, height, width = (conditions.image.shape[axis] for axis in (1, 3, 4))
        self.rotary = rotary_embedding(transformer.config, frames, height, width, conditions.image.device)

    def __call__(self, noisy: torch.Tensor, timestep: torch.Tensor, controlled: bool) -> torch.Tensor:
        """The prediction (B, F, C, h, w), float32, in the scheduler's parameterisation.

        Args:
            noisy: (B, F, C, h, w).
            timestep: () of all of them.
            controlled: whether the branch speaks.
        """
        given, times = self.conditions, timestep.to(noisy.device).expand(noisy.shape[0])
        states, layers = None, None
        if self.branch is not None:
            layers = self.branch.config.control_layers
            if controlled and given.map is not None:
                states = self.branch(
                    noisy,
                    given.map,
                    given.prompt,
                    times,
                    image_rotary_emb=self.rotary,
                    attention_kwargs=self.attention_kwargs,
                )
        output: torch.Tensor = self.transformer(
            torch.cat([noisy, given.image], dim=2),
            given.prompt,
            times,
            image_rotary_emb=self.rotary,
            attention_kwargs=self.attention_kwargs,
            control_states=states,
            control_weight=self.control_weight,
            control_layers=layers,
            return_dict=False,
        )[0]
        return output.float()
