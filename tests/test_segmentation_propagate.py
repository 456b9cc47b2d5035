"""The mask tracker: what it promises about shapes, and how well it follows things."""

import cv2
import numpy as np
import pytest

from magicgen.errors import MediaError
from magicgen.segmentation.propagate import propagate_masks

FRAMES, HEIGHT, WIDTH = 9, 96, 144


def scene(step: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """A textured disc and a textured square cross before a textured wall: (T, H, W, 3) and (2, T, H, W)."""
    rng = np.random.default_rng(3)
    wall, disc, square = (texture(rng, tint) for tint in ((60, 110, 60), (200, 60, 40), (40, 70, 200)))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    video, masks = [], []
    for frame in range(FRAMES):
        picture = wall.copy()
        centre = 30 + step * frame
        round_mask = (rows - 45) ** 2 + (columns - centre) ** 2 < 16**2
        left = round(100 - step * frame)
        square_mask = (abs(rows - 52) < 14) & (columns >= left) & (columns < left + 28)
        for mask, colours, shift in ((round_mask, disc, centre), (square_mask, square, left)):
            picture[mask] = np.roll(colours, round(shift), axis=1)[mask]
        video.append(picture)
        masks.append([round_mask & ~square_mask, square_mask])
    return np.stack(video), np.stack(masks, axis=1)


def texture(rng: np.random.Generator, tint: tuple[int, int, int]) -> np.ndarray:
    noise = cv2.GaussianBlur(rng.normal(0, 60, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 1.5)
    return np.clip(noise[..., None] * 2 + np.array(tint), 0, 255).astype(np.uint8)


def overlap(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    return (found & true).sum((-1, -2)) / np.maximum((found | true).sum((-1, -2)), 1)


def test_crossing_objects_keep_their_masks() -> None:
    video, masks = scene()
    found = propagate_masks(video, masks[:, 0])
    assert found.shape == masks.shape
    assert found.dtype == np.bool_
    assert overlap(found, masks).mean() > 0.85


def test_frame_zero_is_what_was_given_and_masks_never_overlap() -> None:
    video, masks = scene()
    found = propagate_masks(video, masks[:, 0])
    assert np.array_equal(found[:, 0], masks[:, 0])
    assert found.sum(axis=0).max() == 1


def test_the_same_input_gives_the_same_masks() -> None:
    video, masks = scene()
    assert propagate_masks(video, masks[:, 0]).tobytes() == propagate_masks(video, masks[:, 0]).tobytes()


def test_no_objects_and_one_frame() -> None:
    video, masks = scene()
    assert propagate_masks(video, masks[:0, 0]).shape == (0, FRAMES, HEIGHT, WIDTH)
    assert np.array_equal(propagate_masks(video[:1], masks[:, 0])[:, 0], masks[:, 0])


def test_a_mask_that_is_empty_stays_empty() -> None:
    video, masks = scene()
    first = masks[:, 0].copy()
    first[1] = False
    assert not propagate_masks(video, first)[1].any()


def test_shapes_that_do_not_fit_are_named() -> None:
    video, masks = scene()
    with pytest.raises(MediaError, match="First masks"):
        propagate_masks(video, masks[:, 0, :-1])
    with pytest.raises(MediaError, match="uint8"):
        propagate_masks(video.astype(np.float32), masks[:, 0])
