"""The pipeline: set once, predict many; an empty guide is the automatic result; every size and depth; tiles agree."""

import numpy as np
import pytest
import torch

from magicgen.control.guide import Layer, Meaning, PointMark, RemovalGuide, StrokeMark, guide_meaning, resized
from magicgen.errors import GuideError
from magicgen.models.refiner import PATCH
from magicgen.models.reflection import LayerPair
from magicgen.photo.seams import close_seams
from magicgen.progress import Cancelled, CancelToken
from pipelines.reflection_removal import CLOSED, ReflectionRemovalPipeline, _ramp, _spans, finish, working_size
from tests.reflection_tiny import small_network

RNG = np.random.default_rng(2)
PHOTO = np.kron(RNG.integers(0, 256, (8, 11, 3)), np.ones((12, 12, 1))).astype(np.uint8)


def pipeline(octaves: int = 1, *, trained: bool = True, mirrored: bool = True) -> ReflectionRemovalPipeline:
    network = small_network(trained=trained)
    made = ReflectionRemovalPipeline(network.base, network.vae, network.adapter, octaves, mirrored)
    made.set_progress_bar_config(disable=True)
    return made


def evenly(maps: np.ndarray, far: float) -> Meaning:
    """Maps that are followed equally far everywhere."""
    return Meaning(maps, np.full(maps.shape[:2], far, np.float32))


def test_an_untrained_adapter_returns_the_photo_bit_for_bit() -> None:
    result = pipeline(trained=False)(PHOTO)
    assert np.array_equal(result.transmission, PHOTO)
    assert result.changed == 0
    assert not result.mask.any()
    assert not result.reflection.any()


def test_an_empty_guide_is_the_automatic_result_and_a_click_is_not() -> None:
    pipe = pipeline()
    pipe.set_image(PHOTO)
    automatic = pipe().transmission
    assert np.array_equal(pipe(guide=RemovalGuide()).transmission, automatic)
    clicked = pipe(guide=RemovalGuide((PointMark(0.3, 0.4, Layer.REFLECTION),))).transmission
    assert not np.array_equal(clicked, automatic)
    assert np.array_equal(pipe().transmission, automatic), "a click must leave nothing behind"


def test_an_answer_says_what_its_guide_was_taken_to_mean_and_how_far_it_was_followed() -> None:
    pipe, guide = pipeline(), RemovalGuide((PointMark(0.3, 0.4, Layer.REFLECTION),))
    even = np.full_like(PHOTO, 90)  # where everything looks alike, a click means much
    automatic, clicked = pipe(even), pipe(even, guide)
    assert (automatic.meant, automatic.followed) == (None, 1.0)
    solution = pipe.predict()
    meaning = guide_meaning(guide, solution.before)
    assert np.array_equal(clicked.meant, meaning.maps)
    assert clicked.followed == meaning.share < 1
    assert clicked.meant.shape[:2] == solution.before.shape[:2], "never at the photo's own size"
    again = finish(even, pipe.predict(evenly(meaning.maps, 0.5)), strength=0.2)
    assert again.followed == pytest.approx(0.5)
    assert np.array_equal(again.meant, meaning.maps)
    stroke = RemovalGuide((StrokeMark(((0.2, 0.2), (0.8, 0.8)), 0.1, Layer.TRANSMISSION),))
    assert pipe(guide=stroke).followed == 1


