"""trajectory.json: read exactly, written back equal, every mistake named; and its way to tracks."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magicgen.control.geometry import Box, Linear, Smooth
from magicgen.control.resolve import level_by_name, natural_level, resolve, sparse_level
from magicgen.control.rle import encode_rle
from magicgen.control.tracks import BoxLevel, MaskLevel, SparseBoxLevel
from magicgen.control.trajectory import (
    BoxMotion,
    Keyframe,
    MaskMotion,
    Trajectory,
    TrajectoryObject,
    parse_trajectory,
    read_trajectory,
    trajectory_to_json,
    write_trajectory,
)
from magicgen.errors import TrajectoryError
from magicgen.media import write_image

RLE = {"size": [4, 6], "counts": [5, 2, 17]}
VALID = {
    "version": 1,
    "frames": 9,
    "objects": [
        {
            "name": "cup",
            "mask": RLE,
            "keyframes": [
                {"frame": 0, "box": [0.1, 0.2, 0.4, 0.9]},
                {"frame": 8, "box": [0.5, 0.2, 1.3, 0.9], "angle": 45},
            ],
            "interpolation": "smooth",
        },
        {"name": "cat", "masks": [RLE, *[None] * 7, RLE]},
    ],
}


def changed(*path: object, value: object) -> dict:
    """VALID with the value at a path replaced; ``...`` as value removes the key."""
    document = json.loads(json.dumps(VALID))
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


def test_the_blueprints_example(tmp_path):
    mask = np.zeros((20, 40), np.bool_)
    mask[9:15, 5:19] = True
    write_image(tmp_path / "floatie.mask.png", mask)
    text = """{"version": 1, "frames": 49,
     "objects": [{"name": "floatie",
                  "mask": "floatie.mask.png",
                  "keyframes": [{"frame": 0, "box": [0.1, 0.4, 0.5, 0.8]},
                                {"frame": 48, "box": [0.5, 0.35, 0.9, 0.75]}],
                  "interpolation": "linear"}]}"""
    (tmp_path / "trajectory.json").write_text(text)
    trajectory = read_trajectory(tmp_path / "trajectory.json")
    assert trajectory.frames == 49
    motion = trajectory.objects[0].motion
    assert isinstance(motion, BoxMotion)
    assert motion.interpolation == Linear()
    assert (motion.mask.decode() == mask).all()
    tracks = resolve(trajectory, 20, 40)
    assert (tracks.first_masks[0] == mask).all()
    np.testing.assert_allclose(tracks.boxes[0, 24], [0.3, 0.375, 0.7, 0.775], atol=1e-6)
    assert tracks.masks is None
    assert tracks.angles is None


def test_write_and_read_again(tmp_path):
    trajectory = parse_trajectory(json.dumps(VALID))
    assert read_trajectory(write_trajectory(tmp_path / "t.json", trajectory)) == trajectory


MISTAKES = [
    (("version",), 2, "version: expected 1; got 2"),
    (("version",), True, "version"),
    (("version",), ..., "version: is missing"),
    (("frames",), 0, "frames: expected 1 to"),
    (("frames",), 9.0, "frames: expected a whole number"),
    (("fps",), 8, "fps: unknown key"),
    (("objects",), [], "objects: expected 1 to"),
    (("objects",), {}, "objects: expected a list"),
    (("objects", 0), 3, r"objects\[0\]: expected an object"),
    (("objects", 0, "color"), "red", r"objects\[0\]\.color: unknown key"),
    (("objects", 0, "name"), "cat", r"objects\[1\]\.name: 'cat' is used twice"),
    (("objects", 0, "name"), " ", r"objects\[0\]\.name"),
    (("objects", 0, "name"), 7, r"objects\[0\]\.name: expected text"),
    (("objects", 0, "name"), "a\nb", r"objects\[0\]\.name"),
    (("objects", 0, "keyframes"), [], r"objects\[0\]\.keyframes: expected at least one"),
    (("objects", 0, "keyframes"), ..., "either 'keyframes'"),
    (("objects", 0, "masks"), [RLE] * 9, "either 'keyframes'"),
    (("objects", 0, "interpolation"), "cubic", "'linear' or 'smooth'"),
    (("objects", 0, "interpolation"), ["linear"], "'linear' or 'smooth'"),
    (("objects", 0, "keyframes", 1, "frame"), 9, r"keyframes\[1\]\.frame: expected 0 to 8"),
    (("objects", 0, "keyframes", 1, "frame"), -1, r"frame: expected 0 to 8"),
    (("objects", 0, "keyframes", 1, "frame"), 0, "two keyframes"),
    (("objects", 0, "keyframes", 1, "frame"), 1.5, "whole number"),
    (("objects", 0, "keyframes", 1, "box"), [0.5, 0.2, 0.5, 0.9], r"keyframes\[1\]\.box: a box is"),
    (("objects", 0, "keyframes", 1, "box"), [0.5, 0.2, 0.9], "four numbers"),
    (("objects", 0, "keyframes", 1, "box"), [50, 20, 90, 90], "normalised, not pixels"),
    (("objects", 0, "keyframes", 1, "box", 2), float("nan"), "NaN"),
    (("objects", 0, "keyframes", 1, "box", 2), float("inf"), "Infinity"),
    (("objects", 0, "keyframes", 1, "box", 2), "1", r"box\[2\]: expected a finite number"),
    (("objects", 0, "keyframes", 1, "box", 2), True, r"box\[2\]: expected a finite number"),
    (("objects", 0, "keyframes", 1, "box", 2), 10**400, r"box\[2\]: expected a finite number"),
    (("objects", 0, "keyframes", 1, "angle"), 1e6, r"angle: expected at most"),
    (("objects", 0, "keyframes", 0, "box"), [1.1, 0.2, 1.4, 0.9], "outside the picture on frame 0"),
    (("objects", 0, "mask"), "../x.png", "without '..'"),
    (("objects", 0, "mask"), "/etc/x.png", "relative to"),
    (("objects", 0, "mask"), "C:\\x.png", "relative to"),
    (("objects", 0, "mask"), "x.gif", r"\.png"),
    (("objects", 0, "mask"), "none.png", "There is no image"),
    (("objects", 0, "mask"), None, r"objects\[0\]\.mask: expected the path"),
    (("objects", 0, "mask", "counts"), [24], "has no pixels"),
    (("objects", 0, "mask", "counts"), [25], "add up to 24"),
    (("objects", 0, "mask", "size"), [6, 4], "another aspect"),
    (("objects", 1, "masks"), [RLE], "each of the 9 frames"),
    (("objects", 1, "masks", 0), None, r"masks\[0\]: the object must be visible"),
    (("objects", 1, "masks", 3), 5, r"objects\[1\]\.masks\[3\]: expected a COCO RLE"),
    (("objects", 1, "interpolation"), "linear", "belongs to 'keyframes'"),
]


@pytest.mark.parametrize(("path", "value", "message"), MISTAKES)
def test_mistakes_are_named(tmp_path, path, value, message):
    source = tmp_path / "t.json"
    source.write_text(json.dumps(changed(*path, value=value)))
    with pytest.raises(TrajectoryError, match=message) as caught:
        read_trajectory(source)
    assert str(caught.value).startswith(str(source))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": 1, "version": 1}', "[" * 100_000, "\ufeff{"])
def test_no_json(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(TrajectoryError, match=r"t\.json"):
        read_trajectory(tmp_path / "t.json")


def test_no_file(tmp_path):
    for path in (tmp_path / "none.json", tmp_path, "a\0b", "x" * 5000):
        with pytest.raises(TrajectoryError):
            read_trajectory(path)
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))
    with pytest.raises(TrajectoryError, match="UTF-8"):
        read_trajectory(tmp_path / "binary.json")


def test_links_out_of_the_folder(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    write_image(tmp_path / "secret.png", np.ones((20, 20), np.bool_))
    (inner / "mask.png").symlink_to(tmp_path / "secret.png")
    (inner / "t.json").write_text(json.dumps(changed("objects", 0, "mask", value="mask.png")))
    with pytest.raises(TrajectoryError, match="leads out of"):
        read_trajectory(inner / "t.json")


names = st.lists(
    st.text("abcdefg \u00e9", min_size=1, max_size=5).filter(str.strip), min_size=1, max_size=3, unique=True
)
numbers = st.floats(0.05, 0.9).map(lambda value: round(value, 4))


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    frames = draw(st.integers(1, 12))
    objects = []
    for name in draw(names):
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        if draw(st.booleans()):
            rles = [encode_rle(rng.random((4, 6)) < 0.5) for _ in range(frames)]
            first = encode_rle(np.ones((4, 6), np.bool_))
            objects.append(TrajectoryObject(name, MaskMotion((first, *rles[1:]))))
            continue
        at = sorted(draw(st.sets(st.integers(0, frames - 1), min_size=1, max_size=4)))
        keys = []
        for frame in at:
            x, y, w, h = (draw(numbers) for _ in range(4))
            keys.append(Keyframe(frame, Box(x, y, x + w, y + h), draw(st.sampled_from([0.0, -30.0, 400.5]))))
        mask = encode_rle(np.ones((4, 6), np.bool_)) if draw(st.booleans()) else None
        objects.append(
            TrajectoryObject(name, BoxMotion(tuple(keys), draw(st.sampled_from([Linear(), Smooth()])), mask))
        )
    return Trajectory(frames, tuple(objects))


@settings(deadline=None, max_examples=25)
@given(trajectories())
def test_round_trip(trajectory):
    assert parse_trajectory(trajectory_to_json(trajectory)) == trajectory


@settings(deadline=None, max_examples=25)
@given(trajectories(), st.integers(1, 30))
def test_resampling_keeps_ends_and_objects(trajectory, frames):
    result = trajectory.resampled(frames)
    assert result.frames == frames
    assert [item.name for item in result.objects] == [item.name for item in trajectory.objects]
    for old, new in zip(trajectory.objects, result.objects, strict=True):
        if isinstance(old.motion, BoxMotion) and frames > 1:
            assert new.motion.keyframes[-1].box == old.motion.keyframes[-1].box
    assert trajectory.resampled(trajectory.frames) is trajectory


arbitrary = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(RLE),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["version", "frames", "objects", "name", "mask", "masks", "keyframes", "frame", "box"]),
            inner,
        )
    ),
    max_leaves=20,
)
_paths = [path for path, _, _ in MISTAKES if path != ("fps",)]


@settings(deadline=None, max_examples=60)
@given(arbitrary)
def test_arbitrary_json(value):
    with contextlib.suppress(TrajectoryError):
        parse_trajectory(json.dumps(value))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(_paths), arbitrary)
def test_a_valid_file_with_one_strange_value(path, value):
    with contextlib.suppress(TrajectoryError):
        resolve(parse_trajectory(json.dumps(changed(*path, value=value))), 32, 48)


@settings(deadline=None, max_examples=60)
@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_arbitrary_text(text):
    with contextlib.suppress(TrajectoryError):
        parse_trajectory(text)


def boxes_only(**motion: object) -> Trajectory:
    keys = (Keyframe(0, Box(0.1, 0.2, 0.5, 0.7)), Keyframe(8, Box(0.4, 0.2, 0.8, 0.7)))
    return Trajectory(9, (TrajectoryObject("cup", BoxMotion(keys, **motion)),))


def test_resolve_asks_the_segmenter():
    asked = []

    def segment(box: Box) -> np.ndarray:
        asked.append(box)
        mask = np.zeros((40, 60), np.bool_)
        mask[10:20, 10:20] = True
        return mask

    tracks = resolve(boxes_only(), 40, 60, first_masks=segment)
    assert asked == [Box(0.1, 0.2, 0.5, 0.7)]
    assert tracks.first_masks.sum() == 100
    filled = resolve(boxes_only(), 40, 60)
    assert filled.first_masks[0, 8:28, 6:30].all()
    assert filled.first_masks.sum() == 20 * 24
    empty = resolve(boxes_only(), 40, 60, first_masks=lambda box: np.zeros((40, 60), np.bool_))
    assert (empty.first_masks == filled.first_masks).all()


def test_resolve_follows_the_cut_of_the_photo():
    mask = np.zeros((40, 80), np.bool_)
    mask[10:20, 30:40] = True
    keys = (Keyframe(0, Box(30 / 80, 10 / 40, 40 / 80, 20 / 40)),)
    trajectory = Trajectory(3, (TrajectoryObject("cup", BoxMotion(keys, Linear(), encode_rle(mask))),))
    tracks = resolve(trajectory, 40, 40, source_size=(40, 80))
    expected = np.zeros((40, 40), np.bool_)
    expected[10:20, 10:20] = True
    assert (tracks.first_masks[0] == expected).all()
    np.testing.assert_allclose(tracks.boxes[0, 1], [0.25, 0.25, 0.5, 0.5])
    with pytest.raises(TrajectoryError, match="another aspect"):
        resolve(trajectory, 40, 40)


def test_objects_that_cannot_be_seen_on_frame_zero():
    big, small = Box(0.0, 0.0, 1.0, 1.0), Box(0.4, 0.4, 0.5, 0.5)
    hidden = Trajectory(
        2,
        (
            TrajectoryObject("small", BoxMotion((Keyframe(0, small),))),
            TrajectoryObject("big", BoxMotion((Keyframe(0, big),))),
        ),
    )
    with pytest.raises(TrajectoryError, match="'small' cannot be seen"):
        resolve(hidden, 20, 20)
    front = Trajectory(2, hidden.objects[::-1])
    tracks = resolve(front, 20, 20)
    assert not tracks.first_masks.all(axis=0).any()
    assert tracks.first_masks.any(axis=0).all()
    cut = Trajectory(2, (TrajectoryObject("edge", BoxMotion((Keyframe(0, Box(0.0, 0.0, 0.1, 1.0)),))),))
    with pytest.raises(TrajectoryError, match="shows no pixel"):
        resolve(cut, 20, 20, source_size=(20, 60))
    far = encode_rle(np.pad(np.ones((5, 5), np.bool_), ((0, 15), (15, 0))))
    apart = Trajectory(2, (TrajectoryObject("far", BoxMotion((Keyframe(0, Box(0.0, 0.5, 0.5, 1.0)),), Linear(), far)),))
    with pytest.raises(TrajectoryError, match="do not meet"):
        resolve(apart, 20, 20)


def test_masks_and_levels():
    dense = Trajectory(2, (TrajectoryObject("cat", MaskMotion((encode_rle(_square()), None))),))
    tracks = resolve(dense, 8, 12)
    assert tracks.masks is not None
    assert tracks.masks[0, 0].any()
    assert np.isnan(tracks.boxes[0, 1]).all()
    assert natural_level(dense) == MaskLevel()
    assert natural_level(boxes_only()) == BoxLevel()
    mixed = Trajectory(9, (*boxes_only().objects, TrajectoryObject("cat", MaskMotion((encode_rle(_square()),) * 9))))
    assert natural_level(mixed) == BoxLevel()
    assert resolve(mixed, 8, 12).masks is None


def _square() -> np.ndarray:
    mask = np.zeros((4, 6), np.bool_)
    mask[1:3, 2:5] = True
    return mask


def test_sparse_frames():
    assert sparse_level(49) == SparseBoxLevel((1, 48))
    assert sparse_level(49, (0, 10, 48)) == SparseBoxLevel((1, 10, 48))
    many = sparse_level(49, range(49)).frames
    assert len(many) == 9
    assert (many[0], many[-1]) == (1, 48)
    assert sparse_level(1) == SparseBoxLevel(())
    assert sparse_level(2) == SparseBoxLevel((1,))
    assert level_by_name("sparse_box", 5) == SparseBoxLevel((1, 4))
    with pytest.raises(TrajectoryError, match="'boxes'"):
        level_by_name("boxes", 5)


def test_document_of_the_format(tmp_path):
    text = (Path(__file__).parents[1] / "docs" / "trajectory_format.md").read_text()
    blocks = [part.split("```")[0] for part in text.split("```json\n")[1:]]
    assert blocks
    write_image(tmp_path / "cup.mask.png", np.ones((20, 30), np.bool_))
    for block in blocks:
        parse_trajectory(block, tmp_path)
