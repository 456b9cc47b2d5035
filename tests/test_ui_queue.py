"""Programs as visitors: the documented endpoints as ``docs/app.md`` calls them, many jobs at once, what goes wrong."""

import ctypes
import gc
import json
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_folders import FRAMES, HEIGHT, WIDTH

gradio = pytest.importorskip("gradio")
client_package = pytest.importorskip("gradio_client")

from magicgen.ui.page import App, AppOptions  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PHOTO = EXAMPLES / "rocket" / "photo.jpg"
SMALL = {"frames": FRAMES, "height": HEIGHT, "width": WIDTH, "steps": 2}


@pytest.fixture(scope="module")
def app(small_model: Path) -> Iterator[App]:
    running = App(AppOptions(models=(str(small_model),)))
    yield running
    running.loading.join()
    running.close()


def drawing(name: str = "it") -> dict[str, Any]:
    keyframes = [{"frame": 0, "box": [0.4, 0.2, 0.6, 0.9]}, {"frame": FRAMES - 1, "box": [0.5, 0.1, 0.7, 0.8]}]
    return {"version": 1, "frames": FRAMES, "objects": [{"name": name, "keyframes": keyframes}]}


def client(app: App, folder: Path) -> Any:
    return client_package.Client(app.url, verbose=False, download_files=str(folder))


def resident() -> int:
    """Bytes of this process in main memory, after what can be given back was."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return 1024 * int(line.split()[1])


def animate(visitor: Any, model: Path, trajectory: dict[str, Any], **change: Any) -> Any:
    settings = {**SMALL, "model": str(model), **change}
    return visitor.submit(client_package.handle_file(PHOTO), trajectory, settings, api_name="/animate")


@pytest.mark.slow
def test_twenty_jobs_of_four_visitors(app: App, small_model: Path, tmp_path: Path) -> None:
    """One is cancelled while it waits, one is broken; all others finish, and the memory comes back."""
    visitors = [client(app, tmp_path) for _ in range(4)]
    animate(visitors[0], small_model, drawing()).result()
    before = resident()
    jobs = [animate(visitors[n % 4], small_model, drawing(f"job {n}"), seed=n) for n in range(18)]
    broken = animate(visitors[1], small_model, {"version": 1, "frames": FRAMES, "objects": []})
    unwanted = animate(visitors[2], small_model, drawing("unwanted"), steps=1000)
    unwanted.cancel()
    for number, job in enumerate(jobs):
        video, overlay, sidecar = job.result(timeout=300)
        assert Path(video).stat().st_size
        assert Path(overlay).stat().st_size
        document = json.loads(Path(sidecar).read_text(encoding="utf-8"))
        assert document["settings"]["seed"] == number  # nobody got somebody else's
        assert document["inputs"]["objects"][0]["name"] == f"job {number}"
    with pytest.raises(Exception, match="Nothing is drawn yet"):
        broken.result(timeout=300)
    with pytest.raises(CancelledError):
        unwanted.result(timeout=60)
    grown = resident() / before
    assert grown < 1.1, f"memory is {grown:.2f} of what it was"


def test_the_documented_call(app: App, small_model: Path, tmp_path: Path) -> None:
    """As in ``docs/app.md``; a path of the server is no photo, and a file of the server no setting."""
    visitor = client(app, tmp_path)
    overlay, cost = visitor.predict(
        client_package.handle_file(PHOTO), drawing(), {**SMALL, "model": str(small_model)}, api_name="/preview"
    )
    assert Path(overlay).is_file()
    assert f"{FRAMES} frames of {WIDTH} x {HEIGHT}" in cost
    with pytest.raises(Exception, match="not offered"):
        visitor.predict(client_package.handle_file(PHOTO), drawing(), {"model": "/etc"}, api_name="/preview")
    named = {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(Exception, match=r".+"):
        visitor.predict(named, drawing(), {"model": str(small_model)}, api_name="/preview")
    names = set(visitor.view_api(return_format="dict")["named_endpoints"])
    assert names == {"/animate", "/preview", "/plan_story", "/make_story", "/remake_panel", "/dereflect"}


def test_a_visitor_who_goes_leaves_nothing(app: App, small_model: Path, tmp_path: Path) -> None:
    visitor = client(app, tmp_path)
    known = set(app.visitors.root.iterdir())
    visitor.predict(
        client_package.handle_file(PHOTO), drawing(), {**SMALL, "model": str(small_model)}, api_name="/preview"
    )
    (folder,) = set(app.visitors.root.iterdir()) - known
    assert any(folder.iterdir())
    app.visitors.leave(visitor.session_hash)
    assert not folder.exists()


def test_a_model_that_is_gone_is_told(app: App, small_model: Path, tmp_path: Path) -> None:
    """The folder was there when the app started."""
    moved = small_model.with_name("moved")
    app.loading.join()
    small_model.rename(moved)
    try:
        visitor = client(app, tmp_path)
        with pytest.raises(Exception, match=r"small"):
            animate(visitor, small_model, drawing()).result(timeout=120)
    finally:
        moved.rename(small_model)
    assert animate(visitor, small_model, drawing()).result(timeout=120)
