"""FID, FVD and LPIPS, from backbones that a user has as local files; without them these measures are left out.

* FID (Heusel et al. 2017): Fréchet distance of Inception features of all frames; the backbone is NVIDIA's TorchScript
  port of the 2015 Inception (``inception-2015-12-05.pt``), which gives the numbers of the original TensorFlow graph.
* FVD (Unterthiner et al. 2018): the same of whole videos; the backbone is the TorchScript I3D of StyleGAN-V
  (``i3d_torchscript.pt``).
* LPIPS (Zhang et al. 2018, version 0.1): torchvision's AlexNet with its ImageNet weights, and the linear layer that the
  authors trained (``alex.pth``).

A distance between sets is biased when there are few samples, so numbers of different counts do not compare.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch
from torch import nn

from magicgen.errors import WeightsError
from magicgen.evaluation.magicbench import Score
from magicgen.evaluation.samples import Sample
from magicgen.media import write_bytes

UInt8 = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]

FOLDER = "features"
BATCH = 16
HOW = {
    "fid": "give --fid inception-2015-12-05.pt (NVIDIA's TorchScript, distributed with StyleGAN3)",
    "fvd": "give --fvd i3d_torchscript.pt (distributed with StyleGAN-V)",
    "lpips": "give --lpips alexnet-owt-7be5be79.pth,alex.pth (torchvision's AlexNet, and the linear layer of the LPIPS "
    "package, version 0.1)",
}
SETS = ("fid", "fvd")
DIGITS = {"fid": 2, "fvd": 1, "lpips": 3}
# AlexNet's five activations, counted in torchvision's ``features``; LPIPS's input normalisation.
TAPS = (1, 4, 7, 9, 11)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


@dataclass(frozen=True)
class Backbones:
    """Weight files, None where a measure is left out; ``lpips`` are AlexNet's and the linear layer's."""

    fid: Path | None = None
    fvd: Path | None = None
    lpips: tuple[Path, Path] | None = None

    def files(self) -> list[Path]:
        """All of them."""
        single = [path for path in (self.fid, self.fvd) if path is not None]
        return single + list(self.lpips or ())

    def missing(self) -> dict[str, str]:
        """Measures that are left out, and how to get them."""
        return {name.upper(): f"needs weights; {HOW[name]}" for name in HOW if getattr(self, name) is None}


class FeatureStore:
    """Features of the videos of a run, one file each under ``out/features``; loaded backbones stay in memory."""

    def __init__(self, backbones: Backbones, out: Path) -> None:
        """Load the backbones.

        Raises:
            WeightsError: a file cannot be read as one.
        """
        self.folder = out / FOLDER
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.inception = None if backbones.fid is None else _script(backbones.fid, self.device)
        self.i3d = None if backbones.fvd is None else _script(backbones.fvd, self.device)
        self.lpips = None if backbones.lpips is None else Lpips(*backbones.lpips).to(self.device).eval()

    def keep(self, sample: Sample, score: Score, video: UInt8) -> None:
        """Store what the measures need of a video and, once, of its ground truth."""
        truth = self.folder / "truth" / f"{sample.name}.npz"
        if not truth.is_file():
            _write(truth, self._features(sample.video))
        found = self._features(video)
        if self.lpips is not None:
            found["lpips"] = np.float32(self._perceptual(video, sample.video))
        _write(self.folder / _place(score), found)

    @torch.inference_mode()
    def _features(self, video: UInt8) -> dict[str, Any]:
        pixels = torch.from_numpy(np.ascontiguousarray(video)).permute(0, 3, 1, 2)
        found: dict[str, Any] = {}
        if self.inception is not None:
            parts = [self.inception(part.to(self.device), return_features=True) for part in pixels.split(BATCH)]
            found["fid"] = torch.cat(parts).float().cpu().numpy()
        if self.i3d is not None:
            clip = pixels.float().transpose(0, 1)[None].to(self.device)
            found["fvd"] = self.i3d(clip, rescale=True, resize=True, return_features=True).float().cpu().numpy()
        return found

    @torch.inference_mode()
    def _perceptual(self, video: UInt8, truth: UInt8) -> float:
        assert self.lpips is not None
        values = []
        for start in range(0, len(video), BATCH):
            part = slice(start, start + BATCH)
            values.append(self.lpips(_signed(video[part], self.device), _signed(truth[part], self.device)))
        return float(torch.cat(values).mean())


class Lpips(nn.Module):
    """Learned perceptual distance of picture pairs (arXiv 1801.03924): AlexNet's unit-length activations, weighted."""

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, alexnet: Path, linear: Path) -> None:
        super().__init__()
        from torchvision.models import alexnet as build

        self.layers = build(weights=None).features
        own = {key.removeprefix("features."): value for key, value in _state(alexnet).items() if "features." in key}
        weights = _state(linear)
        try:
            self.layers.load_state_dict(own)
            self.worth = [weights[f"lin{index}.model.1.weight"].float() for index in range(len(TAPS))]
        except (RuntimeError, KeyError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise WeightsError(
                f"{alexnet} and {linear} are not the weights of LPIPS ({reason}); {HOW['lpips']}."
            ) from None
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] -> (B,) distances, 0 for equal ones."""
        total = first.new_zeros(len(first))
        one, two = ((picture - self.shift) / self.scale for picture in (first, second))
        for number, layer in enumerate(self.layers[: TAPS[-1] + 1]):
            one, two = layer(one), layer(two)
            if number in TAPS:
                worth = self.worth[TAPS.index(number)].to(one)
                total = total + ((_unit(one) - _unit(two)).square() * worth).sum(dim=1).mean(dim=(1, 2))
        return total


def set_distances(out: Path, scores: Sequence[Score]) -> dict[str, dict[str, dict[str, float]]]:
    """``{level: {method: {"fid": , "fvd": , "lpips": , "videos": }}}`` of the features under ``out``.

    A value needs the features of every scored video of its method and level; it is left out otherwise.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for method, level in sorted({(score.method, score.level) for score in scores}):
        mine = [score for score in scores if (score.method, score.level) == (method, level)]
        pairs = [(out / FOLDER / _place(score), out / FOLDER / "truth" / f"{score.sample}.npz") for score in mine]
        if not all(made.is_file() and truth.is_file() for made, truth in pairs):
            continue
        made, truth = (_read([pair[side] for pair in pairs]) for side in (0, 1))
        row: dict[str, float] = {
            name: frechet(made[name], truth[name]) for name in SETS if name in made and name in truth
        }
        if "lpips" in made:
            row["lpips"] = float(np.mean(made["lpips"]))
        if row:
            found.setdefault(level, {})[method] = {**row, "videos": float(len(mine))}
    return found


