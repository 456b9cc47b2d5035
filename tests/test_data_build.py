"""The dataset builder from videos to rows: what it makes, what it refuses, and how it goes on after a stop."""

import json
import os
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("scenedetect")

from data_tools.build import BuildRequest, BuildResult, build, refilter
from data_tools.cli import main
from data_tools.dataset import rows_of
from data_tools.inline import InlineEngine
from data_tools.inputs import Shard, find_inputs, parse_shard
from data_tools.layout import Layout
from data_tools.settings import DataSettings
from data_tools.status import read_status
from data_tools.validate import validate
from data_tools.work import Work
from magicgen.config import check_config
from magicgen.errors import ConfigError, DatasetError, MagicGenError, MediaError
from magicgen.media import read_video
from tests.data_clips import FRAMES, moving_square, save_clip, save_video, texture


def settings(**changes: object) -> DataSettings:
    build = {"annotation": {"kind": "given"}, "clips": {"min_frames": 9, "max_frames": 40}, **changes}
    return check_config({"build": build}, DataSettings, source="test")


def run_build(out: Path, *inputs: Path, shard: Shard | None = None, config: DataSettings | None = None) -> BuildResult:
    chosen = config or settings()
    request = BuildRequest(inputs, out, chosen, shard or Shard())
    return build(request, InlineEngine(Work(chosen.build, out.resolve())))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for seed in range(3):
        save_clip(root / f"clip {seed} \u00e4\u4e2d", seed, caption="A red square moves over the wall.")
    return root


