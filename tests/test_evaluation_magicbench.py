"""The runner: scores by hand, resuming, failures, tables and the page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magicgen.control.tracks import BoxLevel, MaskLevel, Tracks
from magicgen.errors import DatasetError
from magicgen.evaluation.adherence import measure_adherence
from magicgen.evaluation.magicbench import Score, mean_score, read_scores, run_bench, score_video
from magicgen.evaluation.methods import CutAndPaste, Method, MotionDraft, Still, Truth, Videos, make_video
from magicgen.evaluation.page import Gallery, worst_first
from magicgen.evaluation.samples import BrokenSample, HeldOutScenes, Sample, sample_count, samples
from magicgen.evaluation.tables import GROUPS, as_data, markdown
from magicgen.media import write_video
from tests.squares import square_photo, square_tracks, square_video


def red_places(video: np.ndarray, first_masks: np.ndarray) -> np.ndarray:
    """A tracker that knows what the square looks like: (N, T, H, W) bool."""
    red = (video[..., 0] > 150) & (video[..., 1] < 80)
    return np.repeat(red[None], len(first_masks), axis=0)


def square_sample(number: int = 0) -> Sample:
    return Sample(f"square_{number}", number, square_video(), square_tracks(), "red cat walks")


def test_truth_scores_everything_and_still_what_it_deserves() -> None:
    sample = square_sample()
    truth = score_video(sample, "truth", "all", sample.video, 0.1, red_places)
    assert (truth.mask_iou, truth.box_iou) == (1, 1)
    assert truth.region_psnr > 70
    still = score_video(sample, "still", "all", make_video(Still(), sample, MaskLevel())[0], 0.1, red_places)
    # Shifted by 4, 8 of 10 pixels, then clear of it: 6/14, 2/18, 0, 0.
    assert still.mask_iou == pytest.approx((6 / 14 + 2 / 18) / 4)
    assert still.box_iou == pytest.approx(still.mask_iou)
    assert still.group == "1"
    assert still.background_psnr > 70
    assert still.region_psnr < 15


def test_a_video_of_another_size_is_refused() -> None:
    with pytest.raises(DatasetError, match="ground truth"):
        score_video(square_sample(), "other", "all", np.zeros((5, 16, 16, 3), np.uint8), 0, red_places)


def test_cut_and_paste_and_draft_move_the_square() -> None:
    sample = square_sample()
    for method in (CutAndPaste(), MotionDraft()):
        for level in (MaskLevel(), BoxLevel()):
            score = score_video(sample, method.name, "box", make_video(method, sample, level)[0], 0, red_places)
            assert score.mask_iou > 0.85


def test_a_run_resumes_and_old_weights_do_not_answer_for_new_ones(tmp_path: Path) -> None:
    made: list[str] = []

    def keep(_sample: Sample, score: Score, video: np.ndarray) -> None:
        made.append(f"{score.sample} {score.method} {score.level}")

    def bench(stamp: str, count: int = 2) -> tuple[Score, ...]:
        made.clear()
        chosen = [square_sample(number) for number in range(count)]
        methods: list[Method] = [Still(), CutAndPaste()]
        stamps = {method.name: stamp for method in methods}
        return run_bench(chosen, count, methods, tmp_path, track=red_places, fingerprints=stamps, keep=keep).scores

    first = bench("a")
    assert len(first) == len(made) == 2 * (1 + 3)
    assert bench("a") == first
    assert made == []
    path = tmp_path / "scores.jsonl"
    path.write_text(path.read_text()[:-30])  # killed while writing
    assert len(bench("a")) == 8
    assert made == ["square_1 cut-and-paste sparse_box"]
    assert len(bench("a", count=1)) == 4  # only samples of this run count
    assert len(bench("b")) == len(made) == 8
    assert {score.fingerprint for score in read_scores(tmp_path)} == {"b"}


def test_processes_share_the_samples(tmp_path: Path) -> None:
    chosen = [square_sample(number) for number in range(3)]
    for rank in range(2):
        outcome = run_bench(chosen, 3, [Still()], tmp_path, track=red_places, share=(rank, 2))
    assert [score.sample for score in outcome.scores] == ["square_0", "square_1", "square_2"]
    assert (tmp_path / "scores.0.jsonl").read_text().count("\n") == 2


def test_damaged_scores_are_named(tmp_path: Path) -> None:
    (tmp_path / "scores.jsonl").write_text("[]\n{}\n")
    with pytest.raises(DatasetError, match="line 1"):
        read_scores(tmp_path)


def test_finished_videos_of_any_length_are_measured_and_missing_ones_recorded(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "square_0.mp4", square_video(frames=9, shift=2), 8)
    chosen: list[Sample | BrokenSample] = [square_sample(0), square_sample(1)]
    method = Videos("other", tmp_path / "videos")
    chosen.append(BrokenSample("cut", "no masks"))
    outcome = run_bench(chosen, 3, [method, Truth()], tmp_path / "out", track=red_places)
    assert [failure.sample for failure in outcome.failures] == ["square_1", "cut"]
    assert "no video" in outcome.failures[0].reason
    found = {(score.sample, score.method): score for score in outcome.scores}
    assert found["square_0", "other"].mask_iou > 0.8
    assert ("square_1", "truth") in found


def test_tables_by_level_and_group_and_the_page_with_the_worst_first(tmp_path: Path) -> None:
    chosen = [square_sample(number) for number in range(2)]
    gallery = Gallery(tmp_path)
    outcome = run_bench(chosen, 2, [Still(), CutAndPaste()], tmp_path, track=red_places, keep=gallery.keep)
    scores = [
        replace(score, mask_iou=0.1) if (score.sample, score.method) == ("square_1", "cut-and-paste") else score
        for score in outcome.scores
    ]
    assert mean_score(scores, "still", "box")["samples"] == 2
    data = as_data(scores)
    assert set(data) == {"mask", "box", "sparse_box"}
    assert set(data["box"]["cut-and-paste"]["groups"]) == {"1"}
    table = markdown(scores)
    assert "| box | cut-and-paste |" in table
    assert "1 object |" in table
    assert [group[0].sample for group in worst_first(scores, "box", "cut-and-paste")] == ["square_1", "square_0"]
    page = gallery.write(scores, "cut-and-paste", {"FID": "no <weights>"}).read_text()
    assert page.index("square_1") < page.index("square_0")
    assert "no &lt;weights&gt;" in page
    assert 'src="videos/still/all/square_0.mp4"' in page
    assert "http" not in page.replace("http-equiv", "")


def test_held_out_scenes_have_equal_groups_and_do_not_depend_on_their_number() -> None:
    source = HeldOutScenes(count=6, frames=5, height=64, width=96)
    found = list(samples(source))
    assert [sample.group for sample in found if isinstance(sample, Sample)] == list(GROUPS)
    again = next(iter(samples(replace(source, count=1))))
    assert isinstance(found[0], Sample)
    assert isinstance(again, Sample)
    assert np.array_equal(found[0].video, again.video)
    assert sample_count(source) == 6


def test_adherence_of_a_video_that_obeys_and_one_that_does_not() -> None:
    tracks = square_tracks()
    obeyed = measure_adherence(square_video(), tracks, BoxLevel(), red_places)
    assert obeyed.box_iou == pytest.approx(1)
    assert obeyed.last_box_iou == pytest.approx((1,))
    assert obeyed.background_psnr > 70
    held = np.repeat(square_photo()[None], 5, axis=0)
    assert measure_adherence(held, tracks, BoxLevel(), red_places).last_box_iou == (0,)
    changed = np.clip(square_video().astype(int) + 25, 0, 255).astype(np.uint8)
    assert measure_adherence(changed, tracks, BoxLevel(), red_places, photo=square_photo()).background_psnr < 21
    boxes = tracks.boxes.copy()
    boxes[0, 1:] = np.nan
    gone = measure_adherence(held, Tracks(tracks.names, tracks.first_masks, boxes), BoxLevel(), red_places)
    assert np.isnan(gone.last_box_iou[0])
