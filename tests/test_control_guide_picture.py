"""The picture of what a guide was taken to mean: grey where nothing is said, and colours that can be told apart."""

import numpy as np
import pytest

from magicgen.control.guide import Layer
from magicgen.control.guide_picture import DIM, LONGEST, TINT, guide_picture, layer_colour

PHOTO = np.random.default_rng(5).integers(0, 256, (30, 40, 3), np.uint8)
NOTHING = np.zeros((15, 20, 2), np.float32)


def said(reflection: float, scene: float) -> np.ndarray:
    return np.broadcast_to(np.float32([reflection, scene]), NOTHING.shape).copy()


def test_where_nothing_is_said_it_is_the_photo_in_dim_grey() -> None:
    made = guide_picture(PHOTO, NOTHING)
    assert made.dtype == np.uint8
    lightness = PHOTO @ np.array([0.299, 0.587, 0.114])
    assert np.abs(made - DIM * lightness[..., None]).max() <= 1


@pytest.mark.parametrize("layer", Layer)
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_where_something_is_said_it_has_the_layer_s_colour(layer: Layer, share: float) -> None:
    maps = NOTHING.copy()
    maps[..., layer.value] = share
    grey = guide_picture(PHOTO, NOTHING).astype(float)
    expected = grey + TINT * share * (np.array(layer_colour(layer)) - grey)
    assert np.abs(guide_picture(PHOTO, maps) - expected).max() <= 1


def test_where_both_are_meant_colours_mix() -> None:
    both = guide_picture(np.zeros_like(PHOTO), said(1, 1))
    mean = np.mean([layer_colour(layer) for layer in Layer], axis=0)
    assert np.abs(both - TINT * mean).max() <= 1
    more = guide_picture(np.zeros_like(PHOTO), said(0.9, 0.1)).astype(int)
    assert (more[..., 0] > more[..., 2]).all()


def test_maps_lie_where_they_belong() -> None:
    maps = NOTHING.copy()
    maps[:5, :5, 0] = maps[10:, 15:, 1] = 1
    made = guide_picture(PHOTO, maps).astype(int)
    assert (made[:8, :8, 0] > made[:8, :8, 2]).all()
    assert (made[22:, 32:, 2] > made[22:, 32:, 0]).all()
    assert not np.ptp(made[12:18, 15:25], axis=2).any()


@pytest.mark.parametrize(
    ("size", "expected"), [((3000, 1500), (1024, 512)), ((20, 9), (20, 9)), ((1, 4000), (1, 1024))]
)
def test_it_is_never_larger_than_the_photo_nor_than_it_can_be_seen(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    made = guide_picture(np.zeros((*size, 3), np.uint8), said(1, 0))
    assert made.shape == (*expected, 3)
    assert max(made.shape) <= LONGEST


def test_sixteen_bits_look_the_same() -> None:
    deep = guide_picture(PHOTO.astype(np.uint16) * 257, said(0.4, 0.2)).astype(int)
    assert np.abs(deep - guide_picture(PHOTO, said(0.4, 0.2))).max() <= 1


# Vienot, Brettel and Mollon 1999, for linear light: what protanopes and deuteranopes see.
SEEN = {
    "everybody": np.eye(3),
    "protanope": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deuteranope": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


@pytest.mark.parametrize("who", SEEN)
@pytest.mark.parametrize("lightness", [0, 128, 255])
def test_whoever_confuses_red_and_green_tells_them_apart(who: str, lightness: int) -> None:
    photo = np.full((4, 4, 3), lightness, np.uint8)
    pictures = [guide_picture(photo, maps)[0, 0] / 255 for maps in (said(0, 0), said(1, 0), said(0, 1))]
    grey, reflection, scene = (np.clip(SEEN[who] @ colour**2.2, 0, 1) ** (1 / 2.2) for colour in pictures)
    assert np.linalg.norm(reflection - scene) > 0.5
    assert min(np.linalg.norm(reflection - grey), np.linalg.norm(scene - grey)) > 0.2
