"""Fixtures that several test files share."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.cli_runner import Run

if "PYTEST_XDIST_WORKER" in os.environ:
    # Test processes side by side must not fight for cores; torch reads this when it is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run; HYPOTHESIS_PROFILE=random looks for new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("random")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A page that was too slow gets one more chance: browsers starve on busy machines. Wrong results get none."""
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=["TimeoutError"]))


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """Runs of other precision in one process: accelerate keeps its first settings otherwise."""
    yield
    if "accelerate.state" in sys.modules:
        sys.modules["accelerate.state"].AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run ``magicgen ARGUMENTS`` in this process."""
    from magicgen.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["magicgen", *(str(argument) for argument in arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capfd.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of the real classes at toy size; see ``tests.tiny_folders``."""
    from tests.tiny_folders import save_small_model

    return save_small_model(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for the tests of a file."""
    from tests.browser_app import CHROMIUM, FLAGS

    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def app() -> Iterator[Any]:
    """The app with ``tiny``, served for the tests of a file."""
    from magicgen.ui.page import App, AppOptions

    running = App(AppOptions())
    yield running
    running.loading.join()
    running.close()


@pytest.fixture(scope="module")
def url(app: Any) -> str:
    """Where the app answers."""
    return str(app.url)
