"""Real clips to measure on, in the layouts that people have: DAVIS, clip folders, MagicBench's tables, magicgen-data.

By MagicBench's protocol the first 49 frames count; a model that makes fewer is measured on frames spread evenly over
them.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import numpy as np
import numpy.typing as npt

from magicgen.control.fitting import fit_tracks
from magicgen.control.map_video import read_map_video
from magicgen.control.tracks import MaskLevel, Tracks
from magicgen.errors import DatasetError
from magicgen.media import fit, read_image, read_video
from magicgen.training.clips import Clip
from magicgen.training.folder_clips import clip_caption, mask_tracks
from magicgen.training.magic_data import Entry, kept_entries, read_window

# The paper's clip length.
MAGICBENCH_FRAMES = 49
PICTURES = (".jpg", ".jpeg", ".png")
# Column names of tables, in the order in which they are looked for.
VIDEO_COLUMNS = ("video_path", "video", "path")
MAP_COLUMNS = ("mask_path", "mask_video", "mask", "validation_trajectory_maps", "trajectory_maps")
CAPTION_COLUMNS = ("caption", "prompt", "text", "validation_prompt")


@dataclass(frozen=True)
class MaskedClip:
    """Frames (``video.mp4`` or a folder of pictures) and a folder of masks ``NNNNN.png``, one for every frame."""

    name: str
    frames: Path
    masks: Path


@dataclass(frozen=True)
class MappedClip:
    """A video and a map video of MagicMotion's kind that shows the masks of its objects in every frame."""

    name: str
    video: Path
    map: Path
    caption: str


@dataclass(frozen=True)
class StoredClip:
    """A kept clip of a dataset that ``magicgen-data`` built."""

    name: str
    root: Path
    entry: Entry


FoundClip = MaskedClip | MappedClip | StoredClip


def find_clips(root: Path) -> list[FoundClip]:
    """The clips of a folder, by name.

    Layouts: ``dataset.json`` (magicgen-data); ``*.csv`` with columns for video, mask map and caption (MagicBench, paths
    relative to the table); ``JPEGImages/SIZE/NAME`` with ``Annotations/SIZE/NAME`` (DAVIS); ``NAME/video.mp4`` or
    ``NAME/00000.jpg`` ... with ``NAME/masks``.

    Raises:
        DatasetError: nothing of the kind is there.
    """
    found: list[FoundClip] = []
    if (root / "dataset.json").is_file():
        found = [StoredClip(f"clip_{number:05d}", root, entry) for number, entry in enumerate(kept_entries(root))]
    elif tables := sorted(root.glob("*.csv")):
        found = [clip for table in tables for clip in _table_clips(table)]
    elif (root / "Annotations").is_dir():
        annotated = sorted(path.parent for path in root.glob("Annotations/*/*/00000.png"))
        found = [MaskedClip(path.name, root / "JPEGImages" / path.parent.name / path.name, path) for path in annotated]
    else:
        masked = {path.parent for path in root.glob("*/masks")}
        # Beside clips with masks, one without is an oversight to be named; alone, it is another layout.
        for folder in sorted(masked | {path.parent for path in root.glob("*/video.mp4")} if masked else masked):
            video = folder / "video.mp4"
            found.append(MaskedClip(folder.name, video if video.is_file() else folder, folder / "masks"))
    if not found:
        raise DatasetError(
            f"{root} holds no clips. Expected 'NAME/video.mp4' with 'NAME/masks/00000.png' ..., DAVIS's 'JPEGImages' "
            "and 'Annotations', a .csv with columns video_path, mask_path and caption, or a dataset of magicgen-data."
        )
    return found


def read_found(clip: FoundClip, frames: int, height: int, width: int) -> Clip:
    """The first 49 frames of a clip, or ``frames`` spread evenly over them, centre-cropped to the wanted aspect.

    A clip shorter than ``frames`` gives its first 4n + 1 frames.

    Raises:
        DatasetError, MediaError, TrajectoryError: it cannot be read, its masks do not belong to its frames, or no
            object is visible on frame 0.
    """
    match clip:
        case MaskedClip(_, source, masks):
            video, files = _frames(source), sorted(masks.glob("*.png"))
            if len(files) != len(video):
                raise DatasetError(
                    f"{masks}: {len(files)} masks and {len(video)} frames in {source}; every frame needs its mask."
                )
            chosen = chosen_frames(len(video), frames)
            tracks = mask_tracks([files[t] for t in chosen], video.shape[1:3], height, width)
            caption, size = clip_caption(masks.parent), (height, width)
            return Clip(fit(video[chosen], *size), _seen(tracks, source), caption)
        case MappedClip(_, path, drawn, caption):
            video, told = read_video(path, max_frames=MAGICBENCH_FRAMES).frames, read_map_video(drawn)
            if not isinstance(told.level, MaskLevel) or told.tracks.frames < len(video):
                raise DatasetError(f"{drawn} must show a mask of every object in each of the {len(video)} frames.")
            chosen = chosen_frames(len(video), frames)
            fitted = fit_tracks(_at(told.tracks, chosen), height, width, video.shape[1:3])
            return Clip(fit(video[chosen], height, width), fitted, caption)
        case StoredClip(name, root, entry):
            window = read_window(root, entry, chosen_frames(entry.frames, frames), (height, width))
            if window is None:
                raise DatasetError(f"{name} of {root}: no object is visible on the first frame.")
            return window
        case _:
            assert_never(clip)


def chosen_frames(available: int, wanted: int) -> list[int]:
    """``wanted`` frames spread evenly over the first 49 (or all, where there are fewer); 4n + 1 of them."""
    count = min(available, MAGICBENCH_FRAMES)
    taken = (min(wanted, count) - 1) // 4 * 4 + 1
    return [int(frame) for frame in np.round(np.linspace(0, (count if wanted < count else taken) - 1, taken))]


def _frames(source: Path) -> npt.NDArray[np.uint8]:
    if source.is_file():
        return read_video(source).frames
    pictures = sorted(path for path in source.glob("*") if path.suffix.lower() in PICTURES)
    if not pictures:
        raise DatasetError(f"{source} holds neither a video nor frames '00000.jpg', '00001.jpg' ...")
    return np.stack([read_image(path) for path in pictures])


def _seen(tracks: Tracks | None, source: Path) -> Tracks:
    if tracks is None:
        raise DatasetError(f"{source}: no object is visible on the first frame, so there is nothing to follow.")
    return tracks


def _at(tracks: Tracks, chosen: Sequence[int]) -> Tracks:
    assert tracks.masks is not None
    return Tracks(tracks.names, tracks.first_masks, tracks.boxes[:, chosen], tracks.masks[:, chosen])


def _table_clips(table: Path) -> list[FoundClip]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{table} cannot be read as a table ({error}).") from None
    clips: list[FoundClip] = []
    for number, row in enumerate(rows, 2):
        video, drawn = (_first(row, columns) for columns in (VIDEO_COLUMNS, MAP_COLUMNS))
        if not video or not drawn:
            raise DatasetError(
                f"{table}, line {number}: needs a video ({', '.join(VIDEO_COLUMNS)}) and a mask map "
                f"({', '.join(MAP_COLUMNS)}); the columns are {', '.join(map(str, row))}."
            )
        name = f"{Path(video).stem}_{number - 2:04d}"
        clips.append(MappedClip(name, table.parent / video, table.parent / drawn, _first(row, CAPTION_COLUMNS)))
    return clips


def _first(row: dict[str, str | None], columns: Sequence[str]) -> str:
    return next((value.strip() for column in columns if (value := row.get(column))), "")
