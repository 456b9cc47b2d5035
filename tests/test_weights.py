"""Weights: released key sets, strict conversion, presets, sizes, and a Hub that is not there."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from magicgen.control.tracks import BoxLevel, MaskLevel
from magicgen.errors import GenerationFailed, TrajectoryError, WeightsError
from magicgen.models import ControlBranch, LatentSegmentationHead
from magicgen.weights import check_grid, inventory, resolve_model
from magicgen.weights.convert import Branch, Head, convert, expected_shapes
from magicgen.weights.hub import download, list_files
from magicgen.weights.sources import MAGICMOTION, PipelineFolder, ReleasedMagicMotion, hub_folder, preset_folder

BASE: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 3,
    "time_embed_dim": 32,
    "text_embed_dim": 24,
    "sample_width": 12,
    "sample_height": 8,
    "sample_frames": 9,
    "max_text_seq_length": 10,
}


def released_branch(seed: int = 0) -> dict[str, torch.Tensor]:
    """A small branch in the released format: projections as 1x1 convolutions."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.bfloat16)
        for name, shape in expected_shapes(Branch(), BASE).items()
    }


def saved(folder: Path, value: object, name: str = "mask.pt") -> Path:
    path = folder / name
    torch.save(value, path)
    return path


def test_full_size_key_sets_are_the_released_ones() -> None:
    branch, head = expected_shapes(Branch()), expected_shapes(Head())
    assert (len(branch), len(head)) == (1101, 170)
    assert branch["patch_embed.pos_embedding"] == (1, 17776, 3072)
    assert branch["patch_embed.proj.weight"] == (3072, 32, 2, 2)
    assert branch["transformer_blocks.41.ff.net.0.proj.weight"] == (12288, 3072)
    assert branch["out_projectors.41.weight"] == (3072, 3072, 1, 1)
    assert head["convs.41.0.weight"] == (64, 3072, 3, 3)
    assert head["conv_out.weight"] == (16, 64, 1, 1)
    parameters = sum(torch.Size(shape).numel() for shape in branch.values())
    assert abs(parameters - 5.9636e9 - 17776 * 3072) < 1e7


@pytest.mark.parametrize("nest", [(), ("state_dict",), ("state_dict", "module")])
@pytest.mark.parametrize("prefix", ["", "module.", "module.controlnet."])
def test_a_released_branch_becomes_a_folder(tmp_path: Path, nest: tuple[str, ...], prefix: str) -> None:
    state = released_branch()
    value: Any = {prefix + name: tensor for name, tensor in state.items()}
    for key in reversed(nest):
        value = {key: value, "step": 7}
    result = convert(saved(tmp_path, value), tmp_path / "mask", BASE)
    assert (result.kind, result.tensors) == (Branch(), 87)
    branch = ControlBranch.from_pretrained(tmp_path / "mask", dtype=torch.bfloat16)
    for name, tensor in branch.state_dict().items():
        assert torch.equal(tensor, state[name].reshape(tensor.shape))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask", "mask.pt"]


def test_a_released_head_becomes_a_folder(tmp_path: Path) -> None:
    shapes = expected_shapes(Head(), BASE)
    state = {f"perception_head.{name}": torch.randn(shape) for name, shape in shapes.items()}
    assert len(state) == 14
    assert convert(saved(tmp_path, {"state_dict": state}), tmp_path / "head", BASE).kind == Head()
    head = LatentSegmentationHead.from_pretrained(tmp_path / "head")
    assert torch.equal(head.conv_out.bias, state["perception_head.conv_out.bias"])


def test_old_format_and_safetensors_are_read_too(tmp_path: Path) -> None:
    state = released_branch()
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "new.safetensors")
    for name in ("old.pt", "new.safetensors"):
        assert convert(tmp_path / name, tmp_path / name.partition(".")[0], BASE).tensors == 87


def test_every_key_that_does_not_fit_is_named(tmp_path: Path) -> None:
    state = released_branch()
    del state["time_embedding.linear_1.bias"]
    state["norm_out.weight"] = torch.zeros(2)
    state["out_projectors.1.weight"] = torch.zeros(4, 4, 1, 1)
    with pytest.raises(WeightsError) as caught:
        convert(saved(tmp_path, state), tmp_path / "out", BASE)
    text = str(caught.value)
    assert "expected 87 keys, got 87" in text
    assert "1 missing: time_embedding.linear_1.bias" in text
    assert "1 unexpected: norm_out.weight" in text
    assert "1 misshaped: out_projectors.1.weight (4, 4, 1, 1) instead of (32, 32, 1, 1)" in text
    assert not (tmp_path / "out").exists()


