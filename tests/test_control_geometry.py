"""Boxes, interpolation and run-length encodings."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from magicgen.control.geometry import Box, Linear, Smooth, boxes_within, interpolate, interpolate_boxes
from magicgen.control.rle import Rle, encode_rle, rle_from_json
from magicgen.errors import TrajectoryError

coordinates = st.floats(-4, 5, allow_nan=False)
boxes = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h),
    st.floats(-2, 2),
    st.floats(-2, 2),
    st.floats(0.01, 2),
    st.floats(0.01, 2),
)


@given(coordinates, coordinates, coordinates, coordinates)
def test_boxes_are_ordered_or_refused(x0, y0, x1, y1):
    if x0 < x1 and y0 < y1:
        assert Box(x0, y0, x1, y1).area >= 0
    else:
        with pytest.raises(TrajectoryError, match="x0 < x1"):
            Box(x0, y0, x1, y1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 5.1, -4.1, 480.0])
def test_wild_numbers_are_refused(value):
    with pytest.raises(TrajectoryError):
        Box(value, 0.0, 1.0, 1.0)


@given(boxes, boxes)
def test_iou(one, other):
    assert one.iou(one) == pytest.approx(1)
    assert 0 <= one.iou(other) <= 1 + 1e-9
    assert one.iou(other) == pytest.approx(other.iou(one))
    assert one.lerp(other, 0.0).iou(one) == pytest.approx(1, abs=1e-6)


def test_small_helpers():
    box = Box(0.2, 0.4, 0.6, 0.8)
    assert box.centre == pytest.approx((0.4, 0.6))
    assert box.moved(2, 0).clipped() is None
    assert box.moved(-0.4, 0).clipped() == Box(0.0, 0.4, box.x1 - 0.4, 0.8)
    assert box.zoomed(2).area == pytest.approx(4 * box.area)
    window = Box(0.2, 0.0, 0.7, 1.0)
    assert boxes_within(box.as_array(), window) == pytest.approx([0, 0.4, 0.8, 0.8])


knots = st.lists(st.integers(0, 40), min_size=1, max_size=7, unique=True).map(sorted)


@settings(deadline=None, max_examples=40)
@given(knots, st.data(), st.sampled_from([Linear(), Smooth()]))
def test_interpolation_passes_through_keyframes_without_overshoot(frames, data, how):
    values = np.array([data.draw(st.lists(st.floats(-3, 3), min_size=2, max_size=2)) for _ in frames], dtype=np.float64)
    path = interpolate(frames, values, 41, how)
    assert path.shape == (41, 2)
    np.testing.assert_allclose(path[frames], values, atol=1e-12)
    assert (path[: frames[0]] == path[frames[0]]).all()
    assert (path[frames[-1] :] == path[frames[-1]]).all()
    for index in range(len(frames) - 1):
        part = path[frames[index] : frames[index + 1] + 1]
        low, high = np.minimum(*values[index : index + 2]), np.maximum(*values[index : index + 2])
        assert (part >= low - 1e-12).all()
        assert (part <= high + 1e-12).all()
        steps = np.diff(part, axis=0)
        assert ((steps >= -1e-12).all(axis=0) | (steps <= 1e-12).all(axis=0)).all()


def test_smooth_starts_and_ends_at_rest():
    path = interpolate([0, 20], np.array([[0.0], [1.0]]), 21, Smooth())[:, 0]
    assert path[10] == pytest.approx(0.5)
    assert path[1] < 0.01
    assert path[19] > 0.99


@settings(deadline=None, max_examples=30)
@given(knots, st.data(), st.sampled_from([Linear(), Smooth()]))
def test_boxes_keep_their_area_positive(frames, data, how):
    drawn = [data.draw(boxes) for _ in frames]
    path = interpolate_boxes(frames, drawn, 41, how)
    assert (path[:, 2:] > path[:, :2]).all()
    for frame, box in zip(frames, drawn, strict=True):
        assert (path[frame] == box.as_array()).all()


masks = st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1), st.floats(0, 1)).map(
    lambda given: np.random.default_rng(given[2]).random(given[:2]) < given[3]
)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside pycocotools
@settings(deadline=None, max_examples=40)
@given(masks)
def test_rle_round_trip_and_agreement_with_coco_tools(mask):
    encoded = encode_rle(mask)
    assert (encoded.decode() == mask).all()
    assert encoded.area == mask.sum()
    assert rle_from_json(encoded.to_json()) == encoded
    decoded = coco.decode({"size": list(mask.shape), "counts": encoded.counts})
    assert (decoded.astype(bool) == mask).all()


def test_plain_counts():
    mask = np.zeros((3, 4), np.bool_)
    mask[1:, 1] = True
    assert (rle_from_json({"size": [3, 4], "counts": [4, 2, 6]}).decode() == mask).all()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["size", "counts", "x"]), inner),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(json_values | st.fixed_dictionaries({"size": st.lists(st.integers(-1, 40)), "counts": st.text() | json_values}))
def test_strange_rles_only_raise_trajectory_errors(value):
    try:
        mask = rle_from_json(value).decode()
    except TrajectoryError:
        return
    assert mask.dtype == np.bool_


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet=[chr(code) for code in range(40, 120)], max_size=12))
def test_damaged_counts(counts):
    try:
        decoded = Rle((5, 6), counts).decode()
    except TrajectoryError:
        return
    assert decoded.shape == (5, 6)
