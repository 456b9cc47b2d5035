"""Books from tale to PDF: stages, edited files, one panel made again, characters, batches, errors."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from story_drawn import DrawnPainter

from magicgen.control.story import read_story, write_story
from magicgen.errors import MagicGenError, StoryError, WeightsError
from magicgen.jobs.batch import StoryJob, read_batch
from magicgen.jobs.story import PreparedStory, StoryResult, StorySettings, prepare_story, run_story
from magicgen.jobs.story_book import Book, slug
from magicgen.jobs.story_plan import read_characters
from magicgen.jobs.story_stages import foreground
from magicgen.media import read_image, write_image
from magicgen.progress import Cancelled, CancelToken, ProgressEvent
from magicgen.synthetic.poses import Action
from magicgen.synthetic.story_examples import canonical_place, draw_alone

TALE = """Red Fox

A red fox walked in the forest. "Hello!" said a gray owl. At night the fox and the owl danced at the sea."""


@pytest.fixture
def tale(tmp_path: Path) -> Path:
    path = tmp_path / "tale.txt"
    path.write_text(TALE)
    return path


def make(story: Path, out: Path, painter: DrawnPainter, **options: Any) -> StoryResult:
    settings = {name: options.pop(name) for name in list(options) if name in StorySettings.model_fields}
    prepared = prepare_story(story, out, StorySettings(**{"stop_after": "panels", **settings}), **options)
    return run_story(prepared, painter)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_tale_becomes_a_book(tale: Path, tmp_path: Path) -> None:
    painter = DrawnPainter()
    result = make(tale, tmp_path / "book", painter, stop_after="pages")
    assert len(result.panels) == 3
    assert result.pdf is not None
    assert result.pdf.read_bytes().startswith(b"%PDF")
    assert result.cbz is not None
    assert [path.name for path in result.pages] == ["page-01.png"]
    assert read_image(result.pages[0]).shape == (1754, 1240, 3)
    assert painter.calls.count("panel") == 3
    assert sorted(call for call in painter.calls if call.startswith("sheet")) == ["sheet Fox", "sheet Owl"]
    assert len([call for call in painter.calls if call.startswith("plate")]) == 2
    sidecar = json.loads((tmp_path / "book" / "story.json").read_text())
    assert sidecar["settings"]["seed"] == 0
    assert sidecar["planner"] == {"planner": "offline", "seed": 0}
    assert set(sidecar["panels"]) == {"panels/panel-01.png", "panels/panel-02.png", "panels/panel-03.png"}


def test_the_same_command_gives_the_same_bytes(tale: Path, tmp_path: Path) -> None:
    books = []
    for name in ("one", "two"):
        make(tale, tmp_path / name, DrawnPainter(), stop_after="pages")
        books.append({key: data for key, data in files(tmp_path / name).items() if key != "story.json"})
    assert books[0] == books[1]


def test_a_second_run_makes_nothing_again(tale: Path, tmp_path: Path) -> None:
    make(tale, tmp_path / "book", DrawnPainter())
    painter = DrawnPainter()
    make(tale, tmp_path / "book", painter)
    assert painter.calls == []


def test_one_panel_is_made_again_and_no_other(tale: Path, tmp_path: Path) -> None:
    book = tmp_path / "book"
    make(tale, book, DrawnPainter())
    before = files(book)
    painter = DrawnPainter()
    make(tale, book, painter, panel=2, panel_seed=99)
    assert painter.calls == ["panel"]
    after = files(book)
    changed = {name for name in after if before.get(name) != after[name]}
    assert "panels/panel-02.png" in changed
    assert not {"panels/panel-01.png", "panels/panel-03.png"} & changed
    assert not [name for name in changed if name.startswith(("sheets", "backgrounds", "conditions"))]
    assert read_story(book / "plan.yaml").panels[1].seed == 99
    again = DrawnPainter()
    make(tale, book, again)
    assert again.calls == []


def test_a_moved_box_makes_its_panel_again(tale: Path, tmp_path: Path) -> None:
    book = tmp_path / "book"
    make(tale, book, DrawnPainter())
    before = files(book)
    page = read_story(book / "plan.yaml")
    moved = page.panels[0].subjects[0].model_copy(update={"box": (0.05, 0.4, 0.25, 0.9)})
    panel = page.panels[0].model_copy(update={"subjects": (moved,)})
    write_story(book / "plan.yaml", page.model_copy(update={"panels": (panel, *page.panels[1:])}))
    painter = DrawnPainter()
    make(tale, book, painter)
    assert painter.calls == ["panel"]
    after = files(book)
    assert before["panels/panel-01.png"] != after["panels/panel-01.png"]
    assert before["panels/panel-02.png"] == after["panels/panel-02.png"]


def test_new_captions_set_pages_again_only(tale: Path, tmp_path: Path) -> None:
    book = tmp_path / "book"
    make(tale, book, DrawnPainter(), stop_after="pages")
    text = (book / "plan.yaml").read_text()
    (book / "plan.yaml").write_text(text.replace("A red fox walked", "A very red fox strolled"))
    before = files(book)
    painter = DrawnPainter()
    make(tale, book, painter, stop_after="pages")
    assert painter.calls == []
    assert files(book)["pages/page-01.png"] != before["pages/page-01.png"]


def test_a_redrawn_sketch_is_kept_and_used(tale: Path, tmp_path: Path) -> None:
    book = tmp_path / "book"
    make(tale, book, DrawnPainter())
    before = files(book)
    drawn = np.zeros((120, 80, 3), np.uint8)
    cv2.ellipse(drawn, (40, 60), (30, 50), 0, 0, 360, (255, 255, 255), 2)
    write_image(book / "conditions" / "panel-01" / "subject-1.sketch.png", drawn)
    painter = DrawnPainter()
    make(tale, book, painter)
    assert painter.calls == ["panel"]
    after = files(book)
    assert after["conditions/panel-01/sketch.png"] != before["conditions/panel-01/sketch.png"]
    assert after["conditions/panel-02/sketch.png"] == before["conditions/panel-02/sketch.png"]


@pytest.mark.parametrize(
    ("upto", "there", "absent"),
    [
        ("plan", ["plan.yaml"], ["layout", "sheets"]),
        ("boxes", ["plan.yaml", "layout/panel-01.png"], ["sheets", "panels"]),
        ("conditions", ["conditions/panel-01/sketch.png", "sheets/fox.png"], ["panels", "book.pdf"]),
        ("panels", ["panels/panel-03.png", "panels/panel-03.json"], ["book.pdf", "pages"]),
    ],
)
def test_runs_stop_where_they_are_told(
    tale: Path, tmp_path: Path, upto: str, there: list[str], absent: list[str]
) -> None:
    make(tale, tmp_path / "book", DrawnPainter(), stop_after=upto)
    assert all((tmp_path / "book" / name).is_file() for name in there)
    assert not any((tmp_path / "book" / name).exists() for name in absent)


def test_an_edited_layout_starts_from_the_boxes(tale: Path, tmp_path: Path) -> None:
    make(tale, tmp_path / "one", DrawnPainter(), stop_after="plan")
    layout = tmp_path / "mine.yaml"
    layout.write_text((tmp_path / "one" / "plan.yaml").read_text().replace("title: Red Fox", "title: Mine"))
    result = make(tale, tmp_path / "two", DrawnPainter(), layout=layout, stop_after="boxes")
    assert read_story(result.plan).title == "Mine"
    also = make(layout, tmp_path / "three", DrawnPainter(), stop_after="boxes")
    assert read_story(also.plan).title == "Mine"


def test_an_edited_plan_is_kept_when_the_tale_changes(tale: Path, tmp_path: Path) -> None:
    book = tmp_path / "book"
    make(tale, book, DrawnPainter(), stop_after="plan")
    (book / "plan.yaml").write_text((book / "plan.yaml").read_text().replace("title: Red Fox", "title: Mine"))
    tale.write_text("A pig sat in the snow.")
    result = make(tale, book, DrawnPainter(), stop_after="plan")
    assert read_story(result.plan).title == "Mine"
    assert any("was edited and is kept" in warning for warning in result.warnings)
    (book / "plan.yaml").unlink()
    assert read_story(make(tale, book, DrawnPainter(), stop_after="plan").plan).characters[0].name == "Pig"


def test_a_stopped_run_goes_on(tale: Path, tmp_path: Path) -> None:
    token = CancelToken()
    prepared = prepare_story(tale, tmp_path / "book", StorySettings())
    painter = DrawnPainter()

    def stop(event: ProgressEvent) -> None:
        if event.stage == "Panels" and event.step == 1:
            token.cancel()

    with pytest.raises(Cancelled):
        run_story(prepared, painter, report=stop, cancel=token)
    rest = DrawnPainter()
    make(tale, tmp_path / "book", rest)
    assert rest.calls == ["panel", "panel"]


def test_characters_come_with_pictures_and_words(tale: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cast"
    (folder / "fox").mkdir(parents=True)
    write_image(folder / "fox" / "front.png", np.full((64, 48, 3), 200, np.uint8))
    (folder / "fox" / "description.txt").write_text("a purple fox with a green scarf")
    write_image(folder / "owl.png", np.full((64, 48, 3), 100, np.uint8))
    result = make(tale, tmp_path / "book", DrawnPainter(), characters=folder)
    page = read_story(result.plan)
    fox = page.character("Fox")
    assert fox.description == "purple fox with a green scarf"
    assert fox.references[0].is_relative_to(tmp_path / "book")
    assert page.character("Owl").references
    shutil.rmtree(folder)
    make(result.plan, tmp_path / "book", DrawnPainter())


def test_broken_characters_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoryError, match="There is no folder"):
        read_characters(tmp_path / "none")
    (tmp_path / "cast").mkdir()
    with pytest.raises(StoryError, match="holds no character"):
        read_characters(tmp_path / "cast")
    (tmp_path / "cast" / "ruby.png").write_bytes(b"no picture")
    with pytest.raises(StoryError, match="picture of ruby"):
        read_characters(tmp_path / "cast")


def test_wrong_input_is_refused_before_anything_is_loaded(tale: Path, tmp_path: Path) -> None:
    def refused(expected: str, **options: Any) -> None:
        settings = {name: options.pop(name) for name in list(options) if name in StorySettings.model_fields}
        with pytest.raises(MagicGenError, match=expected) as error:
            prepare_story(options.pop("story", tale), tmp_path / "x", StorySettings(**settings), **options)
        assert error.value.exit_code == 2

    refused("There is no tale", story=tmp_path / "none.txt")
    refused("the panels 1 to 3", panel=4, panel_seed=1)
    refused("needs the panel", panel_seed=1)
    refused("multiple of 16", height=100)
    refused("There is no file", layout=tmp_path / "none.yaml")
    refused("no story model", model=str(tmp_path))
    refused("needs the model's name", planner="openai", planner_url="http://localhost:1/v1")
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    refused("is empty", story=empty)


def test_pages_need_all_panels(tale: Path, tmp_path: Path) -> None:
    prepared = prepare_story(tale, tmp_path / "book", StorySettings(), panel=1, panel_seed=3)
    with pytest.raises(StoryError, match="panels 2, 3 are not there yet"):
        run_story(prepared, DrawnPainter())


def test_weights_that_are_missing_are_explained(tale: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from magicgen.jobs import story_painter

    monkeypatch.setattr(story_painter, "preset_folder", lambda name: tmp_path / "presets" / name)
    prepared: PreparedStory = prepare_story(tale, tmp_path / "book", StorySettings())
    with pytest.raises(WeightsError, match="--stop-after boxes"):
        story_painter.load_painter(prepared.facts, None)


def test_batches_take_stories(tale: Path, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.yaml"
    jobs.write_text("- {kind: story, story: tale.txt, out: book, max_panels: 2, stop_after: boxes}\n")
    (item,) = read_batch(jobs, {"model": "tiny", "frames": 3})
    assert isinstance(item.job, StoryJob)
    assert item.job.max_panels == 2
    jobs.write_text("- {kind: story, story: tale.txt, out: ../book}\n- {kind: story, out: b}\n")
    outside, missing = read_batch(jobs, {})
    assert "inside the output folder" in str(outside.error)
    assert "story: missing" in str(missing.error)


def test_file_names_are_safe_and_differ() -> None:
    names = ["Ruby", "ruby!", "\u72d0\u72f8", "..", "a/b", "a b", "", "x" * 300]
    slugs = [slug(name) for name in names]
    assert all(part and "/" not in part and ".." not in part and len(part) < 60 for part in slugs)
    assert slug("\u72d0") != slug("\u72f8")
    assert slug("Ruby") == "ruby"


@pytest.mark.parametrize("kind", ["fox", "panda", "sheep", "robot", "girl", "owl"])
def test_subjects_are_cut_out_of_plain_grounds(kind: str) -> None:
    from story_drawn import design_of

    who = design_of(f"{kind} in white" if kind == "girl" else f"white {kind}")
    place = canonical_place(128, 96, 0.74, 35.0, Action.WAVES, who.frame)
    ground = np.full((128, 192, 3), 245, np.uint8)
    noisy = np.clip(ground + np.random.default_rng(0).normal(0, 2, ground.shape), 0, 255).astype(np.uint8)
    picture = draw_alone(who, place, noisy)
    truth = np.abs(picture.astype(int) - noisy).max(axis=2) > 0
    found = foreground(picture)
    assert (found & truth).sum() / (found | truth).sum() > 0.85


def test_a_redrawn_place_is_made_again_with_its_panels(tale: Path, tmp_path: Path) -> None:
    book = tmp_path / "book"
    make(tale, book, DrawnPainter())
    before = files(book)
    sketch = Book.open(book).place_sketch(read_story(book / "plan.yaml").panels[0].background)
    assert sketch.is_file()
    drawn = np.full((100, 150, 3), 255, np.uint8)
    cv2.line(drawn, (0, 40), (149, 60), (0, 0, 0), 3)
    write_image(sketch, drawn)
    painter = DrawnPainter()
    make(tale, book, painter)
    assert len([call for call in painter.calls if call.startswith("plate")]) == 1
    assert "panel" in painter.calls
    after = files(book)
    changed = {name for name in after if before.get(name) != after[name]}
    assert f"backgrounds/{sketch.name.replace('.sketch', '')}" in changed
