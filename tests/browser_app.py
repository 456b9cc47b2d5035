"""The app in a real browser: what the ``browser`` tests share."""

import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE_MS = 150_000  # for machines that are busy with other things


@dataclass
class Watched:
    """A page, and everything that should not have happened on it."""

    page: Any
    canvas: str = "#canvas"
    wrong: list[str] = field(default_factory=list)

    @property
    def area(self) -> Any:
        """The canvas element."""
        return self.page.locator(f"{self.canvas} canvas")

    def open(self, url: str) -> None:
        """Go to the app and wait until it can be used."""
        self.page.goto(url)
        self.page.wait_for_selector("#canvas canvas[data-view]", state="attached")

    def upload(self, button: str, path: Path, *, keyboard: bool = False) -> None:
        """Choose a file with a button of the page."""
        with self.page.expect_file_chooser() as chooser:
            if keyboard:
                self.page.locator(button).press("Enter")
            else:
                self.page.click(button)
        chooser.value.set_files(path)

    def choose_photo(self, path: Path, *, keyboard: bool = False) -> None:
        """Upload a photo and wait until it can be drawn on."""
        self.upload("#photo", path, keyboard=keyboard)
        self.page.wait_for_selector("#canvas [data-part=empty]", state="hidden")
        self.page.wait_for_function("document.querySelector('#canvas canvas').dataset.ready === 'true'")

    def tool(self, name: str) -> None:
        """Press a button of the tool bar."""
        self.page.click(f"{self.canvas} [data-tool={name}]")

    def place(self, x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
        """Where a point of the photo (normalised; ``size`` W, H in pixels) is in the window."""
        view = json.loads(self.area.get_attribute("data-view"))
        frame = self.area.bounding_box()
        return (
            frame["x"] + view["x"] + x * size[0] * view["scale"],
            frame["y"] + view["y"] + y * size[1] * view["scale"],
        )

    def drag(self, size: tuple[int, int], *points: tuple[float, float]) -> None:
        """Press at the first point of the photo, go through the others, release."""
        self.area.scroll_into_view_if_needed()
        ways = [self.place(x, y, size) for x, y in points]
        self.page.mouse.move(*ways[0])
        self.page.mouse.down()
        for way in ways[1:]:
            self.page.mouse.move(*way, steps=4)
        self.page.mouse.up()

    def drawing(self) -> dict[str, Any]:
        """The value of the canvas, as exported."""
        text = self.area.get_attribute("data-value")
        return json.loads(text) if text else {}

    def progress(self) -> str:
        """What the progress area says."""
        return str(self.page.locator("#progress").inner_text())

    def wait_progress(self, *words: str) -> str:
        """Wait until the progress area shows one of the words."""
        self.page.wait_for_function(
            "words => words.some(word => document.querySelector('#progress').innerText.includes(word))", arg=list(words)
        )
        return self.progress()

    def wait_gone(self, folder: Path) -> None:
        """Wait until a folder is removed: the server may hear late that a page was left."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while folder.exists() and time.monotonic() < deadline:
            self.page.wait_for_timeout(50)
        assert not folder.exists()


def watch(browser: Any, width: int = 1280, height: int = 900, canvas: str = "#canvas", **options: Any) -> Watched:
    """A fresh visitor: own context, own storage."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    watched = Watched(page, canvas)
    page.on("pageerror", lambda error: watched.wrong.append(f"error: {error}"))
    page.on("console", lambda message: watched.wrong.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: watched.wrong.append(request.url) if _outside(request.url) else None)
    return watched


def _outside(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))
