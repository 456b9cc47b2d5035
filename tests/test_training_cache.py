"""Examples encoded once: the same tensors as on the way, resume, and refusal of other configurations."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from magicgen.config import load_config
from magicgen.errors import ConfigError, DatasetError, GenerationFailed
from magicgen.training import cache as cache_module
from magicgen.training.cache import CachedExamples, open_cache, stack
from magicgen.training.encoding import BatchEncoder
from magicgen.training.examples import batches, collate
from magicgen.training.loop import Trainer
from magicgen.training.networks import NetworkSet
from magicgen.training.options import DataOptions, TrainingOptions
from magicgen.training.run import build_networks
from magicgen.training.sources import training_examples

SMOKE = Path(__file__).parents[1] / "configs" / "train" / "tiny_smoke.yaml"
CPU = torch.device("cpu")


def options(tmp_path: Path, *overrides: str) -> TrainingOptions:
    given = [f"out={tmp_path / 'run'}", f"data.cache.path={tmp_path / 'cache'}", "data.cache.examples=6"]
    return load_config(SMOKE, TrainingOptions, [*given, "data.cache.per_shard=4", "validation.every=100", *overrides])


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> NetworkSet:
    return build_networks(options(tmp_path_factory.mktemp("networks")))


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def encode(chosen: TrainingOptions, networks: NetworkSet) -> list[int]:
    seen: list[int] = []
    cache_module.precompute(chosen, networks, training_examples(chosen), CPU, lambda done, _: seen.append(done))
    return seen


def test_shards_hold_what_encoding_on_the_way_gives(tmp_path: Path, networks: NetworkSet) -> None:
    chosen = options(tmp_path)
    assert encode(chosen, networks) == [4, 6]
    read = next(iter(batches(open_cache(chosen, networks), chosen.data, 2, 4, stack)))
    encoder = BatchEncoder(chosen, networks.trainable, networks.vae, networks.tokenizer, CPU)
    dataset = training_examples(chosen)
    fresh = encoder(collate([dataset[2], dataset[3]]), torch.Generator())
    for name, tensor in fresh.as_dict().items():
        assert torch.equal(read.as_dict()[name], tensor), name
    assert chosen.data.cache is not None
    again = CachedExamples(chosen.data.cache)[8]
    assert torch.equal(again["clean"], fresh.clean[0])


def test_training_reads_the_shards(tmp_path: Path, networks: NetworkSet) -> None:
    chosen = options(tmp_path, "steps=1")
    with pytest.raises(ConfigError, match="--precompute"):
        open_cache(chosen, networks)
    encode(chosen, networks)
    losses = []
    for each in (chosen, options(tmp_path / "fresh", "steps=1").model_copy(update={"data": plain_data(chosen)})):
        trainer = Trainer(each, build_networks(each))
        trainer.run(lambda result: losses.append(result.diffusion), None)
    assert losses[0] == losses[1]


def plain_data(chosen: TrainingOptions) -> DataOptions:
    return chosen.data.model_copy(update={"cache": None})


def test_precompute_goes_on_where_it_was(tmp_path: Path, networks: NetworkSet, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = options(tmp_path)
    whole = cache_module.save_file

    def full_disk(tensors: dict[str, torch.Tensor], path: Path) -> None:
        if "00001" in str(path):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        whole(tensors, path)

    monkeypatch.setattr(cache_module, "save_file", full_disk)
    with pytest.raises(GenerationFailed, match="No space left"):
        encode(chosen, networks)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["manifest.json", "shard_00000.safetensors"]
    with pytest.raises(ConfigError, match="1 shards"):
        open_cache(chosen, networks)
    monkeypatch.undo()
    first = (tmp_path / "cache" / "shard_00000.safetensors").stat().st_mtime_ns
    encode(chosen, networks)
    assert (tmp_path / "cache" / "shard_00000.safetensors").stat().st_mtime_ns == first
    open_cache(chosen, networks)
    (tmp_path / "cache" / "shard_00001.safetensors").write_bytes(b"half")
    with pytest.raises(DatasetError, match="precompute"):
        open_cache(chosen, networks)[5]


def test_other_configurations_are_refused_by_what_differs(tmp_path: Path, networks: NetworkSet) -> None:
    encode(options(tmp_path, "data.cache.examples=2"), networks)
    other = options(tmp_path, "data.cache.examples=2", "seed=5", "data.drop_map=0.5")
    with pytest.raises(ConfigError, match=r"data\.drop_map \(there 0\.1, here 0\.5\); seed \(there 0, here 5\)"):
        open_cache(other, networks)
    with pytest.raises(ConfigError, match="another configuration"):
        encode(other, networks)
    open_cache(options(tmp_path, "data.cache.examples=2", "data.workers=1", "steps=9"), networks)
    with pytest.raises(ConfigError, match="multiple of batch_size"):
        options(tmp_path, "data.cache.examples=3")


def test_given_first_frames_are_noised_in_their_share(tmp_path: Path, networks: NetworkSet) -> None:
    plain, always = options(tmp_path), options(tmp_path, "data.first_frame_noise=1")
    batch = collate([training_examples(plain)[0]])
    clean, noisy = (
        BatchEncoder(each, networks.trainable, networks.vae, None, CPU)(batch, torch.Generator().manual_seed(0))
        for each in (plain, always)
    )
    assert torch.equal(clean.clean, noisy.clean)
    assert not torch.equal(clean.image[:, 0], noisy.image[:, 0])
    assert torch.equal(clean.image[:, 1:], noisy.image[:, 1:])
