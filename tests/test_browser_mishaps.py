"""What goes wrong while somebody uses the app: fingers instead of a mouse, a reload in the middle, another server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser_app import CHROMIUM, Watched, watch
from tests.test_browser_animate import PHOTO, SIZE, boxes, draw_rocket, set_numbers

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (apt-get install chromium)"),
]
DATA = "document.querySelector('#canvas canvas').dataset"
LONG = 1000  # steps, far more than anybody waits for


def serve(model: Path, port: int | None = None) -> Any:
    pytest.importorskip("gradio")
    from magicgen.ui.page import App, AppOptions

    return App(AppOptions(models=(str(model),), port=port))


@pytest.fixture(scope="module")
def app(small_model: Path) -> Iterator[Any]:
    running = serve(small_model)
    yield running
    running.loading.join()
    running.close()


class Fingers:
    """Real touches, as the browser gets them from a screen."""

    def __init__(self, visitor: Watched) -> None:
        self._session = visitor.page.context.new_cdp_session(visitor.page)

    def go(self, *moments: list[tuple[float, float]]) -> None:
        """Each moment is where the fingers are; then they are lifted."""
        for number, places in enumerate(moments):
            points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(places)]
            kind = "touchMove" if number else "touchStart"
            self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        self._session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def choose(visitor: Watched, tool: str) -> None:
    """Tap a tool, again where a busy machine let the tap last so long that the browser took it for a long press."""
    pressed = visitor.page.locator(f"#canvas [data-tool={tool}][aria-pressed=true]")
    for _ in range(6):
        visitor.page.locator(f"#canvas [data-tool={tool}]").tap()
        for _ in range(50):
            if pressed.count():
                return
            visitor.page.wait_for_timeout(200)
    pressed.wait_for()


def test_by_touch(browser: Any, app: Any) -> None:
    """A box by a dragged finger, a place of its way by a tap, zoom by two fingers; nothing scrolls away meanwhile."""
    visitor = watch(browser, width=390, height=800, has_touch=True)
    visitor.open(app.url)
    visitor.choose_photo(PHOTO)
    visitor.area.scroll_into_view_if_needed()
    fingers, wanted = Fingers(visitor), (0.42, 0.4, 0.58, 0.7)
    choose(visitor, "box")
    start, end = visitor.place(*wanted[:2], SIZE), visitor.place(*wanted[2:], SIZE)
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    fingers.go([start], [middle], [end])
    visitor.page.wait_for_function(f"JSON.parse({DATA}.value || '{{}}').objects?.length === 1")
    for value, meant, side in zip(boxes(visitor)[0], wanted, SIZE * 2, strict=True):
        assert abs(value - meant) * side <= 1
    choose(visitor, "path")
    visitor.page.touchscreen.tap(*visitor.place(0.5, 0.3, SIZE))
    visitor.page.wait_for_function(f"JSON.parse({DATA}.value).objects[0].keyframes.length === 2")
    keys = visitor.drawing()["objects"][0]["keyframes"]
    assert (keys[-1]["box"][1] + keys[-1]["box"][3]) / 2 == pytest.approx(0.3, abs=2 / SIZE[1])
    before = json.loads(visitor.area.get_attribute("data-view"))["scale"]
    x, y = visitor.place(0.5, 0.5, SIZE)
    fingers.go([(x - 30, y), (x + 30, y)], [(x - 45, y), (x + 45, y)], [(x - 60, y), (x + 60, y)])
    visitor.page.wait_for_function(f"Math.abs(JSON.parse({DATA}.view).scale / {2 * before} - 1) < 0.02")
    assert len(visitor.drawing()["objects"]) == 1
    assert not visitor.wrong
    visitor.page.context.close()


def start_long_run(visitor: Watched) -> None:
    draw_rocket(visitor)
    set_numbers(visitor, Steps=LONG)
    visitor.page.click("#generate")
    visitor.wait_progress(f"of {LONG}")


def test_reload_in_the_middle_of_a_job(browser: Any, app: Any) -> None:
    """The job stops, its visitor's folder goes, and the page that comes back can use the model."""
    known = set(app.visitors.root.glob("*"))
    visitor = watch(browser)
    visitor.open(app.url)
    start_long_run(visitor)
    (folder,) = set(app.visitors.root.iterdir()) - known
    visitor.page.reload()
    visitor.page.wait_for_selector("#canvas canvas[data-view]", state="attached")
    visitor.wrong.clear()  # the page that went says that its stream broke off
    draw_rocket(visitor)
    set_numbers(visitor, Steps=1)
    visitor.page.click("#generate")
    visitor.wait_progress("Done.")  # one job at a time: the first one has ended
    visitor.wait_gone(folder)
    assert not visitor.wrong
    visitor.page.context.close()


def test_another_server_takes_over(browser: Any, small_model: Path) -> None:
    """The server ends in the middle of a job: nothing stays on its disk, the page says so at the next thing one does,
    and begins anew when another server answers at its address."""
    first = serve(small_model)
    visitor = watch(browser)
    visitor.open(first.url)
    start_long_run(visitor)
    root, port = first.visitors.root, int(first.url.rstrip("/").rpartition(":")[2])
    first.close()
    assert not root.parent.exists()
    visitor.tool("box")
    visitor.drag(SIZE, (0.1, 0.1), (0.2, 0.3))
    visitor.page.get_by_text("Connection to the server was lost").first.wait_for()
    second = serve(small_model, port)
    try:
        visitor.page.wait_for_selector("#canvas [data-part=empty]", state="visible")
        visitor.choose_photo(PHOTO)
        assert not visitor.drawing().get("objects")
        assert len(second.visitors) == 1
    finally:
        visitor.page.context.close()
        second.loading.join()
        second.close()
