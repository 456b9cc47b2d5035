"""The reflection adapter learns, resumes exactly, and leaves held-out pairs out."""

import functools
import operator
from pathlib import Path

import numpy as np
import pytest
import torch

from magicgen.config import load_config
from magicgen.errors import ConfigError, DatasetError
from magicgen.media import write_image
from magicgen.models.reflection import LayerPair, ReflectionAdapter
from magicgen.models.veil import VeilEstimator
from magicgen.training.reflection import build_network, export_adapter, train_reflection
from magicgen.training.reflection_check import fold_checks
from magicgen.training.reflection_data import ReflectionExamples, collate_layers, fold_names, load_pairs, pair_names
from magicgen.training.reflection_losses import LayerTruth, layer_loss, structural_similarity
from magicgen.training.reflection_options import ReflectionData, ReflectionLoss, ReflectionTraining
from magicgen.training.reflection_veil import fit_veil
from tests.reflection_tiny import save_small_reflection

CONFIGS = Path(__file__).parents[1] / "configs" / "train"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten small pairs: a ramp, and the same with light added on one side."""
    folder = tmp_path_factory.mktemp("pairs")
    for kind in ("mixture", "transmission"):
        (folder / kind).mkdir()
    for index in range(10):
        rng = np.random.default_rng(index)
        scene = np.kron(rng.integers(20, 180, (5, 7, 3)), np.ones((10, 10, 1))).astype(np.uint8)
        mixed = scene.copy()
        mixed[:, :35] = np.minimum(mixed[:, :35].astype(int) + 50, 255).astype(np.uint8)
        write_image(folder / "transmission" / f"{index:03d}.png", scene)
        write_image(folder / "mixture" / f"{index:03d}.png", mixed)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_reflection(tmp_path_factory.mktemp("small"))[0]


def options(base: Path, pairs: Path, out: Path, **changes: object) -> ReflectionTraining:
    values = {
        "task": "reflection",
        "out": out,
        "steps": 4,
        "model": {"base": str(base), "rank": 2, "prompt_layers": [1],
                  "refiner_widths": [8, 12], "refiner_blocks": [1, 1]},
        "data": {
            "pairs": pairs, "short_side": 32, "long_side": 48, "batch_size": 2, "bank": 1, "fine_share": 0.5,
            "shares": {"synthetic": 0.0},
        },
        "checkpoint_every": 2,
        **changes,
    }  # fmt: skip
    return ReflectionTraining.model_validate(values)


def quiet(line: str) -> None:
    """No log."""


def test_a_stopped_run_goes_on_exactly(base: Path, pairs: Path, tmp_path: Path) -> None:
    whole = options(base, pairs, tmp_path / "whole")
    train_reflection(whole, resume=False, log=quiet)
    # The learning rate falls towards the last step, so the first half must know how long the whole run is.
    halves = options(base, pairs, tmp_path / "halves")
    from magicgen.training.reflection import ReflectionTrainer, build_network

    halves.out.mkdir()
    trainer = ReflectionTrainer(halves, build_network(halves), torch.device("cpu"))
    with pytest.raises(KeyboardInterrupt):
        trainer.run(lambda result: interrupt(trainer.step))
    train_reflection(halves, resume=True, log=quiet)
    one, two = (export_adapter(tmp_path / name, tmp_path / f"{name}_out") for name in ("whole", "halves"))
    first, second = (ReflectionAdapter.from_pretrained(folder).state_dict() for folder in (one, two))
    assert all(torch.equal(first[name], second[name]) for name in first)


def interrupt(step: int) -> None:
    """Ctrl-C after the third step: the checkpoint of the second is what is left."""
    if step == 3:
        raise KeyboardInterrupt


def test_a_used_folder_is_refused(base: Path, pairs: Path, tmp_path: Path) -> None:
    short = options(base, pairs, tmp_path / "run", steps=1)
    train_reflection(short, resume=False, log=quiet)
    with pytest.raises(ConfigError, match="already holds a run"):
        train_reflection(short, resume=False, log=quiet)


def test_a_held_out_fold_is_measured_along_the_way(base: Path, pairs: Path, tmp_path: Path) -> None:
    data = {"pairs": pairs, "hold_out": 1, "short_side": 32, "long_side": 48, "batch_size": 2, "bank": 1}
    lines: list[str] = []
    run = options(base, pairs, tmp_path / "run", steps=2, data=data, train="refiner")
    train_reflection(run, resume=False, log=lines.append)
    assert any("step 2 held out" in line and "own pairs" in line for line in lines)


def test_an_untrained_adapter_gains_nothing_on_pairs(base: Path, pairs: Path, tmp_path: Path) -> None:
    run = options(base, pairs, tmp_path / "run")
    network = build_network(run)
    held = fold_checks(ReflectionData(pairs=pairs, hold_out=0), 32, network.step)
    assert held is not None
    result = held[0](lambda picture: network.automatic(picture).transmission)
    assert (result.gain, result.better) == (0, 0)
    assert result.clean > 50
    assert fold_checks(ReflectionData(pairs=pairs), 32, network.step) is None


def test_the_automatic_answer_is_solved_for_on_the_pairs_that_are_not_held_out(
    base: Path, pairs: Path, tmp_path: Path
) -> None:
    data = {"pairs": pairs, "hold_out": 1, "short_side": 32, "long_side": 48, "batch_size": 2, "bank": 1}
    run = options(base, pairs, tmp_path / "run", steps=1, data=data, veil={"examples": 8, "ridge": 0.01})
    lines: list[str] = []
    train_reflection(run, resume=False, log=lines.append)
    gain = next(float(line.split()[3]) for line in lines if line.startswith("automatic held out"))
    assert gain > 3, "every pair has light on its left half; the mirrored ones too"
    solved = ReflectionAdapter.from_pretrained(export_adapter(run.out, tmp_path / "out")).veil
    again = VeilEstimator()
    assert run.veil is not None
    fit_veil(again, run.veil, run.data, run.seed)
    assert torch.equal(again.weight.half(), solved.weight.half())
    train_reflection(run, resume=True, log=quiet)
    twice = ReflectionAdapter.from_pretrained(export_adapter(run.out, tmp_path / "twice")).veil
    assert torch.equal(twice.weight, solved.weight)
    # Scenes without glass hold it back.
    held_back = VeilEstimator()
    fit_veil(held_back, run.veil.model_copy(update={"clean": 10.0}), run.data, run.seed)
    assert held_back.weight.norm() < again.weight.norm()


def test_the_automatic_answer_needs_pairs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.pairs"):
        ReflectionTraining.model_validate({"task": "reflection", "out": tmp_path, "steps": 1, "veil": {}})


@pytest.mark.slow
def test_the_loss_falls_on_a_batch_that_is_shown_again_and_again(base: Path, pairs: Path, tmp_path: Path) -> None:
    from magicgen.training.reflection import ReflectionTrainer, build_network

    run = options(base, pairs, tmp_path / "run", steps=40, optimizer={"learning_rate": 3e-3, "warmup_steps": 1})
    trainer = ReflectionTrainer(run, build_network(run), torch.device("cpu"))
    size = run.data.batch_size
    batch = collate_layers([trainer.dataset[index] for index in range(size)])
    results = [trainer.train_step(batch) for _ in range(40)]
    assert results[-1].loss < results[0].loss - 0.05
    assert results[-1].after > results[0].before


def test_folds_are_runs_of_neighbours_and_held_out(pairs: Path) -> None:
    names = pair_names(pairs)
    folds = [fold_names(names, 5, fold) for fold in range(5)]
    assert functools.reduce(operator.iadd, folds, []) == names
    kept = load_pairs(ReflectionData(pairs=pairs, hold_out=1))
    assert {pair.name for pair in kept} == set(names) - set(folds[1])


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="mixture"):
        pair_names(tmp_path)


def test_examples_depend_on_seed_and_number_only(pairs: Path) -> None:
    data = ReflectionData(pairs=pairs, short_side=32, long_side=48, batch_size=2, bank=1)
    one, two = ReflectionExamples(data, 3), ReflectionExamples(data, 3)
    for index in (5, 0, 2):
        first, second = one[index], two[index]
        assert all(np.array_equal(first[name], second[name]) for name in first)
    shapes = {one[index]["mixture"].shape for index in (4, 5)}
    assert len(shapes) == 1, "pictures of a batch have one size"


def test_the_loss_is_least_at_the_truth() -> None:
    rng = torch.Generator().manual_seed(0)
    scene, layer = torch.rand(1, 3, 32, 32, generator=rng) * 0.6, torch.rand(1, 3, 32, 32, generator=rng) * 0.3
    mixture = (scene**2.2 + layer**2.2) ** (1 / 2.2)
    truth = LayerTruth(mixture, scene, layer, torch.ones(1, 3))
    right = layer_loss(LayerPair(scene, layer), truth, ReflectionLoss())
    wrong = layer_loss(LayerPair(mixture, torch.zeros_like(layer)), truth, ReflectionLoss())
    assert right < wrong
    assert structural_similarity(scene, scene) == pytest.approx(1)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("reflection_*.yaml")), ids=lambda path: path.stem)
def test_every_reflection_configuration_is_valid(path: Path) -> None:
    load_config(path, ReflectionTraining)
