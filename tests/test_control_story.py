"""Story files: what is accepted, what is refused and how the message names the place."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magicgen.control.story import (
    MAX_CHARACTERS,
    Balloon,
    Character,
    Panel,
    StoryPage,
    Subject,
    read_story,
    story_from_values,
    write_story,
)
from magicgen.errors import StoryError
from magicgen.media import write_image

FOX = {"character": "Ruby", "prompt": "a red fox waves", "box": [0.1, 0.3, 0.4, 0.95]}


def story(**changes: Any) -> dict[str, Any]:
    panel = {"background": "in the forest at night", "subjects": [FOX]}
    return {
        "version": 1,
        "characters": [{"name": "Ruby", "description": "a red fox"}],
        "panels": [panel],
        **changes,
    }


def with_subject(**changes: Any) -> dict[str, Any]:
    return story(panels=[{"background": "in the forest", "subjects": [{**FOX, **changes}]}])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (story(version=2), r"version: .*1"),
        (story(panels=[]), r"panels: a story has at least one"),
        (story(heroes=[]), r"heroes: unknown key"),
        (story(panels=[{"subjects": []}]), r"panels\.0\.background: missing"),
        (story(panels=[{"background": "   "}]), r"panels\.0\.background: expected some words"),
        (with_subject(box=[0.1, 0.3, 1.4, 0.9]), r"panels\.0\.subjects\.0\.box: a box lies inside the picture"),
        (with_subject(box=[10, 30, 140, 90]), r"box: .*normalised, not pixels"),
        (with_subject(box=[0.4, 0.3, 0.1, 0.9]), r"box: .*x1 and y1"),
        (with_subject(box=[0.1, 0.3, 0.4]), r"box: a box is four numbers"),
        (with_subject(box=[0.1, 0.3, float("nan"), 0.9]), r"box"),
        (with_subject(character="Rex"), r"panels\.0\.subjects\.0\.character: unknown character; the story has Ruby"),
        (with_subject(facing="up"), r"facing: .*'front'"),
        (with_subject(prompt="a\x00b"), r"prompt: expected text without control"),
        (story(characters=[{"name": "Ruby", "description": "a fox"}] * 2), r"characters\.1\.name: every character"),
        (
            story(panels=[{"background": "x", "balloons": [{"speaker": "Rex", "text": "Hi"}]}]),
            r"panels\.0\.balloons\.0\.speaker: unknown",
        ),
        (story(characters=[{"name": str(i), "description": "a"} for i in range(MAX_CHARACTERS + 1)]), r"characters: "),
        ([], r"expected a mapping"),
        ("story", r"expected a mapping"),
    ],
)
def test_wrong_values_are_refused_by_name(values: Any, expected: str) -> None:
    with pytest.raises(StoryError, match=expected):
        story_from_values(values, "tale")


def test_a_file_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "story.yaml"
    file.write_text("version: 1\npanels:\n- background: in the forest\n  subjects:\n  - {character: A}\n")
    with pytest.raises(StoryError, match=r"story\.yaml, line 5: panels\.0\.subjects\.0\.prompt: missing"):
        read_story(file)


@pytest.mark.parametrize("text", ["", "{", "panels: [1, 2", "\x00", "- a", "&a [*a]"])
def test_broken_files_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "story.yaml"
    file.write_text(text)
    with pytest.raises(StoryError, match=r"story\.yaml"):
        read_story(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoryError, match="There is no file"):
        read_story(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("reference", ["../fox.png", "/etc/passwd", "missing.png", "C:\\fox.png"])
def test_pictures_are_looked_for_beside_the_file_only(tmp_path: Path, reference: str) -> None:
    folder = tmp_path / "book"
    folder.mkdir()
    write_image(tmp_path / "fox.png", np.zeros((4, 4, 3), np.uint8))
    values = story(characters=[{"name": "Ruby", "description": "a fox", "references": [reference]}])
    write_story(folder / "story.json", story_from_values(story(), "x"))
    (folder / "story.json").write_text(json.dumps(values))
    with pytest.raises(StoryError, match=re.escape("characters[0].references")):
        read_story(folder / "story.json")


def test_pictures_come_back_as_paths(tmp_path: Path) -> None:
    file = write_image(tmp_path / "fox.png", np.zeros((4, 4, 3), np.uint8))
    page = StoryPage(
        characters=(Character(name="Ruby", description="a fox", references=(file,)),),
        panels=(
            Panel(
                background="in the forest",
                subjects=(Subject(character="Ruby", prompt="a fox", box=(0, 0, 1, 1), sketch=file),),
            ),
        ),
    )
    for name in ("story.yaml", "story.json"):
        again = read_story(write_story(tmp_path / name, page))
        assert again == page
        assert "fox.png" in (tmp_path / name).read_text()
        assert str(tmp_path) not in (tmp_path / name).read_text()
    (tmp_path / "other").mkdir()
    with pytest.raises(StoryError, match="lies outside"):
        write_story(tmp_path / "other" / "story.yaml", page)


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(str.strip) | (
    st.sampled_from(["no", "1e5", "0x10", "null", "2024-05-01", "1_000", ".5", "~", "=", "yes", "a: b", "- a", "#"])
)
EDGE = st.floats(0, 0.45), st.floats(0.5, 1)
BOX = st.tuples(EDGE[0], EDGE[0], EDGE[1], EDGE[1])
PANEL = st.builds(
    Panel,
    caption=TEXT,
    background=TEXT,
    shot=st.sampled_from(["wide", "medium", "close"]),
    subjects=st.lists(
        st.builds(Subject, character=st.just("Ruby"), prompt=TEXT, box=BOX, pose=st.none() | TEXT), max_size=3
    ).map(tuple),
    balloons=st.lists(st.builds(Balloon, speaker=st.sampled_from(["", "Ruby"]), text=TEXT), max_size=2).map(tuple),
    seed=st.none() | st.integers(0, 2**40),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(PANEL, min_size=1, max_size=3), TEXT, st.sampled_from(["yaml", "json"]))
def test_files_give_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, panels: list[Panel], title: str, suffix: str
) -> None:
    page = StoryPage(title=title, characters=(Character(name="Ruby", description=title),), panels=tuple(panels))
    file = tmp_path_factory.getbasetemp() / f"again.{suffix}"
    assert read_story(write_story(file, page)) == page


def test_the_lower_edge_decides_who_stands_in_front() -> None:
    near = Subject(character="a", prompt="near", box=(0, 0.5, 0.5, 0.9))
    far = Subject(character="b", prompt="far", box=(0.3, 0.2, 0.9, 0.8))
    big = Subject(character="c", prompt="big", box=(0.1, 0.1, 0.9, 0.9))
    assert Panel(background="x", subjects=(near, far, big)).drawing_order() == (1, 2, 0)
    assert Panel(background="x", subjects=(far, big, near)).drawing_order() == (0, 1, 2)


def test_the_global_prompt_tells_everybody_and_the_place() -> None:
    left = Subject(character="a", prompt="a red fox waves", box=(0, 0.5, 0.4, 0.9))
    right = Subject(character="b", prompt="a pig", box=(0.6, 0.2, 0.9, 0.8), facing="left")
    assert Panel(background="at the sea", subjects=(left, right)).prompt == (
        "a pig on the right and a red fox waves on the left at the sea"
    )
    assert Panel(background="at the sea").prompt == "nobody at the sea"
    assert right.yaw == -90