@pytest.fixture(scope="module")
def dataset(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "set"
    run_build(out, videos)
    return out


class TestRows:
    def test_everything_is_kept_and_valid(self, dataset: Path) -> None:
        found = validate(dataset)
        assert found.faults == ()
        rows = list(rows_of(dataset))
        assert [row["status"] for row in rows] == ["kept"] * 3, [row["reasons"] for row in rows]

    def test_masks_boxes_and_pixels_are_those_of_the_source(self, dataset: Path) -> None:
        row = next(rows_of(dataset))
        _, labels = moving_square(0)
        track = row["tracks"][0]
        assert track["area"] == [int((label == 1).sum()) for label in labels]
        assert track["boxes"][0] == [4, 14, 22, 32]
        assert np.array_equal(read_video(row["source_uri"]).frames, read_video(dataset / row["file"]).frames)

    def test_text(self, dataset: Path) -> None:
        row = next(rows_of(dataset))
        assert row["caption"] == "A red square moves over the wall."
        assert row["caption_origin"] == "sidecar"
        assert [phrase["text"] for phrase in row["phrases"]] == ["red square"]
        assert row["tracks"][0]["label"] == "red square"

    def test_scores_without_weights_are_null(self, dataset: Path) -> None:
        row = next(rows_of(dataset))
        assert row["scores"]["aesthetic"] is None
        assert row["scores"]["text_area"] is None
        assert "text_area" in json.loads((dataset / "dataset.json").read_text())["null_scores"]

    def test_the_same_videos_give_the_same_bytes(self, videos: Path, dataset: Path, tmp_path: Path) -> None:
        again = run_build(tmp_path / "again", videos)
        assert again.index.content == validate(dataset).content

    def test_shards_make_the_whole(self, videos: Path, dataset: Path, tmp_path: Path) -> None:
        for index in range(3):
            result = run_build(tmp_path / "set", videos, shard=Shard(index, 3))
        assert result.index.content == validate(dataset).content

    def test_two_shots_give_two_clips(self, tmp_path: Path) -> None:
        first, second = moving_square(0, 24)[0], 255 - moving_square(5, 24)[0]
        save_video(tmp_path / "in" / "a.mp4", np.concatenate([first, second]))
        config = settings(annotation={"kind": "given"}, shots={"trim": 1, "min_frames": 8})
        run_build(tmp_path / "set", tmp_path / "in", config=config)
        state = next((tmp_path / "set/state/videos").glob("*.json"))
        spans = [(clip["start_frame"], clip["end_frame"]) for clip in json.loads(state.read_text())["clips"]]
        assert spans == [(0, 23), (25, 48)]


class TestGoingOn:
    def test_nothing_is_done_twice(self, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run_build(tmp_path / "set", videos)
        monkeypatch.setattr(Work, "annotate", lambda *_: pytest.fail("annotated again"))
        run_build(tmp_path / "set", videos)

    def test_lost_pieces_are_made_again(self, videos: Path, dataset: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(dataset, tmp_path / "set")
        next((copy / "state" / "rows").glob("*/*.parquet")).unlink()
        next((copy / "clips").glob("*/*.mp4")).unlink()
        (copy / "clips" / ".magicgen-0.mp4.part").write_bytes(b"half")
        assert run_build(copy, videos).index.content == validate(dataset).content
        assert validate(copy).faults == ()
        assert not list(copy.rglob("*.part"))

    def test_other_settings_are_refused(self, videos: Path, dataset: Path) -> None:
        with pytest.raises(DatasetError, match=r"max_tracks: 8 there, 2 here"):
            run_build(dataset, videos, config=settings(max_tracks=2))

    def test_a_second_build_is_refused(self, videos: Path, dataset: Path) -> None:
        from data_tools.lock import locked

        with locked(dataset, Shard()), pytest.raises(DatasetError, match=f"process {os.getpid()}"):
            run_build(dataset, videos)
        with locked(dataset, Shard(0, 2)), locked(dataset, Shard(1, 2)), pytest.raises(DatasetError):
            run_build(dataset, videos, shard=Shard(1, 2))

    def test_thresholds_change_without_work(
        self, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copy = shutil.copytree(dataset, tmp_path / "set")
        monkeypatch.setattr(Work, "annotate", lambda *_: pytest.fail("annotated again"))
        strict = check_config({"thresholds": {"clips": {"duration": {"min": 9}}}}, DataSettings, source="test")
        assert refilter(copy, strict).counts["kept"] == 0
        assert {tuple(row["reasons"]) for row in rows_of(copy)} == {("duration",)}
        assert refilter(copy, DataSettings()).content == validate(dataset).content

    def test_failures_are_kept_and_tried_again_when_asked(self, tmp_path: Path) -> None:
        video = save_clip(tmp_path / "in", 0)
        (tmp_path / "in" / "masks" / "00007.png").write_bytes(b"no png")
        out = tmp_path / "set"
        assert "00007.png" in run_build(out, video).problems[0].reason
        assert run_build(out, video).index.counts["failed_clips"] == 1
        save_clip(tmp_path / "in", 0)
        chosen = settings()
        request = BuildRequest((video,), out, chosen, retry_failed=True)
        result = build(request, InlineEngine(Work(chosen.build, out.resolve())))
        assert result.problems == []
        assert result.index.counts["clips"] == 1


class TestBadInput:
    def test_one_bad_file_stops_nothing(self, videos: Path, tmp_path: Path) -> None:
        folder = tmp_path / "in"
        good = save_clip(folder / "große Hunde 犬", 1)
        data = good.read_bytes()
        (folder / "zero.mp4").write_bytes(b"")
        (folder / "text.mp4").write_text("no video at all\n" * 50)
        (folder / "cut.mp4").write_bytes(data[: len(data) // 2])
        save_video(folder / "one frame.mp4", texture(3)[None])
        _audio(folder / "sound.mp4")
        shutil.copy(good, good.with_name("copy of it.mp4"))
        (folder / "loop").symlink_to(folder)
        (folder / "self.mp4").symlink_to(folder / "self.mp4")
        result = run_build(tmp_path / "set", folder, tmp_path / "missing")
        reasons = {Path(problem.what).name: problem.reason for problem in result.problems}
        assert "empty" in reasons["zero.mp4"]
        assert "cannot be decoded" in reasons["text.mp4"]
        assert "cut.mp4" in reasons
        assert "no video stream" in reasons["sound.mp4"]
        assert "loop" in reasons["self.mp4"]
        assert "no such" in reasons["missing"]
        counts = result.index.counts
        assert (counts["clips"], counts["copies"], counts["quarantined"], counts["skipped"]) == (1, 1, 4, 1)
        status = read_status(tmp_path / "set")
        assert status.annotated == 1
        assert str(folder / "one frame.mp4") in status.failures

    def test_rotated_odd_and_uneven_videos(self, tmp_path: Path) -> None:
        folder = tmp_path / "in"
        frames = moving_square(2)[0]
        _turn(save_video(folder / "turned.mp4", frames))
        uneven = [t if t < 15 else 15 + 4 * (t - 15) for t in range(FRAMES)]
        save_video(folder / "uneven.mp4", frames, times=uneven)
        _odd(folder / "odd.mkv", frames[:, :47, :63])
        run_build(tmp_path / "set", folder)
        clips = {}
        for path in (tmp_path / "set/state/videos").glob("*.json"):
            for clip in json.loads(path.read_text())["clips"]:
                clips[Path(clip["source_uri"]).name] = clip
        assert (clips["turned.mp4"]["height"], clips["turned.mp4"]["width"]) == (64, 48)
        assert (clips["odd.mkv"]["height"], clips["odd.mkv"]["width"]) == (46, 62)
        uneven_clip = clips["uneven.mp4"]
        assert uneven_clip["source"]["variable_rate"]
        assert uneven_clip["frames"] > FRAMES + 5  # slow passages are filled up
        for clip in clips.values():
            assert len(read_video(tmp_path / "set" / clip["file"]).frames) == clip["frames"]

    def test_a_huge_video_is_made_small(self, tmp_path: Path) -> None:
        import cv2

        huge = np.stack([cv2.resize(frame, (7680, 4320)) for frame in moving_square(0, 9)[0]])
        save_video(tmp_path / "8k.mp4", huge)
        run_build(tmp_path / "set", tmp_path / "8k.mp4")
        state = json.loads(next((tmp_path / "set/state/videos").glob("*.json")).read_text())
        assert (state["clips"][0]["height"], state["clips"][0]["width"]) == (480, 854)

    def test_no_input_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="no such file"):
            run_build(tmp_path / "set", tmp_path / "nothing")
        (tmp_path / "empty").mkdir()
        with pytest.raises(DatasetError, match="holds no video"):
            run_build(tmp_path / "set", tmp_path / "empty")

    def test_output_that_cannot_be_written(self, videos: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(MediaError, match="cannot be written"):
            run_build(tmp_path / "file" / "set", videos)

    def test_a_full_disk_stops_the_build(self, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import errno

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        run_build(tmp_path / "set", next(videos.glob("*0*")))
        monkeypatch.setattr("magicgen.media.os.replace", full)
        with pytest.raises(MagicGenError, match="disk is full"):
            run_build(tmp_path / "set", videos)
        monkeypatch.undo()
        assert run_build(tmp_path / "set", videos).index.counts["kept"] == 3

    @pytest.mark.parametrize("text", ["3", "2/2", "-1/4", "a/b", "1/0"])
    def test_shards_that_make_no_sense(self, text: str) -> None:
        with pytest.raises(DatasetError, match="expected I/N"):
            parse_shard(text)

    def test_folders_are_searched_once(self, videos: Path) -> None:
        found = find_inputs([videos, videos, *videos.glob("*/video.mp4")], Shard())
        assert len(found.videos) == 3


class TestCommandLine:
    def call(self, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["magicgen-data", *(str(argument) for argument in arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0)

    def test_a_whole_life(
        self, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "set"
        common = ("--set", "build.annotation.kind=given", "--set", "build.clips.min_frames=9", "--engine", "inline")
        assert self.call(monkeypatch, "build", videos, "--out", out, "--dry-run") == 0
        assert "3 readable, 90 frames" in capfd.readouterr().out
        assert not out.exists()
        assert self.call(monkeypatch, "build", videos, tmp_path / "none", "--out", out, *common) == 1
        printed = capfd.readouterr()
        assert printed.out.strip() == str(out)
        assert "no such file" in printed.err
        assert self.call(monkeypatch, "build", videos, "--out", out, "--no-resume", *common) == 2
        assert self.call(monkeypatch, "refilter", out, "--set", "thresholds.clips.objects.min=2") == 0
        assert "rejected 3" in capfd.readouterr().err
        assert self.call(monkeypatch, "status", out) == 0
        assert "3 of 3 annotated" in capfd.readouterr().out
        assert self.call(monkeypatch, "validate", out) == 0
        assert self.call(monkeypatch, "report", out) == 0
        page = (out / "report.html").read_text()
        assert "data:image/jpeg" in page
        assert "http" not in page

    def test_faults_are_named(
        self, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        copy = shutil.copytree(dataset, tmp_path / "set")
        clips = sorted((copy / "clips").glob("*/*.mp4"))
        clips[0].write_bytes(clips[1].read_bytes())
        clips[2].unlink()
        assert self.call(monkeypatch, "validate", copy) == 1
        printed = capfd.readouterr().out
        assert "has changed" in printed
        assert "is missing" in printed

    def test_mistakes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.call(monkeypatch, "status", tmp_path) == 2
        assert self.call(monkeypatch, "report", tmp_path) == 2
        assert self.call(monkeypatch, "build", tmp_path, "--out", tmp_path / "o", "--set", "build.clip.fps=3") == 2


def test_the_default_configuration_is_the_default() -> None:
    from magicgen.config import load_config

    root = Path(__file__).resolve().parents[1]
    assert load_config(root / "configs/data/default.yaml", DataSettings) == DataSettings()
    for path in (root / "configs/data").glob("*.yaml"):
        load_config(path, DataSettings)


def test_layout_names() -> None:
    layout = Layout(Path("set"))
    assert layout.clip("abc") == Path("set/clips/ab/abc.mp4")


def _audio(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _turn(path: Path) -> None:
    """Write a quarter turn into the header."""
    data = path.read_bytes()
    upright = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    clockwise = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 48 << 16, 0, 1 << 30)
    start = data.index(upright, data.index(b"tkhd"))
    path.write_bytes(data[:start] + clockwise + data[start + 36 :])


def _odd(path: Path, frames: np.ndarray) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv444p"
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_missing_packages_are_named_before_any_work(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_tools.build.importlib.util.find_spec", lambda name: None if name == "pyarrow" else name)
    with pytest.raises(ConfigError, match=r"needs pyarrow: pip install"):
        run_build(tmp_path / "set", videos)
    assert not (tmp_path / "set").exists()


def test_the_guide_names_every_score() -> None:
    from data_tools.scores import CLIP_SCORES, DERIVED_SCORES, TRACK_SCORES

    guide = (Path(__file__).resolve().parents[1] / "docs" / "data.md").read_text()
    assert [name for name in (*CLIP_SCORES, *DERIVED_SCORES, *TRACK_SCORES) if f"| `{name}` |" not in guide] == []
