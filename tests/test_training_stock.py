"""A control branch for a stock CogVideoX image-to-video folder, at toy size: learned autoencoder, T5, v-prediction."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from magicgen.config import load_config
from magicgen.errors import ConfigError, WeightsError
from magicgen.training.cache import CachedExamples, precompute
from magicgen.training.loop import Trainer
from magicgen.training.options import TrainingOptions
from magicgen.training.run import build_networks
from magicgen.training.sources import training_examples
from tests.test_story_stock import toy

STAGE = Path(__file__).parents[1] / "configs" / "train" / "magicmotion_stage2.yaml"


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stock")
    toy(True).save_pretrained(folder)
    return folder


def options(stock: Path, tmp_path: Path, *overrides: str) -> TrainingOptions:
    given = [f"out={tmp_path / 'run'}", f"model.name={stock}", "start_from=null", "steps=1", "data.frames=9"]
    size = [
        "data.height=64",
        "data.width=96",
        "data.workers=0",
        "data.source={kind: synthetic}",
        "loss.segmentation=0.5",
    ]
    return load_config(STAGE, TrainingOptions, [*given, *size, *overrides])


def test_a_copied_branch_learns_from_recorded_examples(stock: Path, tmp_path: Path) -> None:
    chosen = options(stock, tmp_path, f"data.cache.path={tmp_path / 'cache'}", "data.cache.examples=2")
    networks = build_networks(chosen)
    precompute(chosen, networks, training_examples(chosen), torch.device("cpu"), lambda done, total: None)
    trainer = Trainer(chosen, networks)
    assert chosen.data.cache is not None
    example = CachedExamples(chosen.data.cache)[1]
    assert example["text"].shape == (16, 32)
    assert example["image"][1:].abs().max() == 0
    before = {name: value.clone() for name, value in trainer.plain.state_dict().items()}
    losses: list[float] = []
    trainer.run(lambda result: losses.append(result.diffusion), None)
    assert torch.tensor(losses).isfinite().all()
    changed = {
        name.split(".")[0] for name, value in trainer.plain.state_dict().items() if (value != before[name]).any()
    }
    assert changed == {"branch", "head"}
    assert trainer.plain.transformer.transformer_blocks[0].ff.net[2].weight.dtype == torch.bfloat16


def test_text_is_encoded_on_the_way_too(stock: Path, tmp_path: Path) -> None:
    chosen = options(stock, tmp_path)
    losses: list[float] = []
    Trainer(chosen, build_networks(chosen)).run(lambda result: losses.append(result.diffusion), None)
    assert torch.tensor(losses).isfinite().all()


def test_what_cannot_be_trained(stock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="Add 'branch'"):
        build_networks(options(stock, tmp_path, "train=[lora]", "model.lora.rank=2"))
    monkeypatch.setenv("MAGICGEN_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="magicgen download magicmotion-5b"):
        build_networks(options(stock, tmp_path, "model.name=magicmotion-5b"))
