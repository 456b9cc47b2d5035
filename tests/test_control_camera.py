"""Camera moves written as trajectories."""

import numpy as np
import pytest

from magicgen.control.camera import CAMERA, Pan, Rotate, Zoom, camera_trajectory, with_camera
from magicgen.control.geometry import Box, Linear, Smooth
from magicgen.control.resolve import resolve
from magicgen.control.rle import encode_rle
from magicgen.control.trajectory import (
    BoxMotion,
    Keyframe,
    MaskMotion,
    Trajectory,
    TrajectoryObject,
    parse_trajectory,
    trajectory_to_json,
)
from magicgen.errors import TrajectoryError

SIZE = (40, 60)


def still(box: Box) -> Trajectory:
    return Trajectory(9, (TrajectoryObject("cup", BoxMotion((Keyframe(0, box),))),))


def last_box(trajectory: Trajectory, index: int = -1) -> np.ndarray:
    return resolve(trajectory, *SIZE).boxes[index, -1]


def test_zoom_grows_boxes_about_the_middle():
    moved = with_camera(still(Box(0.5, 0.5, 0.7, 0.8)), SIZE, [Zoom(2.0)])
    np.testing.assert_allclose(last_box(moved), [0.5, 0.5, 0.9, 1.1], atol=1e-6)
    np.testing.assert_allclose(last_box(moved, 0), [-0.5, -0.5, 1.5, 1.5], atol=1e-6)
    middle = resolve(moved, *SIZE).boxes[-1, 4]
    assert middle[2] - middle[0] == pytest.approx(0.2 * np.sqrt(2), rel=1e-4)


def test_pan_moves_everything_the_other_way():
    moved = with_camera(still(Box(0.4, 0.5, 0.6, 0.8)), SIZE, [Pan(right=0.3, down=-0.1)], background=False)
    np.testing.assert_allclose(last_box(moved), [0.1, 0.6, 0.3, 0.9], atol=1e-6)
    assert len(moved.objects) == 1


def test_turning_moves_along_a_circle_of_pixels_and_turns():
    moved = with_camera(still(Box(0.7, 0.4, 0.9, 0.6)), SIZE, [Rotate(90)])
    tracks = resolve(moved, *SIZE)
    box = tracks.boxes[-1, -1]
    # 0.3 of 60 pixels right of the middle becomes 18 pixels below it when the picture turns clockwise.
    np.testing.assert_allclose([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], [0.5, 0.5 + 18 / 40], atol=1e-6)
    assert tracks.angles[-1, -1] == pytest.approx(-90)


def test_own_motion_is_kept_and_the_camera_is_behind():
    keys = (Keyframe(0, Box(0.2, 0.4, 0.4, 0.6)), Keyframe(8, Box(0.6, 0.4, 0.8, 0.6)))
    trajectory = Trajectory(9, (TrajectoryObject("cup", BoxMotion(keys, Smooth())),))
    moved = with_camera(trajectory, SIZE, [Pan(right=0.4)], Linear())
    assert [item.name for item in moved.objects] == [CAMERA, "cup"]
    np.testing.assert_allclose(last_box(moved), [0.2, 0.4, 0.4, 0.6], atol=1e-6)
    assert parse_trajectory(trajectory_to_json(moved)) == moved
    tracks = resolve(moved, *SIZE)
    assert tracks.first_masks.any(axis=0).all()
    assert not tracks.first_masks.all(axis=0).any()


def test_the_camera_alone():
    trajectory = camera_trajectory(5, SIZE, [Zoom(0.5)])
    tracks = resolve(trajectory, *SIZE)
    assert tracks.first_masks.all()
    np.testing.assert_allclose(tracks.boxes[0, -1], [0.25, 0.25, 0.75, 0.75], atol=1e-6)


@pytest.mark.parametrize("move", [lambda: Zoom(0.0), lambda: Zoom(float("nan")), lambda: Pan(3), lambda: Rotate(1e9)])
def test_wild_numbers(move):
    with pytest.raises(TrajectoryError):
        move()


def test_what_a_camera_cannot_move():
    rle = encode_rle(np.ones(SIZE, np.bool_))
    masks = Trajectory(2, (TrajectoryObject("cat", MaskMotion((rle, rle))),))
    with pytest.raises(TrajectoryError, match="'cat' is given by masks"):
        with_camera(masks, SIZE, [Zoom(2)])
    with pytest.raises(TrajectoryError, match="at least two frames"):
        with_camera(still(Box(0, 0, 1, 1)).resampled(1), SIZE, [Zoom(2)])
    with pytest.raises(TrajectoryError, match="already named"):
        with_camera(camera_trajectory(3, SIZE, []), SIZE, [])