def test_long_lists_of_keys_are_cut_with_their_number(tmp_path: Path) -> None:
    state = {"out_projectors.0.bias": torch.zeros(32)}
    with pytest.raises(WeightsError, match=r"86 missing: .* and 66 more"):
        convert(saved(tmp_path, state), tmp_path / "out", BASE)


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, ("touch evil",)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"state_dict": Evil()}, "could run code"),
        ([torch.zeros(1)], "expected a dictionary of tensors"),
        ({}, "expected a dictionary of tensors"),
        ({"out_projectors.0.bias": 3}, "no tensors: out_projectors.0.bias"),
        ({"blocks.0.weight": torch.zeros(1)}, "neither a MagicMotion control branch"),
        ({"module.convs.0.0.bias": torch.zeros(1), "convs.0.0.bias": torch.zeros(1)}, "'convs.0.0.bias' twice"),
    ],
)
def test_what_is_no_checkpoint_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=expected):
        convert(saved(tmp_path, value), tmp_path / "out", BASE)
    assert [path.name for path in tmp_path.iterdir()] == ["mask.pt"]


def test_broken_files_and_places_are_named(tmp_path: Path) -> None:
    good = saved(tmp_path, released_branch())
    (tmp_path / "cut.pt").write_bytes(good.read_bytes()[:5000])
    (tmp_path / "cut.safetensors").write_bytes(b"\x00" * 40)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for source, out, expected in [
        (tmp_path / "none.pt", "out", "no checkpoint"),
        (tmp_path / "cut.pt", "out", "cannot be read as a checkpoint"),
        (tmp_path / "cut.safetensors", "out", "cannot be read as safetensors"),
        (good, "full", "exists already"),
        (good, "nowhere/out", "does not exist"),
    ]:
        with pytest.raises(WeightsError, match=expected):
            convert(source, tmp_path / out, BASE)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = saved(tmp_path, released_branch())
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(WeightsError, match="Make room"):
        convert(source, tmp_path / "out", BASE)
    monkeypatch.undo()

    def fill(self: object, folder: Path, **_: object) -> None:
        (folder / "half.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ControlBranch, "save_pretrained", fill)
    with pytest.raises(GenerationFailed, match="disk filled up"):
        convert(source, tmp_path / "out", BASE)
    assert [path.name for path in tmp_path.iterdir()] == ["mask.pt"]


def pipeline_folder(folder: Path, class_name: str = "TrajectoryVideoPipeline") -> Path:
    part = folder / "branch"
    part.mkdir(parents=True)
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(4)}, part / "diffusion_pytorch_model.safetensors")
    index = {"_class_name": class_name, "branch": ["magicgen.models", "ControlBranch"], "tokenizer": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_a_folder_is_found_and_counted_without_loading(tmp_path: Path) -> None:
    folder = pipeline_folder(tmp_path / "mine")
    source = resolve_model(str(folder))
    assert source == PipelineFolder(str(folder), folder)
    (component,) = inventory(source)
    assert (component.name, component.parameters) == ("branch", 10)
    weights = folder / "branch" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(WeightsError, match="header promises"):
        inventory(source)


def test_sharded_folders_need_every_shard(tmp_path: Path) -> None:
    folder = pipeline_folder(tmp_path / "mine")
    index = folder / "branch" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "diffusion_pytorch_model.safetensors", "b": "two.safetensors"}}))
    with pytest.raises(WeightsError, match=r"two\.safetensors is missing"):
        inventory(resolve_model(str(folder)))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda folder: folder, "no model_index.json"),
        (lambda folder: (folder / "config.json").touch(), "a single part of a model"),
        (lambda folder: (folder / "model_index.json").write_text("{"), "cannot be read as JSON"),
        (lambda folder: (folder / "model_index.json").write_text('{"_class_name": "Wan"}'), "holds a Wan"),
    ],
)
def test_folders_that_are_no_model_are_refused(tmp_path: Path, make: Any, expected: str) -> None:
    make(tmp_path)
    with pytest.raises(WeightsError, match=expected):
        resolve_model(str(tmp_path))


def test_absent_models_say_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAGICGEN_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"magicgen download magicmotion-5b.*THUDM/CogVideoX-5b-I2V"):
        resolve_model(MAGICMOTION)
    with pytest.raises(WeightsError, match=r"magicgen download some/model.*some--model"):
        resolve_model("some/model")
    with pytest.raises(WeightsError, match="no preset and no folder"):
        resolve_model("tinny")
    folder = pipeline_folder(hub_folder("some/model"))
    assert resolve_model("some/model") == PipelineFolder("some/model", folder)


