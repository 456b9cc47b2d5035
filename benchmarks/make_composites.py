"""A benchmark of real objects with exact masks: cut from real clips, pasted along scripted paths into other clips.

    python -m benchmarks.make_composites CLIPS --out COMPOSITES              # 60 of them, ten of every object count
    magicgen bench trajectory --data COMPOSITES --frames 17 --height 128 --width 192

CLIPS holds folders ``NAME/video.mp4`` (or ``NAME/*.jpg``) with ``NAME/masks/NNNNN.png``, object numbers as in DAVIS.
Objects move as they do in their clip (legs walk) while their place and size follow the script; objects in front hide
those behind them, some leave the picture. The scene is a frame of another clip with its own objects filled in, or with
--live the other clip itself, whose objects then belong to the tracked ones. What is written has the same layout, and
beside it ``scene.json`` with every source and box. It carries the licence of the clips and stays outside the package.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.inpaint import fill_holes
from magicgen.control.tracks import Bools, boxes_from_masks
from magicgen.errors import DatasetError, MagicGenError
from magicgen.media import fit, read_image, read_video, write_image, write_json, write_video
from magicgen.synthetic.scene import HELD_OUT_GROUPS

UInt8 = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]

# An object fit to be pasted is whole in every frame: this share of its largest area at least, away from the border.
LEAST_SHARE = 0.5
# ... and in one piece: the largest connected part has this share of it.
LEAST_PIECE = 0.85
# Share of the picture's area that an object has on frame 0, and how much of it must be seen there.
AREAS = (0.02, 0.12)
LEAST_SEEN = 0.5
LEAVING = 0.12
TRIES = 200


@dataclass(frozen=True)
class Shape:
    """Size of the composites."""

    frames: int
    height: int
    width: int


@dataclass(frozen=True)
class RealClip:
    """A clip with its object numbers: video (T, H, W, 3) uint8, labels (T, H, W) int (0 background)."""

    name: str
    video: UInt8
    labels: npt.NDArray[np.int32]


@dataclass(frozen=True)
class CutOut:
    """An object cut from ``frames`` frames of a clip.

    Attributes:
        source: clip and object number, for the record.
        pixels: (h, w, 3) uint8 for every frame, the object's bounding box, with colours continued beyond the edge.
        covers: (h, w) float32 in [0, 1] for every frame, of the same box.
    """

    source: str
    pixels: tuple[UInt8, ...]
    covers: tuple[npt.NDArray[np.float32], ...]


@dataclass(frozen=True)
class Composite:
    """What is written: video (T, H, W, 3) uint8, visible masks (N, T, H, W) bool from back to front, where from."""

    video: UInt8
    masks: Bools
    background: str
    sources: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the set; returns the exit code."""
    options = _parser().parse_args(arguments)
    shape = Shape(options.frames, options.height, options.width)
    try:
        clips = read_clips(options.clips, shape)
        for index in range(options.count):
            low, high = HELD_OUT_GROUPS[index % len(HELD_OUT_GROUPS)]
            rng = np.random.default_rng([options.seed, index])
            count = int(rng.integers(low, high + 1))
            made = compose(rng, clips, count, shape, live=options.live)
            folder = options.out / f"composite_{index:03d}"
            write_composite(folder, made, options.fps)
            print(folder, flush=True)
    except MagicGenError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("clips", type=Path, help="folder of clips with masks")
    add("--out", type=Path, required=True)
    add("--count", type=int, default=60)
    add("--frames", type=int, default=49)
    add("--height", type=int, default=256)
    add("--width", type=int, default=384)
    add("--fps", type=float, default=8.0)
    add("--seed", type=int, default=0)
    add("--live", action="store_true", help="moving backgrounds: the other clip as it is, its objects tracked too")
    return parser


def read_clips(root: Path, shape: Shape) -> list[RealClip]:
    """All clips of a folder that are long enough, centre-cropped to the shape's aspect and size.

    Raises:
        DatasetError: fewer than two of them, or masks that do not belong to their frames.
    """
    clips = []
    for folder in sorted(path.parent for path in root.glob("*/masks")):
        video = _frames(folder)
        files = sorted((folder / "masks").glob("*.png"))
        if len(files) != len(video):
            raise DatasetError(f"{folder}: {len(video)} frames and {len(files)} masks; every frame needs its mask.")
        if len(video) < shape.frames:
            print(f"{folder.name}: {len(video)} frames are fewer than {shape.frames}; left out", file=sys.stderr)
            continue
        labels = np.stack([_labels(path, video.shape[1:3], shape) for path in files])
        clips.append(RealClip(folder.name, fit(video, shape.height, shape.width), labels))
    if len(clips) < 2:
        raise DatasetError(
            f"{root} holds {len(clips)} clips of {shape.frames} frames or more with masks; objects are pasted into "
            "other clips than their own, so at least two are needed. Give more clips or fewer --frames."
        )
    return clips


