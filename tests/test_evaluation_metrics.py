"""Scores on cases worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from magicgen.control.tracks import BoxLevel, MaskLevel, SparseBoxLevel, Tracks, boxes_from_masks
from magicgen.evaluation.cut_and_paste import cut_and_paste, known_boxes
from magicgen.evaluation.metrics import (
    background,
    box_iou,
    finite_mean,
    mask_iou,
    moved_region,
    psnr,
    ssim,
    tracked_iou,
    warping_error,
)
from tests.squares import square_photo, square_tracks

MASKS = arrays(np.bool_, (2, 5, 7))


@settings(deadline=None, max_examples=40)
@given(MASKS, MASKS)
def test_overlap_of_masks_is_a_share_symmetric_and_one_with_itself(first: np.ndarray, second: np.ndarray) -> None:
    score = mask_iou(first, second)
    assert ((score >= 0) & (score <= 1)).all()
    assert np.array_equal(score, mask_iou(second, first))
    assert np.array_equal(mask_iou(first, first), np.ones(2))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1, 2, width=32) | st.just(float("nan")), min_size=8, max_size=8))
def test_overlap_of_boxes_is_a_share_symmetric_and_one_with_itself(numbers: list[float]) -> None:
    first, second = np.array(numbers[:4]), np.array(numbers[4:])
    score = float(box_iou(first, second))
    assert 0 <= score <= 1
    assert score == float(box_iou(second, first))
    assert float(box_iou(first, first)) == pytest.approx(1)


def test_masks_of_nothing() -> None:
    nothing, something = np.zeros((4, 4), bool), np.eye(4, dtype=bool)
    assert mask_iou(nothing, nothing) == 1
    assert mask_iou(nothing, something) == 0
    assert mask_iou(something, nothing) == 0


def test_overlap_by_hand() -> None:
    masks = np.zeros((2, 4, 4), bool)
    masks[0, :2, :2], masks[1, :2, 1:3] = True, True
    boxes = boxes_from_masks(masks)
    assert mask_iou(masks[0], masks[1]) == pytest.approx(2 / 6)
    assert box_iou(boxes[0], boxes[1]) == pytest.approx(2 / 6)


@pytest.mark.parametrize(
    ("first", "second", "score"),
    [
        ([np.nan] * 4, [np.nan] * 4, 1),
        ([np.nan] * 4, [0, 0, 1, 1], 0),
        ([1.2, 0, 1.5, 1], [np.nan] * 4, 1),  # outside the picture is absent
        ([0.5, 0, 1.5, 1], [0.5, 0, 1, 1], 1),  # only what can be seen counts
        ([-1, -1, 0.5, 0.5], [0, 0, 0.5, 1], 0.5),
        ([0, 0, 0, 1], [0.2, 0.2, 0.4, 0.4], 0),  # no area
    ],
)
def test_boxes_out_of_the_picture(first: list[float], second: list[float], score: float) -> None:
    assert box_iou(np.array(first), np.array(second)) == pytest.approx(score)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        mask_iou(np.zeros((2, 2), bool), np.zeros((2, 3), bool))
    with pytest.raises(ValueError, match="4"):
        box_iou(np.zeros((2, 3)), np.zeros((2, 3)))


def test_psnr_of_a_region() -> None:
    truth = np.full((2, 4, 4, 3), 100, np.uint8)
    video = truth.copy()
    video[1, 0, 0] = 110
    region = np.zeros((2, 4, 4), bool)
    region[1, 0, :2] = True
    assert psnr(video, truth, region) == pytest.approx(10 * np.log10(255**2 / 50))
    assert psnr(video, truth, ~region) == pytest.approx(78.13, abs=0.01)
    assert np.isnan(psnr(video, truth, np.zeros_like(region)))


def test_a_frozen_video_is_steady_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    frozen = np.repeat(rng.integers(0, 255, (1, 32, 48, 3), dtype=np.uint8), 3, axis=0)
    assert warping_error(frozen) < 0.5
    noise = np.clip(frozen + rng.normal(0, 30, frozen.shape), 0, 255).astype(np.uint8)
    assert warping_error(noise) > 5
    assert np.isnan(warping_error(frozen[:1]))
    assert ssim(frozen, frozen) == pytest.approx(1)


def test_means_leave_out_what_is_not_known() -> None:
    assert finite_mean([1.0, float("nan"), 3.0]) == 2
    assert np.isnan(finite_mean([]))


def test_tracked_overlap_leaves_the_given_frame_out() -> None:
    truth = square_tracks(frames=3).masks
    assert truth is not None
    lost = truth.copy()
    lost[:, 2] = False
    boxes = [boxes_from_masks(masks) for masks in (lost, truth)]
    assert tracked_iou(lost, truth, *boxes) == (0.5, 0.5)
    assert np.isnan(tracked_iou(lost[:, :1], truth[:, :1], boxes[0][:, :1], boxes[1][:, :1])[0])


def test_moved_region_is_old_and_new_place_of_what_moves() -> None:
    tracks = square_tracks(frames=3)
    assert tracks.masks is not None
    region = moved_region(tracks)
    assert not region[0].any()
    assert np.array_equal(region[2], tracks.masks[0, 0] | tracks.masks[0, 2])
    assert not moved_region(square_tracks(frames=3, shift=0)).any()


def test_background_keeps_away_from_masks_and_from_boxes() -> None:
    tracks = square_tracks(frames=3)
    free = background(tracks, 2)
    assert not free[0].any()
    assert not free[2, 6:20, 4:26].any() or free[2, 8, 19]
    assert free[2, 5, 8]
    assert not free[2, 6, 8]
    boxes_only = Tracks(tracks.names, tracks.first_masks, tracks.boxes)
    assert np.array_equal(background(boxes_only, 2), free)
    sparse = tracks.at_level(SparseBoxLevel((2,)))
    assert not background(sparse, 0)[1, 10, 20]


def test_cut_and_paste_moves_the_object_and_fills_its_place() -> None:
    photo, tracks = square_photo(), square_tracks()
    video = cut_and_paste(photo, tracks, BoxLevel())
    assert np.array_equal(video[0], photo)
    assert (video[-1, 8:18, 22:32] == (200, 30, 30)).all()
    assert (video[-1, 10:16, 8:14, 0] < 120).all()  # grey again
    assert np.array_equal(video, cut_and_paste(photo, tracks, MaskLevel()))


def test_cut_and_paste_leaves_the_picture() -> None:
    tracks = square_tracks()
    boxes = tracks.boxes.copy()
    boxes[0, 3] += np.array([1, 0, 1, 0], np.float32)
    boxes[0, 4] = np.nan
    video = cut_and_paste(square_photo(), Tracks(tracks.names, tracks.first_masks, boxes), BoxLevel())
    assert np.array_equal(video[3], video[4])
    assert not (video[4] == (200, 30, 30)).all(axis=-1).any()


def test_cut_and_paste_grows_the_object() -> None:
    tracks = square_tracks()
    boxes = tracks.boxes.copy()
    boxes[0, 4] = (0.25, 0.25, 0.75, 1.0)
    video = cut_and_paste(square_photo(), Tracks(tracks.names, tracks.first_masks, boxes), BoxLevel())
    red = (video[4] == (200, 30, 30)).all(axis=-1)
    assert red[10:30, 14:34].all()
    assert not red[:, :12].any()
    assert not red[:, 36:].any()


def test_sparse_boxes_run_linearly_and_end_where_the_object_is_gone() -> None:
    tracks = square_tracks()
    assert np.allclose(known_boxes(tracks, SparseBoxLevel((4,))), tracks.boxes, atol=1e-6)
    boxes = tracks.boxes.copy()
    boxes[0, 4] = np.nan
    gone = known_boxes(Tracks(tracks.names, tracks.first_masks, boxes), SparseBoxLevel((2, 4)))
    assert np.isfinite(gone[0, :4]).all()
    assert np.isnan(gone[0, 4]).all()


def test_an_object_that_is_soon_gone_stays_away_in_a_dense_track() -> None:
    tracks = square_tracks(frames=9)
    boxes = tracks.boxes.copy()
    boxes[0, 2:] = np.nan
    video = cut_and_paste(square_photo(), Tracks(tracks.names, tracks.first_masks, boxes), BoxLevel())
    assert not (video[2:] == (200, 30, 30)).all(axis=-1).any()
