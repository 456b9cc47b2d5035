"""Low-rank adapters from a run to ``magicgen animate --lora``; narrow storage of frozen parts; the 8-bit optimiser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors import safe_open

from magicgen.config import load_config
from magicgen.errors import ConfigError, WeightsError
from magicgen.jobs.loading import adapter_file, load_adapter
from magicgen.training.checkpoints import latest_checkpoint, load_checkpoint
from magicgen.training.export import export_run
from magicgen.training.loop import Trainer
from magicgen.training.memory import memory_plan
from magicgen.training.optimizers import eight_bit_adamw
from magicgen.training.options import TrainingOptions
from magicgen.training.run import build_networks, train

SMOKE = Path(__file__).parents[1] / "configs" / "train" / "tiny_smoke.yaml"
LORA = ("model.lora.rank=2", "model.lora.alpha=4", "train=[lora]", "loss.segmentation=0")


def options(tmp_path: Path, *overrides: str) -> TrainingOptions:
    given = [f"out={tmp_path / 'run'}", "validation.every=100", "steps=2", "optimizer.kind=adamw"]
    return load_config(SMOKE, TrainingOptions, [*given, *overrides])


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pipeline folder whose output is not zero."""
    folder = tmp_path_factory.mktemp("base")
    chosen = options(folder, "train=[transformer, branch]", "optimizer.learning_rate=1e-2")
    train(chosen, resume=False, log=lambda line: None)
    AcceleratorState._reset_state(reset_partial_state=True)
    return export_run(chosen.out, folder / "model", steps=2)


def test_adapter_goes_from_a_run_to_a_pipeline(base: Path, tmp_path: Path) -> None:
    from pipelines.trajectory_video import TrajectoryVideoPipeline

    chosen = options(tmp_path, *LORA, "optimizer.learning_rate=1e-2", "optimizer.ema_decay=0", "precision=no")
    values = {**chosen.model_dump(), "model": {"kind": "pretrained", "name": str(base), "lora": chosen.model.lora}}
    chosen = TrainingOptions.model_validate(values)
    train(chosen, resume=False, log=lambda line: None)
    train(chosen, resume=True, log=lambda line: None)
    folder = export_run(chosen.out, tmp_path / "lora")
    with safe_open(folder / "pytorch_lora_weights.safetensors", "pt") as file:
        names = list(file.keys())
    assert names
    assert all(name.startswith("transformer.") and ".lora_" in name for name in names)
    pipeline = TrajectoryVideoPipeline.from_pretrained(base)
    plain = {name: value.clone() for name, value in pipeline.transformer.state_dict().items()}
    load_adapter(pipeline, str(folder))
    path = latest_checkpoint(chosen.out)
    assert path is not None
    checkpoint = load_checkpoint(path, torch.device("cpu"))
    own = pipeline.transformer.state_dict()
    key = next(name for name in checkpoint.networks if name.endswith("to_q.lora_B.default.weight"))
    learnt = checkpoint.networks[key]
    assert learnt.abs().max() > 0
    loaded = next(
        value for name, value in own.items() if key.split("transformer.", 1)[1][:30] in name and "lora_B" in name
    )
    torch.testing.assert_close(loaded.float(), learnt, atol=1e-5, rtol=1e-5)
    assert pipeline.transformer.peft_config["default_0"].lora_alpha == 4
    frozen = "transformer_blocks.0.attn1.to_q"
    assert torch.equal(own[f"{frozen}.base_layer.weight"], plain[f"{frozen}.weight"])


def test_adapters_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="belong together"):
        options(tmp_path, "train=[lora]")
    with pytest.raises(ConfigError, match="whole 'transformer'"):
        options(tmp_path, *LORA, "train=[lora, transformer]")
    with pytest.raises(ConfigError, match="ends with 'to_nowhere'"):
        build_networks(options(tmp_path, *LORA, "model.lora.targets=[to_nowhere]"))
    with pytest.raises(WeightsError, match="no adapter there"):
        adapter_file(str(tmp_path))
    plan = memory_plan(options(tmp_path, *LORA))
    networks = build_networks(options(tmp_path, *LORA)).trainable
    assert plan.trained == sum(p.numel() for name, p in networks.named_parameters() if ".lora_" in name)


def test_frozen_parts_are_stored_in_eight_bits(tmp_path: Path) -> None:
    chosen = options(tmp_path, "train=[branch]", "frozen_storage=fp8", "loss.segmentation=0")
    trainer = Trainer(chosen, build_networks(chosen))
    weight = trainer.plain.transformer.transformer_blocks[0].ff.net[2].weight
    assert weight.dtype == torch.float8_e4m3fn
    assert trainer.plain.branch.transformer_blocks[0].ff.net[2].weight.dtype == torch.float32
    losses: list[float] = []
    trainer.run(lambda result: losses.append(result.diffusion), None)
    assert len(losses) == 2
    assert weight.dtype == torch.float8_e4m3fn
    path = latest_checkpoint(chosen.out)
    assert path is not None
    checkpoint = load_checkpoint(path, torch.device("cpu"))
    assert checkpoint.frozen_left_out
    assert not any(name.startswith("transformer.transformer_blocks") for name in checkpoint.networks)
    again = Trainer(chosen, build_networks(chosen))
    assert again.resume()
    assert torch.equal(
        again.plain.branch.state_dict()["out_projectors.0.weight"],
        checkpoint.networks["branch.out_projectors.0.weight"],
    )


def test_adapters_train_on_a_narrow_base(tmp_path: Path) -> None:
    for storage, dtype in (("bf16", torch.bfloat16), ("fp8", torch.float8_e4m3fn)):
        chosen = options(
            tmp_path / storage, *LORA, f"frozen_storage={storage}", "gradient_checkpointing=true", "steps=1"
        )
        trainer = Trainer(chosen, build_networks(chosen))
        trainer.run(lambda result: None, None)
        query = trainer.plain.transformer.transformer_blocks[0].attn1.to_q
        assert (query.base_layer.weight.dtype, query.lora_A["default"].weight.dtype) == (dtype, torch.float32)
    with pytest.raises(ConfigError, match="fp8 needs precision"):
        options(tmp_path, "frozen_storage=fp8", "precision=no")


def test_a_missing_eight_bit_optimiser_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="bitsandbytes or torchao"):
        eight_bit_adamw()
