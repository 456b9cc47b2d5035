"""The tab that removes reflections as a visitor uses it: automatic first, marks, download, by mouse and by keyboard."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magicgen.media import read_image, write_image
from tests.browser_app import CHROMIUM, Watched, watch

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (apt-get install chromium)"),
]
SIZE = (192, 128)
SAYS = "document.querySelector('#reflection-progress').innerText.includes"


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene with a bright, blurred reflection in its middle."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    scene = np.stack([60 + x / 2, 50 + y, 120 - x / 4], -1)
    scene += 90 * np.exp(-((x - 96) ** 2 + (y - 64) ** 2) / 500)[..., None]
    path = tmp_path_factory.mktemp("window") / "window.png"
    return write_image(path, scene.clip(0, 255).astype(np.uint8))


def enter(browser: Any, url: str) -> Watched:
    watched = watch(browser, canvas="#reflection-canvas")
    watched.page.goto(url)
    watched.page.get_by_role("tab", name="Remove reflection").click()
    watched.page.wait_for_selector("#reflection-canvas canvas[data-view]")
    return watched


@pytest.fixture
def visitor(browser: Any, url: str) -> Iterator[Watched]:
    """A fresh visitor on the tab, who afterwards has seen no error and asked no other server for anything."""
    watched = enter(browser, url)
    yield watched
    watched.page.context.close()
    assert not watched.wrong


def wait_results(visitor: Watched, count: int) -> None:
    """So many results stand in the history, and nothing runs."""
    history = "document.querySelectorAll('#reflection-history .thumbnail-item').length"
    visitor.page.wait_for_function(f"{history} === {count} && !document.querySelector('#reflection-generate').disabled")


def downloads(visitor: Watched, folder: Path, **how: Any) -> list[Path]:
    """The files of a result with marks: photo, reflection, mask, what the marks mean, settings."""
    links = visitor.page.locator("#reflection-files a")
    links.nth(4).wait_for()
    paths = []
    for index in range(5):
        with visitor.page.expect_download() as download:
            links.nth(index).press("Enter") if how.get("keyboard") else links.nth(index).click()
        paths.append(folder / download.value.suggested_filename)
        download.value.save_as(paths[-1])
    return paths


def test_by_mouse_and_settings_for_another_visitor(
    visitor: Watched, browser: Any, url: str, photo: Path, tmp_path: Path
) -> None:
    page = visitor.page
    visitor.upload("#reflection-photo", photo)
    wait_results(visitor, 1)  # the automatic result
    assert not page.locator("#reflection-meant").is_visible()
    page.wait_for_function("document.querySelector('#reflection-canvas canvas').dataset.ready === 'true'")
    visitor.tool("plus")
    visitor.drag(SIZE, (0.5, 0.5), (0.5, 0.5))
    visitor.tool("box")
    visitor.drag(SIZE, (0.3, 0.25), (0.7, 0.75))
    visitor.tool("eraser")
    visitor.drag(SIZE, (0.1, 0.1), (0.2, 0.1))
    assert [mark["kind"] for mark in visitor.drawing()["marks"]] == ["point", "box", "stroke"]
    page.get_by_label("number input for Strength").fill("0.6")
    page.get_by_label("number input for Strength").press("Tab")
    page.click("#reflection-generate")
    wait_results(visitor, 2)
    assert "strength 0.6, 3 marks" in page.locator("#reflection-facts").inner_text()
    page.locator("#reflection-guide img").wait_for()
    assert "Followed fully." in page.locator("#reflection-followed").inner_text()
    image, *_, guide, sidecar = downloads(visitor, tmp_path)
    assert np.ptp(read_image(guide), axis=2).any()
    page.locator("#reflection-history .thumbnail-item").nth(1).click()
    page.locator("#reflection-meant").wait_for(state="hidden")
    page.locator("#reflection-history .thumbnail-item").nth(0).click()
    page.locator("#reflection-guide img").wait_for()
    assert read_image(image).shape == (SIZE[1], SIZE[0], 3)
    assert page.locator("#before-after img").count() == 2

    other = enter(browser, url)
    assert other.page.locator("#reflection-history .thumbnail-item").count() == 0
    other.upload("#reflection-reuse", sidecar)
    other.page.wait_for_function(f"{SAYS}('are back')")
    other.page.wait_for_function("document.querySelector('#reflection-canvas canvas').dataset.value.includes('stroke')")
    assert other.drawing()["marks"] == json.loads(sidecar.read_text(encoding="utf-8"))["guide"]["marks"]
    assert other.page.get_by_label("number input for Strength").input_value() == "0.6"
    other.page.click("#reflection-generate")
    wait_results(other, 1)
    (tmp_path / "again").mkdir()
    assert downloads(other, tmp_path / "again")[0].read_bytes() == image.read_bytes()
    assert not other.wrong
    other.page.context.close()


def test_by_keyboard(visitor: Watched, photo: Path, tmp_path: Path) -> None:
    """From upload to download without a mouse; wrong files are told."""
    page, area = visitor.page, visitor.area
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    visitor.upload("#reflection-photo", broken, keyboard=True)
    page.get_by_text("cannot be read as an image").wait_for()
    visitor.upload("#reflection-photo", photo, keyboard=True)
    wait_results(visitor, 1)
    area.focus()
    for key in ("p", "Enter", "ArrowRight", "Enter", "b", "Shift+ArrowLeft", "Enter", "Shift+ArrowDown"):
        area.press(key)
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "Enter"):
        area.press(key)
    assert [mark["kind"] for mark in visitor.drawing()["marks"]] == ["point", "box"]
    area.press("Control+z")
    assert len(visitor.drawing()["marks"]) == 1
    page.locator("#reflection-generate").press("Enter")
    wait_results(visitor, 2)
    (tmp_path / "out").mkdir()
    image, *_ = downloads(visitor, tmp_path / "out", keyboard=True)
    assert read_image(image).shape == (SIZE[1], SIZE[0], 3)
