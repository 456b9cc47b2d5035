"""Seams at the borders of what is marked are closed; what belongs to the scene stays."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from magicgen.photo.seams import close_seams

WALL = 0.3


def wall_with_lamp(side: int, light: float, texture: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A grey wall 48 x 64, striped, with a square of light on it; and the square as a map."""
    picture = np.full((48, 64, 3), WALL, np.float32)
    picture += np.float32(texture) * np.sin(np.arange(64, dtype=np.float32))[None, :, None]
    marked = np.zeros((48, 64), np.float32)
    marked[20 : 20 + side, 24 : 24 + side] = 1
    return picture + np.float32(light) * marked[..., None], marked


@pytest.mark.parametrize("light", [0.3, -0.15])
def test_a_small_marked_thing_takes_the_level_of_what_is_around_it(light: float) -> None:
    picture, marked = wall_with_lamp(5, light)
    closed = close_seams(picture, marked)
    left = np.abs(closed - WALL)[marked > 0].mean()
    assert left < 0.35 * abs(light)
    assert np.abs(closed - WALL)[:, :12].max() < 0.01  # far from it nothing changes


def test_what_is_drawn_inside_of_a_mark_stays() -> None:
    picture, marked = wall_with_lamp(9, 0.2, texture=0.05)
    plain, _ = wall_with_lamp(9, 0.0, texture=0.05)
    inside = marked > 0
    closed = close_seams(picture, marked)
    assert np.corrcoef(closed[inside].ravel(), plain[inside].ravel())[0, 1] > 0.9
    assert np.abs(closed - plain)[inside].mean() < 0.6 * np.abs(picture - plain)[inside].mean()


def test_the_middle_of_a_large_mark_holds_its_level() -> None:
    picture = np.full((96, 96, 3), WALL, np.float32)
    marked = np.zeros((96, 96), np.float32)
    marked[10:86, 10:86] = 1
    picture[10:86, 10:86] = 0.6
    closed = close_seams(picture, marked)
    assert closed[48, 48] == pytest.approx(0.6, abs=0.02)
    assert np.abs(closed[48, 10] - closed[48, 9]).max() < 0.1


def test_a_finer_picture_is_closed_alike() -> None:
    picture, marked = wall_with_lamp(9, 0.3)
    twice = [cv2.resize(part, (128, 96), interpolation=cv2.INTER_LINEAR) for part in (picture, marked)]
    coarse = close_seams(picture, marked)
    same, short = (cv2.resize(close_seams(*twice, fineness), (64, 48)) for fineness in (2.0, 1.0))
    assert np.abs(same - coarse)[marked > 0].mean() < 0.7 * np.abs(short - coarse)[marked > 0].mean()


@settings(deadline=None, max_examples=25)
@given(arrays.arrays(np.float32, (6, 9, 3), elements=st.floats(0, 1, width=32)), st.integers(0, 2**16))
def test_values_stay_in_range_and_without_a_border_nothing_changes(picture: np.ndarray, seed: int) -> None:
    marked = np.random.default_rng(seed).random((6, 9)).astype(np.float32)
    closed = close_seams(picture, marked)
    assert closed.dtype == np.float32
    assert closed.min() >= 0
    assert closed.max() <= 1
    for even in (0, 1):
        assert np.allclose(close_seams(picture, np.full((6, 9), even, np.float32)), picture, atol=1e-5)


def test_a_sharp_border_is_solved_to_the_end() -> None:
    """Against the linear system written out in full."""
    picture, marked = wall_with_lamp(6, 0.25, texture=0.04)
    closed = close_seams(picture, marked)
    levels = np.log(picture.astype(np.float64) + 0.02)
    index = np.arange(48 * 64).reshape(48, 64)
    pairs = [(index[:, :-1], index[:, 1:]), (index[:-1], index[1:])]
    hold = (1 - 0.95 * marked).ravel().astype(np.float64)
    matrix, wanted = np.diag(hold), hold[:, None] * levels.reshape(-1, 3)
    for first, second in pairs:
        for one, two in zip(first.ravel(), second.ravel(), strict=True):
            matrix[[one, two], [one, two]] += 1
            matrix[[one, two], [two, one]] -= 1
            believed = max(0.0, 1 - 2 * abs(float(marked.flat[one]) - float(marked.flat[two])))
            step = believed * (levels.reshape(-1, 3)[two] - levels.reshape(-1, 3)[one])
            wanted[one] -= step
            wanted[two] += step
    exact = np.exp(np.linalg.solve(matrix, wanted)).reshape(48, 64, 3) - 0.02
    assert np.abs(closed - exact).max() < 0.004