def _frames(folder: Path) -> UInt8:
    if (folder / "video.mp4").is_file():
        return read_video(folder / "video.mp4").frames
    pictures = sorted(folder.glob("*.jpg"))
    if not pictures:
        raise DatasetError(f"{folder} has masks but neither 'video.mp4' nor frames '00000.jpg', '00001.jpg' ...")
    return np.stack([read_image(path) for path in pictures])


def _labels(path: Path, size: tuple[int, ...], shape: Shape) -> npt.NDArray[np.int32]:
    from PIL import Image

    with Image.open(path) as image:
        numbers = np.asarray(image)
    if numbers.ndim != 2 or numbers.shape != tuple(size):
        raise DatasetError(
            f"{path} must be a picture of object numbers of its video's size {size}; got {numbers.shape}."
        )
    fitted = np.zeros((shape.height, shape.width), np.int32)
    for number in np.unique(numbers[numbers > 0]):
        plane = np.repeat((numbers == number)[..., None].astype(np.uint8) * 255, 3, axis=-1)
        fitted[fit(plane, shape.height, shape.width)[..., 0] > 127] = number
    return fitted


def compose(rng: np.random.Generator, clips: Sequence[RealClip], count: int, shape: Shape, *, live: bool) -> Composite:
    """A composite of ``count`` pasted objects; the same generator state gives the same pixels.

    Raises:
        DatasetError: no arrangement was found in which every object is seen on frame 0.
    """
    for _ in range(TRIES):
        ground = clips[int(rng.integers(len(clips)))]
        others = [clip for clip in clips if clip is not ground]
        cuts = [_cut_out(rng, others, shape.frames) for _ in range(count)]
        video, masks, sources = _scene(rng, ground, shape, live)
        for cut in cuts:
            if cut is None:
                break
            placed = _paste(video, cut, _path(rng, cut, shape))
            masks = [mask & ~placed for mask in masks] + [placed]
            sources.append(cut.source)
        first = [mask[0].sum() for mask in masks]
        if None not in cuts and min(first) >= LEAST_SEEN * AREAS[0] * shape.height * shape.width:
            return Composite(video, np.stack(masks), ground.name, tuple(sources))
    raise DatasetError(f"{count} objects could not be arranged so that all are seen on frame 0; give other clips.")


