"""FID, FVD and LPIPS through small TorchScript backbones and AlexNet with random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import alexnet

from magicgen.errors import WeightsError
from magicgen.evaluation.distances import Backbones, FeatureStore, Lpips, distance_rows, frechet, set_distances
from magicgen.evaluation.magicbench import run_bench
from magicgen.evaluation.methods import Still, Truth
from tests.test_evaluation_magicbench import red_places, square_sample


class PictureNet(nn.Module):
    """The call of NVIDIA's Inception."""

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(x.float() / 255, 2).flatten(1)


class ClipNet(nn.Module):
    """The call of StyleGAN-V's I3D."""

    def forward(
        self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = True
    ) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool3d(x / 255, 2).flatten(1)


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Backbones:
    folder = tmp_path_factory.mktemp("backbones")
    for name, network in (("fid", PictureNet()), ("fvd", ClipNet())):
        torch.jit.script(network).save(str(folder / f"{name}.pt"))
    torch.manual_seed(0)
    features = alexnet(weights=None).features.state_dict()
    torch.save({f"features.{key}": value for key, value in features.items()}, folder / "alexnet.pth")
    linear = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate((64, 192, 384, 256, 256))}
    torch.save(linear, folder / "linear.pth")
    return Backbones(folder / "fid.pt", folder / "fvd.pt", (folder / "alexnet.pth", folder / "linear.pth"))


def test_frechet_distance_of_known_gaussians() -> None:
    rng = np.random.default_rng(0)
    first = rng.standard_normal((20000, 2)).astype(np.float32)
    assert frechet(first, first) == pytest.approx(0, abs=1e-6)
    # Means 3 apart, deviations 1 and 2 in both directions: 9 + 2 (1 - 2)^2.
    second = 2 * rng.standard_normal((20000, 2)).astype(np.float32) + [3, 0]
    assert frechet(first, second) == pytest.approx(11, rel=0.03)
    assert np.isnan(frechet(first[:1], first))


def test_a_run_with_backbones_tells_truth_from_still(tmp_path: Path, backbones: Backbones) -> None:
    store = FeatureStore(backbones, tmp_path)
    samples = [square_sample(0), square_sample(1)]
    outcome = run_bench(samples, 2, [Truth(), Still()], tmp_path, track=red_places, keep=store.keep)
    found = set_distances(tmp_path, outcome.scores)["all"]
    assert found["truth"]["fid"] == pytest.approx(0, abs=1e-6)
    assert found["truth"]["fvd"] == pytest.approx(0, abs=1e-6)
    assert found["truth"]["lpips"] == 0
    assert found["still"]["fid"] > 1e-4
    assert found["still"]["lpips"] > 0.01
    assert [row[1] for row in distance_rows({"all": found})] == ["method", "still", "truth"]
    # A video whose features are missing takes its method out, rather than giving a distance of other videos.
    next((tmp_path / "features" / "made" / "still").rglob("*.npz")).unlink()
    assert "still" not in set_distances(tmp_path, outcome.scores)["all"]


def test_what_is_missing_is_said_and_wrong_files_are_refused(tmp_path: Path, backbones: Backbones) -> None:
    assert set(Backbones().missing()) == {"FID", "FVD", "LPIPS"}
    assert not backbones.missing()
    wrong = tmp_path / "wrong.pt"
    wrong.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="TorchScript"):
        FeatureStore(Backbones(fid=wrong), tmp_path)
    with pytest.raises(WeightsError, match="cannot be read"):
        Lpips(wrong, wrong)
    with pytest.raises(WeightsError, match="not the weights of LPIPS"):
        Lpips(backbones.lpips[1], backbones.lpips[1])
