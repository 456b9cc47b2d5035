"""Measures and baselines of reflection removal."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import reflection_clicks
from benchmarks.reflection import main
from magicgen.control.guide import Layer
from magicgen.evaluation.reflection import (
    ColourCorrector,
    Darkening,
    best_colour_fit,
    bootstrap,
    psnr,
    resized_pair,
    score,
    ssim,
)
from magicgen.media import write_image
from tests.reflection_tiny import save_small_reflection

RNG = np.random.default_rng(6)


def scene(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(20, 200, (5, 7, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def test_psnr_by_hand() -> None:
    one = np.full((4, 4, 3), 100, np.uint8)
    assert psnr(one, one) == 100
    assert psnr(one + 10, one) == pytest.approx(10 * np.log10(255**2 / 100))
    assert np.isnan(psnr(one, one, np.zeros((4, 4), np.bool_)))


def test_ssim_is_one_for_equal_pictures() -> None:
    assert ssim(scene(0), scene(0)) == pytest.approx(1)
    assert ssim(scene(0), scene(1)) < 0.5


def test_ssim_is_scikit_image_s() -> None:
    from skimage.metrics import structural_similarity

    truth = scene(3)
    noisy = np.clip(truth + RNG.normal(0, 12, truth.shape), 0, 255).astype(np.uint8)
    expected = structural_similarity(
        noisy, truth, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(noisy, truth) == pytest.approx(expected, abs=1e-6)


def test_inside_and_outside() -> None:
    truth = scene(1)
    mixture = truth.copy()
    mixture[:, :28] += 50
    values = score(mixture, mixture, truth)
    assert values.outside == 100
    assert values.inside == pytest.approx(10 * np.log10(255**2 / 2500))


def test_colour_fits() -> None:
    truths = [scene(index) for index in range(12)]
    mixtures = [np.clip(truth * 0.7 + 40, 0, 255).astype(np.uint8) for truth in truths]
    assert psnr(best_colour_fit(mixtures[0], truths[0]), truths[0]) > 45
    corrector = ColourCorrector.fitted(list(zip(mixtures[1:], truths[1:], strict=True)))
    assert psnr(corrector(mixtures[0]), truths[0]) > psnr(mixtures[0], truths[0]) + 10


def test_darkening_finds_the_offset_that_was_added() -> None:
    truths = [scene(index) for index in range(4)]
    assert Darkening.fitted([(truth + 9, truth) for truth in truths]).offset == 9


def test_intervals() -> None:
    interval = bootstrap([1.0, 2.0, 3.0, float("nan")])
    assert interval.mean == 2
    assert 1 <= interval.low < interval.high <= 3
    assert bootstrap([1.0, 2.0]) == bootstrap([1.0, 2.0])
    assert np.isnan(bootstrap([]).mean)


def test_protocols() -> None:
    mixture, truth = resized_pair(scene(0), scene(1)[:39], 20)
    assert mixture.shape == truth.shape
    assert min(truth.shape[:2]) == 20
    assert resized_pair(scene(0), scene(1), None)[0].shape == scene(0).shape


def test_the_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, light in (("mixture", 50), ("transmission", 0)):
        (tmp_path / kind).mkdir()
        for index in range(5):
            pixels = scene(index)
            pixels[:, :28] += light
            write_image(tmp_path / kind / f"{index}.png", pixels)
    base, adapter = save_small_reflection(tmp_path / "models")
    arguments = ["--pairs", tmp_path, "--base", base, "--adapter", adapter, "--protocol", "native", "--threads", "1"]
    assert main([str(value) for value in (*arguments, "--out", tmp_path / "results")]) == 0
    assert "automatic" in capsys.readouterr().out
    report = json.loads((tmp_path / "results" / "reflection-native.json").read_text())
    assert report["pictures"] == 5
    assert {"photo", "automatic", "1 click each", "oracle masks", "wrong clicks each"} <= set(report["methods"])


def test_likeness_tells_more_than_nearness(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A reflection in stripes of one colour, on an even scene."""
    for kind, light in (("mixture", 90), ("transmission", 0)):
        (tmp_path / kind).mkdir()
        for index in range(3):
            pixels = np.full((128, 160, 3), 60 + index, np.uint8)
            pixels[:, :100] += np.uint8(light) * (np.arange(128) // 16 % 2 == 0)[:, None, None].astype(np.uint8)
            write_image(tmp_path / kind / f"{index}.png", pixels)
    found = reflection_clicks.measured(tmp_path, np.random.default_rng(0))[Layer.REFLECTION]
    near, alike, same = (np.concatenate(values) for values in zip(*found, strict=True))
    assert reflection_clicks.explained(alike, same) > 0.7 > 0.5 > reflection_clicks.explained(near, same)
    assert reflection_clicks.main([str(tmp_path)]) == 0
    assert "reflection: 0.3" in capsys.readouterr().out


def test_composed_pairs_need_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, adapter = save_small_reflection(tmp_path / "models")
    arguments = ["--synthetic", 1, "--base", base, "--adapter", adapter, "--threads", 1, "--automatic-only", "--json"]
    assert main([str(value) for value in arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pictures"] == 1
    assert 10 < report["methods"]["photo"]["psnr"] < 40