def test_released_weights_are_found_by_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAGICGEN_HOME", str(tmp_path))
    folder = preset_folder(MAGICMOTION)
    pipeline_folder(folder / "base", "CogVideoXImageToVideoPipeline")
    for part in ("transformer", "vae", "text_encoder"):
        (folder / "base" / part).mkdir()
        (folder / "base" / part / "config.json").write_text("{}")
    convert(saved(tmp_path, released_branch()), folder / "box", BASE)
    source = resolve_model(MAGICMOTION)
    assert isinstance(source, ReleasedMagicMotion)
    assert source.branch(BoxLevel()) == folder / "box"
    assert [component.name for component in inventory(source, "box")] == ["branch", "branch (box)"]
    with pytest.raises(WeightsError, match=r"no control branch for the level 'mask' \(there: box\)"):
        source.branch(MaskLevel())


RELEASED: Mapping[str, Any] = {"patch_size": 2, "use_learned_positional_embeddings": True}


@pytest.mark.parametrize(
    ("config", "grid", "error", "expected"),
    [
        (RELEASED, (49, 480, 720), None, ""),
        (RELEASED, (49, 480, 704), WeightsError, "bound to 49 frames of 480x720"),
        (RELEASED, (17, 480, 720), WeightsError, "--interpolate-positions"),
        ({}, (17, 128, 192), None, ""),
        ({}, (16, 128, 192), TrajectoryError, "Use --frames 17"),
        ({}, (17, 100, 192), TrajectoryError, "Use --height 96 --width 192"),
        ({}, (0, 128, 192), TrajectoryError, "Use --frames 1"),
    ],
)
def test_clip_sizes_are_checked_before_loading(
    config: Mapping[str, Any], grid: tuple[int, int, int], error: type[Exception] | None, expected: str
) -> None:
    if error is None:
        check_grid(config, *grid)
        return
    with pytest.raises(error, match=expected):
        check_grid(config, *grid)


def test_interpolated_positions_lift_the_bound() -> None:
    check_grid(RELEASED, 17, 256, 384, interpolate_positions=True)


def listing(**sizes: int) -> SimpleNamespace:
    names = {name.replace("__", "/").replace("_dot_", "."): size for name, size in sizes.items()}
    return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name, size=size) for name, size in names.items()])


def test_files_of_a_hub_model_are_listed_with_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "THUDM/CogVideoX-5b-I2V": listing(model_index_dot_json=1, vae__a_dot_safetensors=5, README_dot_md=9),
        "quanhaol/MagicMotion": listing(
            ckpts__stage1__mask_dot_pt=10,
            ckpts__stage2__box_dot_pt=11,
            ckpts__stage2__box_perception_head_dot_pt=2,
            ckpts__stage3__sparse_box_dot_pt=12,
            ckpts__stage3__sparse_box_perception_head_dot_pt=3,
        ),
    }
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda self, repo, **_: answers[repo])
    files = list_files(MAGICMOTION)
    assert [file.path for file in files][:3] == ["model_index.json", "vae/a.safetensors", "ckpts/stage1/mask.pt"]
    assert sum(file.bytes or 0 for file in files) == 44


def test_a_download_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAGICGEN_HOME", str(tmp_path))
    monkeypatch.setattr("magicgen.weights.hub.list_files", lambda model: [])
    fetched: list[str] = []

    def fetch(repo: str, local_dir: Path, allow_patterns: list[str]) -> None:
        for pattern in allow_patterns:
            fetched.append(pattern)
            path = Path(local_dir) / pattern.replace("*", "config.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")

    def to_folder(source: Path, out: Path) -> None:
        out.mkdir()
        source.rename(out / "config.json").with_name("used").touch()
        source.touch()

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert download(MAGICMOTION, to_folder) == preset_folder(MAGICMOTION)
    assert isinstance(resolve_model(MAGICMOTION), ReleasedMagicMotion)
    assert not list(tmp_path.rglob("*.pt"))
    fetched.clear()
    download(MAGICMOTION, to_folder)
    assert not [pattern for pattern in fetched if pattern.endswith(".pt")]


def test_a_hub_that_cannot_be_used_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: object, repo: str, **_: object) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    with pytest.raises(GenerationFailed, match="cannot be reached"):
        list_files("some/model")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE"):
        list_files("some/model")
    with pytest.raises(WeightsError, match="nothing to download"):
        list_files("tiny")
    with pytest.raises(WeightsError, match="expected magicmotion-5b or a Hub id"):
        list_files("nonsense")
