"""Exports, the training source and the decisions: exact data back, and the numbers behind the filters."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

pytest.importorskip("pyarrow")
pytest.importorskip("scenedetect")

from data_tools.annotators.found import FoundTrack, pixel_box
from data_tools.build import BuildRequest, build
from data_tools.decide import decide_all
from data_tools.export.clips import ExportClip, labels_of, masks_of
from data_tools.export.run import FORMATS, ExportRequest, export
from data_tools.inline import InlineEngine
from data_tools.motion import measure_motion
from data_tools.records import Phrase
from data_tools.settings import Band, DataSettings, Thresholds
from data_tools.stages.annotate import keep_frames, to_tracks
from data_tools.stages.measure import frame_order, static_overlay, thumbnails
from data_tools.stages.text import RulePhrases
from data_tools.store import from_row, to_row
from data_tools.validate import validate
from data_tools.work import Work
from magicgen.config import check_config
from magicgen.control.map_video import read_map_video
from magicgen.errors import DatasetError
from magicgen.training.magic_data import MagicDataClips
from tests.data_clips import HEIGHT, WIDTH, moving_square, save_clip, texture


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export")
    for seed in range(2):
        save_clip(root / "in" / f"clip{seed}", seed, caption="a red square, sliding")
    values = {"build": {"annotation": {"kind": "given"}, "clips": {"min_frames": 9}}}
    chosen = check_config(values, DataSettings, source="test")
    out = root / "set"
    build(BuildRequest([root / "in"], out, chosen), InlineEngine(Work(chosen.build, out)))
    return out


@pytest.mark.parametrize("name", FORMATS)
def test_every_export_gives_the_exact_masks_and_boxes_back(dataset: Path, tmp_path: Path, name: str) -> None:
    assert export(ExportRequest(dataset, name, tmp_path / "out", verify=True)) == 2
    with pytest.raises(DatasetError, match="in use"):
        export(ExportRequest(dataset, name, tmp_path / "out"))


def test_a_wrong_mask_is_noticed(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from data_tools.export.davis import DavisExporter
    from magicgen.errors import GenerationFailed

    original = DavisExporter.masks_back

    def spoiled(self: DavisExporter, clip: ExportClip) -> Any:
        masks = original(self, clip)
        masks[0, 3, 20, 20] ^= True
        return masks

    monkeypatch.setattr(DavisExporter, "masks_back", spoiled)
    with pytest.raises(GenerationFailed, match="differ"):
        export(ExportRequest(dataset, "davis", tmp_path / "out", verify=True))


def test_exported_maps_are_read_by_the_house(dataset: Path, tmp_path: Path) -> None:
    export(ExportRequest(dataset, "maps", tmp_path / "out"))
    row = next(iter(_rows(dataset)))
    video = read_map_video(tmp_path / "out" / f"{row['clip_id']}.mask.mp4")
    assert np.array_equal(video.tracks.masks, ExportClip(dataset, row).masks)


def test_webdataset_is_the_same_every_time(dataset: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        export(ExportRequest(dataset, "webdataset", tmp_path / name))
    assert (tmp_path / "a/shard-000000.tar").read_bytes() == (tmp_path / "b/shard-000000.tar").read_bytes()


def test_rows_survive_plain_data(dataset: Path) -> None:
    row = next(iter(_rows(dataset)))
    record = from_row(row)
    again = to_row(record)
    assert list(again["tracks"][0]["rle"]) == row["tracks"][0]["rle"]
    assert from_row({**row, **again}) == record


class TestTraining:
    def source(self, dataset: Path, **changes: Any) -> MagicDataClips:
        values: dict[str, Any] = {"frames": 9, "sizes": ((32, 48),), "batch_size": 2, "seed": 5, **changes}
        return MagicDataClips(dataset, **values)

    def test_windows_carry_their_masks(self, dataset: Path) -> None:
        clip = self.source(dataset).clip(3)
        assert clip.video.shape == (9, 32, 48, 3)
        assert clip.caption == "a red square, sliding"
        assert clip.tracks.names == ("red square",)
        assert clip.tracks.masks is not None
        red = (clip.video[..., 0] > 200) & (clip.video[..., 1] < 80)
        assert (red & clip.tracks.masks[0]).sum() > 0.8 * clip.tracks.masks[0].sum()

    def test_an_index_is_a_clip(self, dataset: Path) -> None:
        first, second = self.source(dataset).clip(7), self.source(dataset).clip(7)
        assert np.array_equal(first.video, second.video)
        assert not np.array_equal(first.video, self.source(dataset).clip(8).video)

    def test_a_batch_has_one_size_and_the_nearest_aspect(self, dataset: Path) -> None:
        source = self.source(dataset, sizes=((48, 32), (32, 48)))
        assert {source.clip(index).video.shape[1:3] for index in range(6)} == {(32, 48)}  # all clips lie down

    def test_a_batch_has_one_of_the_lengths(self, dataset: Path) -> None:
        source = self.source(dataset, lengths=(5, 13, 401))
        lengths = [source.clip(index).tracks.frames for index in range(24)]
        assert lengths[::2] == lengths[1::2]
        assert set(lengths) == {5, 9, 13}

    def test_strides_differ(self, dataset: Path) -> None:
        source = self.source(dataset, largest_stride=3)
        speeds = set()
        for index in range(12):
            boxes = source.clip(index).tracks.boxes[0, :, 0]
            speeds.add(round(float((boxes[-1] - boxes[0]) * WIDTH / 8)))
        assert len(speeds) > 1

    def test_what_cannot_be_trained_on(self, dataset: Path, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"no dataset\.json"):
            self.source(tmp_path)
        with pytest.raises(DatasetError, match="41 frames or more"):
            self.source(dataset, frames=41)
        copy = shutil.copytree(dataset, tmp_path / "set")
        index = copy / "dataset.json"
        known = index.read_text()
        index.write_text(known.replace('"format": 1', '"format": 2'))
        for reader in (self.source, validate):
            with pytest.raises(DatasetError, match="format 2; this version of magicgen reads format 1"):
                reader(copy)
        index.write_text("{}")
        with pytest.raises(DatasetError, match="no dataset index"):
            self.source(copy)
        index.write_text(known)
        next((copy / "parts").glob("*.parquet")).write_bytes(b"PAR1 no")
        with pytest.raises(DatasetError, match="Parquet"):
            self.source(copy)


class TestFilters:
    def rows(self, dataset: Path) -> list[dict[str, Any]]:
        return list(_rows(dataset))

    def test_copies_lose_to_the_first(self, dataset: Path) -> None:
        rows = self.rows(dataset)
        double = {**rows[0], "clip_id": "copy", "source_uri": "zzz", "source_sha256": "other"}
        decided = {entry.clip_id: entry for entry in decide_all([*rows, double], Thresholds())}
        assert decided["copy"].decision.reasons == ("copy_distance",)
        assert decided["copy"].derived["copy_distance"] == 0
        assert decided[rows[0]["clip_id"]].decision.status == "kept"

    def test_dropped_tracks_do_not_count(self, dataset: Path) -> None:
        strict = check_config({"tracks": {"area_mean": {"min": 0.5}}}, Thresholds, source="test")
        decided = decide_all(self.rows(dataset), strict)
        assert all(entry.decision.tracks == () for entry in decided)
        assert all("objects" in entry.decision.reasons for entry in decided)

    def test_null_passes(self) -> None:
        assert Band(min=1).holds(None)
        assert not Band(min=1).holds(0.5)

    def test_still_moved_and_shuffled(self) -> None:
        video, labels = moving_square(1)
        moving = measure_motion(video, lambda t: [labels[t] == 1])
        still = measure_motion(np.repeat(video[:1], 12, axis=0), lambda t: [labels[0] == 1])
        assert moving.residuals[0] is not None
        assert still.residuals[0] is not None
        assert moving.residuals[0] > 5 * still.residuals[0] + 0.003
        shuffled = video[np.random.default_rng(0).permutation(len(video))]
        ordered, mixed = frame_order(thumbnails(video)), frame_order(thumbnails(shuffled))
        assert ordered is not None
        assert mixed is not None
        assert ordered < 0.5 < 0.9 < mixed
        assert frame_order(thumbnails(np.repeat(video[:1], 12, axis=0))) is None

    def test_static_overlay(self) -> None:
        ground = texture(4, 200, 200)
        video = np.stack([ground[t : t + 96, 2 * t : 2 * t + 96] for t in range(40)])
        assert static_overlay(video, 0.01) == 0.0
        marked = video.copy()
        marked[:, 80:90:3, 5:60] = 255
        marked[:, 81:90:3, 5:60] = 0
        found = static_overlay(marked, 0.01)
        assert found is not None
        assert found > 0.02
        assert static_overlay(marked, 0.0) is None


class TestTracks:
    def test_the_later_object_lies_in_front(self) -> None:
        back, front = np.zeros((2, 3, 8, 8), np.bool_)
        back[:, 0:6, 0:6] = True
        front[:, 3:8, 3:8] = True
        tracks = to_tracks(
            [FoundTrack(back, "flow"), FoundTrack(front, "flow", phrase="dog"), FoundTrack(back & False, "x")]
        )
        assert [track.area[0] for track in tracks] == [36 - 9, 25]
        assert [track.label for track in tracks] == ["object_1", "dog"]

    @hypothesis_settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(0, 3), min_size=24, max_size=24))
    def test_labels_and_masks(self, values: list[int]) -> None:
        labels = np.array(values, np.uint8).reshape(2, 3, 4)
        assert np.array_equal(labels_of(masks_of(labels, 3)), labels)
        for frame in labels:
            x0, y0, x1, y1 = pixel_box(frame == 1)
            rows, columns = np.nonzero(frame == 1)
            if rows.size:
                assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            else:
                assert np.isnan([x0, y0, x1, y1]).all()

    def test_sparse_frames_stand_where_the_path_bends(self) -> None:
        masks = np.zeros((21, HEIGHT, WIDTH), np.bool_)
        for t in range(21):
            x = 2 * t if t <= 10 else 2 * (20 - t)
            masks[t, 5:15, x : x + 10] = True
        tracks = to_tracks([FoundTrack(masks, "flow")])
        assert keep_frames(tracks, 21, 5, "curvature") == (10, 20)
        assert keep_frames(tracks, 21, 4, "uniform") == (5, 10, 15, 20)
        assert keep_frames(tracks, 21, 4, "ends") == (20,)
        assert keep_frames((), 21, 4, "curvature") == (20,)

    @pytest.mark.parametrize(
        ("caption", "phrases"),
        [
            ("A black swan swims in the river", ["black swan"]),
            ("two brown dogs and a red ball on the grass.", ["brown dogs", "red ball"]),
            ("", []),
        ],
    )
    def test_phrases_by_rule(self, caption: str, phrases: list[str]) -> None:
        assert RulePhrases().phrases(caption) == tuple(Phrase(text, "rule") for text in phrases)


def _rows(root: Path) -> Any:
    from data_tools.dataset import rows_of

    return rows_of(root)
