"""The Story tab with joints as the dense condition: seen, sent, kept, refused; with the model of the package."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from magicgen.jobs.story import StorySettings
from magicgen.jobs.story_joints import read_joints, write_joints
from magicgen.media import write_json
from magicgen.synthetic.skeleton import KEYPOINT_NAMES

gradio = pytest.importorskip("gradio")

from magicgen.ui.shelf import Shelf  # noqa: E402
from magicgen.ui.story_api import StoryApi  # noqa: E402
from magicgen.ui.story_desk import StoryDesk  # noqa: E402
from magicgen.ui.story_draft import StoryDraft  # noqa: E402
from magicgen.ui.story_handlers import StoryHandlers  # noqa: E402
from magicgen.ui.story_rows import boxes_document  # noqa: E402
from magicgen.ui.story_view import PANEL_PARTS, WHOLE_PARTS  # noqa: E402
from magicgen.ui.visitors import Visitors  # noqa: E402

ONE, OTHER = (SimpleNamespace(session_hash=name) for name in ("one", "other"))
TALE = """Red Fox

A red fox walked in the forest. "Hello!" said a gray owl."""
PLAN = (*WHOLE_PARTS, *PANEL_PARTS)
SETTINGS = {"height": 64, "width": 96, "steps": 1, "seed": 5, "plates": False, "condition": "keypoints"}
HAND = KEYPOINT_NAMES.index("hand_b")


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    """One loaded model for the whole file."""
    return Shelf()


@pytest.fixture
def on(tmp_path: Path, shelf: Shelf) -> Iterator[StoryHandlers]:
    """The handlers with a planned tale of one visitor."""
    visitors = Visitors(tmp_path / "visitors")
    handlers = StoryHandlers(StoryDesk(shelf), visitors)
    handlers.plan(ONE, TALE, *form(handlers))
    yield handlers
    visitors.close()


def form(on: StoryHandlers, **change: Any) -> list[Any]:
    return on.settings_values(StorySettings(**{**SETTINGS, **change}))


def ended(on: StoryHandlers, who: Any = ONE) -> dict[str, Any]:
    *_, last = on.run(who)
    values = dict(zip(("progress", "live", "history", *PLAN), last, strict=True))
    assert "Done." in values["progress"], values["progress"]
    return values


def made(on: StoryHandlers, who: Any = ONE) -> dict[str, Any]:
    on.check_pages(who, *form(on))
    return ended(on, who)


def draft(on: StoryHandlers, who: Any = ONE) -> StoryDraft:
    found = on.visitors.of(who.session_hash).story
    assert found is not None
    return found


def panels(on: StoryHandlers, who: Any = ONE) -> list[bytes]:
    return [draft(on, who).book.panel(number).read_bytes() for number in range(2)]


def some(path: Path, seed: int = 0) -> Path:
    """A file of joints for nobody in particular."""
    points = np.random.default_rng(seed).uniform(0.3, 0.7, (17, 3)).round(4).astype(np.float32)
    points[:, 2] = 1
    return write_joints(path, points)


def seen(view: dict[str, Any]) -> list[str]:
    return [words for _, words in view["skeletons"]]


@pytest.mark.slow
def test_joints_are_shown_moved_and_painted(on: StoryHandlers, tmp_path: Path) -> None:
    on.check_sketches(ONE, *form(on))
    view = ended(on)
    assert seen(view) == ["the whole panel", "Fox alone"]
    assert view["skeleton"].shape == (480, 720, 3)
    points = read_joints(Path(view["joints"]["value"]))
    first = made(on)
    before = panels(on)
    record = json.loads(draft(on).book.panel(0).with_suffix(".json").read_text(encoding="utf-8"))
    assert record["condition"] == "keypoints"
    points[HAND, :2] = points[HAND, :2] + (0.1, -0.2)
    sent = write_joints(tmp_path / "moved.json", np.clip(points, 0, 1))
    view = dict(zip(PLAN, on.use_joints(str(sent), 0, ONE), strict=True))
    assert seen(view)[1] == "Fox, yours"
    assert (view["skeleton"] != first["skeleton"]).any()
    assert [name for name, _ in view["choice"]["choices"]] == ["1 *", "2"]
    assert [name for name, _ in made(on)["choice"]["choices"]] == ["1", "2"]
    after = panels(on)
    assert after[0] != before[0]
    assert after[1] == before[1]
    on.drop_joints(0, ONE)
    assert seen(made(on)) == ["the whole panel", "Fox alone"]
    assert panels(on) == before


def test_who_is_seen_stays_while_a_run_would_read_their_joints(
    on: StoryHandlers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("gradio.Warning", lambda words, **_: told.append(words))
    on.use_joints(str(some(tmp_path / "mine.json")), 0, ONE)
    on.check_pages(ONE, *form(on))
    before = draft(on).page
    on.edit_boxes(ONE, {"version": 1, "tag": draft(on).tag, "objects": []})
    assert draft(on).page == before
    assert "A book is being made" in told[0]
    assert draft(on).book.joints(0, 0).is_file()
    on.edit_title("Another title", ONE)  # moves nobody
    assert draft(on).page.title == "Another title"


def test_before_joints_are_read_there_is_nothing_to_download(on: StoryHandlers, tmp_path: Path) -> None:
    picture, file = on.skeleton(0, ONE)
    assert picture is None
    assert not file["interactive"]
    on.use_joints(str(some(tmp_path / "mine.json")), 0, ONE)  # joints of another book, say
    picture, file = on.skeleton(0, ONE)
    assert picture is not None
    assert file["interactive"]
    assert on.skeleton(7, ONE) == [gradio.skip()] * 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[1", "expected JSON"),
        ("{}", 'expected {"version"'),
        ("[" * 60_000, "expected JSON"),
        (" " * 70_000, "larger than 64 KiB"),
    ],
)
def test_files_that_are_no_joints_are_refused(on: StoryHandlers, tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(gradio.Error) as raised:
        on.use_joints(str(path), 0, ONE)
    assert words in str(raised.value.message)
    assert str(raised.value.message).startswith("mine.json")
    assert "delete the file" not in str(raised.value.message)
    assert not draft(on).book.joints(0, 0).exists()


def test_joints_need_somebody_and_no_run(on: StoryHandlers, tmp_path: Path) -> None:
    sent = str(some(tmp_path / "mine.json"))
    with pytest.raises(gradio.Error, match="Choose whom the joints belong to"):
        on.use_joints(sent, None, ONE)
    with pytest.raises(gradio.Error, match="no plan yet"):
        on.use_joints(sent, 0, OTHER)
    with pytest.raises(gradio.Error, match="change one of the two"):
        on.check_pages(ONE, *form(on, sketches=False))
    on.check_pages(ONE, *form(on))
    with pytest.raises(gradio.Error, match="being made"):
        on.use_joints(sent, 0, ONE)
    on.stop(ONE)


def test_a_kept_book_brings_condition_and_joints_back(on: StoryHandlers, tmp_path: Path) -> None:
    on.use_joints(str(some(tmp_path / "mine.json")), 0, ONE)
    kept = made(on)["files"][2]
    _, *rest = on.load_file(kept, OTHER)
    settings = on.settings(rest[: len(form(on))])
    assert settings.condition == "keypoints"
    view = dict(zip(PLAN, rest[len(form(on)) + 1 :], strict=True))
    assert seen(view) == ["Fox, yours"]
    made(on, OTHER)
    assert panels(on, OTHER) == panels(on)
    document = json.loads(Path(kept).read_text(encoding="utf-8"))
    (name,) = document["joints"]
    for wrong, words in (
        ([], "expected an object of joints"),
        ({"../x.joints.json": document["joints"][name]}, "belongs to nobody"),
        ({name: {"version": 2, "joints": {}}}, "expected version 1"),
    ):
        path = write_json(tmp_path / "wrong.json", {**document, "joints": wrong})
        with pytest.raises(gradio.Error, match=words):
            on.load_file(str(path), OTHER)


def test_joints_stay_with_whom_they_show(on: StoryHandlers, tmp_path: Path) -> None:
    document = boxes_document(draft(on).panel)
    owl = {"name": "Owl", "keyframes": [{"frame": 0, "box": [0.6, 0.3, 0.9, 0.8]}]}
    tag = {"tag": draft(on).tag}
    on.edit_boxes(ONE, {**document, **tag, "objects": [*document["objects"], owl]})
    mine = some(tmp_path / "mine.json")
    on.use_joints(str(mine), 1, ONE)
    book = draft(on).book
    moved = {**owl, "keyframes": [{"frame": 0, "box": [0.5, 0.3, 0.8, 0.8]}]}
    on.edit_boxes(ONE, {**document, **tag, "objects": [*document["objects"], moved]})
    assert book.joints(0, 1).read_bytes() == mine.read_bytes()
    on.edit_boxes(ONE, {**document, **tag, "objects": [moved]})
    assert book.joints(0, 0).read_bytes() == mine.read_bytes()
    assert not book.joints(0, 1).exists()
    on.add_panel(ONE)
    assert [draft(on).book.joints(number, 0).exists() for number in range(3)] == [True, True, False]
    on.show_panel(0, ONE)
    on.delete_panel(ONE)
    assert draft(on).book.joints(0, 0).read_bytes() == mine.read_bytes()
    on.show_panel(0, ONE)
    on.edit_subjects([[1, "Fox", "a red fox stands", "stands", "left", 0.1, 0.2, 0.4, 0.9]], 0, ONE)
    assert not draft(on).book.joints(0, 0).exists()


def test_programs_choose_the_condition(on: StoryHandlers) -> None:
    api = StoryApi(on.desk, on.visitors)
    _, story, pictures = api.make_story(OTHER, TALE, SETTINGS, None)
    assert json.loads(Path(story).read_text(encoding="utf-8"))["settings"]["condition"] == "keypoints"
    assert draft(on, OTHER).book.joints(0, 0).is_file()
    assert len(pictures) == 2
    with pytest.raises(gradio.Error, match="condition"):
        api.plan_story(OTHER, TALE, {"condition": "colours"})


def test_where_no_model_is_shown_joints_a_kept_book_falls_back_to_sketches(on: StoryHandlers, tmp_path: Path) -> None:
    kept = Path(made(on)["files"][2])
    stock = tmp_path / "stock"
    (stock / "transformer").mkdir(parents=True)
    (stock / "model_index.json").write_text('{"_class_name": "CogVideoXPipeline"}')
    (stock / "transformer" / "config.json").write_text("{}")
    restored = StoryDesk(Shelf(), (str(stock),)).restore(tmp_path / "restored", kept)
    assert restored.settings.condition == "sketch"
    assert "is not offered here" in restored.warnings[0]
    assert "is not shown joints" in restored.warnings[1]