@pytest.mark.parametrize(("octaves", "fineness"), [(0, 0.25), (1, 0.5)])
def test_seams_are_closed_where_reflection_is_marked_as_far_as_the_guide_is_followed(
    octaves: int, fineness: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The small network works at a shorter side of 32."""
    pipe, asked = pipeline(octaves), []
    pipe.set_image(PHOTO)
    maps = np.zeros((24, 32, 2), np.float32)
    maps[6:14, 8:20, 0] = 1
    maps[16:20, 8:20, 1] = 1

    def unchanged(picture: np.ndarray, marked: np.ndarray, fineness: float) -> np.ndarray:
        asked.append((marked, fineness))
        return picture

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.reflection_removal.close_seams", unchanged)
        plain, half = (pipe.predict(evenly(maps, far)) for far in (1.0, 0.5))
    height, width = plain.before.shape[:2]
    assert np.allclose(asked[0][0], resized(maps, height, width)[..., 0], atol=1e-6)
    assert asked[0][1] == fineness
    marked = asked[0][0]
    for solution, far in ((plain, 1.0), (half, 0.5)):
        closed = close_seams(solution.transmission, marked, fineness)
        wanted = solution.transmission + CLOSED * far * (closed - solution.transmission)
        assert np.abs(pipe.predict(evenly(maps, far)).transmission - wanted).max() < 1e-5
        assert np.abs(closed - solution.transmission).max() > 1e-3


@torch.no_grad()
def test_the_grid_of_the_patches_does_not_show() -> None:
    pipe = pipeline()
    even = torch.full((1, 3, 96, 96), 0.4)
    nothing, draft = torch.zeros(1, 2, 96, 96), LayerPair(even, torch.zeros_like(even))

    turned = torch.exp(2j * torch.pi * torch.arange(PATCH) / PATCH)

    def wave(layers: LayerPair) -> float:
        """How strongly the middle of a picture repeats with every patch."""
        rows = layers.transmission[0, :, 40:56, 40:56].unflatten(2, (-1, PATCH)).mean(dim=(1, 2))
        return float((rows * turned).sum(dim=1).abs().mean())

    once = wave(pipe.network.refine(even, draft, nothing))
    assert once > 1e-4
    assert wave(pipe._even(even, draft, nothing)) < 0.1 * once


def test_whoever_waits_hears_of_every_part_and_sees_every_octave() -> None:
    told: list[tuple[int, int, tuple[int, ...] | None]] = []
    pipe = pipeline(octaves=1)
    rows, columns = working_size(*PHOTO.shape[:2], 32, pipe.network.step)
    shapes = [(rows, columns, 3), (2 * rows, 2 * columns, 3)]
    click = RemovalGuide((PointMark(0.3, 0.4, Layer.REFLECTION),))

    def hear(done: int, total: int, seen: np.ndarray | None) -> None:
        told.append((done, total, None if seen is None else seen.shape))

    pipe(PHOTO, click, tell=hear)
    assert told == [(1, 2, None), (1, 2, shapes[0]), (2, 2, None), (2, 2, shapes[1])]
    quiet = pipe(PHOTO, click).transmission
    assert np.array_equal(quiet, pipe(PHOTO, click, tell=lambda *_: None).transmission)
    told.clear()
    pipe(PHOTO, tell=hear)
    assert told == [(1, 1, shapes[1])]


def test_the_same_call_gives_the_same_bytes() -> None:
    one, two = pipeline()(PHOTO), pipeline()(PHOTO)
    assert np.array_equal(one.transmission, two.transmission)
    assert np.array_equal(one.reflection, two.reflection)


@pytest.mark.parametrize("size", [(16, 16), (17, 200), (200, 33), (65, 64)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_size_and_depth(size: tuple[int, int], dtype: type) -> None:
    photo = RNG.integers(0, np.iinfo(dtype).max + 1, (*size, 3), dtype=dtype)
    result = pipeline(octaves=2)(photo, RemovalGuide((StrokeMark(((0.2, 0.2), (0.8, 0.8)), 0.1, Layer.REFLECTION),)))
    assert result.transmission.shape == photo.shape
    assert result.transmission.dtype == dtype
    assert result.reflection.dtype == dtype
    assert result.mask.shape == size
    same = result.mask == 0
    assert np.array_equal(result.transmission[same], photo[same])


def test_strength_needs_no_new_solution() -> None:
    pipe = pipeline()
    pipe.set_image(PHOTO)
    solution = pipe.predict()
    assert np.array_equal(finish(PHOTO, solution, 0.0).transmission, PHOTO)
    full, half = (finish(PHOTO, solution, strength).transmission.astype(float) for strength in (1.0, 0.5))
    assert np.abs((PHOTO + full) / 2 - half).max() <= 1


def test_a_mirrored_photo_gives_the_mirrored_result() -> None:
    wide = np.kron(RNG.integers(0, 256, (4, 6, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    pipe = pipeline(octaves=0)
    straight, flipped = pipe(wide).transmission, pipe(np.ascontiguousarray(wide[:, ::-1])).transmission
    assert np.abs(straight[:, ::-1].astype(int) - flipped).max() <= 1


def test_without_a_photo_there_is_nothing_to_answer() -> None:
    pipe = pipeline()
    for ask in (pipe.predict, pipe):
        with pytest.raises(GuideError, match="No photo"):
            ask()


def test_cancelling() -> None:
    pipe, token = pipeline(), CancelToken()
    pipe.set_image(PHOTO)
    token.cancel()
    with pytest.raises(Cancelled):
        pipe.predict(cancel=token)


@pytest.mark.parametrize("length", [16, 512, 528, 960, 976, 1600, 4000])
def test_tiles_cover_everything(length: int) -> None:
    spans = _spans(length, 16)
    covered = np.zeros(length, bool)
    for start, end in spans:
        assert start % 16 == 0 or end == length
        assert (end - start) % 16 == 0 or length % 16
        covered[start:end] = True
    assert covered.all()


def test_ramps_are_never_zero() -> None:
    assert float(_ramp(torch.zeros(1, 3, 40, 50)).min()) > 0


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (3000, 4000), (20, 9000), (1, 1), (400, 401)])
def test_working_sizes(height: int, width: int) -> None:
    rows, columns = working_size(height, width, 64, 16)
    assert rows % 16 == columns % 16 == 0
    assert 16 <= min(rows, columns) <= 96
    assert max(rows, columns) <= 1024
    assert (rows <= columns) == (height <= width) or rows == columns


def test_the_backbone_makes_the_same_video_after_a_removal() -> None:
    network = small_network()
    config = network.base.config
    latents = torch.randn(1, 2, config.in_channels, 4, 6, generator=torch.Generator().manual_seed(1))
    text, time = torch.zeros(1, 6, 8), torch.tensor([100])
    with torch.no_grad():
        before = network.base(latents, text, time, return_dict=False)[0]
        ReflectionRemovalPipeline(network.base, network.vae, network.adapter)(PHOTO)
        after = network.base(latents, text, time, return_dict=False)[0]
    assert torch.equal(before, after)
