"""Reflection removal: a photo through glass, and what a person says about it -> the scene and the reflection.

The picture is set once and answered many times, as with promptable segmenters: what depends on the picture alone is
kept, and a further click costs one step of the small network. The solution is found at a working size, refined octave
by octave in tiles, and brought to the photo's own size as a change of the photo (``magicgen.photo.transfer``).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from torch.nn import functional as F

from magicgen.control.guide import (
    Layer,
    Maps,
    Meaning,
    RemovalGuide,
    SegmentRegion,
    SegmentText,
    guide_meaning,
    resized,
)
from magicgen.errors import GenerationFailed, GuideError
from magicgen.models import BlockTransformAutoencoder, VideoTransformer
from magicgen.models.refiner import PATCH
from magicgen.models.reflection import LayerPair, ReflectionAdapter, ReflectionNetwork, enlarged
from magicgen.photo.files import Pixels
from magicgen.photo.seams import SIDE as SEAM_SIDE
from magicgen.photo.seams import close_seams
from magicgen.photo.transfer import FAINT, ChangeField, apply_change, change_field, removed_light, shrunk
from magicgen.progress import CancelToken

Floats = npt.NDArray[np.float32]
# Hears how many parts are done, of how many, and after each octave the transmission so far, (h, w, 3) uint8 or None.
Tell = Callable[[int, int, npt.NDArray[np.uint8] | None], None]
LONGEST = 1024
"""Longer side of the working size; longer pictures are seen narrower."""
TILE, OVERLAP = 512, 64
CLOSED = 0.75
"""How far seams at the borders of what is marked as reflection are closed, in a guide that is followed fully."""
MASK_FULL = 0.2
"""A pixel whose value changed by this much (of 1) is white in the mask."""


@dataclass
class ReflectionRemovalOutput(BaseOutput):
    """Layers at the photo's own size and type.

    Attributes:
        transmission: (H, W, 3), the photo without its reflection.
        reflection: (H, W, 3), the light that was taken away.
        mask: (H, W) uint8, how much each pixel was changed: 0 unchanged (bit for bit), 255 strongly.
        changed: share of the pixels that were changed.
        meant: (h, w, 2) float32 in [0, 1] at the working size, the maps that the guide was taken to mean; None for the
            automatic result.
        followed: how far they were followed where they speak, 0 to 1.
    """

    transmission: Pixels
    reflection: Pixels
    mask: npt.NDArray[np.uint8]
    changed: float
    meant: Maps | None = None
    followed: float = 1.0


@dataclass(frozen=True, eq=False)
class LayerSolution:
    """A solution at the finest octave, (h, w, 3) float32 sRGB in [0, 1] each: the picture as seen, and its layers; with
    the meaning of the guide that it answers, None for the automatic result."""

    before: Floats
    transmission: Floats
    reflection: Floats
    meaning: Meaning | None = None

    def field(self) -> ChangeField:
        """The change from picture to transmission."""
        return change_field(self.before, self.transmission)


@dataclass(frozen=True, eq=False)
class _Picture:
    """What is kept of a picture: its octaves (1, 3, h, w), coarse to fine, the latent of the coarsest, and once they
    are known the network's layers of each octave without a guide."""

    pixels: Pixels
    octaves: tuple[torch.Tensor, ...]
    latent: torch.Tensor
    unasked: list[LayerPair] = field(default_factory=list)


