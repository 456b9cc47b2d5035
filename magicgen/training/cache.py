"""Examples encoded once: shards of safetensors with latents and text, made by ``magicgen train CONFIG --precompute``.

What is random about an example (its window, its level, what is left out of its conditions, noise on its first frame)
is drawn once and recorded; training repeats the recorded examples in order. With a deterministic autoencoder they are
the tensors that encoding on the way would have given for the same numbers.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.utils.data import Dataset

from magicgen.errors import ConfigError, DatasetError, GenerationFailed
from magicgen.media import write_json
from magicgen.models import BlockTransformAutoencoder
from magicgen.training.encoding import BatchEncoder, Latents
from magicgen.training.examples import TrajectoryExamples, collate
from magicgen.training.networks import NetworkSet
from magicgen.training.options import CacheOptions, FolderData, MagicData, SyntheticData, TrainingOptions

VERSION = 1
MANIFEST = "manifest.json"


class CachedExamples(Dataset):
    """Recorded example ``i`` modulo their number."""

    def __init__(self, cache: CacheOptions) -> None:
        self.cache = cache

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        number = index % self.cache.examples
        path = shard_path(self.cache, number // self.cache.per_shard)
        try:
            with safe_open(path, "pt") as shard:
                names = ("clean", "image", "map", "mask_map", "region", "text")
                return {name: shard.get_tensor(f"{number}.{name}") for name in names}
        except (OSError, SafetensorError) as error:
            raise DatasetError(
                f"{path} cannot be read ({error}); delete it and run 'magicgen train CONFIG --precompute' again."
            ) from error


def stack(items: list[dict[str, torch.Tensor]]) -> Latents:
    """Examples as a batch."""
    return Latents(**{name: torch.stack([item[name] for item in items]) for name in items[0]})


def shard_path(cache: CacheOptions, number: int) -> Path:
    """Where shard ``number`` is."""
    return cache.path / f"shard_{number:05d}.safetensors"


def shards(cache: CacheOptions) -> Iterator[tuple[Path, range]]:
    """Every shard with the examples that it holds."""
    for number, first in enumerate(range(0, cache.examples, cache.per_shard)):
        yield shard_path(cache, number), range(first, min(first + cache.per_shard, cache.examples))


def open_cache(options: TrainingOptions, networks: NetworkSet) -> CachedExamples:
    """The recorded examples of a configuration.

    Raises:
        ConfigError: there are none, some are missing, or they were made for another configuration.
    """
    cache = options.data.cache
    assert cache is not None
    check_identity(cache, identity(options, networks), must_exist=True)
    missing = sum(not path.is_file() for path, _ in shards(cache))
    if missing:
        raise ConfigError(
            f"data.cache: {missing} shards of {cache.path} are missing; finish them with "
            "'magicgen train CONFIG --precompute'."
        )
    return CachedExamples(cache)


def precompute(
    options: TrainingOptions,
    networks: NetworkSet,
    dataset: TrajectoryExamples,
    device: torch.device,
    report: Callable[[int, int], None],
) -> Path:
    """Encode the examples of ``data.cache``; shards that are there already are kept.

    Args:
        networks: on the device; only the autoencoder and, where it is not trained, the text encoder are used.
        report: told the number of finished examples and of all.

    Raises:
        ConfigError: no ``data.cache``, or its folder holds examples of another configuration.
        GenerationFailed: a shard cannot be written; those before it stay.
    """
    cache = options.data.cache
    if cache is None:
        raise ConfigError("--precompute needs 'data.cache': {path: DIR, examples: N}.")
    wanted = identity(options, networks)
    check_identity(cache, wanted, must_exist=False)
    cache.path.mkdir(parents=True, exist_ok=True)
    write_json(cache.path / MANIFEST, wanted)
    encoder = BatchEncoder(options, networks.trainable, networks.vae, networks.tokenizer, device)
    for path, numbers in shards(cache):
        if not path.is_file():
            tensors = {}
            for number in numbers:
                for name, tensor in encode_example(options, encoder, dataset, number).as_dict().items():
                    tensors[f"{number}.{name}"] = tensor[0].contiguous().cpu()
            _write(path, tensors)
        report(numbers.stop, cache.examples)
    return cache.path


def encode_example(
    options: TrainingOptions, encoder: BatchEncoder, dataset: TrajectoryExamples, number: int
) -> Latents:
    """One example as a batch of one; its random numbers come from (seed, number)."""
    generator = torch.Generator().manual_seed(options.seed * 3_000_017 + number)
    latents = encoder(collate([dataset[number]]), generator)
    if encoder.tokenizer is None or "text_encoder" in options.train:
        return latents
    # A large text encoder is run once; small ones with a closed vocabulary cost nothing.
    with torch.no_grad():
        text = encoder.networks.text_encoder(latents.text)[0]  # type: ignore[misc]
    return Latents(**{**latents.as_dict(), "text": text})


def identity(options: TrainingOptions, networks: NetworkSet) -> dict[str, Any]:
    """Everything that decides what the examples hold."""
    data = options.data.model_dump(mode="json", exclude={"workers", "cache"})
    assert options.data.cache is not None
    model = options.model.model_dump(mode="json", exclude={"lora"})
    return {
        "version": VERSION,
        "seed": options.seed,
        "examples": options.data.cache.examples,
        "per_shard": options.data.cache.per_shard,
        "data": {**data, "content": _content(options)},
        "moved_region": options.loss.moved_region,
        "model": model if options.model.kind == "pretrained" else {"kind": "tiny", "max_words": model["max_words"]},
        "text": "words" if networks.tokenizer is None or "text_encoder" in options.train else "embeddings",
        "autoencoder": _weights_hash(networks.vae) if isinstance(networks.vae, BlockTransformAutoencoder) else "",
    }


def check_identity(cache: CacheOptions, wanted: dict[str, Any], *, must_exist: bool) -> None:
    """Refuse a cache of another configuration, naming what differs.

    Raises:
        ConfigError: it differs, is damaged, or (with ``must_exist``) is not there.
    """
    path = cache.path / MANIFEST
    if not path.is_file():
        if must_exist:
            raise ConfigError(
                f"data.cache: {cache.path} holds no encoded examples; run 'magicgen train CONFIG --precompute' first."
            )
        return
    try:
        found = _flat(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path} is damaged ({error}); delete {cache.path} and precompute again.") from error
    here = _flat(json.loads(json.dumps(wanted)))
    differing = [
        f"{key} (there {found.get(key)}, here {here.get(key)})"
        for key in sorted(found.keys() | here.keys())
        if found.get(key) != here.get(key)
    ]
    if differing:
        raise ConfigError(
            f"data.cache: {cache.path} was encoded for another configuration: {'; '.join(differing)}. Give another "
            "data.cache.path, or delete the folder and run with --precompute."
        )


def _content(options: TrainingOptions) -> str:
    """A fingerprint of the data's files: their names and sizes, and the index of a dataset."""
    match options.data.source:
        case SyntheticData():
            return "synthetic"
        case FolderData(path=path):
            listed = sorted((str(f.relative_to(path)), f.stat().st_size) for f in path.rglob("*") if f.is_file())
            return hashlib.sha256(json.dumps(listed).encode()).hexdigest()
        case MagicData(path=path):
            index = path / "dataset.json"
            return hashlib.sha256(index.read_bytes() if index.is_file() else b"").hexdigest()


def _weights_hash(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    temporary = path.with_suffix(".partial")
    try:
        save_file(tensors, temporary)
        temporary.replace(path)
    except (OSError, SafetensorError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise GenerationFailed(
            f"{path} could not be written: {error}. Shards that are done stay; free some space and run again."
        ) from error
