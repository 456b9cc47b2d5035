"""``magicgen story`` at the command line: dry runs, several tales, one panel, exit codes."""

import json
from pathlib import Path

import pytest
from story_drawn import DrawnPainter
from typer.testing import CliRunner, Result

from magicgen.cli import app
from magicgen.control.story import read_story
from magicgen.errors import MagicGenError
from magicgen.jobs import story as jobs


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> DrawnPainter:
    made = DrawnPainter()
    monkeypatch.setattr(jobs, "load_painter", lambda facts, device: made)
    return made


@pytest.fixture
def tale(tmp_path: Path) -> Path:
    path = tmp_path / "tale.txt"
    path.write_text("A red fox walked in the forest. A gray owl waved. The fox sat to the left of the owl.")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["story", *map(str, arguments)])


def test_a_dry_run_plans_and_loads_nothing(tale: Path, tmp_path: Path, painter: DrawnPainter) -> None:
    done = run(tale, "--out", tmp_path / "book", "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert len(told["layouts"]) == 3
    assert told["panels"] == []
    assert painter.calls == []
    assert "forest" in done.stderr


def test_one_panel_again_keeps_the_settings_of_the_book(tale: Path, tmp_path: Path, painter: DrawnPainter) -> None:
    book = tmp_path / "book"
    first = run(tale, "--out", book, "--stop-after", "panels", "--seed", 5, "--max-panels", 2, "--height", 96)
    assert first.exit_code == 0, first.output
    before = {path.name: path.read_bytes() for path in (book / "panels").glob("*.png")}
    assert len(before) == 2
    painter.calls.clear()
    again = run(tale, "--out", book, "--stop-after", "panels", "--panel", 1, "--seed", 11)
    assert again.exit_code == 0, again.output
    assert painter.calls == ["panel"]
    after = {path.name: path.read_bytes() for path in (book / "panels").glob("*.png")}
    assert after["panel-01.png"] != before["panel-01.png"]
    assert after["panel-02.png"] == before["panel-02.png"]
    assert read_story(book / "plan.yaml").panels[0].seed == 11
    assert json.loads((book / "story.json").read_text())["settings"]["seed"] == 5


def test_several_tales_become_several_books(tale: Path, tmp_path: Path, painter: DrawnPainter) -> None:
    other = tmp_path / "other.txt"
    other.write_text("")
    done = run(tale, other, "--out", tmp_path / "books", "--stop-after", "boxes")
    assert done.exit_code == 1
    assert "other.txt is empty" in done.stderr
    assert (tmp_path / "books" / "tale" / "plan.yaml").is_file()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--planner", "magic"], "planner"),
        (["--stop-after", "never"], "stop_after"),
        (["--max-panels", "0"], "max_panels"),
        (["--panel", "9"], "panels 1 to 3"),
        (["--layout", "none.yaml"], "no file"),
        (["--characters", "none"], "no folder"),
    ],
)
def test_wrong_use_is_refused(tale: Path, tmp_path: Path, arguments: list[str], expected: str) -> None:
    done = run(tale, "--out", tmp_path / "book", *arguments)
    assert isinstance(done.exception, MagicGenError), done.output
    assert done.exception.exit_code == 2
    assert expected in str(done.exception)
