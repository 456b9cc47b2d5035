"""Cutouts composed at boxes: aspect, order, hidden lines; drawings by hand; overlaps."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magicgen.control.story import Character, Panel, StoryPage, Subject
from magicgen.control.story_layout import colours, draw_layout, overlap_report, overlaps, pixel_box
from magicgen.control.story_sketch import Cutout, compose, cut_out, edge_lines, landing, read_sketch
from magicgen.errors import MagicGenError, StoryError
from magicgen.media import write_image

NEAR = Subject(character="a", prompt="near", box=(0.1, 0.2, 0.5, 0.95))
FAR = Subject(character="b", prompt="far", box=(0.3, 0.1, 0.7, 0.8))


def disc(size: int = 40) -> Cutout:
    mask = np.zeros((size, size), np.uint8)
    cv2.circle(mask, (size // 2, size // 2), size // 2 - 1, 1, cv2.FILLED)
    picture = np.where(mask[..., None] > 0, np.uint8(200), np.uint8(255)).repeat(3, axis=2)
    return cut_out(picture, mask.astype(bool))


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.floats(0, 0.45), st.floats(0, 0.45), st.floats(0.5, 1), st.floats(0.5, 1)),
    st.integers(5, 90),
    st.integers(5, 90),
)
def test_a_cutout_keeps_its_aspect_and_stands_in_its_box(box: tuple[float, ...], height: int, width: int) -> None:
    x0, y0, x1, y1 = landing((height, width), box, 128, 192)
    assert (x1 - x0) / (y1 - y0) == pytest.approx(width / height)
    assert x0 >= box[0] * 192 - 1e-6
    assert y0 >= box[1] * 128 - 1e-6
    assert y1 == pytest.approx(box[3] * 128)
    assert x0 + x1 == pytest.approx((box[0] + box[2]) * 192)


def test_the_order_of_the_list_changes_nothing() -> None:
    one = compose(Panel(background="x", subjects=(NEAR, FAR)), {0: disc(), 1: disc(70)}, 96, 144)
    other = compose(Panel(background="x", subjects=(FAR, NEAR)), {1: disc(), 0: disc(70)}, 96, 144)
    assert np.array_equal(one.sketch, other.sketch)
    assert np.array_equal(one.owner == 0, other.owner == 1)


def test_the_nearer_subject_hides_lines() -> None:
    both = compose(Panel(background="x", subjects=(NEAR, FAR)), {0: disc(), 1: disc()}, 96, 144)
    alone = compose(Panel(background="x", subjects=(NEAR,)), {0: disc()}, 96, 144)
    front = cv2.erode((alone.owner == 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert np.array_equal(both.sketch[front], alone.sketch[front])
    assert (both.owner == 0).sum() == (alone.owner == 0).sum()
    assert both.boxes[0] == alone.boxes[0]


def test_subjects_without_cutout_are_left_out() -> None:
    made = compose(Panel(background="x", subjects=(NEAR, FAR)), {}, 48, 72)
    assert made.sketch.max() == 0
    assert made.boxes == (None, None)
    assert np.isnan(made.keypoints).all()


def test_keypoints_move_with_the_cutout() -> None:
    points = np.full((17, 3), 0.5, np.float32)
    mask = np.zeros((50, 50), bool)
    mask[10:40, 20:30] = True
    cutout = cut_out(np.zeros((50, 50, 3), np.uint8), mask, keypoints=points)
    assert cutout.keypoints is not None
    made = compose(Panel(background="x", subjects=(NEAR,)), {0: cutout}, 100, 100)
    box = made.boxes[0]
    assert box is not None
    assert box.x0 < made.keypoints[0, 0, 0] < box.x1
    assert made.keypoints[0, 0, 1] == pytest.approx((box.y0 + box.y1) / 2)


@pytest.mark.parametrize("size", [20, 60, 400])
def test_lines_stay_thin_at_every_size(size: int) -> None:
    made = compose(Panel(background="x", subjects=(NEAR,)), {0: disc(size)}, 128, 192)
    ink, area = (made.sketch > 0).sum(), (made.owner == 0).sum()
    around = 2 * np.sqrt(np.pi * area)
    assert 0.6 * around < ink < 3 * around


def test_edges_know_the_silhouette_and_the_inside() -> None:
    picture = np.full((60, 60, 3), 230, np.uint8)
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    picture[mask] = (200, 60, 40)
    picture[25:35, 25:35] = (20, 20, 200)
    lines = edge_lines(picture, mask)
    assert lines[10, 30] == 255
    assert lines[24:27, 30].max() == 255
    assert lines[~mask].max() == 0
    assert lines[18, 18] == 0


def test_an_empty_mask_is_no_subject() -> None:
    with pytest.raises(StoryError, match="could not be cut out"):
        cut_out(np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), bool))


@pytest.mark.parametrize(("ground", "ink"), [(255, 0), (0, 255), (240, 120)])
def test_drawings_by_hand_are_read_on_any_ground(tmp_path: Path, ground: int, ink: int) -> None:
    picture = np.full((80, 100, 3), ground, np.uint8)
    cv2.circle(picture, (50, 40), 25, (ink, ink, ink), 2)
    sketch = read_sketch(write_image(tmp_path / "drawn.png", picture))
    assert sketch.mask.shape == pytest.approx((53, 53), abs=3)
    assert sketch.mask.mean() > 0.7
    assert (sketch.lines > 0).mean() < 0.2


def test_an_empty_drawing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoryError, match="a drawing of lines"):
        read_sketch(write_image(tmp_path / "blank.png", np.zeros((30, 30, 3), np.uint8)))
    with pytest.raises(MagicGenError):
        read_sketch(tmp_path / "missing.png")


def test_overlaps_are_told() -> None:
    page = StoryPage(
        characters=tuple(Character(name=name, description="x") for name in "ab"),
        panels=(Panel(background="x", subjects=(NEAR, FAR)), Panel(background="x", subjects=(NEAR,))),
    )
    (found,) = overlaps(page.panels[0])
    assert (found.front, found.back) == (0, 1)
    assert found.share == pytest.approx(0.2 * 0.6 / (0.4 * 0.7))
    assert overlap_report(page, 0.4) == ("panel 1: a covers b; 43% of the smaller box is common",)
    assert overlap_report(page, 0.5) == ()


def test_the_layout_is_drawn_inside_the_boxes() -> None:
    page = StoryPage(characters=(Character(name="b", description="x"),), panels=(Panel(background="x"),))
    picture = np.zeros((96, 144, 3), np.uint8)
    drawn = draw_layout(Panel(background="x", subjects=(FAR,)), 96, 144, colours(page), picture)
    x0, y0, x1, y1 = pixel_box(FAR.box, 96, 144)
    outside = np.ones((96, 144), bool)
    outside[y0:y1, x0:x1] = False
    assert drawn[outside].max() == 0
    assert drawn[y0:y1, x0:x1].any(axis=2).all()