def _scene(
    rng: np.random.Generator, ground: RealClip, shape: Shape, live: bool
) -> tuple[UInt8, list[Bools], list[str]]:
    """Background frames, and the masks and names of objects that belong to them (none for a still scene)."""
    start = int(rng.integers(0, len(ground.video) - shape.frames + 1))
    if live:
        window = slice(start, start + shape.frames)
        labels = ground.labels[window]
        numbers = [number for number in np.unique(labels[0]) if number]
        masks = [labels == number for number in numbers]
        return ground.video[window].copy(), masks, [f"{ground.name}:{number}" for number in numbers]
    hole = cv2.dilate((ground.labels[start] > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    return np.repeat(fill_holes(ground.video[start], hole)[None], shape.frames, axis=0), [], []


def _cut_out(rng: np.random.Generator, clips: Sequence[RealClip], frames: int) -> CutOut | None:
    """A random object over a random window in which it is whole; None where twenty draws find none."""
    for _ in range(20):
        clip = clips[int(rng.integers(len(clips)))]
        start = int(rng.integers(0, len(clip.video) - frames + 1))
        labels = clip.labels[start : start + frames]
        numbers = np.unique(labels[0][labels[0] > 0])
        if not len(numbers):
            continue
        number = int(rng.choice(numbers))
        masks = labels == number
        areas = masks.sum(axis=(1, 2))
        rim = masks[:, [0, -1]].any() or masks[:, :, [0, -1]].any()
        if areas.min() < max(LEAST_SHARE * areas.max(), 100) or rim or not all(_in_one_piece(mask) for mask in masks):
            continue
        flip = bool(rng.random() < 0.5)
        pairs = [_crop(frame, mask, flip) for frame, mask in zip(clip.video[start:], masks, strict=False)]
        name = f"{clip.name}:{number}@{start}{' mirrored' if flip else ''}"
        return CutOut(name, tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))
    return None


def _in_one_piece(mask: Bools) -> bool:
    """Whether nothing in front of the object cuts a large part off."""
    _, _, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return bool(facts[1:, cv2.CC_STAT_AREA].max() >= LEAST_PIECE * mask.sum())


def _crop(frame: UInt8, mask: Bools, flip: bool) -> tuple[UInt8, npt.NDArray[np.float32]]:
    """The bounding box of a mask: pixels whose colours go on beyond the edge, and coverage."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside = mask[window].astype(np.uint8)
    # The outermost pixels are mixed with the old background: colours come from one pixel further in.
    core = cv2.erode(inside, np.ones((3, 3), np.uint8))
    core = core if core.any() else inside
    _, labels = cv2.distanceTransformWithLabels(1 - core, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    nearest = np.zeros((labels.max() + 1, 3), np.uint8)
    nearest[labels[core > 0]] = frame[window][core > 0]
    pixels, cover = nearest[labels], inside.astype(np.float32)
    return (pixels[:, ::-1], cover[:, ::-1]) if flip else (pixels, cover)


@dataclass(frozen=True)
class _Path:
    """Centres (T, 2) in pixels, x and y, and the factor (T,) on the cut's own pixels."""

    centres: Doubles
    scales: Doubles


def _path(rng: np.random.Generator, cut: CutOut, shape: Shape) -> _Path:
    """A smooth path through the picture with a change of size; some end outside."""
    area = rng.uniform(*AREAS) * shape.height * shape.width
    start = float(np.sqrt(area / max(float(cut.covers[0].sum()), 1.0)))
    end = start * float(np.exp(rng.uniform(-0.4, 0.4)))
    size = np.array([shape.width, shape.height], np.float64)
    first, last = rng.uniform(0.2, 0.8, 2), rng.uniform(0.15, 0.85, 2)
    if rng.random() < LEAVING:
        last[0] = rng.choice([-0.4, 1.4])
    bend = rng.normal(0, 0.12, 2)
    times = np.linspace(0, 1, shape.frames)[:, None]
    eased = times if rng.random() < 0.5 else times * times * (3 - 2 * times)
    centres = first + (last - first) * eased + bend * np.sin(np.pi * eased)
    scales = start * (end / start) ** eased[:, 0]
    return _Path(centres * size, scales)


def _paste(video: UInt8, cut: CutOut, path: _Path) -> Bools:
    """Blend a cut into every frame, in place; returns where it is, (T, H, W) bool."""
    frames, height, width = video.shape[:3]
    places = np.zeros((frames, height, width), np.bool_)
    for frame in range(frames):
        cover, scale = cut.covers[frame], path.scales[frame]
        rows, columns = cover.shape
        offset = path.centres[frame] - scale * (np.array([columns, rows]) - 1) / 2
        matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
        if scale < 0.7:
            size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
            ratio = np.diag([columns / size[0], rows / size[1], 1.0])
            pixels = cv2.resize(cut.pixels[frame], size, interpolation=cv2.INTER_AREA)
            cover, matrix = cv2.resize(cover, size, interpolation=cv2.INTER_AREA), matrix @ ratio
        else:
            pixels = np.ascontiguousarray(cut.pixels[frame])
        moved = cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        alpha = cv2.warpAffine(np.ascontiguousarray(cover), matrix, (width, height), flags=cv2.INTER_LINEAR)
        alpha = cv2.GaussianBlur(alpha, (3, 3), 0.6) * (alpha > 0)
        video[frame] = np.rint(alpha[..., None] * moved + (1 - alpha[..., None]) * video[frame]).astype(np.uint8)
        places[frame] = alpha >= 0.5
    return places


def write_composite(folder: Path, made: Composite, fps: float) -> None:
    """Write ``video.mp4``, ``masks/NNNNN.png`` (object numbers from 1) and ``scene.json``.

    Raises:
        DatasetError: the folder cannot be made.
    """
    try:
        (folder / "masks").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"Cannot make {folder} ({error.strerror}); give --out a folder that is writable.") from None
    write_video(folder / "video.mp4", made.video, fps)
    for frame in range(len(made.video)):
        numbers = np.zeros(made.masks.shape[2:], np.uint8)
        for index, mask in enumerate(made.masks[:, frame]):
            numbers[mask] = index + 1
        write_image(folder / "masks" / f"{frame:05d}.png", numbers)
    boxes = boxes_from_masks(made.masks)
    listed = [[None if np.isnan(box[0]) else [round(float(v), 5) for v in box] for box in row] for row in boxes]
    objects = [{"source": source, "boxes": row} for source, row in zip(made.sources, listed, strict=True)]
    write_json(folder / "scene.json", {"caption": "", "background": made.background, "fps": fps, "objects": objects})


if __name__ == "__main__":
    sys.exit(main())
