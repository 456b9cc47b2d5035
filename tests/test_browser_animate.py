"""The Animate tab as a visitor uses it: by mouse, by keyboard, on a phone, two at a time."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from magicgen.media import read_video
from tests.browser_app import CHROMIUM, PATIENCE_MS, Watched, watch

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (apt-get install chromium)"),
]
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PHOTO = EXAMPLES / "rocket" / "photo.jpg"
SIZE = (640, 427)
LAST = 48  # of the clip that the model makes by default
ROCKET = (0.45, 0.25, 0.55, 0.95)


@pytest.fixture
def visitor(browser: Any, url: str) -> Iterator[Watched]:
    """A fresh visitor on the page, who afterwards has seen no error and asked no other server for anything."""
    watched = watch(browser)
    watched.open(url)
    yield watched
    watched.page.context.close()
    assert not watched.wrong


def draw_rocket(visitor: Watched) -> None:
    visitor.choose_photo(PHOTO)
    visitor.tool("box")
    visitor.drag(SIZE, ROCKET[:2], ROCKET[2:])
    visitor.tool("path")
    visitor.drag(SIZE, (0.5, 0.6), (0.5, 0.4), (0.6, 0.2))


def boxes(visitor: Watched) -> list[list[float]]:
    return [item["keyframes"][0]["box"] for item in visitor.drawing()["objects"]]


def set_numbers(visitor: Watched, **numbers: int) -> None:
    """Fill number fields by their labels; the folded part of the form is opened where they are in it."""
    if not visitor.page.get_by_label("Steps").is_visible():
        visitor.page.get_by_text("Model, size and sampling").click()
    for label, number in numbers.items():
        field = visitor.page.get_by_label("number input for Frames" if label == "Frames" else label, exact=True)
        field.fill(str(number))
        field.press("Tab")


def make_small(visitor: Watched, steps: int = 1) -> None:
    """A clip that is quickly made."""
    set_numbers(visitor, Height=128, Width=192, Steps=steps, Frames=17)
    visitor.page.wait_for_function("document.querySelector('#estimate').innerText.includes('17 frames of 192 x 128')")


def sidecar_of(visitor: Watched, tmp_path: Path) -> Path:
    links = visitor.page.locator("#files a")
    links.nth(2).wait_for()
    paths = []
    for index in range(3):
        with visitor.page.expect_download() as download:
            links.nth(index).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        paths.append(path)
    video, _, sidecar = paths
    assert read_video(video).frames.shape == (17, 128, 192, 3)
    return sidecar


def make_rocket(visitor: Watched, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A small video by mouse; its sidecar as a file and read."""
    draw_rocket(visitor)
    page = visitor.page
    page.get_by_label("What happens (optional)").fill("a rocket flies to the right")
    page.get_by_label("few boxes").check()
    make_small(visitor)
    page.click("#generate")
    visitor.wait_progress("Done.")
    sidecar = sidecar_of(visitor, tmp_path)
    return sidecar, json.loads(sidecar.read_text(encoding="utf-8"))


def test_from_upload_to_download(visitor: Watched, tmp_path: Path) -> None:
    """A video by mouse; the overlay toggle; the history."""
    _, document = make_rocket(visitor, tmp_path)
    page = visitor.page
    assert document["settings"]["level"] == "sparse_box"
    assert document["settings"]["prompt"] == "a rocket flies to the right"
    before = page.locator("#result video").get_attribute("src")
    page.locator("#toggle input").check()
    page.wait_for_function("old => document.querySelector('#result video').src !== old", arg=before)
    page.locator("#history .thumbnail-item").first.wait_for()


def test_settings_restore_every_field(visitor: Watched, url: str, browser: Any, tmp_path: Path) -> None:
    """The sidecar of one visitor's video restores every field for another one."""
    sidecar, document = make_rocket(visitor, tmp_path)
    other = watch(browser)
    other.open(url)
    other.upload("#reuse", sidecar)
    restored = "document.querySelector('#canvas canvas').dataset.value.includes('object 1')"
    other.page.wait_for_function(restored)
    assert other.page.get_by_label("What happens (optional)").input_value() == "a rocket flies to the right"
    assert other.page.get_by_label("Seed", exact=True).input_value() == str(document["settings"]["seed"])
    assert other.page.locator("#lock input").is_checked()
    assert other.page.locator("#history .thumbnail-item").count() == 0
    other.page.click("#generate")
    other.wait_progress("Done.")
    again = json.loads(sidecar_of(other, tmp_path).read_text(encoding="utf-8"))
    assert again["settings"] == document["settings"]
    assert not other.wrong
    other.page.context.close()


