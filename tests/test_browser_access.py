"""Nothing serious stands in the way of anybody: axe-core over all tabs, empty and in use, light and dark, wide and on a
phone; and nothing sticks out of a narrow window."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser_app import CHROMIUM, Watched, watch
from tests.test_browser_animate import draw_rocket

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (apt-get install chromium)"),
]
TABS = ("Animate", "Story", "Remove reflection")
# Colours on their way from one state to the next are nobody's reading matter.
SETTLED = """Promise.race([
    Promise.all(document.getAnimations()
        .filter((each) => each.effect.getComputedTiming().endTime < 5000)
        .map((each) => each.finished.catch(() => null))),
    new Promise((resolve) => setTimeout(resolve, 3000)),
]).then(() => null)"""
TALE = "A small fox named Ruby walked in the forest."


def serious(visitor: Watched) -> set[tuple[str, str]]:
    """Rule and place of every serious or critical finding."""
    visitor.page.evaluate(SETTLED)
    found = visitor.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    grave = [each for each in found if each["impact"] in ("serious", "critical")]
    return {(each["id"], str(node["target"])) for each in grave for node in each["nodes"]}


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_serious(browser: Any, url: str, width: int, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python")
    visitor = watch(browser, width=width)
    visitor.open(f"{url}?__theme={theme}")
    page = visitor.page
    page.add_script_tag(path=Path(axe.__file__).with_name("axe.min.js"))
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_function(f"document.querySelector('[role=tab][aria-selected=true]').innerText === '{tab}'")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert not serious(visitor), tab
    page.get_by_role("tab", name="Animate").click()
    draw_rocket(visitor)
    page.wait_for_function("document.querySelector('#estimate').innerText.includes('frames of')")
    page.get_by_role("tab", name="Story").click()
    page.locator("#tale textarea").fill(TALE)
    page.click("#story-plan")
    page.wait_for_function("document.querySelector('#story-progress').innerText.includes('Planned')")
    for tab in TABS[:2]:
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert not serious(visitor), tab
    assert not visitor.wrong
    page.context.close()
