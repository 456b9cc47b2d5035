"""A stand-in for another method: a plain script that cuts objects out and pastes them along their boxes.

    python -m benchmarks.plain_cut_and_paste CLIPS --out VIDEOS
    magicgen bench trajectory --data CLIPS --videos plain=VIDEOS

It knows nothing of this project's drafts, placements or models: NumPy, OpenCV's Navier-Stokes inpainting, one crop for
every object, resized to the box of the frame. CLIPS holds ``NAME/video.mp4`` with ``NAME/masks/NNNNN.png``; VIDEOS gets
``NAME.mp4``, as any method's finished videos would lie.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from magicgen.errors import DatasetError, MagicGenError
from magicgen.media import read_video, write_video

UInt8 = npt.NDArray[np.uint8]
FPS = 8.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a video for every clip; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        folders = sorted(path.parent for path in options.clips.glob("*/masks"))
        if not folders:
            raise DatasetError(f"{options.clips} holds no clips; expected NAME/video.mp4 with NAME/masks/00000.png ...")
        options.out.mkdir(parents=True, exist_ok=True)
        for folder in folders:
            print(write_video(options.out / f"{folder.name}.mp4", pasted(folder), FPS))
    except MagicGenError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def pasted(folder: Path) -> UInt8:
    """(T, H, W, 3) uint8: the first frame of a clip with its objects moved along the boxes of their masks.

    Raises:
        DatasetError: there are other numbers of masks and frames.
    """
    first = read_video(folder / "video.mp4").frames[0]
    labels: list[UInt8] = []
    for path in sorted((folder / "masks").glob("*.png")):
        with Image.open(path) as picture:  # a palette's numbers, not its colours
            labels.append(np.asarray(picture, dtype=np.uint8))
    if not labels or labels[0].shape[:2] != first.shape[:2]:
        raise DatasetError(f"{folder / 'masks'}: masks are missing or not of the video's size.")
    numbers = [int(number) for number in np.unique(labels[0]) if number]
    hole = cv2.dilate((labels[0] > 0).astype(np.uint8), np.ones((7, 7), np.uint8))
    ground = cv2.inpaint(np.ascontiguousarray(first), hole, 3, cv2.INPAINT_NS)
    frames = [first]
    for label in labels[1:]:
        frame = ground.copy()
        for number in numbers:
            _paste(frame, first, labels[0] == number, label == number)
        frames.append(frame)
    return np.stack(frames)


def _paste(frame: UInt8, first: UInt8, mask: npt.NDArray[np.bool_], target: npt.NDArray[np.bool_]) -> None:
    if not target.any():
        return
    here, there = cv2.boundingRect(mask.astype(np.uint8)), cv2.boundingRect(target.astype(np.uint8))
    source = np.s_[here[1] : here[1] + here[3], here[0] : here[0] + here[2]]
    size = (there[2], there[3])
    pixels = cv2.resize(first[source], size)
    cover = cv2.resize(mask[source].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    area = frame[there[1] : there[1] + there[3], there[0] : there[0] + there[2]]
    area[cover] = pixels[cover]


if __name__ == "__main__":
    sys.exit(main())
