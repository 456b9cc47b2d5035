"""Guides: marks are checked, drawn softly, written and read without loss."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magicgen.control.geometry import Box
from magicgen.control.guide import (
    BOX_TRUST,
    CLICK_SHARE,
    SEGMENT_STRENGTH,
    BoxMark,
    Layer,
    Mark,
    MaskMark,
    PointMark,
    Prompt,
    RemovalGuide,
    StrokeMark,
    TextMark,
    guide_maps,
    guide_meaning,
    kinship,
)
from magicgen.control.guide_file import guide_from_json, guide_to_json, read_guide, write_guide
from magicgen.errors import GuideError
from magicgen.media import write_image

SHARE = st.floats(0, 1)


def even(height: int, width: int) -> np.ndarray:
    """A photo of one grey."""
    return np.full((height, width, 3), 0.5, np.float32)


LAYER = st.sampled_from(Layer)


def marks() -> st.SearchStrategy:
    corner = st.floats(0, 0.4)
    side = st.floats(0.05, 0.5)
    return st.one_of(
        st.builds(PointMark, SHARE, SHARE, st.just(Layer.REFLECTION)),
        st.builds(lambda x, y, w, h, layer: BoxMark(Box(x, y, x + w, y + h), layer), corner, corner, side, side, LAYER),
        st.builds(
            StrokeMark, st.lists(st.tuples(SHARE, SHARE), min_size=1, max_size=4).map(tuple), st.floats(0.01, 1), LAYER
        ),
        st.builds(TextMark, st.text("abc", min_size=1), LAYER),
    )


def test_an_empty_guide_says_nothing() -> None:
    assert RemovalGuide().empty
    assert not guide_maps(RemovalGuide(), even(8, 12)).any()


def test_a_click_means_what_is_near_and_looks_alike() -> None:
    photo = even(100, 200)
    photo[:, 100:] = (0.9, 0.8, 0.2)
    maps = guide_maps(RemovalGuide((PointMark(0.455, 0.505, Layer.REFLECTION),)), photo)
    assert maps[50, 91, 0] > 0.99
    assert not maps[..., 1].any()
    along = maps[50, :, 0]
    assert (np.diff(along[:92]) >= 0).all()
    assert along[91 - 37] == pytest.approx(np.exp(-1), abs=0.03)
    assert along[81] > 0.9 > 0.2 > along[101]  # ten pixels either way, over the edge of the other colour on one side


def test_later_marks_clear_what_earlier_ones_said_of_the_other_layer() -> None:
    guide = RemovalGuide(
        (BoxMark(Box(0, 0, 1, 1), Layer.REFLECTION), StrokeMark(((0.5, 0.2), (0.5, 0.8)), 0.2, Layer.TRANSMISSION))
    )
    maps = guide_maps(guide, even(60, 60))
    assert maps[30, 30, 0] == 0
    assert maps[30, 30, 1] == 1
    assert maps[30, 2, 0] > 0
    assert maps[30, 2, 1] == 0


def test_both_layers_may_overlap_in_soft_regions() -> None:
    mask = np.ones((20, 20), np.bool_)
    everywhere = lambda prompt: mask[:, :] & (np.arange(20) < 11)  # noqa: E731
    guide = RemovalGuide((PointMark(0.2, 0.5, Layer.REFLECTION), PointMark(0.4, 0.5, Layer.TRANSMISSION)))
    maps = guide_maps(guide, even(20, 20), everywhere)
    assert ((maps[..., 0] > 0) & (maps[..., 1] > 0)).any()


def test_a_click_asks_the_segmenter_and_tells_it_of_opposite_clicks() -> None:
    asked: list[Prompt] = []

    def segment(prompt: Prompt) -> np.ndarray:
        asked.append(prompt)
        region = np.zeros((40, 40), np.bool_)
        region[5:15, 5:35] = True
        return region

    guide = RemovalGuide((PointMark(0.25, 0.25, Layer.REFLECTION), PointMark(0.9, 0.9, Layer.TRANSMISSION)))
    maps = guide_maps(guide, even(40, 40), segment)
    assert asked[0].points == ((0.25, 0.25, True), (0.9, 0.9, False))
    alone = guide_maps(guide, even(40, 40))
    assert np.array_equal(maps[5:15, 5:35, 0], np.maximum(alone[5:15, 5:35, 0], np.float32(SEGMENT_STRENGTH)))
    assert maps[5, 34, 0] == pytest.approx(SEGMENT_STRENGTH)


def test_a_segment_of_nearly_everything_is_not_believed() -> None:
    guide = RemovalGuide((PointMark(0.5, 0.5, Layer.REFLECTION),))
    alone = guide_maps(guide, even(30, 30))
    assert np.array_equal(alone, guide_maps(guide, even(30, 30), lambda prompt: np.ones((30, 30), np.bool_)))


def test_masks_are_resized_by_area_never_to_another_label() -> None:
    mask = np.zeros((40, 40), np.bool_)
    mask[:, :10] = True
    maps = guide_maps(RemovalGuide((MaskMark(mask, Layer.REFLECTION),)), even(10, 8))
    assert maps[0, 0, 0] == 1
    assert maps[0, 2, 0] == 0
    assert not maps[..., 1].any()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PointMark(1.2, 0.5, Layer.REFLECTION), "outside the picture"),
        (lambda: PointMark(float("nan"), 0.5, Layer.REFLECTION), "outside the picture"),
        (lambda: BoxMark(Box(1.5, 0.1, 1.8, 0.4), Layer.REFLECTION), "outside the picture"),
        (lambda: StrokeMark((), 0.1, Layer.REFLECTION), "at least one point"),
        (lambda: StrokeMark(((0.1, 0.1),), 0.0, Layer.REFLECTION), "width"),
        (lambda: MaskMark(np.zeros((3, 3, 3), np.bool_), Layer.REFLECTION), "(H, W) bool"),
        (lambda: TextMark("  ", Layer.REFLECTION), "needs words"),
        (
            lambda: RemovalGuide((PointMark(0.5, 0.5, Layer.REFLECTION), PointMark(0.505, 0.5, Layer.TRANSMISSION))),
            "contradict",
        ),
    ],
)
def test_mistakes_are_named(make, words: str) -> None:
    with pytest.raises(GuideError) as caught:
        make()
    assert words in str(caught.value)


def test_words_without_a_text_segmenter_and_masks_of_another_size_are_refused() -> None:
    with pytest.raises(GuideError, match="text segmenter"):
        guide_maps(RemovalGuide((TextMark("lamp", Layer.REFLECTION),)), even(8, 8))
    mask = MaskMark(np.ones((4, 4), np.bool_), Layer.REFLECTION)
    with pytest.raises(GuideError, match="4x4"):
        guide_maps(RemovalGuide((mask,)), even(8, 8), picture_size=(8, 8))


@settings(deadline=None, max_examples=40)
@given(st.lists(marks(), max_size=4).map(tuple))
def test_files_hold_every_guide(given_marks: tuple) -> None:
    guide = RemovalGuide(given_marks)
    again = guide_from_json(json.loads(json.dumps(guide_to_json(guide))), "test", Path())
    assert again == guide


@settings(deadline=None, max_examples=40)
@given(st.lists(marks().filter(lambda mark: not isinstance(mark, TextMark)), max_size=3), st.integers(1, 30))
def test_maps_stay_between_zero_and_one(given_marks: list, size: int) -> None:
    maps = guide_maps(RemovalGuide(tuple(given_marks)), even(size, 2 * size))
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() <= 1


def test_masks_in_files(tmp_path: Path) -> None:
    mask = np.zeros((20, 30), np.bool_)
    mask[3:9, 4:20] = True
    write_image(tmp_path / "mask.png", mask)
    (tmp_path / "guide.json").write_text(
        json.dumps({"version": 1, "marks": [{"kind": "mask", "layer": "transmission", "mask": "mask.png"}]})
    )
    read = read_guide(tmp_path / "guide.json").marks[0]
    assert isinstance(read, MaskMark)
    assert np.array_equal(read.mask, mask)
    write_guide(tmp_path / "again.json", RemovalGuide((read,)))
    again = read_guide(tmp_path / "again.json").marks[0]
    assert isinstance(again, MaskMark)
    assert np.array_equal(again.mask, mask)
    assert again.layer is Layer.TRANSMISSION


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "expected"),
        ({"version": 2, "marks": []}, "version"),
        ({"version": 1, "marks": [], "x": 1}, "unknown field 'x'"),
        ({"version": 1, "marks": [{"kind": "circle", "layer": "reflection"}]}, "unknown kind"),
        ({"version": 1, "marks": [{"kind": "point", "layer": "glass", "at": [0, 0]}]}, "unknown layer"),
        ({"version": 1, "marks": [{"kind": "point", "layer": "reflection", "at": [0]}]}, "2 numbers"),
        ({"version": 1, "marks": [{"kind": "point", "layer": "reflection", "at": [True, 0]}]}, "2 numbers"),
        ({"version": 1, "marks": [{"kind": "box", "layer": "reflection", "box": [0, 0, 0, 1]}]}, "marks[0]"),
        ({"version": 1, "marks": [{"kind": "point", "layer": "reflection", "at": [0, 0], "z": 1}]}, "'z'"),
    ],
)
def test_files_with_mistakes_are_refused(document: object, words: str, tmp_path: Path) -> None:
    (tmp_path / "guide.json").write_text(json.dumps(document))
    with pytest.raises(GuideError) as caught:
        read_guide(tmp_path / "guide.json")
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["/etc/hostname", "../mask.png", "C:/mask.png", "link.png"])
def test_masks_outside_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    write_image(tmp_path / "mask.png", np.ones((20, 20), np.bool_))
    (inner / "link.png").symlink_to(tmp_path / "mask.png")
    document = {"version": 1, "marks": [{"kind": "mask", "mask": name, "layer": "reflection"}]}
    with pytest.raises(GuideError, match="folder"):
        guide_from_json(document, "guide.json", inner)


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(GuideError, match="There is no guide file"):
        read_guide(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(GuideError, match="JSON"):
        read_guide(tmp_path / "bad.json")


def test_boxes_are_soft_and_a_segment_in_them_is_surer() -> None:
    guide = RemovalGuide((BoxMark(Box(0.25, 0.25, 0.75, 0.75), Layer.REFLECTION),))
    found = np.zeros((40, 60), np.bool_)
    found[18:22, 28:32] = True
    plain, refined = (guide_maps(guide, even(40, 60), segment)[..., 0] for segment in (None, lambda prompt: found))
    assert 0.45 < plain[20, 30] <= 0.5
    assert 0 < plain[20, 15] < plain[20, 30]
    assert not plain[:10].any()
    assert refined[20, 30] > plain[20, 30] > refined[25, 40] > 0


def test_a_click_in_a_box_means_nothing_outside_of_it() -> None:
    box, click = BoxMark(Box(0.2, 0.2, 0.6, 0.6), Layer.REFLECTION), PointMark(0.4, 0.4, Layer.REFLECTION)
    maps = guide_maps(RemovalGuide((box, click)), even(50, 50))
    assert maps[20, 20, 0] > 0.9
    assert not maps[35:].any()
    lower_half = np.arange(50)[:, None] >= np.full((1, 50), 22)
    segmented = guide_maps(RemovalGuide((box, click)), even(50, 50), lambda prompt: lower_half)
    assert not segmented[35:].any()
    elsewhere = PointMark(0.4, 0.4, Layer.TRANSMISSION)
    assert guide_maps(RemovalGuide((box, elsewhere)), even(50, 50))[35:, :, 1].any()


def followed(*marks: Mark) -> np.ndarray:
    """How far a guide is followed on a grey wall with a small bright square in its middle."""
    photo = even(60, 60)
    photo[25:35, 25:35] = (1, 1, 1)
    return guide_meaning(RemovalGuide(marks), photo).followed


def test_a_lone_click_is_trusted_with_so_much_of_the_picture() -> None:
    lamp, wall = (PointMark(x, 0.5, Layer.REFLECTION) for x in (0.5, 0.1))
    assert followed(lamp) == pytest.approx(1)
    alone = followed(wall)
    meant = float(kinship(even(60, 60), 0.1, 0.5).mean())
    assert np.ptp(alone) < 1e-6
    assert CLICK_SHARE / meant < alone[0, 0] < 1.1 * CLICK_SHARE / meant  # the square is not meant
    assert followed(wall, wall) == pytest.approx(2 * alone, rel=1e-3)
    scene = PointMark(0.9, 0.9, Layer.TRANSMISSION)
    assert followed(wall, scene) == pytest.approx(alone, rel=1e-3)  # a click on the scene lends it no weight
    boxed = (wall, BoxMark(Box(0, 0, 1, 1), Layer.REFLECTION))
    assert (followed(*boxed) == np.float32(BOX_TRUST)).all()
    assert (followed(*boxed, StrokeMark(((0.2, 0.2),), 0.1, Layer.REFLECTION)) == 1).all()
    assert (followed() == 1).all()


def test_a_further_click_takes_nothing_from_the_ones_before() -> None:
    lamp, wall = (PointMark(x, 0.5, Layer.REFLECTION) for x in (0.5, 0.1))
    both = followed(lamp, wall)
    assert both[30, 30] > 0.9
    assert both[30, 6] == pytest.approx(followed(wall)[30, 6], rel=0.05)
    assert both[30, 50] < 0.5


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(SHARE, SHARE), min_size=1, max_size=4), st.integers(2, 24), st.integers(0, 99))
def test_trust_lies_between_zero_and_one(places: list, size: int, seed: int) -> None:
    photo = np.random.default_rng(seed).random((size, 2 * size, 3), dtype=np.float32)
    meaning = guide_meaning(RemovalGuide(tuple(PointMark(x, y, Layer.REFLECTION) for x, y in places)), photo)
    assert meaning.followed.dtype == np.float32
    assert meaning.followed.min() > 0
    assert meaning.followed.max() <= 1
    assert 0 < meaning.share <= 1
