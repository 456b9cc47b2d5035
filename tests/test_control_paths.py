"""Sparse boxes completed: what is known stays, what rests rests, and the network beats the curve it adds to."""

import json
from pathlib import Path

import numpy as np
import pytest

from magicgen.control.paths import FEATURES, PathNetwork, as_network, completed, curved, shipped_paths
from magicgen.errors import WeightsError
from magicgen.synthetic.plan import SceneSettings
from magicgen.training.box_paths import Thinned, completion_scores, demo_knots, thinned, tracks, train_paths
from magicgen.training.path_options import PathTraining
from magicgen.training.tasks import load_training

CONFIG = Path(__file__).parents[1] / "configs" / "train" / "box_paths.yaml"


def random_knots(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 60))
    knots = np.sort(rng.choice(count, int(rng.integers(1, min(count, 9) + 1)), replace=False))
    centres, sizes = rng.uniform(-0.2, 1.2, (len(knots), 2)), rng.uniform(0.01, 0.6, (len(knots), 2))
    return knots, np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1), count


@pytest.mark.parametrize("seed", range(25))
def test_known_frames_keep_their_boxes_and_all_boxes_have_an_area(seed: int) -> None:
    knots, boxes, count = random_knots(seed)
    whole = completed(knots, boxes, count, shipped_paths())
    assert whole.shape == (count, 4)
    assert np.allclose(whole[knots], boxes)
    assert (whole[:, 2:] > whole[:, :2]).all()
    assert np.allclose(whole[: knots[0]], boxes[0])
    assert np.allclose(whole[knots[-1] :], boxes[-1])


def test_what_rests_between_two_frames_stands_still() -> None:
    here, there = [0.2, 0.3, 0.4, 0.6], [0.6, 0.3, 0.8, 0.6]
    whole = completed(np.array([0, 10, 20]), np.array([here, there, there]), 21, shipped_paths())
    assert np.allclose(whole[10:], there)
    still = completed(np.array([0, 7, 16]), np.array([here] * 3), 17, shipped_paths())
    assert np.allclose(still, here)


def test_even_steps_along_a_line_stay_on_the_line() -> None:
    knots = np.arange(0, 49, 8)
    boxes = np.stack([[0.1 + k / 80, 0.4, 0.3 + k / 80, 0.6] for k in knots])
    whole = completed(knots, boxes, 49, shipped_paths())
    even = np.stack([[0.1 + t / 80, 0.4, 0.3 + t / 80, 0.6] for t in range(49)])
    assert np.abs(whole - even).max() < 0.015


def test_the_shipped_network_beats_curve_and_straight_lines_on_scenes_it_has_not_seen() -> None:
    settings = SceneSettings(frames=33, height=128, width=192)
    found = tracks(77, 30, settings, held_out=True)
    for some in (
        [Thinned(boxes[::2], demo_knots(17)) for boxes in found],
        [track for boxes in found for track in thinned(np.random.default_rng(1), boxes, 2)],
    ):
        scores = completion_scores(some, shipped_paths())
        assert scores["network"] > scores["curve"] + 0.015 > scores["straight"]


def test_a_run_at_toy_size_learns_and_is_read_back(tmp_path: Path) -> None:
    options = PathTraining(
        task="box_paths",
        out=tmp_path / "run",
        scenes=12,
        frames=17,
        steps=30,
        batch_size=64,
        width=16,
        test_scenes=2,
    )
    losses: list[str] = []
    train_paths(options, log=losses.append)
    from safetensors.numpy import load_file

    tensors = load_file(tmp_path / "run" / "model.safetensors")
    network = as_network(tensors)
    assert network(np.zeros((3, FEATURES), np.float32)).shape == (3, 4)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert set(scores["box IoU between known frames"]) == {"as in the demos", "any frames"}
    again = train_paths(options.model_copy(update={"out": tmp_path / "again"}), log=losses.append)
    assert (again / "model.safetensors").read_bytes() == (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises(WeightsError, match="Expected layers"):
        as_network({name.replace("0.", "first."): value for name, value in tensors.items()})


def test_the_shipped_configuration_is_valid() -> None:
    assert isinstance(load_training(CONFIG), PathTraining)


def test_a_network_without_a_word_leaves_the_curve() -> None:
    knots, boxes, count = random_knots(3)
    silent = PathNetwork((np.zeros((4, FEATURES), np.float32),), (np.zeros(4, np.float32),))
    np.testing.assert_allclose(completed(knots, boxes, count, silent), curved(knots, boxes, count), atol=1e-12)
