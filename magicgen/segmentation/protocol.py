"""What every segmenter can do: a picture is set once, then asked about by clicks, a box or a rough mask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from magicgen.control.geometry import Box
from magicgen.errors import GuideError, MediaError

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Point = tuple[float, float]


@dataclass(frozen=True)
class Segment:
    """An answer: ``mask`` (H, W) bool at the size of the picture and ``score`` in [0, 1], how sure the segmenter is."""

    mask: Bools
    score: float


class Segmenter(Protocol):
    """Cuts the thing out of a picture that clicks, a box or a rough mask mean."""

    def set_image(self, image: UInt8) -> None:
        """The picture that the next questions are about: (H, W, 3) uint8 RGB."""
        ...

    def predict(
        self,
        points: Sequence[Point] = (),
        labels: Sequence[bool] = (),
        box: Box | None = None,
        mask: Bools | None = None,
    ) -> Segment:
        """The mask that a prompt means.

        Args:
            points: clicks (x, y), normalised, origin top left.
            labels: for every click whether it lies on the thing; all do when left out.
            box: where the thing is.
            mask: (H, W) bool, a rough mask of it.

        Raises:
            GuideError: an empty or contradictory prompt, or no picture yet.
        """
        ...


@dataclass(frozen=True)
class Prompt:
    """A checked prompt: clicks (x, y, on the thing?) normalised, a box, a rough mask."""

    points: tuple[tuple[float, float, bool], ...]
    box: Box | None
    mask: Bools | None


def check_image(image: UInt8) -> UInt8:
    """The picture itself.

    Raises:
        MediaError: not (H, W, 3) uint8, or empty.
    """
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or not image.size:
        raise MediaError(f"A segmenter takes an (H, W, 3) uint8 RGB picture; got {image.dtype} {image.shape}.")
    return image


def check_prompt(
    image: UInt8 | None, points: Sequence[Point], labels: Sequence[bool], box: Box | None, mask: Bools | None
) -> Prompt:
    """The prompt as one record.

    Raises:
        GuideError: no picture yet, nothing said, clicks that are not in the picture, labels that do not fit the
            clicks, a mask of another size, or only clicks beside the thing.
    """
    if image is None:
        raise GuideError("The segmenter has no picture yet: call set_image(image) before predict(...).")
    labels = list(labels) or [True] * len(points)
    if len(labels) != len(points):
        raise GuideError(f"Every click needs one label; got {len(points)} clicks and {len(labels)} labels.")
    for x, y in points:
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise GuideError(f"A click lies in the picture, 0 to 1 both ways (not pixels); got ({x:g}, {y:g}).")
    if mask is not None and (mask.shape != image.shape[:2] or mask.dtype != np.bool_):
        raise GuideError(f"A rough mask is {image.shape[:2]} bool; got {mask.dtype} {mask.shape}.")
    if box is None and not any(labels) and (mask is None or not mask.any()):
        raise GuideError("Say where the thing is: a click on it, a box around it or a rough mask.")
    return Prompt(tuple((x, y, bool(on)) for (x, y), on in zip(points, labels, strict=True)), box, mask)


def outline(segmenter: Segmenter) -> Callable[..., Bools]:
    """``(picture, box, clicks=()) -> mask``: one call for a picture and its prompt, as trajectories and the app ask.

    Clicks are ``(x, y, on the thing?)``, normalised. The picture is set anew only when it changes.
    """
    last: list[UInt8] = []

    def ask(picture: UInt8, box: Box | None, clicks: Sequence[tuple[float, float, bool]] = ()) -> Bools:
        if not last or last[0].shape != picture.shape or not np.array_equal(last[0], picture):
            segmenter.set_image(picture)
            last[:] = [picture.copy()]
        return segmenter.predict([(x, y) for x, y, _ in clicks], [on for _, _, on in clicks], box).mask

    return ask
