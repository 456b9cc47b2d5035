"""From the pixels of a batch to the latents and words that the networks are trained on."""

from dataclasses import dataclass, fields
from typing import Any

import torch

from magicgen.models.conditioning import (
    DRAFT_CHANNELS,
    draft_state_channels,
    encode_video,
    image_condition,
    pool_weights,
    to_signed,
)
from magicgen.training.examples import Batch
from magicgen.training.networks import TrainableNetworks
from magicgen.training.options import TrainingOptions


@dataclass(frozen=True)
class Latents:
    """A batch as latents, (B, F, C, h, w) each.

    Attributes:
        region: (B, F, 1, h, w) what the error of a place counts.
        text: what the text encoder reads, (B, L) int64, or what it makes of it, (B, L, D).
    """

    clean: torch.Tensor
    image: torch.Tensor
    map: torch.Tensor
    mask_map: torch.Tensor
    region: torch.Tensor
    text: torch.Tensor

    def as_dict(self) -> dict[str, torch.Tensor]:
        """The tensors by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def to(self, device: torch.device) -> "Latents":
        """The same batch on a device."""
        return Latents(**{name: tensor.to(device) for name, tensor in self.as_dict().items()})


class BatchEncoder:
    """The fixed parts of a run that turn pixels and captions into what is trained on."""

    def __init__(
        self, options: TrainingOptions, networks: TrainableNetworks, vae: Any, tokenizer: Any, device: torch.device
    ) -> None:
        self.options, self.networks, self.vae, self.tokenizer, self.device = options, networks, vae, tokenizer, device

    @torch.no_grad()
    def __call__(self, batch: Batch, generator: torch.Generator) -> Latents:
        """Encode; conditions that were drawn to be left out are left out here.

        Args:
            batch: pixels.
            generator: draws what is random in it: posteriors of learned autoencoders, noise on given first frames.
        """
        device = self.device

        def latent(video: torch.Tensor) -> torch.Tensor:
            return encode_video(self.vae, to_signed(video.to(device)), generator)

        clean, draft = latent(batch.video), latent(batch.draft)
        state = draft_state_channels(batch.state.to(device))
        config = self.networks.transformer.config
        extra = config.in_channels - 2 * config.out_channels
        keep = batch.keep_draft.to(device)[:, None, None, None, None]
        given = self._given(batch, clean[:, :1], generator)
        if extra == DRAFT_CHANNELS:
            still = latent(batch.video[:, :1].expand_as(batch.video))
            held = image_condition(given, clean.shape[1], extra, still, None)
            image = torch.where(keep, image_condition(given, clean.shape[1], extra, draft, state), held)
        else:
            image = image_condition(given, clean.shape[1], extra, None, None)
        condition = latent(batch.map)
        blank = latent(torch.zeros_like(batch.map[:1]))
        condition = torch.where(batch.keep_map.to(device)[:, None, None, None, None], condition, blank)
        region = 1 + (self.options.loss.moved_region - 1) * pool_weights(batch.region.to(device).float())
        return Latents(clean, image, condition, latent(batch.mask_map), region, self.words(batch.captions))

    def _given(self, batch: Batch, first: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(B, 1, C, h, w): the latent of the given first frame, of some examples with noise on its pixels."""
        share = self.options.data.first_frame_noise
        if share == 0:
            return first
        count = first.shape[0]
        chosen = torch.rand(count, generator=generator) < share
        strength = torch.exp(-3 + 0.5 * torch.randn(count, generator=generator)) * chosen
        pixels = to_signed(batch.video[:, :1])
        noise = torch.randn(pixels.shape, generator=generator)
        noisy = (pixels + strength[:, None, None, None, None] * noise).to(self.device)
        return torch.where(
            chosen.to(self.device)[:, None, None, None, None], encode_video(self.vae, noisy, generator), first
        )

    def words(self, captions: tuple[str, ...]) -> torch.Tensor:
        """What the text encoder reads: word numbers (B, L) int64, or ids of the tokenizer."""
        if self.tokenizer is None:
            return self.networks.text_encoder.tokens(captions).to(self.device)  # type: ignore[union-attr, operator]
        length = self.networks.transformer.config.max_text_seq_length
        ids = self.tokenizer(
            list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        return ids.to(self.device)
