"""The handlers of the Story tab, called as the page calls them; panels are drawn by the storybook world itself."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from story_drawn import DrawnPainter

from magicgen.jobs.story import StorySettings, prepare_story, story_key
from magicgen.media import read_image, write_image, write_json

gradio = pytest.importorskip("gradio")

from magicgen.ui.shelf import Shelf  # noqa: E402
from magicgen.ui.story_api import StoryApi  # noqa: E402
from magicgen.ui.story_desk import StoryDesk  # noqa: E402
from magicgen.ui.story_draft import StoryDraft  # noqa: E402
from magicgen.ui.story_handlers import BookProgress, StoryHandlers  # noqa: E402
from magicgen.ui.story_rows import subject_rows  # noqa: E402
from magicgen.ui.story_view import PANEL_PARTS, WHOLE_PARTS  # noqa: E402
from magicgen.ui.visitors import Visitors  # noqa: E402

ONE, OTHER = (SimpleNamespace(session_hash=name) for name in ("one", "other"))
TALE = """Red Fox

A red fox walked in the forest. "Hello!" said a gray owl."""
PLAN = (*WHOLE_PARTS, *PANEL_PARTS)


@pytest.fixture
def on(tmp_path: Path) -> Iterator[StoryHandlers]:
    tale = tmp_path / "tale.txt"
    tale.write_text(TALE, encoding="utf-8")
    prepared = prepare_story(tale, tmp_path / "book", StorySettings())
    shelf = Shelf()
    shelf.get("story", story_key(prepared), DrawnPainter)
    visitors = Visitors(tmp_path / "visitors")
    yield StoryHandlers(StoryDesk(shelf), visitors, [tale])
    visitors.close()


def form(on: StoryHandlers, **change: Any) -> list[Any]:
    usual = {"height": 64, "width": 96, "sketches": False, "plates": False}
    return on.settings_values(StorySettings(**{**usual, **change}))


def planned(on: StoryHandlers, who: Any = ONE, tale: str = TALE) -> dict[str, Any]:
    seed, said, *view = on.plan(who, tale, *form(on, seed=5))
    assert seed == 5
    assert "Planned: 2 panels" in said
    return dict(zip(PLAN, view, strict=True))


def made(on: StoryHandlers, who: Any = ONE, **change: Any) -> dict[str, Any]:
    on.check_pages(who, *form(on, seed=5, **change))
    return ended(on, who)


def ended(on: StoryHandlers, who: Any = ONE) -> dict[str, Any]:
    *_, last = on.run(who)
    values = dict(zip(("progress", "live", "history", *PLAN), last, strict=True))
    assert "Done." in values["progress"], values["progress"]
    return values


def draft(on: StoryHandlers, who: Any = ONE) -> StoryDraft:
    found = on.visitors.of(who.session_hash).story
    assert found is not None
    return found


def panels(on: StoryHandlers) -> list[bytes]:
    book = draft(on)
    return [book.book.panel(number).read_bytes() for number in range(len(book.page.panels))]


def test_a_tale_becomes_a_plan_and_a_book(on: StoryHandlers) -> None:
    seen = planned(on)
    assert [row[0] for row in seen["panels"]] == [1, 2]
    assert seen["canvas"]["value"]["objects"][0]["name"] == "Fox"
    assert [choice for choice, _ in seen["choice"]["choices"]] == ["1", "2"]
    got = made(on, sketches=True, plates=True)
    assert [words for _, words in got["pages"]] == ["page 1", "page 2"]
    assert [Path(path).suffix for path in got["files"]] == [".pdf", ".cbz", ".json"]
    assert len(got["sheets"]) == 2
    assert len(got["history"]["value"]) == 1
    assert got["picture"]["visible"]
    assert on.visitors.of("one").telling is None


def test_one_panel_is_made_again_and_no_other(on: StoryHandlers) -> None:
    planned(on)
    made(on)
    before = panels(on)
    on.show_panel(1, ONE)
    on.check_panel(ONE, 1, 77, *form(on, seed=5))
    ended(on)
    after = panels(on)
    assert after[0] == before[0]
    assert draft(on).page.panels[1].seed == 77
    assert len(on.visitors.of("one").books) == 1


@pytest.mark.slow
def test_boxes_move_by_table_and_on_the_page(on: StoryHandlers) -> None:
    seen = planned(on)
    made(on)
    before = panels(on)
    rows = seen["subjects"]
    rows[0][5:] = [0.1, 0.2, 0.4, 0.9]
    view = dict(zip(PLAN, on.edit_subjects(rows, 0, ONE), strict=True))
    assert view["canvas"]["value"]["objects"][0]["keyframes"][0]["box"] == [0.1, 0.2, 0.4, 0.9]
    assert view["choice"]["choices"][0][0] == "1 *"
    document = view["canvas"]["value"]
    document["objects"][0]["keyframes"][0]["box"] = [0.5, 0.2, 1.3, 0.9]
    view = dict(zip(PLAN, on.edit_boxes(ONE, document), strict=True))
    assert view["subjects"][0][5:] == [0.5, 0.2, 1.0, 0.9]
    assert view["canvas"] == gradio.skip()  # what the visitor drags is left alone
    got = made(on)
    assert panels(on)[0] != before[0]
    assert panels(on)[1] == before[1]
    assert "*" not in got["choice"]["choices"][0][0]


def test_a_late_change_goes_to_its_own_panel(on: StoryHandlers) -> None:
    document = planned(on)["canvas"]["value"]
    before = draft(on).page.panels[1]
    on.show_panel(1, ONE)
    document["objects"][0]["keyframes"][0]["box"] = [0.1, 0.2, 0.4, 0.9]
    view = dict(zip(PLAN, on.edit_boxes(ONE, document), strict=True))
    assert draft(on).page.panels[0].subjects[0].box == (0.1, 0.2, 0.4, 0.9)
    assert draft(on).page.panels[1] == before
    assert view["choice"]["value"] == 1
    planned(on, tale=TALE.replace("Red Fox", "Another"))
    changed = draft(on).page
    on.edit_boxes(ONE, document)
    assert draft(on).page == changed


def test_somebody_comes_and_goes_on_the_page(on: StoryHandlers) -> None:
    seen = planned(on)
    document = seen["canvas"]["value"]
    document["objects"].append({"name": "object 2", "keyframes": [{"frame": 0, "box": [0.6, 0.3, 0.9, 0.8]}]})
    view = dict(zip(PLAN, on.edit_boxes(ONE, document), strict=True))
    assert [row[1] for row in view["subjects"]] == ["Fox", "Owl"]
    assert [item["name"] for item in view["canvas"]["value"]["objects"]] == ["Fox", "Owl"]
    document["objects"] = document["objects"][:1]
    view = dict(zip(PLAN, on.edit_boxes(ONE, document), strict=True))
    assert [row[1] for row in view["subjects"]] == ["Fox"]


def test_a_wrong_cell_is_told_and_not_taken(on: StoryHandlers, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(gradio, "Warning", lambda text, **_: told.append(text))
    seen = planned(on)
    rows = [list(row) for row in seen["panels"]]
    rows[1][3] = "tiny"
    view = dict(zip(PLAN, on.edit_panels(rows, ONE), strict=True))
    assert view["panels"][1][3] == seen["panels"][1][3]
    assert "choose wide, medium or close" in told[0]
    wrong = [list(row) for row in seen["subjects"]]
    wrong[0][7] = 0.01
    on.edit_subjects(wrong, 0, ONE)
    assert "x1 and y1" in told[1]
    wrong[0][1] = "Nobody"
    on.edit_subjects(wrong, 0, ONE)
    assert len(told) == 3


def test_looks_change_in_all_prompts(on: StoryHandlers) -> None:
    planned(on)
    on.edit_cast([["Fox", "orange cat with a hat"], ["Owl", "gray owl"]], ONE)
    assert "an orange cat with a hat" in draft(on).page.panels[0].subjects[0].prompt
    on.edit_title("The Cat", ONE)
    on.edit_balloons([["Fox", "Miau!", "thought"], ["", "", ""]], 0, ONE)
    assert draft(on).page.title == "The Cat"
    assert draft(on).panel.balloons[0].text == "Miau!"


def test_a_drawing_takes_the_place_of_a_sketch(on: StoryHandlers, tmp_path: Path) -> None:
    planned(on)
    on.check_sketches(ONE, *form(on, seed=5, sketches=True))
    got = ended(on)
    assert [words for _, words in got["sketches"]] == ["the whole panel", "Fox alone"]
    circle = [[0.5 + 0.3 * np.cos(a), 0.5 + 0.3 * np.sin(a)] for a in np.linspace(0, 6.28, 20)]
    stroke = {"kind": "stroke", "layer": "reflection", "width": 0.02, "points": circle}
    view = dict(zip(PLAN, on.use_drawing(ONE, 0, {"version": 1, "marks": [stroke]}), strict=True))
    assert [words for _, words in view["sketches"]][1] == "Fox, yours"
    made(on, sketches=True)
    rows = subject_rows(draft(on).panel)
    on.edit_subjects([[*rows[0][:5], 0.1, 0.2, 0.4, 0.9]], 0, ONE)
    assert draft(on).panel.subjects[0].sketch is not None
    with pytest.raises(gradio.Error, match="Nothing is drawn"):
        on.use_drawing(ONE, 0, {"version": 1, "marks": []})
    plain = write_image(tmp_path / "plain.png", np.full((40, 40, 3), 255, np.uint8))
    with pytest.raises(gradio.Error, match="lines on a plain ground"):
        on.use_picture(str(plain), 0, ONE)
    on.drop_sketch(0, ONE)
    assert draft(on).panel.subjects[0].sketch is None


@pytest.mark.slow
def test_a_kept_book_restores_everything_for_another_visitor(on: StoryHandlers, tmp_path: Path) -> None:
    planned(on)
    photo = write_image(tmp_path / "me.png", read_image(draft(on).book.layout(0)))
    on.use_reference(str(photo), "Fox", ONE)
    rows = [[1, "Fox", "a red fox jumps", "jumps", "left", 0.1, 0.2, 0.4, 0.9]]
    on.edit_subjects(rows, 0, ONE)
    kept = made(on)["files"][2]
    text, *rest = on.load_file(kept, OTHER)
    count = len(form(on))
    values, view = rest[:count], dict(zip(PLAN, rest[count + 1 :], strict=True))
    assert text == TALE
    assert on.settings(values) == on.settings(form(on, seed=5))
    assert view["subjects"] == rows
    restored = draft(on, OTHER)
    assert restored.page.characters[0].references[0].is_file()
    assert restored.folder.is_relative_to(on.visitors.of("other").folder)
    before = panels(on)
    on.check_pages(OTHER, *values)
    ended(on, OTHER)
    assert [restored.book.panel(number).read_bytes() for number in range(2)] == before


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", '{"kind": "story", "settings": {"seed": -4}, "story": {}}', "seed"),
        ("a.json", '{"kind": "story", "settings": {}}', "holds no plan"),
        ("a.json", '{"kind": "story", "story": {}, "pictures": {"../x.png": ""}}', "relative"),
        ("a.json", '{"kind": "story", "story": {}, "pictures": {"x.py": ""}}', "no name of a picture"),
        ("a.json", "[1", "cannot be read as JSON"),
        ("a.yaml", "version: 1\npanels: []", "panels"),
        ("a.yaml", "version: 1\npanels: [{background: x, caption: !!python/object:os.system x}]", "a.yaml"),
        ("a.txt", "...", "is empty"),
        ("a.pdf", "x", "expected a story file"),
    ],
)
def test_files_that_are_no_books_are_refused(
    on: StoryHandlers, tmp_path: Path, name: str, content: str, words: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(gradio.Error) as raised:
        on.load_file(str(path), ONE)
    assert words in str(raised.value.message)
    assert str(tmp_path) not in str(raised.value.message)
    assert on.visitors.of("one").story is None


@pytest.mark.slow
def test_panels_can_be_added_and_deleted(on: StoryHandlers) -> None:
    planned(on)
    made(on)
    before = panels(on)
    view = dict(zip(PLAN, on.add_panel(ONE), strict=True))
    assert len(view["panels"]) == 3
    assert draft(on).shown == 1
    assert draft(on).undrawn() == [2]
    made(on)
    assert panels(on)[0] == before[0]
    assert panels(on)[2] == before[1]
    on.show_panel(0, ONE)
    on.delete_panel(ONE)
    assert len(draft(on).page.panels) == 2
    assert panels(on)[1] == before[1]
    assert len(on.visitors.of("one").books) == 2
    on.delete_panel(ONE)
    with pytest.raises(gradio.Error, match="at least one panel"):
        on.delete_panel(ONE)


def test_stop_visitors_and_mistakes(on: StoryHandlers) -> None:
    with pytest.raises(gradio.Error, match="no plan yet"):
        on.check_pages(ONE, *form(on))
    with pytest.raises(gradio.Error, match="is empty"):
        on.plan(ONE, "  ", *form(on))
    planned(on)
    with pytest.raises(gradio.Error, match="no plan yet"):
        on.check_pages(OTHER, *form(on))
    with pytest.raises(gradio.Error, match="multiple of 16"):
        on.check_pages(ONE, *on.settings_values(StorySettings(height=70)))
    with pytest.raises(gradio.Error, match="Make all pictures once"):
        on.check_panel(ONE, 0, 3, *form(on))
    assert "Nothing is running" in on.stop(ONE)
    on.check_pages(ONE, *form(on))
    with pytest.raises(gradio.Error, match="being made"):
        on.plan(ONE, TALE, *form(on))
    events = on.run(ONE)
    next(events)
    assert "Stopping" in on.stop(ONE)
    assert "Stopped" in list(events)[-1][0]
    on.check_pages(ONE, *form(on))
    on.stop(ONE)
    assert "before it began" in list(on.run(ONE))[-1][0]
    made(on)
    assert on.visitors.of("other").books == []


@pytest.mark.slow
def test_history_opens_a_book_again(on: StoryHandlers) -> None:
    planned(on)
    made(on)
    planned(on, tale=TALE.replace("Red Fox", "Second"))
    made(on)
    first = on.visitors.of("one").books[1]
    text, *_ = on.open(SimpleNamespace(index=1), ONE)
    assert text == TALE
    assert draft(on) is first


@pytest.mark.slow
def test_programs_plan_make_and_make_again(on: StoryHandlers) -> None:
    api = StoryApi(on.desk, on.visitors)
    settings = {"seed": 5, "height": 64, "width": 96, "sketches": False, "plates": False}
    plan, warnings = api.plan_story(ONE, TALE, settings)
    assert warnings == []
    plan["panels"][0]["subjects"][0]["box"] = [0.1, 0.2, 0.4, 0.9]
    pdf, story, pictures = api.make_story(ONE, TALE, settings, plan)
    assert Path(str(pdf)).read_bytes().startswith(b"%PDF")
    assert json.loads(Path(story).read_text())["story"] == plan
    before = [Path(path).read_bytes() for path in pictures]
    *_, pictures = api.remake_panel(ONE, 2, 77)
    assert Path(pictures[0]).read_bytes() == before[0]
    plan["panels"][0]["subjects"][0]["sketch"] = "my_story.txt"
    with pytest.raises(gradio.Error, match="cannot be named here"):
        api.make_story(ONE, TALE, settings, plan)
    with pytest.raises(gradio.Error, match="no book yet"):
        api.remake_panel(OTHER, 1, 0)


def test_progress_counts_steps_of_panels() -> None:
    from magicgen.progress import ProgressEvent

    progress = BookProgress()
    progress.told(ProgressEvent("Panels", 1, 2))
    seen = progress.told(ProgressEvent("Steps", 4, 8))
    assert seen.stage == "Panel 2 of 2"
    assert seen.eta_s is not None


def test_only_a_visitors_own_settings_are_taken(on: StoryHandlers) -> None:
    from magicgen.errors import ConfigError

    for name in ("font", "planner_url", "model", "device"):
        with pytest.raises(ConfigError, match="not offered here"):
            on.desk.settings({name: json.dumps("x")})


def test_a_visitor_chooses_among_models(on: StoryHandlers, tmp_path: Path) -> None:
    """A book of a model that is not on offer comes back with the one that is, and says so."""
    planned(on)
    made(on)
    document = json.loads(draft(on).book.sidecar.read_text(encoding="utf-8"))
    document["settings"]["model"] = "/models/another"
    book = write_json(tmp_path / "book.json", document)
    _, *settings, _ = on.load_file(str(book), OTHER)[: len(form(on)) + 2]
    assert on.settings(settings).model == "tiny"
    assert "drawn by the model another, which is not offered here" in draft(on, OTHER).warnings[0]
    both = StoryHandlers(StoryDesk(Shelf(), ("tiny", "/models/another")), on.visitors)
    assert both.settings(both.settings_values(StorySettings(model="/models/another"))).model == "/models/another"
