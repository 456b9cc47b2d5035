"""Books drawn after joints: the file and its errors, what is read, what an edit changes, who refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from story_drawn import DrawnPainter, design_of
from typer.testing import CliRunner

from magicgen.cli import app
from magicgen.control.story import Subject, read_story
from magicgen.errors import MagicGenError, StoryError, WeightsError
from magicgen.jobs import story as jobs
from magicgen.jobs.story import StorySettings, prepare_story, run_story
from magicgen.jobs.story_joints import JointReader, read_joints, write_joints
from magicgen.jobs.story_stages import foreground
from magicgen.media import read_image
from magicgen.synthetic.poses import Action
from magicgen.synthetic.skeleton import KEYPOINT_NAMES
from magicgen.synthetic.story_examples import canonical_place, canonical_points, draw_alone

HAND, ELBOW = KEYPOINT_NAMES.index("hand_b"), KEYPOINT_NAMES.index("elbow_b")
FOX = Subject(character="fox", prompt="a red fox stands", box=(0.1, 0.2, 0.4, 0.9))


@pytest.fixture
def tale(tmp_path: Path) -> Path:
    path = tmp_path / "tale.txt"
    path.write_text("A red fox walked in the forest. A gray owl waved.")
    return path


def make(story: Path, out: Path, **options: Any) -> DrawnPainter:
    """A run; the painter tells what was drawn."""
    painter = DrawnPainter()
    settings = StorySettings(**{"condition": "keypoints", "stop_after": "panels", **options})
    run_story(prepare_story(story, out, settings), painter)
    return painter


def joints_file(book: Path, panel: int = 1) -> Path:
    return book / "conditions" / f"panel-{panel:02d}" / "subject-1.joints.json"


def fox_alone() -> tuple[np.ndarray, np.ndarray]:
    who = design_of("red fox")
    picture = np.full((128, 192, 3), 246, np.uint8)
    picture = draw_alone(who, canonical_place(128, 96, 0.74, 0.0, Action.STANDS, who.frame), picture)
    return picture, foreground(picture)


def test_joints_come_back_from_their_file(tmp_path: Path) -> None:
    points = np.round(np.random.default_rng(0).random((17, 3)), 4).astype(np.float32)
    points[:, 2] = 1
    points[2] = 0
    path = write_joints(tmp_path / "joints.json", points)
    assert np.allclose(read_joints(path), points, atol=1e-6)
    assert json.loads(path.read_text())["joints"]["eye_b"] is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda data: "{", "expected JSON"),
        (lambda data: [1], 'expected {"version"'),
        (lambda data: {**data, "colour": 1}, 'expected {"version"'),
        (lambda data: {**data, "version": 2}, "expected version 1; got 2"),
        (lambda data: {**data, "joints": {"nose": None}}, "joints are missing: eye_a"),
        (lambda data: {**data, "joints": {**data["joints"], "tail": [0, 0]}}, "no joint 'tail'"),
        (lambda data: {**data, "joints": {**data["joints"], "neck": [0.5, 1.5]}}, "neck: expected null or"),
        (lambda data: {**data, "joints": {**data["joints"], "neck": [0.5]}}, "neck: expected null or"),
        (lambda data: {**data, "joints": {**data["joints"], "neck": "left"}}, "got 'left'"),
        (lambda data: {**data, "joints": {**data["joints"], "neck": [float("nan"), 0]}}, "neck: expected null or"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, change: Any, expected: str) -> None:
    path = write_joints(tmp_path / "joints.json", np.full((17, 3), 0.5, np.float32))
    given = change(json.loads(path.read_text()))
    path.write_text(given if isinstance(given, str) else json.dumps(given))
    with pytest.raises(StoryError) as error:
        read_joints(path)
    assert expected in str(error.value)
    assert "joints.json" in str(error.value)


def test_the_shipped_head_finds_the_joints_of_a_drawn_fox() -> None:
    picture, mask = fox_alone()
    found = JointReader().read(picture, mask, 0.0)
    truth = canonical_points(128, 192, 0.5, 0.0, Action.STANDS)
    rows = np.flatnonzero(mask.any(axis=1))
    # the average body at the drawn one's place and size
    truth[:, 1] = (truth[:, 1] - truth[15, 1]) * (0.74 / 0.64) + rows[-1] / 128
    truth[:, 0] = 0.5 + (truth[:, 0] - 0.5) * (0.74 / 0.64)
    off = np.linalg.norm((found - truth)[:, :2] * (192, 128), axis=1)
    assert np.median(off) < 0.1 * len(rows)
    assert found[:, 2].all()
    assert not JointReader().read(picture, mask, 180.0)[:3, 2].any(), "from behind no face is seen"


def test_a_moved_hand_takes_its_arm_along() -> None:
    picture, mask = fox_alone()
    reader = JointReader()
    read = reader.read(picture, mask, 0.0)
    same = reader.cutout(picture, mask, FOX, read)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert same.picture is not None
    assert np.array_equal(same.picture, picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    raised = read.copy()
    raised[HAND, :2] = read[HAND, :2] + (0.06, -0.25)
    raised[ELBOW, :2] = read[ELBOW, :2] + (0.03, -0.1)
    moved = reader.cutout(picture, mask, FOX, raised)
    assert moved.keypoints is not None
    assert same.keypoints is not None
    assert moved.mask.shape[1] > same.mask.shape[1], "the arm reaches out"
    assert moved.keypoints[HAND, 1] < same.keypoints[HAND, 1] - 0.1


def test_a_book_is_drawn_after_joints(tale: Path, tmp_path: Path) -> None:
    book = tmp_path / "book"
    painter = make(tale, book)
    assert painter.calls.count("panel") == 2
    assert painter.keypoints is not None
    assert painter.keypoints.shape == (1, 17, 3)
    x0, y0, x1, y1 = _box(book)
    seen = painter.keypoints[0][painter.keypoints[0, :, 2] > 0]
    assert (seen[:, 0] > x0 - 0.04).all()
    assert (seen[:, 0] < x1 + 0.04).all()
    assert (seen[:, 1] > y0 - 0.04).all()
    assert (seen[:, 1] < y1 + 0.04).all()
    assert read_image(book / "conditions" / "panel-02" / "joints.png").any()
    assert json.loads((book / "story.json").read_text())["settings"]["condition"] == "keypoints"
    assert make(tale, book).calls == []


def _box(book: Path) -> tuple[float, float, float, float]:
    return read_story(book / "plan.yaml").panels[-1].subjects[0].box


def test_another_condition_makes_the_panels_again_and_nothing_else(tale: Path, tmp_path: Path) -> None:
    book = tmp_path / "book"
    assert make(tale, book, condition="sketch").keypoints is None
    assert make(tale, book).calls == ["panel", "panel"]
    assert make(tale, book, condition="sketch").calls == ["panel", "panel"]


def test_edited_joints_are_kept_and_used(tale: Path, tmp_path: Path) -> None:
    book = tmp_path / "book"
    tale.write_text("A red fox stood in the forest.")
    before = make(tale, book).keypoints
    path = joints_file(book)
    points = read_joints(path)
    points[HAND, :2] = points[HAND, :2] + (0.05, -0.2)
    text = write_joints(path, points).read_text()
    painter = make(tale, book)
    assert painter.calls == ["panel"]
    assert path.read_text() == text
    assert painter.keypoints is not None
    assert before is not None
    assert painter.keypoints[0, HAND, 1] < before[0, HAND, 1] - 0.05
    assert make(tale, book).calls == []
    path.unlink()
    again = make(tale, book)
    assert again.calls == ["panel"]
    assert again.keypoints is not None
    assert np.allclose(again.keypoints, before, equal_nan=True)


def test_a_bad_file_is_told_before_anything_is_loaded(
    tale: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = tmp_path / "book"
    monkeypatch.setattr(jobs, "load_painter", lambda facts, device: DrawnPainter())
    given = ["story", str(tale), "--out", str(book), "--condition", "keypoints", "--stop-after", "panels"]
    assert CliRunner().invoke(app, given).exit_code == 0
    joints_file(book).write_text("{}")

    def never(facts: object, device: object) -> None:
        raise AssertionError("nothing is loaded")

    monkeypatch.setattr(jobs, "load_painter", never)
    done = CliRunner().invoke(app, given)
    assert isinstance(done.exception, MagicGenError), done.output
    assert done.exception.exit_code == 2
    assert "subject-1.joints.json" in str(done.exception)
    sketches = StorySettings(stop_after="boxes")
    prepare_story(tale, book, sketches)  # no business of sketches


def test_who_cannot_draw_after_joints_says_so(tale: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoryError, match="change one of the two"):
        make(tale, tmp_path / "a", sketches=False)
    stock = tmp_path / "stock"
    (stock / "transformer").mkdir(parents=True)
    (stock / "model_index.json").write_text('{"_class_name": "CogVideoXPipeline"}')
    (stock / "transformer" / "config.json").write_text("{}")
    with pytest.raises(StoryError, match="no branch that is shown joints"):
        make(tale, tmp_path / "b", model=str(stock))
    monkeypatch.setattr("magicgen.jobs.story_joints.preset_folder", lambda name: tmp_path / "presets" / name)
    with pytest.raises(WeightsError, match="--condition sketch"):
        make(tale, tmp_path / "c")
    done = CliRunner().invoke(app, ["story", str(tale), "--out", str(tmp_path / "d"), "--condition", "colours"])
    assert isinstance(done.exception, MagicGenError)
    assert "condition" in str(done.exception)
