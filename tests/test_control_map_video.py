"""Condition maps: drawn as in the public demos, stored lossily, read back; and the preview over the photo."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from magicgen.control.fitting import fit_tracks, resample_tracks
from magicgen.control.map_video import decode_map, read_map_video, write_map_video
from magicgen.control.overlay import overlay
from magicgen.control.raster import line_thickness, map_colour, rasterise, seen_boxes
from magicgen.control.tracks import BoxLevel, Level, MaskLevel, SparseBoxLevel, Tracks, boxes_from_masks
from magicgen.errors import MediaError, TrajectoryError
from magicgen.media import write_video

DEMOS = Path(__file__).parents[1] / ".." / "shared" / "data" / "trajectory_demos"
needs_demos = pytest.mark.skipif(not DEMOS.is_dir(), reason="the public demo maps are not at hand")


def ellipse(height: int, width: int, box: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = box * (width, height, width, height)
    ys, xs = np.mgrid[:height, :width] + 0.5
    inside = ((xs - (x0 + x1) / 2) / (x1 - x0)) ** 2 + ((ys - (y0 + y1) / 2) / (y1 - y0)) ** 2 < 0.25
    return np.asarray(inside)


def scene(seed: int, height: int = 160, width: int = 240, frames: int = 5, objects: int = 2) -> Tracks:
    """Ellipses that move and grow, with the masks and boxes that belong to them."""
    rng = np.random.default_rng(seed)
    boxes = np.zeros((objects, frames, 4))
    for index in range(objects):
        centre = np.array([0.25 + 0.5 * index / max(objects - 1, 1), rng.uniform(0.3, 0.7)])
        half = rng.uniform(0.1, 0.18, 2) * (1, height / width) * 1.4
        way, growth = rng.uniform(-0.5, 0.5, 2), rng.uniform(-0.3, 0.5)
        for frame in range(frames):
            part = frame / (frames - 1)
            size = half * (1 + growth * part)
            boxes[index, frame] = [*(centre + way * part - size), *(centre + way * part + size)]
    masks = np.stack([[ellipse(height, width, box) for box in track] for track in boxes])
    for index in range(objects - 1):
        masks[index] &= ~masks[index + 1 :].any(axis=0)
    return Tracks(tuple(f"object {k + 1}" for k in range(objects)), masks[:, 0], boxes.astype(np.float32), masks)


class TestRaster:
    def test_lines_and_colours_are_those_of_the_public_maps(self):
        assert [map_colour(index) for index in range(3)] == [(127, 32, 32), (127, 80, 80), (127, 59, 25)]
        assert len({map_colour(index) for index in range(255)}) == 255
        assert min(max(map_colour(index)) for index in range(255)) >= 64
        assert (line_thickness(480, 720), line_thickness(800, 1280), line_thickness(64, 64)) == (4, 8, 1)
        first = np.zeros((1, 480, 720), np.bool_)
        first[0, 100:200, 100:200] = True
        boxes = np.tile(np.array([100 / 720, 100 / 480, 200 / 720, 200 / 480], np.float32), (1, 2, 1))
        maps = rasterise(Tracks(("a",), first, boxes), BoxLevel())
        assert (maps[0].any(axis=-1) == first[0]).all()
        columns = np.flatnonzero(maps[1, 150].any(axis=-1))
        assert columns.tolist() == [*range(98, 103), *range(198, 203)]

    def test_levels(self):
        tracks = scene(0)
        filled = rasterise(tracks, MaskLevel())
        assert (filled[3].any(axis=-1) == tracks.masks[:, 3].any(axis=0)).all()
        lines = rasterise(tracks, BoxLevel())
        sparse = rasterise(tracks, SparseBoxLevel((2,)))
        assert (filled[0] == lines[0]).all()
        assert (sparse[0] == lines[0]).all()
        assert (sparse[2] == lines[2]).all()
        assert not sparse[[1, 3, 4]].any()

    def test_absent_objects_and_boxes_outside(self):
        tracks = scene(1, objects=1)
        boxes = tracks.boxes.copy()
        boxes[0, 1] = np.nan
        boxes[0, 2] = [1.2, 0.2, 1.5, 0.5]
        boxes[0, 3] = [-4, -4, 5, 5]
        maps = rasterise(Tracks(tracks.names, tracks.first_masks, boxes), BoxLevel())
        assert not maps[1:4].any()
        assert maps[4].any()

    def test_the_mask_level_needs_masks(self):
        tracks = scene(0)
        with pytest.raises(TrajectoryError, match="mask level"):
            rasterise(Tracks(tracks.names, tracks.first_masks, tracks.boxes), MaskLevel())

    def test_turned_objects_show_the_box_around_them(self):
        mask = np.zeros((1, 100, 100), np.bool_)
        mask[0, 40:60, 20:80] = True
        boxes = np.tile(boxes_from_masks(mask)[0], (1, 3, 1)).astype(np.float32)
        tracks = Tracks(("bar",), mask, boxes, None, np.array([[0, 90, 45]], np.float32))
        seen = seen_boxes(tracks)[0]
        np.testing.assert_allclose(seen[0], [0.2, 0.4, 0.8, 0.6], atol=1e-6)
        np.testing.assert_allclose(seen[1], [0.4, 0.2, 0.6, 0.8], atol=1e-6)
        half = (0.6 + 0.2) * np.sqrt(0.5) / 2
        np.testing.assert_allclose(seen[2], [0.5 - half, 0.5 - half, 0.5 + half, 0.5 + half], atol=1e-6)


def drawn_pixels(tracks: Tracks, index: int, level: Level) -> np.ndarray:
    """(T,) pixels of an object's map where no other object hides it."""
    only = slice(index, index + 1)
    masks = None if tracks.masks is None else tracks.masks[only]
    single = Tracks(tracks.names[only], tracks.first_masks[only], tracks.boxes[only], masks)
    return rasterise(single, level).any(axis=-1).sum(axis=(1, 2))


