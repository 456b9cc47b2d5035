"""Segmenters: prompts checked in one place, GrabCut on a drawn thing, SAM from a checkpoint file."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from magicgen.control.geometry import Box
from magicgen.errors import ConfigError, GuideError, MediaError, WeightsError
from magicgen.segmentation.choose import GrabCut, Sam, make_segmenter, parse_choice
from magicgen.segmentation.grabcut import GrabCutSegmenter
from magicgen.segmentation.protocol import outline

SIZE = (90, 130)
BOX = Box(0.3, 0.2, 0.7, 0.8)


def picture() -> tuple[np.ndarray, np.ndarray]:
    """A red ellipse before a green, textured wall, and its mask."""
    rng = np.random.default_rng(1)
    noise = cv2.GaussianBlur(rng.normal(0, 50, SIZE).astype(np.float32), (0, 0), 1.5)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    mask = ((rows - 45) / 27) ** 2 + ((columns - 65) / 26) ** 2 < 1
    colours = np.where(mask[..., None], (200, 60, 50), (70, 120, 60))
    return np.clip(noise[..., None] + colours, 0, 255).astype(np.uint8), mask


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    return float((found & true).sum() / (found | true).sum())


def test_grabcut_by_box_click_and_rough_mask() -> None:
    image, true = picture()
    segmenter = GrabCutSegmenter()
    segmenter.set_image(image)
    rough = np.roll(true, 5, axis=1)
    by_box = segmenter.predict(box=BOX)
    assert overlap(by_box.mask, true) > 0.9
    assert 0 <= by_box.score <= 1
    assert overlap(segmenter.predict([(0.5, 0.5)]).mask, true) > 0.8
    assert overlap(segmenter.predict(mask=rough).mask, true) > 0.85
    assert by_box.mask.shape == SIZE
    assert by_box.mask.dtype == np.bool_


def test_a_click_beside_the_thing_takes_its_part_away() -> None:
    image, _ = picture()
    segmenter = GrabCutSegmenter()
    segmenter.set_image(image)
    found = segmenter.predict([(0.5, 0.5), (0.1, 0.1)], [True, False])
    assert not found.mask[9, 13]
    assert found.mask[45, 65]


def test_grabcut_answers_on_flat_and_tiny_pictures() -> None:
    for size in ((1, 1), (5, 7), (64, 64)):
        segmenter = GrabCutSegmenter()
        segmenter.set_image(np.full((*size, 3), 90, np.uint8))
        assert segmenter.predict(box=BOX).mask.any()
        assert segmenter.predict([(0.5, 0.5)]).mask.any()


def test_the_same_prompt_gives_the_same_mask() -> None:
    image, _ = picture()
    ask = outline(GrabCutSegmenter())
    assert np.array_equal(ask(image, BOX), ask(image, BOX, []))
    assert ask(image, None, [(0.5, 0.5, True)]).any()


def test_prompts_that_say_nothing_or_wrong_things() -> None:
    image, true = picture()
    segmenter = GrabCutSegmenter()
    with pytest.raises(GuideError, match="set_image"):
        segmenter.predict(box=BOX)
    segmenter.set_image(image)
    with pytest.raises(GuideError, match="where the thing is"):
        segmenter.predict()
    with pytest.raises(GuideError, match="where the thing is"):
        segmenter.predict([(0.5, 0.5)], [False])
    with pytest.raises(GuideError, match="not pixels"):
        segmenter.predict([(30, 40)])
    with pytest.raises(GuideError, match="labels"):
        segmenter.predict([(0.5, 0.5)], [True, False])
    with pytest.raises(GuideError, match="rough mask"):
        segmenter.predict(mask=true[:-1])
    with pytest.raises(MediaError, match="RGB"):
        segmenter.set_image(image[..., 0])


def test_choices() -> None:
    assert parse_choice("grabcut") == GrabCut()
    assert parse_choice("sam:a/b.pth") == Sam(Path("a/b.pth"))
    assert parse_choice("none") is None
    for text in ("sam", "sam:", "dino", "grabcut:x"):
        with pytest.raises(ConfigError, match="expected grabcut"):
            parse_choice(text)
    assert isinstance(make_segmenter(GrabCut()), GrabCutSegmenter)


def test_files_that_are_no_sam_checkpoint(tmp_path: Path) -> None:
    import torch

    with pytest.raises(WeightsError, match="no SAM checkpoint"):
        make_segmenter(Sam(tmp_path / "absent.pth"))
    text = tmp_path / "text.pth"
    text.write_text("no weights")
    with pytest.raises(WeightsError, match="cannot be read"):
        make_segmenter(Sam(text))
    other = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(2)}, other)
    with pytest.raises(WeightsError, match="not a SAM checkpoint"):
        make_segmenter(Sam(other))


@pytest.mark.slow
def test_sam_runs_from_a_checkpoint_file(tmp_path: Path) -> None:
    import torch
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    path = tmp_path / "sam_vit_b.pth"
    torch.save(sam_model_registry["vit_b"]().state_dict(), path)
    image, true = picture()
    segmenter = make_segmenter(Sam(path, "cpu"))
    segmenter.set_image(image)
    for prompt in ({"points": [(0.5, 0.5)]}, {"box": BOX}, {"box": BOX, "mask": true}):
        answer = segmenter.predict(**prompt)
        assert answer.mask.shape == SIZE
        assert answer.mask.dtype == np.bool_
        assert 0 <= answer.score <= 1
