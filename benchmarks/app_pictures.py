"""Screenshots of the app in use, for docs/app.md: ``python -m benchmarks.app_pictures [--only story]``.

Each tab is used with one of its examples and the settings that it opens with, by the package's models, in Chromium:
before, with a preview or plan, while it runs, and with the result.
"""

import argparse
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.app import FLAGS
from magicgen.media import write_image
from magicgen.ui.quick_gradio import import_gradio

WINDOW = (1280, 900)
PHONE = (390, 844)
PATIENCE_MS = 600_000
SHOWN = 960  # pixels across


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pictures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("docs/app"))
    parser.add_argument("--only", choices=tuple(VISITS), action="append")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright

    import_gradio(mcp=False)  # as the program does
    from magicgen.ui.page import App, AppOptions

    app = App(AppOptions())
    app.loading.join()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            for name in options.only or VISITS:
                width, height = PHONE if name == "phone" else WINDOW
                context = browser.new_context(viewport={"width": width, "height": height})
                context.set_default_timeout(PATIENCE_MS)
                page = context.new_page()
                page.goto(app.url)
                page.wait_for_selector("#canvas canvas[data-view]", state="attached")
                VISITS[name](page, options.out)
                context.close()
            browser.close()
    finally:
        app.close()
    return 0


def animate(page: Any, out: Path) -> None:
    """A cat whose eyes grow, at the settings that the page opens with."""
    take(page, out / "animate_before.jpg")
    page.locator("#examples .thumbnail-item").nth(2).click()
    page.wait_for_function("document.querySelector('#canvas canvas').dataset.ready === 'true'")
    page.wait_for_function("document.querySelector('#overlay video')?.readyState >= 3")
    show_middle(page, "#overlay video")
    take(page, out / "animate_preview.jpg")
    page.click("#generate")
    page.locator("#live img").wait_for()
    take(page, out / "animate_running.jpg", whole=False)
    page.locator("#files a").nth(2).wait_for()
    page.wait_for_function("document.querySelector('#result video')?.readyState >= 3")
    show_middle(page, "#overlay video")
    show_middle(page, "#result video")
    take(page, out / "animate_result.jpg")


def story(page: Any, out: Path) -> None:
    """The first of the example tales."""
    page.get_by_role("tab", name="Story").click()
    page.locator("#tale textarea").wait_for()
    take(page, out / "story_before.jpg", whole=False)
    page.get_by_label("Example tales").click()
    page.get_by_role("option").first.click()
    page.wait_for_function("document.querySelector('#tale textarea').value.length > 40")
    page.click("#story-plan")
    page.wait_for_function("document.querySelector('#story-progress').innerText.includes('Planned')")
    page.wait_for_function("document.querySelector('#story-canvas canvas').dataset.ready === 'true'")
    take(page, out / "story_plan.jpg")
    page.click("#story-make")
    page.wait_for_function("document.querySelector('#story-progress').innerText.includes('Panel 2')")
    page.locator("#story-live img").wait_for()
    take(page, out / "story_running.jpg", whole=False)
    page.wait_for_function("document.querySelector('#story-progress').innerText.includes('Done')")
    page.locator("#story-files a").nth(2).wait_for()
    take(page, out / "story_result.jpg")


def reflection(page: Any, out: Path) -> None:
    """The first example, automatically; then with a click on the reflection and one on the scene."""
    page.get_by_role("tab", name="Remove reflection").click()
    page.wait_for_selector("#reflection-canvas canvas[data-view]")
    take(page, out / "reflection_before.jpg", whole=False)
    page.locator("#reflection-examples .thumbnail-item").first.click()
    page.locator("#reflection-files a").nth(3).wait_for()
    take(page, out / "reflection_result.jpg")
    page.wait_for_function("!document.querySelector('#reflection-generate').disabled")
    area = page.locator("#reflection-canvas canvas")
    right, up, left = ["Shift+ArrowRight"] * 6, ["Shift+ArrowUp"] * 3, ["Shift+ArrowLeft"] * 12
    for key in ("p", *right, *up, "Enter", "m", *left, "Enter"):
        area.press(key)
    page.click("#reflection-generate")
    page.locator("#reflection-guide img").wait_for()
    take(page, out / "reflection_marked.jpg")


def phone(page: Any, out: Path) -> None:
    """A narrow window with an example."""
    page.locator("#examples .thumbnail-item").first.click()
    page.wait_for_function("document.querySelector('#canvas canvas').dataset.ready === 'true'")
    take(page, out / "phone.jpg")


VISITS: dict[str, Callable[[Any, Path], None]] = {
    "animate": animate,
    "story": story,
    "reflection": reflection,
    "phone": phone,
}


def show_middle(page: Any, video: str) -> None:
    """Hold a video of the page in its middle."""
    page.eval_on_selector(
        video,
        "(video) => new Promise((done) => { video.pause(); video.loop = false; video.onseeked = done; "
        "video.currentTime = video.duration * 0.6; })",
    )


def take(page: Any, path: Path, *, whole: bool = True) -> None:
    """The page (all of it, or what the window shows), no wider than ``SHOWN`` pixels."""
    page.wait_for_timeout(600)
    if whole:
        page.evaluate("window.scrollTo(0, 0)")
    shot = cv2.imdecode(np.frombuffer(page.screenshot(full_page=whole), np.uint8), cv2.IMREAD_COLOR)
    picture = cv2.cvtColor(shot, cv2.COLOR_BGR2RGB)
    scale = min(1.0, SHOWN / picture.shape[1])
    write_image(path, cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


if __name__ == "__main__":
    raise SystemExit(main())