class TestReading:
    @settings(deadline=None, max_examples=5)
    @given(
        st.integers(0, 10_000),
        st.sampled_from([MaskLevel(), BoxLevel(), SparseBoxLevel((1, 4))]),
        st.sampled_from([(160, 240), (128, 192), (240, 136)]),
        st.integers(1, 3),
    )
    def test_what_was_written_is_read(self, tmp_path_factory, seed, level, size, objects):
        tracks = scene(seed, *size, objects=objects)
        if isinstance(level, SparseBoxLevel):  # a box that has nearly left the picture cannot be told from no box
            maps = rasterise(tracks, level)
            assume(all(maps[frame].any(axis=-1).sum() >= 60 for frame in level.frames))
        path = write_map_video(tmp_path_factory.mktemp("map") / "map.mp4", tracks, level)
        read = read_map_video(path)
        assert read.tracks.names == tracks.names
        assert read.tracks.size == size
        assert read.level == level
        self.check(tracks, read.tracks, level)

    @staticmethod
    def check(tracks: Tracks, read: Tracks, level: Level) -> None:
        maps = rasterise(tracks, level)
        alone = [drawn_pixels(tracks, index, level) for index in range(len(tracks.names))]
        for index in range(len(tracks.names)):
            for frame in range(1, tracks.frames):
                visible = int((maps[frame] == map_colour(index)).all(axis=-1).sum())
                if visible < max(60, 0.9 * alone[index][frame]):
                    continue  # hidden behind others or nearly left
                if read.masks is not None:
                    both = read.masks[index, frame], tracks.masks[index, frame]
                    assert (both[0] & both[1]).sum() / (both[0] | both[1]).sum() > 0.85
                    continue
                scale = np.tile(tracks.size[::-1], 2)
                drawn, found = tracks.boxes[index, frame] * scale, read.boxes[index, frame] * scale
                inside = (drawn > -1) & (drawn < scale)
                off = np.abs(drawn - found)[inside]
                # Where lines of two objects cross, the codec may blur one side away.
                assert np.median(off) <= 1.5 if off.size else True, (index, frame)
                assert off.max(initial=0) <= 5, (index, frame)

    def test_no_colour(self, tmp_path):
        path = write_video(tmp_path / "black.mp4", np.zeros((3, 64, 64, 3), np.uint8), 8)
        with pytest.raises(TrajectoryError, match=r"black\.mp4.*no coloured region"):
            read_map_video(path)

    def test_an_ordinary_video(self):
        noise = np.random.default_rng(0).integers(0, 255, (2, 12, 16, 3), dtype=np.uint8)
        frames = np.stack([cv2.resize(frame, (160, 120), interpolation=cv2.INTER_CUBIC) for frame in noise])
        with pytest.raises(TrajectoryError, match="not a map"):
            decode_map(frames)

    def test_outlines_on_frame_zero(self):
        maps = rasterise(scene(0, 320, 480, objects=1), BoxLevel())
        with pytest.raises(TrajectoryError, match="as a box outline"):
            decode_map(maps[[1, 2, 3]])

    def test_nothing_after_frame_zero(self):
        maps = rasterise(scene(0), BoxLevel())
        maps[1:] = 0
        with pytest.raises(TrajectoryError, match="only frame 0"):
            decode_map(maps)

    def test_not_a_video(self, tmp_path):
        (tmp_path / "map.mp4").write_text("no video")
        with pytest.raises(MediaError):
            read_map_video(tmp_path / "map.mp4")

    @settings(deadline=None, max_examples=12)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.sampled_from([2, 4, 8, 255]))
    def test_random_pictures_only_raise_trajectory_errors(self, seed, frames, levels):
        rng = np.random.default_rng(seed)
        small = (
            rng.integers(0, levels, (frames, 4, 5, 3)) * (255 // levels) * (rng.random((frames, 4, 5, 1)) < 0.4)
        ).astype(np.uint8)
        maps = np.stack([cv2.resize(frame, (40, 32), interpolation=cv2.INTER_NEAREST) for frame in small])
        try:
            tracks, level = decode_map(maps)
        except TrajectoryError:
            return
        assert rasterise(tracks, level).shape == maps.shape


@needs_demos
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "objects", "level"),
    [
        ("camel_royal.mask", 1, MaskLevel()),
        ("cartoon_wizard.box", 2, BoxLevel()),
        ("floatie.box", 1, BoxLevel()),
        ("man_head.sparse_box", 1, SparseBoxLevel((1, 48))),
    ],
)
def test_public_demos(name, objects, level):
    read = read_map_video(DEMOS / f"{name}.mp4")
    assert len(read.tracks.names) == objects
    assert read.tracks.frames == 49
    assert read.level == level
    assert read.fps == 8
    assert read.tracks.first_masks.reshape(objects, -1).mean(axis=1).min() > 0.03