def test_by_keyboard(visitor: Watched) -> None:
    """Photo, box, path, keyframe and video without a mouse."""
    page, area = visitor.page, visitor.area
    visitor.choose_photo(PHOTO, keyboard=True)
    page.locator("#canvas [data-tool=box]").press("Enter")
    area.focus()
    for key in ("Enter", *["Shift+ArrowLeft"] * 3, *["Shift+ArrowUp"] * 6, "Enter"):
        area.press(key)
    for key in (*["Shift+ArrowRight"] * 6, *["Shift+ArrowDown"] * 12, "Enter"):
        area.press(key)
    width, height = SIZE
    corners = [290 / width, (round(height / 2) - 60) / height, 350 / width, (round(height / 2) + 60) / height]
    assert boxes(visitor)[0] == pytest.approx(corners, abs=1 / height)
    area.press("w")
    for key in (*["Shift+ArrowRight"] * 8, "Enter"):
        area.press(key)
    area.press("v")
    page.locator("#canvas [data-part=frame]").press("ArrowRight")
    area.press("ArrowUp")
    frames = [key["frame"] for key in visitor.drawing()["objects"][0]["keyframes"]]
    assert frames == [0, 1, LAST]
    area.press("Control+z")
    assert len(visitor.drawing()["objects"][0]["keyframes"]) == 2
    make_small(visitor)
    page.locator("#generate").press("Enter")
    visitor.wait_progress("Done.")
    with page.expect_download() as download:
        page.locator("#files a").first.press("Enter")
    assert read_video(Path(download.value.path())).frames.shape == (17, 128, 192, 3)


@pytest.mark.parametrize("width", [390, 820, 1400])
def test_a_drawn_box_is_the_stored_box(browser: Any, url: str, width: int) -> None:
    """Within a pixel of the photo, whole and zoomed in; nothing sticks out of a narrow window."""
    visitor = watch(browser, width=width)
    visitor.open(url)
    visitor.choose_photo(PHOTO)
    assert visitor.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    wanted = (0.42, 0.4, 0.58, 0.7)
    for zoom in (False, True):
        if zoom:
            visitor.page.click("#canvas [data-part=in]")
        visitor.tool("box")
        visitor.area.press("Escape")
        visitor.drag(SIZE, wanted[:2], wanted[2:])
    drawn = boxes(visitor)
    assert len(drawn) == 2
    for box in drawn:
        for value, meant, side in zip(box, wanted, SIZE * 2, strict=True):
            assert abs(value - meant) * side <= 1
    assert not visitor.wrong
    visitor.page.context.close()


def test_stop_frees_the_model_within_two_seconds(visitor: Watched) -> None:
    draw_rocket(visitor)
    make_small(visitor, steps=200)
    visitor.page.click("#generate")
    visitor.wait_progress("step 2 of", "step 3 of", "step 4 of", "step 5 of", "step 6 of")
    visitor.page.locator("#live img").wait_for()
    # Processor time of the server, which is this process: a machine that is busy with other things adds none.
    started = time.process_time()
    visitor.page.click("#stop")
    visitor.wait_progress("Stopped: Sampling, step")
    assert time.process_time() - started < 2
    visitor.page.wait_for_function("!document.querySelector('#generate').disabled")
    set_numbers(visitor, Steps=1)
    visitor.page.click("#generate")
    visitor.wait_progress("Done.")


def test_mistakes_are_told_in_words(visitor: Watched, tmp_path: Path) -> None:
    page = visitor.page
    page.click("#generate")
    page.get_by_text("There is no photo yet").wait_for()
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    visitor.upload("#photo", broken)
    page.get_by_text("cannot be read as an image").wait_for()
    visitor.choose_photo(PHOTO)
    page.click("#generate")
    page.get_by_text("Nothing is drawn yet. Draw a box").wait_for()
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"version": 2}')
    page.get_by_text("Trajectory files").click()
    visitor.upload("#import", wrong)
    page.get_by_text("wrong.json").first.wait_for()


def test_an_example_with_a_camera_move(visitor: Watched) -> None:
    page = visitor.page
    page.locator("#examples .thumbnail-item").first.click()
    page.wait_for_function("document.querySelector('#canvas canvas').dataset.value.includes('shuttle')")
    page.wait_for_function("document.querySelector('#estimate').innerText.includes(' frames of ')")
    page.get_by_text("Move the camera").click()
    page.get_by_label("number input for Zoom").fill("1.2")
    page.get_by_label("number input for Zoom").press("Tab")
    page.wait_for_function("document.querySelector('input[type=range][aria-label*=Zoom]').value === '1.2'")
    page.click("#camera")
    page.wait_for_function("document.querySelector('#canvas canvas').dataset.value.includes('camera')")
    page.get_by_text("Trajectory files").click()
    page.click("#export")
    page.locator("#exported a").nth(1).wait_for()


def test_two_visitors_do_not_meet(visitor: Watched, browser: Any, url: str) -> None:
    other = watch(browser)
    other.open(url)
    draw_rocket(visitor)
    other.page.wait_for_timeout(PATIENCE_MS // 320)
    assert other.page.locator("#canvas [data-part=empty]").is_visible()
    assert not other.drawing().get("objects")
    other.page.click("#generate")
    other.page.get_by_text("There is no photo yet").wait_for()
    other.page.context.close()
