"""How quick the app is, and what its models cost: ``python -m benchmarks.app page|preview|stop|costs``.

``page``: from starting the process to a page that can be used, in Chromium. ``preview``: the overlay of a 49-frame
drawing with two objects. ``stop``: from Stop to a free model. ``costs``: time and memory of whole runs, each in a
process of its own, written to ``magicgen/presets/costs.json``, which the app shows. The first three are written to
``benchmarks/results/app.json``.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import circumstances
from magicgen.jobs.animate import Prepared, Result
from magicgen.media import write_json
from magicgen.progress import CancelToken, Report

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "app.json"
COSTS = ROOT / "magicgen" / "presets" / "costs.json"
ROCKET = ROOT / "examples" / "rocket"
FRAMES = 49
MAGICGEN = [sys.executable, "-m", "magicgen.cli"]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def measure_page(repeats: int) -> dict[str, Any]:
    """Seconds until the drawing area of a page can be used: from the start of the process (``wall_s``), and from the
    address that it prints (``open_s``); with the processor seconds of the server until then."""
    from playwright.sync_api import sync_playwright

    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for _ in range(repeats):
            page = browser.new_page()
            started = time.perf_counter()
            server = subprocess.Popen([*MAGICGEN, "app"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            try:
                assert server.stdout is not None
                address = server.stdout.readline().strip()
                listening = time.perf_counter()
                page.goto(address)
                page.wait_for_selector("#canvas canvas[data-view]", state="attached")
                ready = time.perf_counter()
                row = {"wall_s": ready - started, "listening_s": listening - started, "open_s": ready - listening}
                rows.append({**row, "server_cpu_s": _processor_seconds(server.pid)})
            finally:
                server.terminate()
                server.wait()
                page.close()
        browser.close()
    medians = {f"median_{name}": statistics.median(row[name] for row in rows) for name in ("wall_s", "open_s")}
    return {"goal_s": 3.0, **medians, "rows": rows}


def _processor_seconds(pid: int) -> float:
    """User and system seconds of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure_preview(repeats: int) -> dict[str, Any]:
    """Seconds for checking and drawing the overlay of 49 frames, as the page asks for it after every change."""
    from magicgen.jobs.animate import AnimateSettings
    from magicgen.ui.animate_desk import AnimateDesk
    from magicgen.ui.photos import take_photo
    from magicgen.ui.shelf import Shelf
    from magicgen.ui.visitors import Visitors

    drawing = {"version": 1, "frames": FRAMES, "objects": [_moved("one", 0.1), _moved("two", 0.6)]}
    with tempfile.TemporaryDirectory() as folder:
        visitor = Visitors(Path(folder)).of("one")
        visitor.photo = take_photo(ROCKET / "photo.jpg", visitor.folder)
        desk = AnimateDesk(Shelf(), None)

        def once() -> None:
            prepared = desk.prepare(visitor, drawing, AnimateSettings(frames=FRAMES, level="box"))
            desk.preview(prepared)

        once()
        rows = [_timed(once) for _ in range(repeats)]
    median = statistics.median(wall for wall, _ in rows)
    return {"goal_s": 1.0, "median_s": median, "rows": [_row(*row) for row in rows]}


def _moved(name: str, x: float) -> dict[str, Any]:
    """An object that rises."""
    boxes = {0: [x, 0.3, x + 0.2, 0.8], FRAMES - 1: [x, 0.1, x + 0.2, 0.6]}
    return {"name": name, "keyframes": [{"frame": frame, "box": box} for frame, box in boxes.items()]}


def measure_stop(repeats: int) -> dict[str, Any]:
    """Seconds from Stop in the middle of a run to a model that is free for the next one."""
    from magicgen.jobs.animate import AnimateSettings, load, prepare
    from magicgen.progress import Cancelled, ProgressEvent
    from magicgen.ui.work import watch

    with tempfile.TemporaryDirectory() as folder:
        settings = AnimateSettings(steps=200)
        prepared = prepare(ROCKET / "photo.jpg", ROCKET / "trajectory.json", Path(folder) / "out.mp4", settings)
        pipeline = load(prepared)
        rows = []
        for _ in range(repeats):
            token = CancelToken()
            events = watch(partial(_generate, prepared, pipeline, token), token)
            for event in events:
                if isinstance(event, ProgressEvent) and event.stage == "Sampling" and event.step >= 2:
                    break
            asked = time.perf_counter()
            threading.Timer(0, token.cancel).start()
            try:
                for _event in events:
                    pass
            except Cancelled:
                rows.append(time.perf_counter() - asked)
    return {"goal_s": 2.0, "worst_s": max(rows), "rows": rows}


