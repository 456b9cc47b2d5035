"""Composed reflections: the layers add up, repeat, and resemble real photos through glass."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from magicgen.control.guide import Layer
from magicgen.synthetic.reflection_guides import GuideShares, box_around, centre_click, regions, simulate_guide
from magicgen.synthetic.reflections import (
    MixtureSettings,
    compose,
    decode,
    encode,
    random_mixture,
    real_layer,
    residual,
    transplant,
)

PLAIN = MixtureSettings(clean=0, camera=False)
REAL = Path(__file__).parents[1] / ".." / "shared" / "data" / "reflection" / "train"


def pictures(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rough = rng.random((2, 6, 8, 3)).astype(np.float32)
    grown = np.kron(rough, np.ones((1, 8, 8, 1), np.float32))
    return 0.6 * grown[0] + 0.1, grown[1]


@pytest.mark.parametrize("seed", range(8))
def test_layers_add_up_in_light(seed: int) -> None:
    scene, other = pictures(seed)
    made = compose(np.random.default_rng(seed), scene, other, PLAIN)
    total = made.attenuation * decode(made.transmission) + decode(made.reflection)
    clipped = encode(total)
    assert np.allclose(made.mixture, clipped, atol=2e-3)
    assert np.array_equal(made.transmission, scene)
    for values in (made.mixture, made.reflection):
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.max() <= 1


def test_clean_pictures_are_the_scene_itself() -> None:
    scene, other = pictures(1)
    made = compose(np.random.default_rng(0), scene, other, MixtureSettings(clean=1, camera=False))
    assert np.allclose(made.mixture, scene, atol=1e-5)
    assert not made.reflection.any()


def test_the_same_seed_gives_the_same_mixture() -> None:
    one, two = (random_mixture(np.random.default_rng(7), 32, 48, MixtureSettings()) for _ in range(2))
    assert np.array_equal(one.mixture, two.mixture)
    assert np.array_equal(one.reflection, two.reflection)


def test_a_real_layer_laid_back_gives_the_photo() -> None:
    scene, other = pictures(3)
    made = compose(np.random.default_rng(4), scene, other, PLAIN)
    layer, attenuation = real_layer(made.mixture, made.transmission)
    assert np.allclose(encode(attenuation * decode(scene) + layer), made.mixture, atol=0.12)
    laid = transplant(np.random.default_rng(0), scene, layer, PLAIN, 0.5)
    assert laid.mixture.shape == scene.shape


@pytest.mark.parametrize("seed", range(6))
def test_simulated_people_draw_maps(seed: int) -> None:
    scene, other = pictures(seed)
    made = compose(np.random.default_rng(seed), scene, other, PLAIN)
    apart = residual(made.mixture, made.transmission)
    rng = np.random.default_rng(seed)
    assert not simulate_guide(rng, made.mixture, apart, GuideShares(1, 0, 0, 0, 0, 0)).any()
    for kind in ("masks", "clicks", "boxes", "strokes", "wrong"):
        shares = GuideShares(**{name: float(name == kind) for name in vars(GuideShares())})
        maps = simulate_guide(rng, made.mixture, apart, shares)
        assert maps.shape == (*apart.shape, 2)
        assert maps.min() >= 0
        assert maps.max() <= 1


def test_clicks_and_boxes_hit_their_part() -> None:
    apart = np.zeros((40, 60), np.float32)
    apart[10:30, 20:50] = 0.3
    found = regions(apart, Layer.REFLECTION)
    click, box = centre_click(found.parts[0], Layer.REFLECTION), box_around(found.parts[0], Layer.REFLECTION).box
    assert apart[int(click.y * 40), int(click.x * 60)] > 0
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((20 / 60, 10 / 40, 50 / 60, 30 / 40))
    assert regions(np.zeros((40, 60), np.float32), Layer.REFLECTION).parts == ()


@pytest.mark.skipif(not REAL.is_dir(), reason="the real pairs are not here")
def test_severity_resembles_real_pairs() -> None:
    from magicgen.training.reflection_data import pair_names, read_pair

    names = pair_names(REAL)[::6]
    pairs = [read_pair(REAL, name, 96) for name in names]
    real = [np.mean((p.mixture / 255.0 - p.transmission / 255.0) ** 2) for p in pairs]
    rng = np.random.default_rng(0)
    made = []
    for index in range(60):
        scene = pairs[index % len(pairs)].transmission.astype(np.float32) / 255
        other = pairs[int(rng.integers(len(pairs)))].transmission.astype(np.float32) / 255
        other = cv2.resize(other, scene.shape[1::-1])
        mixture = compose(rng, scene, other, MixtureSettings(clean=0))
        made.append(np.mean((mixture.mixture - mixture.transmission) ** 2))
    decibels = [float(np.mean(-10 * np.log10(values))) for values in (real, made)]
    assert abs(decibels[0] - decibels[1]) < 4
