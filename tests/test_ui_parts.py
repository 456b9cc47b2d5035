"""The parts of the app that need no browser: visitors, photos, work in threads, drawings, settings."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magicgen.control.carry import carry_masks
from magicgen.control.geometry import Box, Linear
from magicgen.control.raster import rasterise
from magicgen.control.resolve import resolve
from magicgen.control.retrace import retrace
from magicgen.control.tracks import BoxLevel, MaskLevel, SparseBoxLevel, Tracks
from magicgen.control.trajectory import BoxMotion, Keyframe, Trajectory, TrajectoryObject
from magicgen.errors import ConfigError, GuideError, MediaError
from magicgen.jobs.animate import AnimateSettings
from magicgen.media import write_image
from magicgen.progress import Cancelled, CancelToken, ProgressEvent, Report

gradio = pytest.importorskip("gradio")

from magicgen.ui.costs import costs_table, measured_costs  # noqa: E402
from magicgen.ui.form import Choices, make_form  # noqa: E402
from magicgen.ui.photos import MAX_PHOTO_SIDE, inside, take_photo  # noqa: E402
from magicgen.ui.reflection_desk import read_marks  # noqa: E402
from magicgen.ui.told import in_words, note, progress_bar  # noqa: E402
from magicgen.ui.visitors import Visitors  # noqa: E402
from magicgen.ui.work import Done, watch  # noqa: E402


def boxes(count: int) -> st.SearchStrategy[list[Box]]:
    side = st.floats(0.1, 0.4)
    return st.lists(
        st.builds(lambda x, y, w, h: Box(x, y, x + w, y + h), st.floats(0, 0.5), st.floats(0, 0.5), side, side),
        min_size=count,
        max_size=count,
    )


@settings(deadline=None, max_examples=20)
@given(keys=boxes(3), how=st.sampled_from(["box", "sparse"]))
def test_a_retraced_drawing_says_the_same(keys: list[Box], how: str) -> None:
    motion = BoxMotion(tuple(Keyframe(f, box) for f, box in zip((0, 4, 12), keys, strict=True)), Linear())
    tracks = resolve(Trajectory(13, (TrajectoryObject("it", motion),)), 48, 64)
    level = BoxLevel() if how == "box" else SparseBoxLevel((1, 4, 12))
    again = retrace(tracks, level)
    assert np.array_equal(rasterise(resolve(again, 48, 64), level), rasterise(tracks, level))
    keyframes = again.objects[0].motion
    assert isinstance(keyframes, BoxMotion)
    assert len(keyframes.keyframes) <= 4


def test_masks_are_carried_along_boxes() -> None:
    mask = np.zeros((1, 40, 40), np.bool_)
    mask[0, 10:20, 4:12] = True
    box = np.array([0.1, 0.25, 0.3, 0.5], np.float32)
    moved = np.stack([box, box + np.float32([0.25, 0, 0.25, 0]), np.full(4, np.nan, np.float32)])[None]
    carried = resolve(carry_masks(Tracks(("it",), mask, moved[:, [0, 1, 1]])), 40, 40)
    assert carried.masks is not None
    assert np.array_equal(carried.masks[0, 1, :, 14:22], mask[0, :, 4:12])
    assert rasterise(carried, MaskLevel())[1].any()


def test_visitors_do_not_share_and_leave_nothing(tmp_path: Path) -> None:
    visitors = Visitors(tmp_path / "all", most=3)
    one, other = visitors.of("a"), visitors.of("b")
    assert one is visitors.of("a")
    assert one.folder != other.folder
    token = one.token = CancelToken()
    visitors.leave("a")
    assert token.cancelled
    assert not one.folder.exists()
    assert visitors.of("a") is not one
    for name in "cdefg":
        visitors.of(name)
    assert len(visitors) <= 3
    visitors.close()
    assert not (tmp_path / "all").exists()


def test_photos_are_checked_and_copied(tmp_path: Path) -> None:
    home = tmp_path / "visitor"
    home.mkdir()
    source = write_image(tmp_path / "wide.png", np.zeros((40, 2600, 3), np.uint8))
    photo = take_photo(source, home)
    assert photo.size == (40, 2600)
    assert photo.shown.shape[1] == 1280
    assert photo.path.parent == home
    assert photo.as_property()["width"] == 2600
    huge = write_image(tmp_path / "huge.png", np.zeros((16, MAX_PHOTO_SIDE + 8, 3), np.uint8))
    with pytest.raises(MediaError, match="at most 8192") as raised:
        take_photo(huge, home)
    assert str(tmp_path) not in str(raised.value)


def test_only_uploads_are_opened(tmp_path: Path) -> None:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    (uploads / "mine.png").write_bytes(b"x")
    (tmp_path / "secret.png").write_bytes(b"x")
    (uploads / "link.png").symlink_to(tmp_path / "secret.png")
    assert inside(str(uploads / "mine.png"), uploads).name == "mine.png"
    for path in ("/etc/passwd", str(uploads / ".." / "secret.png"), str(uploads / "link.png"), "", "\0"):
        with pytest.raises(MediaError):
            inside(path, uploads)
    with pytest.raises(GuideError, match="mask file"):
        read_marks({"version": 1, "marks": [{"kind": "mask", "layer": "reflection", "mask": "/etc/passwd"}]})


def slow_work(report: Report) -> str:
    for step in range(1000):
        report(ProgressEvent("Counting", step, 1000))
        time.sleep(0.002)
    return "done"


def test_work_reports_ends_and_stops() -> None:
    assert list(watch(lambda report: 7, CancelToken())) == [Done(7)]
    token = CancelToken()
    events = watch(slow_work, token)
    assert isinstance(next(events), ProgressEvent)
    token.cancel()
    with pytest.raises(Cancelled):
        list(events)
    closed: Iterator[object] = watch(slow_work, CancelToken())
    next(closed)
    closed.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "magicgen-work"]


def test_a_slow_reader_sees_every_stage() -> None:
    told = threading.Event()
    picture = np.zeros((2, 2, 3), np.uint8)

    def quick_work(report: Report) -> str:
        report(ProgressEvent("Starting", 0))
        for step in range(4):
            report(ProgressEvent("Sampling", step, 3, preview=picture if step == 1 else None))
        report(ProgressEvent("Writing", 0))
        told.set()
        return "done"

    events = watch(quick_work, CancelToken())
    seen = [next(events)]
    assert told.wait(60)
    seen += list(events)
    assert [event.stage for event in seen if isinstance(event, ProgressEvent)] == ["Starting", "Sampling", "Writing"]
    assert seen[1] == ProgressEvent("Sampling", 3, 3, preview=picture)
    assert seen[-1] == Done("done")


def broken_work(report: Report) -> str:
    raise ConfigError("no")


def test_broken_work_raises_where_it_is_watched() -> None:
    with pytest.raises(ConfigError, match="no"):
        list(watch(broken_work, CancelToken()))


@pytest.mark.parametrize(
    "wanted",
    [
        AnimateSettings(),
        AnimateSettings(level="sparse_box", frames=25, height=64, width=96, steps=7, guidance=3.5, fps=12, seed=2**31),
        AnimateSettings(
            prompt="a <cat>", negative_prompt="blur", control_weight=(0.5, 1 / 3), control_range=(0.1, 0.6)
        ),
        AnimateSettings(use_draft=False, interpolate_positions=True, attention="auto", device="cpu", offload="none"),
    ],
)
def test_every_setting_goes_through_the_form(wanted: AnimateSettings) -> None:
    with gradio.Blocks():
        form, _ = make_form(Choices(), AnimateSettings())
    wanted = wanted.model_copy(update={"frames": wanted.frames or 17})
    assert len(form.values(wanted)) == len(form.components)
    assert form.settings(form.values(wanted)) == wanted


def test_a_visitor_chooses_from_what_is_offered() -> None:
    with gradio.Blocks():
        form, _ = make_form(Choices(), AnimateSettings())
    for change in ({"model": "/home/someone/model"}, {"attention": "/etc/passwd"}, {"device": "cuda:7"}):
        with pytest.raises(ConfigError, match="not offered"):
            form.settings(form.values(AnimateSettings(frames=17, **change)))


def test_words_for_people() -> None:
    assert in_words(ValueError("Use --control-weight 1.")) == "Use control weight 1."
    assert note("<b>") == '<p class="mg-note">&lt;b&gt;</p>'
    assert "step 3 of 8, 5 s left" in progress_bar(ProgressEvent("Sampling", 3, 8, 5.0))


def test_costs_are_those_of_the_models_on_offer() -> None:
    both = costs_table("animate", ["tiny"])
    assert all(word in both for word in ("Attention", ">auto<", "GiB"))
    assert "Attention" not in costs_table("story", ["tiny"])  # one row: nothing to compare
    assert costs_table("animate", ["another"]) == "" == costs_table("unknown", ["tiny"])
    measured = measured_costs()
    rows = [row for task in ("animate", "story", "dereflect") for row in measured[task]]
    assert all(row["bytes"] > 2**28 for row in rows)
    assert all(row["seconds"] > 0 for row in rows)
