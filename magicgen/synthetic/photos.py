"""Photos inside the scikit-image wheel as textures: public domain and CC0 pictures only, nothing is downloaded.

Two disjoint sets: :data:`TRAIN_PHOTOS`, and :data:`HELD_OUT_PHOTOS`, which training scenes never show.
"""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.errors import MediaError
from magicgen.synthetic.colours import Images, random_palette

TRAIN_PHOTOS = (
    "brick.png",
    "camera.png",
    "cell.png",
    "clock_motion.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "retina.jpg",
)
PLAIN_PHOTOS = frozenset({"retina.jpg", "cell.png", "clock_motion.png", "coins.png"})
PLAIN_WEIGHT = 0.4
"""Pictures with large even areas are drawn less often."""
HELD_OUT_PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


@cache
def photo(name: str) -> Images:
    """(H, W, 3) uint8 RGB; read once per process. Raises MediaError where the installed wheel lacks the file."""
    import skimage

    path = Path(skimage.__file__).parent / "data" / name
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise MediaError(f"scikit-image's picture {name} is missing or unreadable at {path}; reinstall scikit-image.")
    return np.ascontiguousarray(image[..., ::-1])


def photo_crop(rng: np.random.Generator, height: int, width: int, held_out: bool = False) -> Images:
    """A random part of a random photo, (height, width, 3) uint8, with flips, zoom and colour jitter."""
    names = HELD_OUT_PHOTOS if held_out else TRAIN_PHOTOS
    weights = np.array([PLAIN_WEIGHT if name in PLAIN_PHOTOS else 1.0 for name in names])
    source = photo(names[int(rng.choice(len(names), p=weights / weights.sum()))])
    rows, columns = source.shape[:2]
    largest = min(rows / height, columns / width)
    scale = largest * rng.uniform(0.3, 1.0)
    crop_h, crop_w = max(2, int(height * scale)), max(2, int(width * scale))
    y, x = int(rng.integers(rows - crop_h + 1)), int(rng.integers(columns - crop_w + 1))
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    crop = cv2.resize(source[y : y + crop_h, x : x + crop_w], (width, height), interpolation=method)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if rng.random() < 0.15:
        crop = crop[::-1]
    return jitter(rng, np.ascontiguousarray(crop))


def jitter(rng: np.random.Generator, image: Images) -> Images:
    """Random gain, gamma and channel mixing; grey pictures mostly become two- or three-coloured ones."""
    steps = np.arange(256) / 255
    curve = 255 * np.clip((steps ** rng.uniform(0.75, 1.35)) * rng.uniform(0.8, 1.15) + rng.uniform(-0.06, 0.06), 0, 1)
    is_grey = np.array_equal(image[::7, ::7, 0], image[::7, ::7, 2])
    if is_grey and rng.random() < 0.8:
        tinted = _tinted(rng, image[..., 0], curve)
        if rng.random() < 0.5:
            return tinted
        # another tint in some places, as things of different colours stand next to each other
        other = _tinted(rng, image[..., 0], curve)
        coarse = rng.random((int(rng.integers(2, 7)), int(rng.integers(2, 7))), dtype=np.float32)
        field = cv2.resize(coarse, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_CUBIC)
        share = np.clip((field - 0.5) * np.float32(rng.choice([4.0, 40.0])) + 0.5, 0, 1)[..., None]
        return (tinted * (1 - share) + other * share).astype(np.uint8)
    mixed = cv2.LUT(image, curve.astype(np.uint8))
    if rng.random() < 0.4:
        mixed = mixed[..., rng.permutation(3)]
    gains = rng.uniform(0.8, 1.15, 3)
    table = np.clip(np.arange(256)[:, None] * gains, 0, 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(mixed), table[None])


def _tinted(rng: np.random.Generator, grey: Images, curve: npt.NDArray[np.float64]) -> Images:
    """A grey picture through a table of three colours from dark to light."""
    colours = random_palette(rng, 3)
    levels = np.array([rng.uniform(0, 70), rng.uniform(90, 160), rng.uniform(190, 255)], np.float32)
    colours = np.clip(colours * (levels / np.maximum(colours.mean(axis=1), 20))[:, None], 0, 255)
    table = np.stack([np.interp(curve, [0, 128, 255], colours[:, channel]) for channel in range(3)], axis=1)
    return table.astype(np.uint8)[grey]