def distance_rows(found: dict[str, dict[str, dict[str, float]]]) -> list[list[str]]:
    """Rows of a table, a head first."""
    rows = [["level", "method", "FID", "FVD", "LPIPS", "videos"]]
    for level, methods in found.items():
        for method, row in methods.items():
            cells = [f"{row[name]:.{digits}f}" if name in row else "-" for name, digits in DIGITS.items()]
            rows.append([level, method, *cells, f"{row['videos']:.0f}"])
    return rows


def frechet(first: Features, second: Features) -> float:
    """Fréchet distance of Gaussians fitted to two sets of features (N, D) and (M, D); NaN below two of either."""
    if min(len(first), len(second)) < 2:
        return float("nan")
    one, two = first.astype(np.float64), second.astype(np.float64)
    shift = np.square(one.mean(axis=0) - two.mean(axis=0)).sum()
    spread = [np.atleast_2d(np.cov(values, rowvar=False)) for values in (one, two)]
    # The trace of the root of a product of covariances is the sum of the roots of its eigenvalues.
    roots = np.sqrt(np.maximum(scipy.linalg.eigvals(spread[0] @ spread[1]).real, 0)).sum()
    return float(max(0.0, shift + np.trace(spread[0]) + np.trace(spread[1]) - 2 * roots))


def _script(path: Path, device: torch.device) -> Any:
    try:
        return torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise WeightsError(f"{path} is no TorchScript file ({reason}); {HOW['fid']}, or {HOW['fvd']}.") from None


def _state(path: Path) -> dict[str, torch.Tensor]:
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, ValueError, OSError, EOFError, UnpicklingError) as error:
        raise WeightsError(f"{path} cannot be read as weights ({type(error).__name__}); {HOW['lpips']}.") from None


def _unit(values: torch.Tensor) -> torch.Tensor:
    return values / (values.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)


def _signed(frames: UInt8, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float().div(127.5).sub(1).to(device)


def _place(score: Score) -> str:
    name = score.method.replace(" ", "_").replace("/", "_")
    return f"made/{name}/{score.level}/{score.sample}.npz"


def _write(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = BytesIO()
    np.savez(buffer, **values)
    write_bytes(path, buffer.getvalue())


def _read(paths: Sequence[Path]) -> dict[str, Any]:
    files = [np.load(path) for path in paths]
    names = set(files[0].files).intersection(*(file.files for file in files))
    return {name: np.concatenate([np.atleast_1d(file[name]) for file in files]) for name in names}