class ReflectionRemovalPipeline(DiffusionPipeline):
    """The shared backbone with a reflection adapter.

    Args:
        transformer: the backbone; it is not changed and may serve other pipelines at the same time.
        vae: the fixed block transform that it was trained with.
        adapter: the reflection adapter.
        octaves: how many times the refiner doubles the working size.
        mirrored: average the answers for the picture and its mirror image, twice the work.
    """

    model_cpu_offload_seq = "transformer->vae->adapter"

    def __init__(
        self,
        transformer: VideoTransformer,
        vae: BlockTransformAutoencoder,
        adapter: ReflectionAdapter,
        octaves: int = 1,
        mirrored: bool = True,
    ) -> None:
        super().__init__()
        self.register_modules(transformer=transformer, vae=vae, adapter=adapter)
        self.register_to_config(octaves=octaves, mirrored=mirrored)
        self.network = ReflectionNetwork(transformer, vae, adapter).eval()
        self._picture: _Picture | None = None

    @classmethod
    def from_adapter(
        cls, adapter: str | Path, base: str | Path, octaves: int = 1, mirrored: bool = True
    ) -> "ReflectionRemovalPipeline":
        """Load an adapter folder on a backbone's pipeline folder, in single precision.

        Raises:
            WeightsError: they do not fit each other.
        """
        folder = Path(base)
        return cls(
            VideoTransformer.from_pretrained(folder / "transformer").float(),
            BlockTransformAutoencoder.from_pretrained(folder / "vae"),
            ReflectionAdapter.from_pretrained(adapter).float(),
            octaves,
            mirrored,
        )

    @torch.no_grad()
    def set_image(self, pixels: Pixels) -> None:
        """Look at a photo: (H, W, 3) uint8 or uint16. Keeps the working sizes and the latent."""
        height, width = pixels.shape[:2]
        rows, columns = working_size(height, width, self.adapter.config.working_side, self.network.step)
        octaves = []
        for level in range(int(self.config.octaves) + 1):
            size = (rows << level, columns << level)
            if level and (size[0] > 1.25 * height or size[1] > 1.25 * width):
                break
            small = np.ascontiguousarray(shrunk(pixels, *size).transpose(2, 0, 1))
            octaves.append(torch.from_numpy(small)[None].to(self.device))
        self._picture = _Picture(pixels, tuple(octaves), self.network.encode(self._both(octaves[0])))

    def reset_image(self) -> None:
        """Forget the photo."""
        self._picture = None

    @torch.no_grad()
    def predict(
        self, meaning: Meaning | None = None, cancel: CancelToken | None = None, tell: Tell | None = None
    ) -> LayerSolution:
        """Solve the photo that was set.

        Args:
            meaning: of a guide, at any size (``control.guide.guide_meaning``); None for the automatic result.
            cancel: stops between tiles.
            tell: hears of every tile, and sees every octave.

        Raises:
            GuideError: no photo was set.
            GenerationFailed: the network made values that are no numbers.
            progress.Cancelled: ``cancel`` was set.
        """
        picture = self._picture
        if picture is None:
            raise GuideError("No photo is set. Call set_image(photo) first.")
        mixture = picture.octaves[-1]
        if meaning is None or not meaning.maps.any():
            final = self._automatic(mixture, cancel, tell)
            return LayerSolution(_array(mixture), _array(final.transmission), _array(final.reflection))
        if not picture.unasked:
            picture.unasked[:] = self._octaves(picture, None, cancel, None)
        answer = self._octaves(picture, meaning, cancel, tell)[-1]
        guide, followed = self._guide(meaning, mixture), self._followed(meaning, mixture)
        final = self.network.guided(mixture, picture.unasked[-1], answer, guide, followed)
        transmission, marked = _array(final.transmission), _array(guide)[..., Layer.REFLECTION.value]
        finest = self.adapter.config.working_side * 2 ** (len(picture.octaves) - 1)
        closed = close_seams(transmission, marked, fineness=finest / SEAM_SIDE)
        transmission += CLOSED * _array(followed) * (closed - transmission)
        return LayerSolution(_array(mixture), transmission, _array(final.reflection), meaning)

    def _automatic(self, mixture: torch.Tensor, cancel: CancelToken | None, tell: Tell | None) -> LayerPair:
        if cancel is not None:
            cancel.raise_if_cancelled()
        answer = _sound(self.network.automatic(mixture))
        if tell is not None:
            tell(1, 1, _seen(answer))
        return answer

    def _octaves(
        self,
        picture: _Picture,
        meaning: Meaning | None,
        cancel: CancelToken | None,
        tell: Tell | None,
    ) -> list[LayerPair]:
        """The network's layers at every octave, coarse to fine."""
        parts = _Parts(picture.octaves, self.network.step, tell)
        answers: list[LayerPair] = []
        for level, mixture in enumerate(picture.octaves):
            guide = self._guide(meaning, mixture)
            if not answers:
                both, both_guides = self._both(mixture), self._both(guide)
                draft = self.network.draft(both, both_guides, picture.latent)
                answers.append(self._one(self._even(both, draft, both_guides)))
                parts.done()
            else:
                draft = enlarged(answers[-1], picture.octaves[level - 1], mixture)
                answers.append(self._refined(mixture, draft, guide, parts, cancel))
            _sound(answers[-1])
            if tell is not None and meaning is not None:
                followed = self._followed(meaning, mixture)
                parts.show(self.network.guided(mixture, picture.unasked[level], answers[-1], guide, followed))
        return answers

    def __call__(
        self,
        pixels: Pixels | None = None,
        guide: RemovalGuide | None = None,
        *,
        segment: SegmentRegion | None = None,
        segment_text: SegmentText | None = None,
        strength: float = 1.0,
        cancel: CancelToken | None = None,
        tell: Tell | None = None,
    ) -> ReflectionRemovalOutput:
        """Remove the reflection.

        Args:
            pixels: (H, W, 3) uint8 or uint16; None for the photo that was set.
            guide: what a person said; None or an empty guide for the automatic result.
            segment, segment_text: find the regions that clicks, boxes and words mean.
            strength: 0 leaves the photo, 1 removes all that was found.
            cancel: stops between tiles.
            tell: hears of every tile, and sees every octave before the photo's own size is made.

        Raises:
            GuideError: no photo, or a guide that cannot be resolved.
        """
        if pixels is not None:
            self.set_image(pixels)
        if self._picture is None:
            raise GuideError("No photo is set. Give one, or call set_image(photo) first.")
        photo = self._picture.pixels
        meaning = None
        if guide is not None and not guide.empty:
            seen = _array(self._picture.octaves[-1])
            meaning = guide_meaning(guide, seen, segment, segment_text, photo.shape[:2])
        return finish(photo, self.predict(meaning, cancel, tell), strength)

    def _both(self, values: torch.Tensor) -> torch.Tensor:
        """The picture, and below it its mirror image where the pipeline averages both."""
        return torch.cat([values, values.flip(3)]) if self.config.mirrored else values

    def _one(self, answer: LayerPair) -> LayerPair:
        if not self.config.mirrored:
            return answer

        def mean(values: torch.Tensor) -> torch.Tensor:
            return (values[:1] + values[1:].flip(3)) / 2

        return LayerPair(mean(answer.transmission), mean(answer.reflection))

    def _even(self, mixture: torch.Tensor, draft: LayerPair, guide: torch.Tensor) -> LayerPair:
        """Refine twice, the second time with the network's patches laid across the borders of the first ones, and take
        the mean: in dark even places their grid would show."""
        before, after = PATCH // 2, self.network.step - PATCH // 2

        def moved(values: torch.Tensor) -> torch.Tensor:
            return F.pad(values, (before, after, before, after), mode="replicate")

        def mean(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
            return (one + two[:, :, before:-after, before:-after]) / 2

        one = self.network.refine(mixture, draft, guide)
        across = LayerPair(moved(draft.transmission), moved(draft.reflection))
        two = self.network.refine(moved(mixture), across, moved(guide))
        return LayerPair(mean(one.transmission, two.transmission), mean(one.reflection, two.reflection))

    def _guide(self, meaning: Meaning | None, mixture: torch.Tensor) -> torch.Tensor:
        if meaning is None:
            return mixture.new_zeros(1, 2, *mixture.shape[2:])
        return _sized(meaning.maps, mixture)

    def _followed(self, meaning: Meaning, mixture: torch.Tensor) -> torch.Tensor:
        return _sized(meaning.followed[..., None], mixture)

    def _refined(
        self,
        mixture: torch.Tensor,
        draft: LayerPair,
        guide: torch.Tensor,
        parts: "_Parts",
        cancel: CancelToken | None,
    ) -> LayerPair:
        """Refine in tiles that overlap, only where something was removed; elsewhere the draft stands."""
        total = torch.zeros_like(mixture).repeat(1, 2, 1, 1)
        weights = torch.zeros_like(mixture[:, :1])
        for window in _tiles(mixture.shape[2], mixture.shape[3], self.network.step):
            if cancel is not None:
                cancel.raise_if_cancelled()
            part = LayerPair(draft.transmission[window], draft.reflection[window])
            if float((part.transmission - mixture[window]).abs().max()) > FAINT:
                part = self._even(mixture[window], part, guide[window])
            ramp = _ramp(part.transmission)
            total[window] += ramp * torch.cat([part.transmission, part.reflection], dim=1)
            weights[window] += ramp
            parts.done()
        mean = total / weights
        return LayerPair(mean[:, :3], mean[:, 3:])


class _Parts:
    """Counts the draft and every tile of the later octaves for whoever wants to hear of them."""

    def __init__(self, octaves: Sequence[torch.Tensor], step: int, tell: Tell | None) -> None:
        self._tell, self._done = tell, 0
        self._total = 1 + sum(len(list(_tiles(octave.shape[2], octave.shape[3], step))) for octave in octaves[1:])

    def done(self) -> None:
        """One more."""
        self._done += 1
        if self._tell is not None:
            self._tell(self._done, self._total, None)

    def show(self, answer: LayerPair) -> None:
        """An octave is done."""
        if self._tell is not None:
            self._tell(self._done, self._total, _seen(answer))


def _seen(answer: LayerPair) -> npt.NDArray[np.uint8]:
    return np.asarray(np.round(255 * _array(answer.transmission)), np.uint8)


def _sound(answer: LayerPair) -> LayerPair:
    if not torch.isfinite(answer.transmission).all():
        raise GenerationFailed("The reflection model made values that are no numbers; its weights are damaged.")
    return answer


def finish(photo: Pixels, solution: LayerSolution, strength: float = 1.0) -> ReflectionRemovalOutput:
    """Bring a solution to the photo's size; another ``strength`` needs no new solution."""
    transmission = apply_change(photo, solution.field(), strength)
    mask, changed = _mask(photo, transmission)
    return ReflectionRemovalOutput(
        transmission=transmission,
        reflection=removed_light(photo, transmission),
        mask=mask,
        changed=changed,
        meant=None if solution.meaning is None else solution.meaning.maps,
        followed=1.0 if solution.meaning is None else solution.meaning.share,
    )


def working_size(height: int, width: int, short_side: int, step: int) -> tuple[int, int]:
    """Rows and columns, multiples of ``step``, at which a picture is solved: nearly its aspect, the shorter side from
    ``short_side`` to half as much again, smaller only where the longer one would pass :data:`LONGEST`."""
    aspect = max(height, width) / min(height, width)
    sides = range(short_side, short_side * 3 // 2 + 1, step)
    choices = [(side, step * max(1, round(side * aspect / step))) for side in sides]
    short, long = min(choices, key=lambda pair: (round(abs(pair[1] / pair[0] / aspect - 1), 3), pair[0]))
    if long > LONGEST:
        short, long = step * max(1, round(LONGEST / aspect / step)), LONGEST
    return (short, long) if height <= width else (long, short)


def _mask(before: Pixels, after: Pixels) -> tuple[npt.NDArray[np.uint8], float]:
    """How much each pixel changed, by strips of rows; and the share that did."""
    depth = float(np.iinfo(before.dtype).max)
    mask = np.empty(before.shape[:2], np.uint8)
    touched = 0
    rows = max(1, 2_000_000 // before.shape[1])
    for top in range(0, before.shape[0], rows):
        one, two = before[top : top + rows], after[top : top + rows]
        apart = np.abs(one.astype(np.int32) - two).max(axis=2)
        touched += int(np.count_nonzero(apart))
        # The smallest change of all shows as 1, so that 0 means "the photo's own value".
        scaled = np.ceil(apart * (255 / (MASK_FULL * depth)))
        mask[top : top + rows] = np.clip(scaled, 0, 255).astype(np.uint8)
    return mask, touched / mask.size


def _tiles(height: int, width: int, step: int) -> Iterator[tuple[slice, slice, slice, slice]]:
    for top, bottom in _spans(height, step):
        for left, right in _spans(width, step):
            yield slice(None), slice(None), slice(top, bottom), slice(left, right)


def _spans(length: int, step: int) -> list[tuple[int, int]]:
    """Overlapping spans of at most TILE that cover a length, with starts on the grid of ``step``."""
    if length <= TILE:
        return [(0, length)]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    starts = [round(index * (length - TILE) / (count - 1) / step) * step for index in range(count)]
    return [(start, min(start + TILE, length)) for start in starts]


def _ramp(tile: torch.Tensor) -> torch.Tensor:
    """(1, 1, h, w): 1 inside, falling towards the borders of a tile, never 0."""
    height, width = tile.shape[2:]

    def line(length: int) -> torch.Tensor:
        places = torch.arange(length, device=tile.device, dtype=tile.dtype) + 1
        return (torch.minimum(places, places.flip(0)) / OVERLAP).clamp(1e-3, 1)

    return (line(height)[:, None] * line(width))[None, None]


def _sized(maps: Maps, mixture: torch.Tensor) -> torch.Tensor:
    """Maps (H, W, C) as (1, C, h, w) at the size of a picture."""
    small = np.atleast_3d(resized(maps, mixture.shape[2], mixture.shape[3])).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(small))[None].to(mixture)


def _array(values: torch.Tensor) -> Floats:
    clamped: Any = values[0].clamp(0, 1).permute(1, 2, 0).float().cpu().numpy()
    return np.ascontiguousarray(clamped, dtype=np.float32)


__all__ = ["LayerSolution", "ReflectionRemovalOutput", "ReflectionRemovalPipeline", "finish", "working_size"]
