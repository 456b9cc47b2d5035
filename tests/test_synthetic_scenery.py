"""Sketches of places: closed lines, and parts filled between them."""

import numpy as np
import pytest

from magicgen.synthetic.landscapes import PLACES, paint_place
from magicgen.synthetic.scenery import filled_parts, place_lines, sketch_of

HEIGHT, WIDTH = 64, 96


def painted(place: str, seed: int = 0) -> np.ndarray:
    return paint_place(np.random.default_rng(seed), HEIGHT, WIDTH, place, "day")


@pytest.mark.parametrize("place", list(PLACES))
def test_every_place_has_lines(place: str) -> None:
    lines = place_lines(painted(place))
    assert lines.shape == (HEIGHT, WIDTH)
    assert set(np.unique(lines)) == {0, 255}
    assert 0.005 < (lines > 0).mean() < 0.5


def test_parts_are_parted_exactly_by_lines() -> None:
    picture = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    picture[20:50, 30:70] = (200, 90, 30)
    lines = place_lines(picture)
    filled = filled_parts(lines, picture)
    inside, outside = filled[22:48, 32:68], filled[:18]
    assert np.ptp(inside.reshape(-1, 3), axis=0).max() <= 8
    assert np.abs(inside.astype(int) - (200, 90, 30)).max() < 25
    assert np.abs(outside.astype(int) - 40).max() < 25


def test_without_lines_the_colours_stay_soft() -> None:
    ramp = np.broadcast_to(np.linspace(0, 200, HEIGHT, dtype=np.uint8)[:, None, None], (HEIGHT, WIDTH, 3)).copy()
    filled = filled_parts(np.zeros((HEIGHT, WIDTH), np.uint8), ramp)
    assert np.abs(filled.astype(int) - ramp).max() < 25
    assert filled[-1, 0, 0] > filled[0, 0, 0] + 120


def test_lines_everywhere_leave_one_part() -> None:
    filled = filled_parts(np.full((HEIGHT, WIDTH), 255, np.uint8), painted("town"))
    assert filled.shape == (HEIGHT, WIDTH, 3)


def test_a_place_is_the_same_in_the_morning_and_in_the_evening() -> None:
    morning, evening = (sketch_of(f"in the forest in the {time}", HEIGHT, WIDTH, 3) for time in ("morning", "evening"))
    other = sketch_of("in the forest in the morning", HEIGHT, WIDTH, 4)
    assert morning is not None
    assert evening is not None
    assert other is not None
    same = (morning == evening).mean()
    assert same > 0.9
    assert (morning == other).mean() < same


def test_words_without_a_place_have_no_sketch() -> None:
    assert sketch_of("somewhere at night", HEIGHT, WIDTH, 1) is None
