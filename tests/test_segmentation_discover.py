"""Moving objects found without weights."""

import cv2
import numpy as np
import pytest

from magicgen.errors import MediaError
from magicgen.segmentation.discover import discover_tracks
from magicgen.segmentation.flow import FrameSequence
from magicgen.segmentation.foreground import cut_out
from magicgen.segmentation.instances import link
from magicgen.segmentation.saliency import own_motion

FRAMES, HEIGHT, WIDTH = 9, 96, 144


def disc_before_a_moving_camera() -> tuple[np.ndarray, np.ndarray]:
    """(T, H, W, 3) video and (T, H, W) mask: a disc goes right while the wall slides left."""
    rng = np.random.default_rng(5)
    noise = cv2.GaussianBlur(rng.normal(0, 120, (HEIGHT, 2 * WIDTH)).astype(np.float32), (0, 0), 2)
    wall = np.clip(noise[..., None] + np.array((70, 110, 70)), 0, 255).astype(np.uint8)
    disc = np.clip(noise[..., None] + np.array((200, 60, 50)), 0, 255).astype(np.uint8)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    video, masks = [], []
    for frame in range(FRAMES):
        mask = (rows - 48) ** 2 + (columns - 40 - 4 * frame) ** 2 < 18**2
        picture = wall[:, 2 * frame : 2 * frame + WIDTH].copy()
        picture[mask] = np.roll(disc, 4 * frame, axis=1)[:, :WIDTH][mask]
        video.append(picture)
        masks.append(mask)
    return np.stack(video), np.stack(masks)


def test_a_disc_is_found_and_followed() -> None:
    video, masks = disc_before_a_moving_camera()
    tracks = discover_tracks(video)
    best = max(((track.masks & masks).sum() / (track.masks | masks).sum() for track in tracks), default=0)
    assert best > 0.75
    assert tracks[0].masks.shape == masks.shape
    assert tracks[0].scores.shape == (FRAMES,)
    assert 0 <= tracks[0].scores.min() <= tracks[0].scores.max() <= 1


def test_the_same_video_gives_the_same_tracks() -> None:
    video, _ = disc_before_a_moving_camera()
    first, second = discover_tracks(video), discover_tracks(video)
    assert [track.masks.tobytes() for track in first] == [track.masks.tobytes() for track in second]


def test_nothing_moves_in_a_still_or_a_picture() -> None:
    video, _ = disc_before_a_moving_camera()
    assert discover_tracks(np.repeat(video[:1], 6, axis=0)) == []
    assert discover_tracks(video[:1]) == []


def test_not_a_video() -> None:
    with pytest.raises(MediaError, match="uint8"):
        discover_tracks(np.zeros((4, 32, 32), np.uint8))


def test_two_objects_keep_their_numbers_where_they_touch() -> None:
    shape = (5, 60, 100)
    masks = np.zeros(shape, np.bool_)
    for frame in range(5):
        masks[frame, 20:40, 10 + 4 * frame : 30 + 4 * frame] = True
        masks[frame, 20:40, 46:66] = True
    video = np.zeros((*shape, 3), np.uint8)
    sequence = FrameSequence(video, 60)
    step = np.zeros((*shape[1:], 2), np.float32)
    step[:, :45, 0] = -4  # backward: what moves right was four pixels to the left
    sequence.backward = lambda last, this: step if last < this else -step  # type: ignore[method-assign]
    numbers = link(masks, 0, sequence)
    assert set(np.unique(numbers)) == {0, 1, 2}
    left, right = numbers[0, 30, 15], numbers[0, 30, 50]
    assert left != right
    assert [numbers[4, 30, 30], numbers[4, 30, 60]] == [left, right]


def test_a_small_new_spot_is_no_object() -> None:
    masks = np.zeros((3, 60, 100), np.bool_)
    masks[:, 10:40, 10:40] = True
    masks[2, 50:53, 80:83] = True
    numbers = link(masks, 0, FrameSequence(np.zeros((3, 60, 100, 3), np.uint8), 60))
    assert numbers.max() == 1


def test_what_runs_along_the_border_does_not_count() -> None:
    video, masks = disc_before_a_moving_camera()
    video[:, -20:] = np.random.default_rng(1).integers(0, 255, (FRAMES, 20, WIDTH, 3), dtype=np.uint8)  # water
    moving = own_motion(FrameSequence(video, HEIGHT), FRAMES).moving
    inside = np.mean([plane[mask].mean() for plane, mask in zip(moving, masks, strict=True)])
    assert inside > 3 * moving[:, -16:].mean()


def test_a_cut_out_follows_the_colours() -> None:
    picture = np.full((80, 120, 3), (60, 110, 60), np.uint8)
    picture[20:60, 30:80] = (210, 60, 40)
    picture = cv2.add(picture, np.random.default_rng(0).integers(0, 20, picture.shape, dtype=np.uint8))
    rough = np.zeros((80, 120), np.float32)
    rough[14:66, 24:86] = 1.0
    found = cut_out(picture, cv2.GaussianBlur(rough, (0, 0), 4))
    truth = np.zeros_like(found)
    truth[20:60, 30:80] = True
    assert (found & truth).sum() / (found | truth).sum() > 0.9
    assert not cut_out(picture, np.zeros_like(rough)).any()
