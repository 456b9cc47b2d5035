"""How figures alone are begun: found on their paper, set on a ground that shows them, brought into pose."""

import numpy as np
import pytest
import torch

from magicgen.control.story_ground import GROUNDS, contrasting, drawn_figure
from magicgen.sampling import mirrored_noise
from magicgen.synthetic.characters import Design, design
from magicgen.synthetic.poses import Action
from magicgen.synthetic.story_draft import figure_draft, figure_ground
from magicgen.synthetic.story_examples import SIZE, canonical_place, canonical_points, draw_alone, moved_reference

HEIGHT, WIDTH = 128, 64
PAPER = np.full((HEIGHT, WIDTH, 3), 246, np.uint8)


def character(kind: str, colour: str) -> Design:
    return design(np.random.default_rng(4), kind, colour)


def drawn(who: Design, ground: np.ndarray, yaw: float = 0.0, action: Action = Action.STANDS) -> np.ndarray:
    return draw_alone(who, canonical_place(HEIGHT, WIDTH / 2, SIZE, yaw, action, who.frame), ground)


def covered(who: Design, action: Action = Action.STANDS) -> np.ndarray:
    """Where a figure really is: what two grounds do not change."""
    light, dark = drawn(who, PAPER, 0.0, action), drawn(who, np.zeros_like(PAPER), 0.0, action)
    return np.asarray((light == dark).all(axis=2))


FURS = [("panda", "white"), ("duck", "white"), ("sheep", "silver"), ("fox", "red")]


@pytest.mark.parametrize(("kind", "colour"), FURS)
def test_a_figure_is_found_on_paper_of_its_own_colour(kind: str, colour: str) -> None:
    who = character(kind, colour)
    truth, found = covered(who), drawn_figure(drawn(who, PAPER))
    assert (truth & found).sum() > 0.98 * truth.sum()
    assert found.sum() < 1.2 * truth.sum()


def test_the_grain_of_small_models_is_not_taken_for_a_figure() -> None:
    who = character("fox", "red")
    noisy = drawn(who, PAPER) + np.random.default_rng(0).normal(0, 4, (HEIGHT, WIDTH, 3))
    truth, found = covered(who), drawn_figure(np.clip(noisy, 0, 255).astype(np.uint8))
    assert (truth & found).sum() > 0.95 * truth.sum()
    assert found.sum() < 1.2 * truth.sum()


def test_grounds_stand_off_from_figures() -> None:
    assert contrasting([]) == GROUNDS[0]
    for colour in [(244, 240, 232), (52, 50, 56), (140, 165, 190), (205, 150, 140)]:
        assert max(abs(a - b) for a, b in zip(contrasting([colour]), colour, strict=True)) > 50
    told = figure_ground("a blue duck sits", None, HEIGHT, WIDTH)
    assert told.shape == (HEIGHT, WIDTH, 3)
    shown = figure_ground("a duck", drawn(character("duck", "blue"), PAPER), HEIGHT, WIDTH)
    for ground in (told, shown):
        assert np.abs(ground[0, 0].astype(int) - (58, 106, 196)).max() > 50


def test_a_standing_figure_stays_as_its_picture_shows_it() -> None:
    who = character("fox", "red")
    ground = np.full_like(PAPER, 140)
    draft = figure_draft(drawn(who, PAPER), ground, 0.0, Action.STANDS)
    inside = covered(who)
    assert np.abs(draft[inside].astype(int) - drawn(who, ground)[inside]).mean() < 2
    assert np.array_equal(draft[:20, :10], ground[:20, :10])


@pytest.mark.parametrize("action", [Action.WAVES, Action.SITS, Action.JUMPS])
def test_the_draft_covers_what_the_pose_covers(action: Action) -> None:
    who = character("fox", "red")
    ground = np.full_like(PAPER, 140)
    draft = figure_draft(drawn(who, PAPER), ground, 0.0, action)
    truth = covered(who, action)
    found = (draft != ground).any(axis=2)
    assert (found & truth).sum() > 0.8 * (found | truth).sum()


def test_the_raised_hand_of_a_waving_figure_has_its_colour() -> None:
    who = character("bear", "brown")
    draft = figure_draft(drawn(who, PAPER), np.full_like(PAPER, 140), 0.0, Action.WAVES)
    hand = canonical_points(HEIGHT, WIDTH, 0.5, 0.0, Action.WAVES)[9]
    seen = draft[round(hand[1] * HEIGHT), round(hand[0] * WIDTH)].astype(int)
    assert seen[0] - seen[2] > 25  # brown, not the gray ground


def test_nobody_looks_out_of_the_back_of_a_head() -> None:
    picture = drawn(character("bear", "golden"), PAPER)
    points = canonical_points(HEIGHT, WIDTH, 0.5, 180.0, Action.STANDS)
    draft = moved_reference(picture, drawn_figure(picture), np.full_like(PAPER, 140), points, 180.0)
    eyes = canonical_points(HEIGHT, WIDTH, 0.5, 0.0, Action.STANDS)[1:3]
    for x, y, _ in eyes:
        assert draft[round(y * HEIGHT), round(x * WIDTH)].astype(int).sum() > 250


@pytest.mark.parametrize("yaw", [90.0, -90.0, 180.0])
def test_views_that_a_front_view_does_not_show_are_left_to_the_model(yaw: float) -> None:
    ground = np.full_like(PAPER, 140)
    assert np.array_equal(figure_draft(drawn(character("bear", "brown"), PAPER), ground, yaw, Action.STANDS), ground)


def test_what_is_held_may_touch_the_border_of_a_clean_drawing() -> None:
    who = character("panda", "white")
    picture = drawn(who, PAPER)
    picture[20:70, -4:] = (120, 60, 170)
    truth = covered(who)
    assert (truth & drawn_figure(picture)).sum() > 0.98 * truth.sum()


def test_a_reference_without_a_plain_ground_gives_no_draft() -> None:
    photo = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    ground = np.full_like(PAPER, 140)
    assert np.array_equal(figure_draft(photo, ground, 0.0, Action.STANDS), ground)


def test_mirrored_noise_cancels_and_repeats() -> None:
    one, two = (mirrored_noise(4, (2, 3), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, two)
    assert float(one.sum(dim=0).abs().max()) == 0
    assert mirrored_noise(3, (2, 3), None).shape == (3, 2, 3)
    assert float(mirrored_noise(1, (2, 3), None).abs().sum()) > 0
