"""The Story tab as a visitor uses it: tale, plan, boxes moved by mouse and in the table, pictures, one again."""

import json
import math
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.browser_app import CHROMIUM, Watched, watch

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (apt-get install chromium)"),
]
TALE = """Two Friends

A small fox named Ruby walked in the forest. "Hello!" said Ruby.

In the evening a brown bear named Bruno sat on the beach with Ruby."""
PLANNED = "document.querySelector('#story-progress').innerText.includes('Planned')"
DONE = "document.querySelector('#story-progress').innerText.includes('Done')"
VALUE = "document.querySelector('#story-canvas canvas').dataset.value"


@pytest.fixture
def visitor(browser: Any, app: Any) -> Iterator[Watched]:
    """A fresh visitor on the tab, who afterwards has seen no error and asked no other server for anything."""
    watched = enter(browser, app.url)
    yield watched
    watched.page.context.close()
    assert not watched.wrong


def enter(browser: Any, url: str, width: int = 1280) -> Watched:
    watched = watch(browser, width=width)
    watched.page.goto(url)
    watched.page.get_by_role("tab", name="Story").click()
    watched.page.locator("#tale textarea").wait_for()
    return watched


def plan(visitor: Watched) -> None:
    page = visitor.page
    page.locator("#tale textarea").fill(TALE)
    page.click("#story-plan")
    page.wait_for_function(PLANNED)
    page.wait_for_function("document.querySelector('#story-canvas canvas').dataset.ready === 'true'")


def boxes(visitor: Watched) -> dict[str, list[float]]:
    """The boxes of the drawing area by name."""
    text = visitor.page.locator("#story-canvas canvas").get_attribute("data-value")
    return {item["name"]: item["keyframes"][0]["box"] for item in json.loads(text or "{}").get("objects", ())}


