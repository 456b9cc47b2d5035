"""Moving objects found without weights."""

import cv2
import numpy as np
import pytest

from magicgen.errors import MediaError
from magicgen.segmentation.discover import discover_tracks

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
