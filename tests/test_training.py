"""The training loop at toy size: exact resume, frozen parts, averaging, export, failures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from magicgen.config import load_config
from magicgen.control.tracks import SparseBoxLevel
from magicgen.errors import ConfigError, DatasetError, GenerationFailed, WeightsError
from magicgen.synthetic.export import write_scene
from magicgen.synthetic.scene import SceneSettings, random_scene
from magicgen.training.checkpoints import Checkpoint, latest_checkpoint, load_checkpoint, save_checkpoint
from magicgen.training.clips import SyntheticClips
from magicgen.training.examples import TrajectoryExamples, batches, draw_level, moved_region
from magicgen.training.export import export_run
from magicgen.training.loop import Trainer
from magicgen.training.losses import add_noise, diffusion_loss, draw_timesteps, recovered_clean
from magicgen.training.networks import tiny_networks
from magicgen.training.optimizers import learning_rate_factor, make_optimizers
from magicgen.training.options import LevelShares, OptimizerOptions, TinyModel, TrainingOptions
from magicgen.training.run import build_networks, train
from magicgen.training.sources import clip_source
from magicgen.training.tasks import load_training
from tests.cli_runner import Run
from tests.test_sampling import schedulers

CONFIGS = Path(__file__).parents[1] / "configs" / "train"
SMOKE = CONFIGS / "tiny_smoke.yaml"


def options(tmp_path: Path, *overrides: str) -> TrainingOptions:
    return load_config(
        SMOKE,
        TrainingOptions,
        [f"out={tmp_path / 'run'}", "validation.every=100", "optimizer.decay_share=0", *overrides],
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TrainingOptions:
    """A finished toy run."""
    chosen = options(tmp_path_factory.mktemp("finished"), "checkpoint_every=1")
    train(chosen, resume=False, log=lambda line: None)
    return chosen


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(latest_checkpoint(run), torch.device("cpu")).networks


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_training_configuration_is_valid(path: Path) -> None:
    load_training(path)


def test_resumed_run_equals_an_undisturbed_one(finished: TrainingOptions, tmp_path: Path) -> None:
    halves = options(tmp_path / "halves", "steps=2")
    train(halves, resume=False, log=lambda line: None)
    rest = options(tmp_path / "halves")
    train(rest, resume=True, log=lambda line: None)
    resumed, undisturbed = weights(rest.out), weights(finished.out)
    assert all(torch.equal(resumed[key], undisturbed[key]) for key in undisturbed)


def test_used_folder_needs_resume(finished: TrainingOptions) -> None:
    with pytest.raises(ConfigError, match="--resume"):
        train(finished, resume=False)


def test_validation_reports_three_levels(tmp_path: Path) -> None:
    lines: list[str] = []
    train(options(tmp_path, "steps=1", "validation.every=1"), resume=False, log=lines.append)
    assert [line.split()[2] for line in lines if "draft" in line] == ["mask:", "box:", "sparse_box:"]


def test_only_named_parts_learn(tmp_path: Path) -> None:
    chosen = options(tmp_path, "train=[branch, head]")
    trainer = Trainer(chosen, build_networks(chosen))
    before = {name: value.clone() for name, value in trainer.plain.state_dict().items()}
    trainer.run(lambda result: None, None)
    changed = {
        name.split(".")[0] for name, value in trainer.plain.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"branch", "head"}


def test_gradient_checkpointing_trains_the_same(tmp_path: Path) -> None:
    plain = options(tmp_path / "a", "precision=no")
    saving = options(tmp_path / "b", "precision=no", "gradient_checkpointing=true")
    for each in (plain, saving):
        train(each, resume=False, log=lambda line: None)
    first, second = weights(plain.out), weights(saving.out)
    assert all(torch.allclose(first[key], second[key], atol=1e-5) for key in first)


def test_averaged_weights_come_and_go(tmp_path: Path) -> None:
    chosen = options(tmp_path)
    trainer = Trainer(chosen, build_networks(chosen))
    trainer.run(lambda result: None, None)
    name = "transformer.transformer_blocks.0.ff.net.2.weight"
    own = trainer.plain.state_dict()[name].clone()
    with trainer.averaged() as networks:
        assert not torch.equal(networks.state_dict()[name], own)
    assert torch.equal(trainer.plain.state_dict()[name], own)


def test_export_loads_as_a_pipeline(finished: TrainingOptions, tmp_path: Path, run: Run) -> None:
    from pipelines.trajectory_video import TrajectoryVideoPipeline

    folder = tmp_path / "model"
    code, out, _ = run("convert", finished.out, "--out", folder, "--steps", 2)
    assert (code, out.strip()) == (0, str(folder))
    pipeline = TrajectoryVideoPipeline.from_pretrained(folder)
    with safe_open(folder / "transformer" / "diffusion_pytorch_model.safetensors", "pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    assert (pipeline.config.default_frames, pipeline.config.default_steps) == (5, 2)
    assert (folder / "segmentation_head" / "config.json").is_file()
    assert (folder / "train.yaml").is_file()
    with pytest.raises(WeightsError, match="exists"):
        export_run(finished.out, folder)
    with pytest.raises(WeightsError, match=r"settings\.json"):
        export_run(tmp_path, tmp_path / "other")


def test_next_stage_starts_from_averaged_weights(finished: TrainingOptions, tmp_path: Path) -> None:
    networks = build_networks(options(tmp_path / "two", f"start_from={finished.out}"))
    checkpoint = load_checkpoint(latest_checkpoint(finished.out), torch.device("cpu"))
    name, value = next(iter(networks.trainable.named_parameters()))
    assert torch.equal(value, checkpoint.ema["shadow_params"][0]), name
    with pytest.raises(ConfigError, match="no checkpoint"):
        build_networks(options(tmp_path / "three", f"start_from={tmp_path / 'nowhere'}"))


def test_nan_stops_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    chosen = options(tmp_path, "checkpoint_every=1", "optimizer.learning_rate=1e18", "precision=no", "steps=6")
    with pytest.raises(GenerationFailed, match="loss of step"):
        train(chosen, resume=False, log=lambda line: None)
    assert latest_checkpoint(chosen.out) is not None


def test_checkpoints_rotate_and_survive_a_failed_write(tmp_path: Path) -> None:
    empty = Checkpoint(0, [], {}, {}, [], {})
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, Checkpoint(step, [], {}, {}, [], {}), keep=2)
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == [
        "step_00000002.pt",
        "step_00000003.pt",
    ]
    (tmp_path / "checkpoints" / "step_00000000.tmp").mkdir()
    with pytest.raises((GenerationFailed, OSError)):
        save_checkpoint(tmp_path, empty, keep=2)
    assert latest_checkpoint(tmp_path).name == "step_00000003.pt"
    broken = tmp_path / "checkpoints" / "step_00000009.pt"
    broken.write_bytes(b"no")
    with pytest.raises(WeightsError, match="readable"):
        load_checkpoint(broken, torch.device("cpu"))


def test_examples_depend_on_their_number_alone(tmp_path: Path) -> None:
    data = options(tmp_path).data
    dataset = TrajectoryExamples(clip_source(data, 3), data, 3, levels_per_scene=2)
    later = next(iter(batches(dataset, data, 4, 6)))
    direct = [dataset[4], dataset[5]]
    assert all(np.array_equal(later.draft[k].numpy(), direct[k]["draft"]) for k in range(2))
    assert np.array_equal(direct[0]["video"], direct[1]["video"])
    other = SyntheticClips(4, clip_source(data, 3).settings).clip(2)
    assert not np.array_equal(other.video, direct[0]["video"])


def test_moved_region_leaves_out_what_rests(tmp_path: Path) -> None:
    clip = clip_source(options(tmp_path).data, 1).clip(0)
    region = moved_region(clip.tracks)
    moving = (clip.tracks.masks != clip.tracks.masks[:, :1]).any(axis=(1, 2, 3))
    assert region.any() == moving.any()


def test_sparse_levels_keep_the_last_frame() -> None:
    rng = np.random.default_rng(0)
    levels = [draw_level(rng, LevelShares(sparse_box=1.0), 17) for _ in range(50)]
    assert all(
        isinstance(level, SparseBoxLevel) and level.frames[-1] == 16 and len(level.frames) < 10 for level in levels
    )


@pytest.mark.parametrize("scheduler", schedulers(), ids=lambda s: type(s).__name__)
def test_perfect_output_recovers_the_clean_latent(scheduler) -> None:
    clean, noise = torch.randn(3, 2, 4, 2, 2), torch.randn(3, 2, 4, 2, 2)
    noisy = add_noise(scheduler, clean, noise, torch.tensor([999, 500, 0]))
    if getattr(scheduler.config, "prediction_type", None) == "sample":
        output = clean
    elif "Flow" in type(scheduler).__name__:
        output = noise - clean
    else:
        output = noisy.signal * noise - noisy.noise * clean
    torch.testing.assert_close(recovered_clean(scheduler, output, noisy), clean, atol=1e-4, rtol=1e-4)


def test_loss_weights_and_relative_form() -> None:
    clean, channel = torch.zeros(2, 1, 2, 1, 1), torch.tensor([[1.0, 3.0]])
    predicted = clean.clone()
    predicted[0, 0, 1] = 2.0
    region = torch.ones(2, 1, 1, 1, 1)
    assert float(diffusion_loss(predicted, clean, channel, region)) == pytest.approx(0.5 * 3 * 4 / 4)
    relative = diffusion_loss(predicted, clean, channel, region, draft=predicted)
    assert float(relative) == pytest.approx(0.5, rel=0.01)


def test_timesteps_lean_to_pure_noise() -> None:
    drawn = draw_timesteps(torch.Generator().manual_seed(0), 4000, 0.6)
    assert 0.57 < float((drawn == 999).float().mean()) < 0.63
    assert int(drawn.min()) >= 0


def test_schedule_and_optimizer_groups() -> None:
    chosen = OptimizerOptions(kind="muon", warmup_steps=10, decay_share=0.5)
    factors = [learning_rate_factor(step, 100, chosen) for step in (0, 9, 40, 75, 99)]
    assert factors == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.02])
    networks = tiny_networks(TinyModel(layers=1, heads=1, control_layers=(0,), latent_channels=48), 5, 32, 48, 0)
    adam, muon = make_optimizers(networks.trainable.named_parameters(), chosen)
    count = sum(p.numel() for o in (adam, muon) for g in o.param_groups for p in g["params"])
    assert count == sum(p.numel() for p in networks.trainable.parameters())
    assert all(p.ndim == 2 for g in muon.param_groups for p in g["params"])


def test_own_clips_train(tmp_path: Path) -> None:
    settings = SceneSettings(frames=9, height=48, width=64)
    for index in range(2):
        write_scene(random_scene(np.random.default_rng(index), settings), tmp_path / "clips" / f"clip{index}")
    chosen = options(tmp_path, "data.source.kind=folder", f"data.source.path={tmp_path / 'clips'}", "steps=1")
    source = clip_source(chosen.data, 0)
    first, again = source.clip(3), source.clip(3)
    assert first.video.shape == (5, 32, 48, 3)
    assert first.tracks.masks[:, 0].any(axis=(1, 2)).all()
    assert np.array_equal(first.video, again.video)
    assert first.caption
    train(chosen, resume=False, log=lambda line: None)
    with pytest.raises(DatasetError, match="holds no clips"):
        clip_source(options(tmp_path, "data.source.kind=folder", f"data.source.path={tmp_path}").data, 0)
    next((tmp_path / "clips").glob("*/masks/00001.png")).unlink()
    with pytest.raises(DatasetError, match="every frame needs its mask"):
        [source.clip(index) for index in range(9)]
