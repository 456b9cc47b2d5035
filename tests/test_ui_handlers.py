"""The handlers of the Animate tab, called as the page calls them, with a small model of the real classes."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from magicgen.jobs.animate import AnimateSettings
from magicgen.progress import CancelToken
from tests.tiny_folders import FRAMES, HEIGHT, WIDTH

gradio = pytest.importorskip("gradio")

from magicgen.ui.animate_desk import AnimateDesk  # noqa: E402
from magicgen.ui.animate_handlers import AnimateHandlers  # noqa: E402
from magicgen.ui.examples import find_examples  # noqa: E402
from magicgen.ui.form import Choices, make_form  # noqa: E402
from magicgen.ui.outlines import shared_outline  # noqa: E402
from magicgen.ui.shelf import Shelf  # noqa: E402
from magicgen.ui.visitors import Visitors  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PHOTO = EXAMPLES / "rocket" / "photo.jpg"
ONE, OTHER = (SimpleNamespace(session_hash=name) for name in ("one", "other"))


def drawing() -> dict[str, Any]:
    keyframes = [{"frame": 0, "box": [0.4, 0.2, 0.6, 0.9]}, {"frame": FRAMES - 1, "box": [0.5, 0.1, 0.7, 0.8]}]
    return {"version": 1, "frames": FRAMES, "objects": [{"name": "it", "keyframes": keyframes}]}


@pytest.fixture
def on(small_model: Path, tmp_path: Path) -> Iterator[AnimateHandlers]:
    visitors = Visitors(tmp_path / "visitors")
    with gradio.Blocks():
        form, _ = make_form(Choices(models=(str(small_model),)), AnimateSettings(model=str(small_model)))
    desk = AnimateDesk(Shelf(), shared_outline("grabcut"))
    yield AnimateHandlers(desk, visitors, tmp_path, find_examples(EXAMPLES), form)
    visitors.close()


def values(on: AnimateHandlers, **change: Any) -> list[Any]:
    model = on.form.choices.models[0]
    usual = {"frames": FRAMES, "height": HEIGHT, "width": WIDTH}
    return on.form.values(AnimateSettings(model=model, **{**usual, **change}))


def run(on: AnimateHandlers, request: Any, **change: Any) -> list[tuple[Any, ...]]:
    on.check(request, drawing(), True, *values(on, **change))
    return list(on.generate(request))


def test_a_run_shows_progress_and_ends_in_files_and_history(on: AnimateHandlers) -> None:
    on.choose_photo(str(PHOTO), ONE)
    shown, cost = on.preview(ONE, drawing(), *values(on))
    assert Path(shown).is_file()
    assert f"{FRAMES} frames of {WIDTH} x {HEIGHT}" in cost
    steps = run(on, ONE, steps=3, seed=5, level="mask")
    said = [step[0] for step in steps]
    assert any("Sampling, step 3 of 3" in text for text in said)  # a busy machine may show no earlier one
    assert any(step[1].get("visible") for step in steps if isinstance(step[1], dict))
    assert "Done." in said[-1]
    video, facts, files = steps[-1][2:5]
    assert "seed 5" in facts
    assert [Path(path).suffix for path in files] == [".mp4", ".mp4", ".json"]
    assert on.toggle(True, ONE) != video
    assert on.toggle(False, ONE) == video
    assert len(steps[-1][5]) == 1
    cost = on.preview(ONE, drawing(), *values(on, steps=3, level="mask"))[1]
    assert "Measured here" in cost


def test_a_sidecar_restores_drawing_and_settings(on: AnimateHandlers) -> None:
    on.choose_photo(str(PHOTO), ONE)
    sidecar = run(on, ONE, steps=2, level="sparse_box", prompt="cat walks", control_range=(0.0, 0.5))[-1][4][2]
    canvas, lock, *restored = on.restore(sidecar, OTHER)
    document = json.loads(Path(sidecar).read_text(encoding="utf-8"))
    assert lock
    assert on.form.settings(restored).model_dump(mode="json") == document["settings"]
    on.check(OTHER, canvas["value"], lock, *restored)
    again = list(on.generate(OTHER))[-1]
    repeated = json.loads(Path(again[4][2]).read_text(encoding="utf-8"))
    assert repeated["settings"] == document["settings"]
    assert repeated["inputs"]["objects"][0]["first_mask"] == document["inputs"]["objects"][0]["first_mask"]
    assert Path(again[2]).read_bytes() == Path(document_video(sidecar)).read_bytes()


def document_video(sidecar: str) -> Path:
    return Path(sidecar).with_suffix(".mp4")


def test_stop_ends_a_run_and_a_wait(on: AnimateHandlers) -> None:
    on.choose_photo(str(PHOTO), ONE)
    on.check(ONE, drawing(), True, *values(on, steps=1000))
    events = on.generate(ONE)
    # A busy machine shows some steps only, perhaps not the first.
    assert any("Sampling, step" in said for said, *_ in events)
    assert "Stopping" in on.stop(ONE)
    assert "Stopped: Sampling" in list(events)[-1][0]
    on.check(ONE, drawing(), True, *values(on))
    on.stop(ONE)
    assert "before it began" in list(on.generate(ONE))[-1][0]
    assert "Nothing is running" in on.stop(ONE)


def test_visitors_see_only_their_own(on: AnimateHandlers) -> None:
    on.choose_photo(str(PHOTO), ONE)
    run(on, ONE)
    assert on.visitors.of("other").history == []
    with pytest.raises(gradio.Error, match="no photo yet"):
        on.check(OTHER, drawing(), True, *values(on))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "Nothing is drawn yet"),
        ({"version": 1, "frames": 5, "objects": []}, "Nothing is drawn yet"),
        ({"version": 3, "frames": 5, "objects": [{}]}, "version"),
        ({"version": 1, "frames": 5, "objects": [{"name": "a", "mask": "/etc/mask.png", "keyframes": []}]}, "relative"),
        (
            {"version": 1, "frames": 5, "objects": [{"name": "a", "keyframes": [{"frame": 0, "box": [2, 2, 3, 3]}]}]},
            "outside the picture",
        ),
    ],
)
def test_mistakes_are_told_before_anything_is_queued(on: AnimateHandlers, document: Any, words: str) -> None:
    on.choose_photo(str(PHOTO), ONE)
    with pytest.raises(gradio.Error) as raised:
        on.check(ONE, document, True, *values(on))
    assert words in str(raised.value.message)
    assert on.visitors.of("one").waiting is None


def test_a_path_of_one_point_is_told(on: AnimateHandlers) -> None:
    """One place is no way: the thing stands still, which a visitor may want but should know."""
    on.choose_photo(str(PHOTO), ONE)
    document = drawing()
    document["objects"][0]["keyframes"] = document["objects"][0]["keyframes"][:1]
    shown, said = on.preview(ONE, document, *values(on))
    assert Path(shown).is_file()
    assert "nothing moves" in said
    assert "a path of one point" in said
    assert "nothing moves" not in on.preview(ONE, drawing(), *values(on))[1]


def test_outlines_camera_import_and_export(on: AnimateHandlers) -> None:
    on.choose_photo(str(PHOTO), ONE)
    wanted = {"id": 4, "turn": 9, "box": [0.47, 0.28, 0.54, 0.97], "clicks": []}
    answer = on.find_object(SimpleNamespace(_data=wanted), ONE)["answer"]
    assert (answer["id"], answer["turn"]) == (4, 9)
    assert 0.4 < answer["box"][0] < answer["box"][2] < 0.6
    lost = on.find_object(SimpleNamespace(_data={"id": 5, "box": None, "clicks": []}), ONE)["answer"]
    assert "error" in lost
    moved = on.move_camera(drawing(), FRAMES, 1.5, 0.1, 0.0, 0.0, ONE)["value"]
    assert [item["name"] for item in moved["objects"]] == ["camera", "it"]
    # On a map of a few pixels a filled mask and a box outline look alike.
    files = on.export(ONE, drawing(), *values(on, height=128, width=192))["value"]
    for path in files:
        canvas, frames = on.import_file(path, ONE)
        assert frames == FRAMES
        assert len(canvas["value"]["objects"]) == 1
    seen = on.show_example(SimpleNamespace(index=0), ONE)
    assert seen[1] == seen[0]["value"]["frames"]


def test_a_visitor_who_leaves_stops_the_run(on: AnimateHandlers) -> None:
    on.choose_photo(str(PHOTO), ONE)
    on.check(ONE, drawing(), True, *values(on, steps=500))
    token = on.visitors.of("one").token
    assert isinstance(token, CancelToken)
    on.visitors.leave("one")
    assert token.cancelled


def test_what_a_run_writes_after_its_visitor_left_goes_too(on: AnimateHandlers) -> None:
    on.choose_photo(str(PHOTO), ONE)
    on.check(ONE, drawing(), True, *values(on, steps=500))
    folder = on.visitors.of("one").folder
    events = on.generate(ONE)
    next(events)
    on.visitors.leave("one")
    folder.mkdir(exist_ok=True)
    (folder / "late.mp4").write_bytes(b"late")
    list(events)
    assert not folder.exists()
    assert len(on.visitors) == 0


def test_too_little_memory_is_told_and_the_next_run_works(on: AnimateHandlers, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from pipelines.trajectory_video import TrajectoryVideoPipeline

    def too_large(*_given: Any, **_named: Any) -> None:
        raise torch.OutOfMemoryError("tried to allocate 20 GiB")

    on.choose_photo(str(PHOTO), ONE)
    with monkeypatch.context() as patched:
        patched.setattr(TrajectoryVideoPipeline, "__call__", too_large)
        said = run(on, ONE)[-1][0]
    assert f"Out of memory at {FRAMES} frames of {HEIGHT}x{WIDTH}" in said
    assert "Use a smaller height and width, fewer frames, or offload sequential" in said
    assert "Done." in run(on, ONE)[-1][0]
