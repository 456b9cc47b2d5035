"""What the tracker knows of the whole clip: the background behind the objects, and rigid objects as they were first."""

import cv2
import numpy as np

from magicgen.segmentation.anchor import BLURS, Anchor
from magicgen.segmentation.flow import FrameSequence
from magicgen.segmentation.parts import filled
from magicgen.segmentation.plate import make_plate
from magicgen.segmentation.propagate import _without_specks, propagate_masks

FRAMES, HEIGHT, WIDTH = 9, 96, 144


def wall(rng: np.random.Generator, strength: float = 60.0) -> np.ndarray:
    noise = cv2.GaussianBlur(rng.normal(0, strength, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 2)
    return np.clip(noise[..., None] * 2 + np.array([60, 110, 60]), 0, 255).astype(np.uint8)


def turning_square(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A textured square turns and moves before a plain wall: (T, H, W, 3) and (1, T, H, W)."""
    cloth = np.kron(rng.integers(0, 255, (9, 9, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    ground = wall(rng, 4)
    video, masks = [], []
    for frame in range(FRAMES):
        place = cv2.getRotationMatrix2D((18, 18), 9 * frame, 1)
        place[:, 2] += (24 + 7 * frame, 28)
        cover = cv2.warpAffine(np.ones((36, 36), np.float32), place, (WIDTH, HEIGHT)) > 0.5
        picture = cv2.warpAffine(cloth, place, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        video.append(np.where(cover[..., None], picture, ground))
        masks.append(cover)
    return np.stack(video), np.stack(masks)[None]


def test_the_mask_of_a_rigid_object_does_not_drift() -> None:
    video, masks = turning_square(np.random.default_rng(1))
    found = propagate_masks(video, masks[:, 0])
    shared, both = (found & masks).sum(axis=(2, 3)), (found | masks).sum(axis=(2, 3))
    assert (shared / both)[0, -3:].min() > 0.93


def test_a_first_picture_is_found_again_turned_and_no_longer_when_it_has_changed() -> None:
    video, masks = turning_square(np.random.default_rng(2))
    sequence = FrameSequence(video, HEIGHT)
    anchor = Anchor(sequence.lab(0), masks[0, 0].astype(np.float32), 1 - masks[0, 0].astype(np.float32))
    nothing = np.zeros((HEIGHT, WIDTH), np.float32)
    for frame in (1, 2):
        motion = np.eye(2, 3)
        motion[0, 2] = -6  # a rough guess: it moves by 7 and turns
        anchor.carry(motion)
        smooth = tuple(cv2.GaussianBlur(sequence.lab(frame), (0, 0), blur) for blur in BLURS)
        view = anchor.fit(smooth, nothing)
        assert view is not None
        assert view.rigid > 0.7
        cover = view.mask > 0.5
        assert (cover & masks[0, frame]).sum() / (cover | masks[0, frame]).sum() > 0.93
    grey = tuple(np.full_like(plane, 50) for plane in smooth)
    assert anchor.fit(grey, nothing) is None


def test_the_plate_shows_what_lies_behind_an_object_that_moves_away() -> None:
    rng = np.random.default_rng(3)
    ground = wall(rng)
    video = np.repeat(ground[None], FRAMES, axis=0)
    covered = np.zeros((FRAMES, HEIGHT, WIDTH), np.bool_)
    for frame in range(FRAMES):
        covered[frame, 30:60, 10 + 12 * frame : 40 + 12 * frame] = True
    video[covered] = (220, 40, 40)
    sequence = FrameSequence(video, HEIGHT)
    plate = make_plate(sequence, [(~mask).astype(np.float32) for mask in covered])
    clean = FrameSequence(ground[None], HEIGHT).lab(0)
    view = plate.view(0)
    behind = covered[0] & view.known
    assert behind.sum() > 0.8 * covered[0].sum()
    assert np.abs(view.colour - clean)[behind].mean() < 2
    assert view.spread[view.known].mean() < 4


def test_a_new_hole_is_the_objects_unless_the_background_looks_like_it() -> None:
    labels = np.zeros((2, 40, 40), np.float32)
    labels[1, 5:30, 5:30] = 1
    labels[1, 12:18, 12:18] = 0
    labels[0] = 1 - labels[1]
    nothing = np.zeros((40, 40), np.float32)
    hole = np.zeros((40, 40), np.float32)
    hole[12:18, 12:18] = 1
    assert filled(labels, nothing, nothing)[1, 14, 14] == 1
    assert filled(labels, hole, nothing) is labels  # it was there before
    assert filled(labels, nothing, hole) is labels  # the wall is seen through it
    assert labels[1, 14, 14] == 0


def test_an_object_that_has_left_at_once_is_not_found_in_a_few_pixels() -> None:
    masks = np.zeros((2, 4, HEIGHT, WIDTH), np.bool_)
    masks[:, 0, 20:70, 20:60] = True
    masks[0, 1:3, 20, 20:30] = True  # of 2000 pixels
    masks[1, 1:3, 20:25, 20:30] = True
    masks[:, 3, 20:70, 20:40] = True
    cleaned = _without_specks(masks.copy(), 0.01)
    assert not cleaned[0, 1:3].any()
    assert np.array_equal(cleaned[0, 3], masks[0, 3])
    assert np.array_equal(cleaned[1], masks[1])
