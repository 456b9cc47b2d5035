"""Own clips as training data: folders in the DAVIS layout, as ``magicgen.synthetic`` writes and DAVIS ships them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from magicgen.control.tracks import Tracks, boxes_from_masks
from magicgen.errors import DatasetError
from magicgen.media import fit, read_video
from magicgen.training.clips import Clip

LARGEST_STRIDE = 3


@dataclass(frozen=True)
class FolderClips:
    """Clips ``ROOT/NAME/video.mp4`` with ``masks/NNNNN.png`` (0 background, 1..N objects), perhaps ``caption.txt``.

    Clip ``i`` is a random window of a random video (frame stride 1 to 3), centre-cropped to the wanted aspect; it
    depends on (seed, i) alone. Windows in which no object is visible on the first frame are drawn again.
    """

    root: Path
    frames: int
    height: int
    width: int
    seed: int

    def __post_init__(self) -> None:
        if not self._folders():
            raise DatasetError(
                f"{self.root} holds no clips. Expected folders with 'video.mp4' and 'masks/00000.png', "
                "'masks/00001.png', ..."
            )

    def _folders(self) -> list[Path]:
        return sorted(path.parent for path in self.root.glob("*/video.mp4") if (path.parent / "masks").is_dir())

    def clip(self, index: int) -> Clip:
        """Window ``index`` of this seed.

        Raises:
            DatasetError: a clip is shorter than wanted, or its masks do not belong to its frames.
        """
        rng = np.random.default_rng([self.seed, index])
        folders = self._folders()
        for _ in range(20):
            folder = folders[int(rng.integers(len(folders)))]
            clip = self._window(folder, rng)
            if clip is not None:
                return clip
        raise DatasetError(
            f"{self.root}: twenty windows in a row show no object on their first frame; check the masks."
        )

    def _window(self, folder: Path, rng: np.random.Generator) -> Clip | None:
        video, files = _frames_and_masks(folder)
        longest = (len(video) - 1) // max(self.frames - 1, 1)
        if longest < 1:
            raise DatasetError(f"{folder}: {len(video)} frames are fewer than the {self.frames} of a training clip.")
        stride = int(rng.integers(1, min(longest, LARGEST_STRIDE) + 1))
        start = int(rng.integers(0, len(video) - stride * (self.frames - 1)))
        chosen = range(start, start + stride * (self.frames - 1) + 1, stride)
        tracks = mask_tracks([files[t] for t in chosen], video.shape[1:3], self.height, self.width)
        if tracks is None:
            return None
        return Clip(fit(video[list(chosen)], self.height, self.width), tracks, clip_caption(folder))


def _frames_and_masks(folder: Path) -> tuple[npt.NDArray[np.uint8], list[Path]]:
    video = read_video(folder / "video.mp4").frames
    files = sorted((folder / "masks").glob("*.png"))
    if len(files) != len(video):
        raise DatasetError(f"{folder}: {len(video)} frames and {len(files)} masks; every frame needs its mask.")
    return video, files


def mask_tracks(files: Sequence[Path], size: tuple[int, ...], height: int, width: int) -> Tracks | None:
    """Tracks of the objects that are visible on the first of these masks, or None; masks cut to the wanted aspect.

    Args:
        files: one picture of object numbers for every frame, of ``size`` (H, W).
        height, width: of the tracks.

    Raises:
        DatasetError: a mask cannot be read or has another size.
    """
    labels = np.stack([_labels(path, size) for path in files])
    numbers = [number for number in np.unique(labels[0]) if number != 0]
    if not numbers:
        return None
    masks = np.stack([_fitted(labels == number, height, width) for number in numbers])
    masks = masks[masks[:, 0].any(axis=(1, 2))]
    if not len(masks):
        return None
    names = tuple(f"object_{k}" for k in range(len(masks)))
    return Tracks(names, masks[:, 0], boxes_from_masks(masks), masks)


def _fitted(mask: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    grey = np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=-1)
    return fit(grey, height, width)[..., 0] > 127


def _labels(path: Path, size: tuple[int, ...]) -> npt.NDArray[np.int32]:
    """(H, W) object numbers: palette and grey masks by value, colour masks by colour, 0 for the background."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image).astype(np.int32)
    except OSError as error:
        raise DatasetError(f"{path} is not a readable mask ({error}).") from error
    if pixels.shape[:2] != tuple(size):
        raise DatasetError(f"{path} is {pixels.shape[1]}x{pixels.shape[0]}; its video is {size[1]}x{size[0]}.")
    return pixels if pixels.ndim == 2 else pixels[..., :3] @ np.array([65536, 256, 1], dtype=np.int32)


def clip_caption(folder: Path) -> str:
    """The caption from ``caption.txt`` or ``scene.json``, empty where there is neither."""
    if (folder / "caption.txt").is_file():
        return (folder / "caption.txt").read_text().strip()
    if (folder / "scene.json").is_file():
        return str(json.loads((folder / "scene.json").read_text()).get("caption", ""))
    return ""