class TestFitting:
    def test_size_and_cut(self):
        tracks = scene(3)
        smaller = fit_tracks(tracks, 80, 120)
        np.testing.assert_allclose(smaller.boxes, tracks.boxes, atol=1e-6)
        assert smaller.masks.mean() == pytest.approx(tracks.masks.mean(), rel=0.1)
        square = fit_tracks(tracks, 160, 160, (160, 240))
        assert (square.first_masks == tracks.first_masks[:, :, 40:200]).all()
        with pytest.raises(TrajectoryError, match="another aspect"):
            fit_tracks(tracks, 160, 160)

    @pytest.mark.parametrize("frames", [1, 2, 9, 12])
    def test_number_of_frames(self, frames):
        tracks = scene(3)
        moved, level = resample_tracks(tracks, BoxLevel(), frames)
        assert moved.frames == frames
        assert level == BoxLevel()
        np.testing.assert_allclose(moved.boxes[:, 0], tracks.boxes[:, 0])
        if frames > 1:
            np.testing.assert_allclose(moved.boxes[:, -1], tracks.boxes[:, -1])
        sparse, kept = resample_tracks(tracks, SparseBoxLevel((1, 4)), frames)
        assert isinstance(kept, SparseBoxLevel)
        assert all(0 < frame < frames for frame in kept.frames)
        rasterise(sparse, kept)

    def test_boxes_move_evenly(self):
        tracks = scene(3, frames=3)
        moved, _ = resample_tracks(tracks, BoxLevel(), 5)
        np.testing.assert_allclose(moved.boxes[:, 1], tracks.boxes[:, :2].mean(axis=1), atol=1e-6)


class TestOverlay:
    @pytest.mark.parametrize("level", [MaskLevel(), BoxLevel(), SparseBoxLevel((2,))])
    def test_shows_the_maps_over_the_photo(self, level):
        tracks = scene(0)
        photo = np.full((160, 240, 3), 90, np.uint8)
        preview = overlay(photo, tracks, level)
        assert preview.shape == (5, 160, 240, 3)
        assert (photo == 90).all()
        maps = rasterise(tracks, level)
        drawn = maps[2].any(axis=-1)
        drawn[-20:, -90:] = False  # the frame counter
        changed = (preview[2] != 90).any(axis=-1)
        assert changed[drawn].mean() > 0.99
        assert changed.mean() < 0.6

    def test_a_shorter_video_and_a_tiny_picture(self):
        tracks = scene(0, 32, 48)
        video = np.full((2, 64, 96, 3), 90, np.uint8)
        assert overlay(video, tracks, BoxLevel()).shape == (5, 32, 48, 3)

    def test_long_names_and_absent_objects(self):
        tracks = scene(0)
        boxes = tracks.boxes.copy()
        boxes[0, 2:] = np.nan
        named = Tracks(("n" * 80, "\u4e2d\u6587"), tracks.first_masks, boxes)
        assert overlay(np.zeros((160, 240, 3), np.uint8), named, BoxLevel()).shape == (5, 160, 240, 3)
