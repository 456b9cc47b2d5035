"""The handlers of the tab that removes reflections, called as the page calls them, with a small model."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from magicgen.control.geometry import Box
from magicgen.control.guide import BoxMark, Layer, PointMark, RemovalGuide
from magicgen.errors import ConfigError
from magicgen.jobs.dereflect import DereflectSettings
from magicgen.media import read_image, write_image
from tests.reflection_tiny import save_small_reflection

gradio = pytest.importorskip("gradio")

from magicgen.ui.canvas import inks  # noqa: E402
from magicgen.ui.reflection_api import ReflectionApi  # noqa: E402
from magicgen.ui.reflection_desk import ReflectionDesk, followed_in_words  # noqa: E402
from magicgen.ui.reflection_handlers import ReflectionHandlers  # noqa: E402
from magicgen.ui.shelf import Shelf  # noqa: E402
from magicgen.ui.visitors import Visitors  # noqa: E402

ONE, OTHER = (SimpleNamespace(session_hash=name) for name in ("one", "other"))
MARKS = {"version": 1, "marks": [{"kind": "point", "layer": "reflection", "at": [0.5, 0.5]}]}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> DereflectSettings:
    base, adapter = save_small_reflection(tmp_path_factory.mktemp("reflection"))
    return DereflectSettings(model=str(base), adapter=str(adapter), octaves=0, mirrored=False)


@pytest.fixture
def on(settings: DereflectSettings, tmp_path: Path) -> Iterator[ReflectionHandlers]:
    visitors = Visitors(tmp_path / "visitors")
    desk = ReflectionDesk(Shelf(), None, settings)
    yield ReflectionHandlers(desk, visitors, tmp_path, [])
    visitors.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write_image(tmp_path / "window.png", np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))


def removed(on: ReflectionHandlers, who: Any = ONE, marks: Any = None, strength: float = 1.0) -> tuple[Any, ...]:
    on.check(who, marks, strength, 0, False)
    return list(on.run(who))[-1]


def test_automatic_then_marked_then_history(on: ReflectionHandlers, photo: Path) -> None:
    canvas = on.choose_photo(str(photo), ONE)
    assert canvas["picture"]["width"] == 64
    said, live, (before, after), layer, facts, files, meant, guide, _, history = removed(on)
    assert not live["visible"]
    assert "Done." in said
    assert before.shape == after.shape == (48, 64, 3)
    assert layer["visible"]
    assert "0 marks" in facts
    assert read_image(Path(files[0])).shape == (48, 64, 3)
    assert len(history) == 1
    assert (meant["visible"], guide) == (False, None)
    *_, facts, files, meant, guide, followed, history = removed(on, marks=MARKS)
    assert "1 mark." in facts
    assert len(history) == 2
    assert meant["visible"]
    assert guide.shape == (48, 64, 3)
    assert np.ptp(guide, axis=2).any(), "it is not grey everywhere"
    assert "Followed fully" in followed
    assert "Orange is taken for reflection" in followed
    assert [Path(file).name.partition(".clean.")[2] for file in files[-2:]] == ["guide.png", "json"]
    assert "0 marks" in on.open(SimpleNamespace(index=1), ONE)[2]
    assert not on.open(SimpleNamespace(index=1), ONE)[4]["visible"]
    assert np.array_equal(on.open(SimpleNamespace(index=0), ONE)[5], guide)
    assert on.visitors.of("other").cleaned == []


def test_a_click_that_means_much_is_followed_in_part(on: ReflectionHandlers, tmp_path: Path) -> None:
    even = write_image(tmp_path / "even.png", np.full((48, 64, 3), 90, np.uint8))
    on.choose_photo(str(even), ONE)
    assert "click again on the same reflection" in removed(on, marks=MARKS)[-2]


def test_what_to_do_to_be_followed_further() -> None:
    scene, box = PointMark(0.5, 0.5, Layer.TRANSMISSION), BoxMark(Box(0.1, 0.1, 0.5, 0.5), Layer.REFLECTION)
    said = "Followed to 60 %: click again on the same reflection, or paint it, to be followed further."
    click = PointMark(0.2, 0.2, Layer.REFLECTION)
    assert followed_in_words(RemovalGuide((scene, click)), 0.6) == said
    assert "click again on the same scene" in followed_in_words(RemovalGuide((scene,)), 0.6)
    assert "Followed to 85 %, because a box" in followed_in_words(RemovalGuide((scene, box)), 0.85)
    assert followed_in_words(RemovalGuide((click,)), 1.0) == "Followed fully."
    assert [followed_in_words(RemovalGuide((click,)), share)[12:16] for share in (0.001, 0.999)] == ["1 %:", "99 %"]


def test_marks_have_the_colours_of_what_they_are_taken_to_mean() -> None:
    assert inks("guide") == {"reflection": "#e66100", "transmission": "#1a85ff"}
    assert inks("pen") != inks("guide"), "a pen's own words speak of red and green"


def test_the_file_of_a_result_restores_all_of_it(on: ReflectionHandlers, photo: Path) -> None:
    on.choose_photo(str(photo), ONE)
    files = removed(on, marks=MARKS, strength=0.5)[5]
    canvas, strength, octaves, mirrored, adapter, said = on.restore(files[-1], OTHER)
    assert (strength, octaves, mirrored, adapter) == (0.5, 0, False, on.desk.adapters[0])
    assert canvas["value"] == MARKS
    assert "are back" in said
    again = removed(on, OTHER, canvas["value"], strength)[5]
    assert Path(again[0]).read_bytes() == Path(files[0]).read_bytes()
    kept = Path(files[-1]).read_text(encoding="utf-8")
    assert str(on.visitors.root) not in kept


def test_a_run_keeps_its_photo_when_another_is_chosen(on: ReflectionHandlers, photo: Path, tmp_path: Path) -> None:
    on.choose_photo(str(photo), ONE)
    on.check(ONE, None, 1.0, 0, False)
    other = write_image(tmp_path / "other.png", np.zeros((32, 32, 3), np.uint8))
    on.choose_photo(str(other), ONE)
    assert list(on.run(ONE))[-1][2][0].shape == (48, 64, 3)


def test_a_visitor_chooses_among_adapters(on: ReflectionHandlers, settings: DereflectSettings, photo: Path) -> None:
    """A result of an adapter that is not on offer still brings back photo and marks, and says so."""
    _, other = save_small_reflection(Path(settings.adapter).parent / "more")
    desk = ReflectionDesk(Shelf(), None, settings, [settings.adapter, str(other)])
    both = ReflectionHandlers(desk, on.visitors, photo.parent, [])
    both.choose_photo(str(photo), ONE)
    both.check(ONE, MARKS, 1.0, 0, False, str(other))
    *steps, last = both.run(ONE)
    assert any(isinstance(step[1].get("value"), np.ndarray) for step in steps if isinstance(step[1], dict))
    sidecar = last[5][-1]
    assert json.loads(Path(sidecar).read_text(encoding="utf-8"))["settings"]["adapter"] == str(other)
    assert both.restore(sidecar, OTHER)[4] == str(other)
    canvas, *_, adapter, said = on.restore(sidecar, OTHER)
    assert (canvas["value"], adapter) == (MARKS, settings.adapter)
    assert f"The adapter {other.name} is not offered here" in said
    with pytest.raises(gradio.Error, match="not offered"):
        on.check(ONE, None, 1.0, 0, False, str(other))


def test_mistakes_and_stop(on: ReflectionHandlers, photo: Path, tmp_path: Path) -> None:
    with pytest.raises(gradio.Error, match="no photo yet"):
        on.check(ONE, None, 1.0, 0, False)
    on.choose_photo(str(photo), ONE)
    named = {"version": 1, "marks": [{"kind": "mask", "layer": "reflection", "mask": "/etc/passwd"}]}
    with pytest.raises(gradio.Error, match="names a mask file"):
        on.check(ONE, named, 1.0, 0, False)
    with pytest.raises(gradio.Error, match="strength"):
        on.check(ONE, None, 3.0, 0, False)
    on.check(ONE, None, 1.0, 0, False)
    with pytest.raises(gradio.Error, match="being removed"):
        on.check(ONE, None, 1.0, 0, False)
    assert "Stopping" in on.stop(ONE)
    assert "before it began" in list(on.run(ONE))[-1][0]
    assert "Nothing is running" in on.stop(ONE)
    for text, words in (("{}", "no settings file"), ("[]", "JSON object"), ("{", "cannot be read")):
        wrong = tmp_path / "wrong.json"
        wrong.write_text(text, encoding="utf-8")
        with pytest.raises(gradio.Error, match=words):
            on.restore(str(wrong), ONE)


def test_programs_choose_what_is_offered(on: ReflectionHandlers, photo: Path) -> None:
    api = ReflectionApi(on.desk, on.visitors)
    image, reflection, sidecar = api.dereflect(ONE, str(photo), None, {"strength": 0.5})
    assert reflection is not None
    assert read_image(Path(image)).shape == (48, 64, 3)
    assert json.loads(Path(sidecar).read_text(encoding="utf-8"))["settings"]["strength"] == 0.5
    with pytest.raises(ConfigError, match="not offered"):
        on.desk.settings({"adapter": "/elsewhere"})