def _generate(prepared: Prepared, pipeline: Any, token: CancelToken, report: Report) -> Result:
    from magicgen.jobs.animate import run

    return run(prepared, pipeline, report=report, cancel=token)


def measure_costs(folder: Path) -> dict[str, Any]:
    """Seconds without loading, and the most memory, of one run of each kind with the package's models."""
    photo, trajectory = str(ROCKET / "photo.jpg"), str(ROCKET / "trajectory.json")
    animate = ["animate", photo, "--trajectory", trajectory, "--frames", str(FRAMES), "--level", "box"]
    rows: dict[str, list[dict[str, Any]]] = {"animate": [], "story": [], "dereflect": []}
    for attention in ("dense", "auto"):
        out = folder / f"{attention}.mp4"
        most = _most_bytes([*animate, "--attention", attention, "--out", str(out)])
        seconds = _read(out.with_suffix(".json"))["timings"]["generate_s"]
        shape = _read(out.with_suffix(".json"))["settings"]
        steps = f"{shape['steps']} step{'' if shape['steps'] == 1 else 's'}"
        what = f"{shape['frames']} frames of {shape['width']} x {shape['height']}, {steps}"
        rows["animate"].append(_cost("tiny", attention, what, seconds, most))
    tale = folder / "tale.txt"
    tale.write_text("A small fox named Ruby walked in the forest.\n", encoding="utf-8")
    book = folder / "book"
    most = _most_bytes(["story", str(tale), "--out", str(book)])
    timings = _read(book / "story.json")["timings"]
    seconds = sum(value for name, value in timings.items() if name not in ("plan_s", "load_s"))
    rows["story"].append(_cost("tiny", "dense", "a book of one panel with its character", seconds, most))
    window = ROOT / "examples" / "windows" / "coffee_at_the_window.jpg"
    for octaves in (0, 1, 2):
        out = folder / f"clean-{octaves}.jpg"
        most = _most_bytes(["dereflect", str(window), "--octaves", str(octaves), "--out", str(out)])
        seconds = _read(out.with_suffix(".json"))["timings"]["solve_s"]
        what = f"a photo of 600 x 400, {octaves} refinement{'' if octaves == 1 else 's'}"
        rows["dereflect"].append(_cost("reflection_tiny", "dense", what, seconds, most))
    return rows


def _cost(model: str, attention: str, what: str, seconds: float, most: int) -> dict[str, Any]:
    return {"model": model, "attention": attention, "what": what, "seconds": round(seconds, 1), "bytes": most}


def _most_bytes(arguments: Sequence[str]) -> int:
    """Run a command; the most memory that it held (``ru_maxrss`` of a helper that only waits for it)."""
    helper = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", helper, *MAGICGEN, *arguments], check=True, capture_output=True, text=True
    )
    return 1024 * int(done.stdout.split()[-1])


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _timed(run: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    run()
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    return wall, after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime


def _row(wall: float, processor: float) -> dict[str, float]:
    return {"wall_s": wall, "cpu_s": processor}


def main(arguments: Sequence[str]) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.app", description=__doc__)
    parser.add_argument("what", choices=("page", "preview", "stop", "costs"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--machine", default="two cores of a virtual x86-64 machine, no GPU")
    given = parser.parse_args(arguments)
    if given.what == "costs":
        with tempfile.TemporaryDirectory() as folder:
            rows = measure_costs(Path(folder))
        document = {"machine": given.machine, **circumstances_of(arguments), **rows}
        write_json(COSTS, document)
        print(json.dumps(rows, indent=2))
        return
    measures = {"page": measure_page, "preview": measure_preview, "stop": measure_stop}
    found = measures[given.what](given.repeats)
    kept = _read(RESULTS) if RESULTS.is_file() else {}
    kept[given.what] = {**circumstances_of(arguments), **found}
    write_json(RESULTS, kept)
    print(json.dumps(found, indent=2))


def circumstances_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Where and when, under a name that no measure has."""
    return {"circumstances": circumstances("app", arguments)}


if __name__ == "__main__":
    main(sys.argv[1:])