def drag(visitor: Watched, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press at one point of the panel (0..1) and release at another."""
    area = visitor.page.locator("#story-canvas canvas")
    area.scroll_into_view_if_needed()
    view, frame = json.loads(area.get_attribute("data-view") or "{}"), area.bounding_box()
    (x0, y0), (x1, y1) = (
        (frame["x"] + view["x"] + x * 192 * view["scale"], frame["y"] + view["y"] + y * 128 * view["scale"])
        for x, y in (start, end)
    )
    visitor.page.mouse.move(x0, y0)
    visitor.page.mouse.down()
    visitor.page.mouse.move(x1, y1, steps=4)
    visitor.page.mouse.up()


def small(visitor: Watched) -> None:
    """Pictures that are quickly made."""
    page = visitor.page
    page.get_by_text("Size, sampling and pages").click()
    for label, number in (("Panel height", 64), ("Panel width", 96), ("Sampling steps", 1)):
        field = page.get_by_label(label)
        field.fill(str(number))
        field.press("Tab")


def downloads(visitor: Watched, folder: Path) -> dict[str, Path]:
    """The files for the visitor, by suffix."""
    links = visitor.page.locator("#story-files a")
    links.nth(2).wait_for()
    found = {}
    for index in range(3):
        with visitor.page.expect_download() as download:
            links.nth(index).press("Enter") if index else links.nth(index).click()
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        found[path.suffix] = path
    return found


def test_from_tale_to_pdf(visitor: Watched, browser: Any, app: Any, tmp_path: Path) -> None:
    page = visitor.page
    plan(visitor)
    before = boxes(visitor)["Ruby"]
    middle = ((before[0] + before[2]) / 2, (before[1] + before[3]) / 2)
    drag(visitor, middle, (middle[0] - 0.2, middle[1]))
    left = f"{VALUE}.length && JSON.parse({VALUE}).objects[0].keyframes[0].box[0] < {before[0] - 0.1}"
    page.wait_for_function(left)
    moved = boxes(visitor)["Ruby"]
    shown = f"document.querySelector('#story-subjects').innerText.includes('{round(moved[0], 4)}')"
    page.wait_for_function(shown)
    small(visitor)
    page.click("#story-make")
    page.wait_for_function(DONE)
    first = downloads(visitor, tmp_path)
    assert first[".pdf"].read_bytes().startswith(b"%PDF")
    kept = json.loads(first[".json"].read_text(encoding="utf-8"))
    assert kept["story"]["panels"][0]["subjects"][0]["box"] == pytest.approx(moved, abs=1e-4)
    (folder,) = [each.story.folder for each in app.visitors._all.values() if each.story is not None]
    made = [sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "panels").glob("*.png"))]
    assert len(made) == 2

    page.locator("#story-choice").get_by_label("2", exact=True).check()
    page.wait_for_function(f"{VALUE}.includes('Bruno')")
    page.locator("#story-panel-seed input").fill("77")
    page.click("#story-again")
    page.wait_for_function(f"!({DONE})")
    page.wait_for_function(DONE)
    again = [sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "panels").glob("*.png"))]
    assert again[0] == made[0]
    assert again[1] != made[1]
    page.locator("#story-history .thumbnail-item").first.wait_for()

    other = enter(browser, app.url, width=390)
    assert other.page.locator("#story-history .thumbnail-item").count() == 0
    assert other.page.locator("#story-pages .thumbnail-item").count() == 0
    assert other.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    other.upload("#story-load", first[".json"], keyboard=True)
    other.page.wait_for_function("document.querySelector('#story-progress').innerText.includes('is loaded')")
    other.page.wait_for_function(left)
    assert boxes(other)["Ruby"] == pytest.approx(moved, abs=1e-4)
    assert other.page.locator("#tale textarea").input_value() == TALE
    assert other.page.locator("#story-lock input").is_checked()
    by_keyboard(other, moved)
    assert not other.wrong
    other.page.context.close()


def test_a_book_by_keyboard(visitor: Watched, tmp_path: Path) -> None:
    page = visitor.page
    page.get_by_role("tab", name="Animate").press("Enter")
    page.locator("#canvas canvas").wait_for()
    page.get_by_role("tab", name="Story").press("Enter")
    page.locator("#tale textarea").focus()
    page.keyboard.type("A small fox named Ruby sat on the beach.")
    page.locator("#story-plan").press("Enter")
    page.wait_for_function(PLANNED)
    area = page.locator("#story-canvas canvas")
    area.press("v")
    area.press("Shift+ArrowLeft")
    page.get_by_role("button", name="Size, sampling and pages").press("Enter")
    for label, number in (("Panel height", 64), ("Panel width", 96), ("Sampling steps", 1)):
        page.get_by_label(label).focus()
        page.keyboard.press("Control+a")
        page.keyboard.type(str(number))
        page.keyboard.press("Tab")
    page.locator("#story-make").press("Enter")
    page.wait_for_function(DONE)
    links = page.locator("#story-files a")
    links.nth(2).wait_for()
    with page.expect_download() as download:
        links.first.press("Enter")
    download.value.save_as(tmp_path / "book")
    assert (tmp_path / "book").stat().st_size > 1000


def by_keyboard(visitor: Watched, box: list[float]) -> None:
    """A loaded book: a box moved, the pictures begun and stopped without a mouse."""
    area = visitor.page.locator("#story-canvas canvas")
    area.focus()
    area.press("v")
    area.press("Shift+ArrowRight")
    visitor.page.wait_for_function(f"JSON.parse({VALUE}).objects[0].keyframes[0].box[0] > {box[0] + 0.02}")
    visitor.page.locator("#story-make").press("Enter")
    visitor.page.wait_for_function("document.querySelector('#story-progress').innerText.includes(' of ')")
    visitor.page.locator("#story-stop").press("Enter")
    visitor.page.wait_for_function("document.querySelector('#story-progress').innerText.includes('Stopped')")


def test_a_cell_of_the_table_moves_the_box(visitor: Watched) -> None:
    page = visitor.page
    plan(visitor)
    cell = page.locator("#story-subjects [data-col='5'][data-row='0']").first
    cell.dblclick()
    page.keyboard.press("Control+a")
    page.keyboard.type("0.05")
    page.keyboard.press("Enter")
    page.wait_for_function(f"JSON.parse({VALUE}).objects[0].keyframes[0].box[0] === 0.05")


def test_a_sketch_drawn_by_hand(visitor: Watched) -> None:
    page = visitor.page
    plan(visitor)
    page.wait_for_function("document.querySelector('#story-pen canvas').dataset.ready === 'true'")
    area = page.locator("#story-pen canvas")
    area.scroll_into_view_if_needed()
    frame = area.bounding_box()
    middle = (frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    page.mouse.move(middle[0] + 60, middle[1])
    page.mouse.down()
    for part in range(1, 17):
        angle = part * math.pi / 8
        page.mouse.move(middle[0] + 60 * math.cos(angle), middle[1] + 100 * math.sin(angle))
    page.mouse.up()
    page.click("#story-draw")
    page.locator("#story-sketches").get_by_text("Ruby, yours").wait_for()
    page.click("#story-drop")
    page.locator("#story-sketches").get_by_text("Ruby, yours").wait_for(state="detached")


def test_joints_instead_of_sketches(visitor: Watched, tmp_path: Path) -> None:
    page = visitor.page
    page.locator("#story-condition").get_by_label("joints").check()
    plan(visitor)
    page.locator("#story-pen").wait_for(state="hidden")
    small(visitor)
    page.get_by_role("button", name="Draw joints").click()
    page.wait_for_function(DONE)
    page.locator("#story-skeletons").get_by_text("Ruby alone").wait_for()
    with page.expect_download() as download:
        page.click("#story-joints")
    sent = tmp_path / "mine.json"
    download.value.save_as(sent)
    document = json.loads(sent.read_text(encoding="utf-8"))
    document["joints"]["hand_b"] = [0.9, 0.1]
    sent.write_text(json.dumps(document), encoding="utf-8")
    visitor.upload("#story-send-joints", sent)
    page.locator("#story-skeletons").get_by_text("Ruby, yours").wait_for()
    page.locator("#story-condition").get_by_label("sketch").check()
    page.locator("#story-pen").wait_for()
    page.locator("#story-skeletons").wait_for(state="hidden")
    page.get_by_role("button", name="Draw sketches").wait_for()


def test_stop_and_mistakes(visitor: Watched) -> None:
    page = visitor.page
    page.click("#story-plan")
    page.get_by_text("The tale is empty").wait_for()
    page.click("#story-make")
    page.get_by_text("There is no plan yet. Write a tale").wait_for()
    plan(visitor)
    page.click("#story-make")
    page.wait_for_function("document.querySelector('#story-progress').innerText.includes(' of ')")
    page.click("#story-stop")
    page.wait_for_function("document.querySelector('#story-progress').innerText.includes('Stopped')")
    page.wait_for_function("!document.querySelector('#story-make').disabled")
