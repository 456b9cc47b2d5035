"""The storybook world: every kind, accessory, shape, texture and place can be drawn; held-out sets are disjoint."""

import numpy as np
import pytest

from magicgen.synthetic.accessories import ACCESSORIES
from magicgen.synthetic.actors import Canvas, CharacterActor, Place
from magicgen.synthetic.characters import build, design, is_held_out, random_design
from magicgen.synthetic.colours import NAMED_COLOURS
from magicgen.synthetic.geometry import f32
from magicgen.synthetic.kinds import KINDS
from magicgen.synthetic.landscapes import PLACES, TIMES, draw_place
from magicgen.synthetic.photos import HELD_OUT_PHOTOS, TRAIN_PHOTOS, photo
from magicgen.synthetic.poses import Action, jumping, posed, walking
from magicgen.synthetic.shapes import OUTLINES, sprite
from magicgen.synthetic.skeleton import BONES, KEYPOINT_NAMES, Frame, draw_keypoints
from magicgen.synthetic.textures import PROCEDURAL
from magicgen.synthetic.vocabulary import VOCABULARY

CANVAS = Canvas(96, 96, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_from_every_side(kind: str) -> None:
    actor = CharacterActor(design(np.random.default_rng(0), kind, KINDS[kind].colours[0]))
    views = []
    for yaw in (0.0, 45.0, 90.0, 180.0, -90.0):
        layer = actor.draw(Place(48, 48, 70, 0, yaw, walking(1.0)), CANVAS)
        assert layer is not None
        assert 300 < (layer.alpha > 0.5).sum() < 96 * 96
        assert np.all(layer.rgb <= 255 * layer.alpha[..., None] + 1e-2)
        views.append(layer.rgb.mean())
    assert len(set(views)) == 5


@pytest.mark.parametrize("name", ACCESSORIES)
def test_every_accessory_changes_the_picture(name: str) -> None:
    rng = np.random.default_rng
    plain, dressed = design(rng(1), "fox", "red"), design(rng(1), "fox", "red", name, "blue")
    place = Place(48, 48, 60, 0, 20.0, jumping(1.0))
    first, second = (CharacterActor(look).draw(place, CANVAS) for look in (plain, dressed))
    assert first is not None
    assert second is not None
    assert first.rgb.shape != second.rgb.shape or np.abs(first.rgb - second.rgb).max() > 20
    assert dressed.phrase.endswith(name)


def test_turning_is_continuous() -> None:
    look = design(np.random.default_rng(0), "bear", "brown", "scarf", "red")
    for yaw in range(-180, 180, 15):
        here, there = (build(look, walking(0.3), angle).view for angle in (yaw, yaw + 1))
        assert np.abs(here - there).max() < 0.02


@pytest.mark.parametrize("name", OUTLINES)
def test_every_shape_becomes_a_sprite(name: str) -> None:
    rng = np.random.default_rng(2)
    outline = OUTLINES[name](rng)
    image = sprite(rng, outline, PROCEDURAL["checked"](rng, 64, 64), (0.0, 0.0, 0.0))
    assert image.shape == (64, 64, 4)
    assert 0.05 < (image[..., 3] > 0.5).mean() < 0.95
    assert image[0, :, 3].max() == 0


@pytest.mark.parametrize("name", PROCEDURAL)
def test_every_texture_fills_its_picture(name: str) -> None:
    image = PROCEDURAL[name](np.random.default_rng(3), 40, 61)
    assert image.shape == (40, 61, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("place", PLACES)
def test_every_place_has_a_night(place: str) -> None:
    day, night = (draw_place(np.random.default_rng(4), 64, 96, place, time) for time in ("day", "night"))
    assert night.mean() < day.mean() - 20


def test_held_out_photos_are_never_training_photos() -> None:
    assert not set(TRAIN_PHOTOS) & set(HELD_OUT_PHOTOS)
    for name in (*TRAIN_PHOTOS, *HELD_OUT_PHOTOS):
        assert photo(name).ndim == 3


def test_held_out_combinations_stay_out_of_training() -> None:
    rng = np.random.default_rng(0)
    for held_out in (False, True):
        looks = [random_design(rng, held_out) for _ in range(300)]
        dressed = [look for look in looks if look.accessory is not None]
        assert len(dressed) > 100
        assert all(is_held_out(look.kind, str(look.accessory), look.accessory_colour) == held_out for look in dressed)


def test_words_of_the_world_are_in_the_vocabulary() -> None:
    assert {*KINDS, *ACCESSORIES, *NAMED_COLOURS, *OUTLINES, *PROCEDURAL, *PLACES, *TIMES} <= set(VOCABULARY)


def test_stick_figures_are_drawn_where_seen() -> None:
    figure = np.zeros((1, len(KEYPOINT_NAMES), 3), np.float32)
    assert draw_keypoints(figure, 32, 32).max() == 0
    figure[0, :, :2] = f32(np.random.default_rng(0).uniform(0.1, 0.9, (len(KEYPOINT_NAMES), 2)))
    figure[..., 2] = 1
    assert draw_keypoints(figure, 32, 32).max() > 200
    assert max(max(bone) for bone in BONES) < len(KEYPOINT_NAMES)


@pytest.mark.parametrize("action", Action)
def test_actions_differ_and_have_a_word(action: Action) -> None:
    assert action.value in VOCABULARY
    poses = [posed(other, 1.0, Frame()) for other in Action]
    assert poses.count(posed(action, 1.0, Frame())) == 1
