"""How well masks are followed, found and cut out without weights: mean J (intersection over union) and time.

    python -m benchmarks.segmentation CLIPS                      # everything, on clips in DAVIS form and drawn scenes
    python -m benchmarks.segmentation CLIPS --what track --names bear,dog
    python -m benchmarks.segmentation --what scenes --scenes 24  # held-out synthetic scenes alone

CLIPS is a folder of NAME/video.mp4 and NAME/masks/*.png (pixel value: number of the object, 0 the background).
    track     the first masks given, followed to the end (propagate_masks)
    discover  nothing given; for every object the track that fits it best (discover_tracks)
    cut       one picture and the box of an object, or one click into its middle (GrabCutSegmenter)
    scenes    the tracker on held-out synthetic scenes, 17 frames of 128x192
Frames in which an object is not visible do not count towards its mean; frame 0 does not count where its masks were
given. Times are processor seconds.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.machine import circumstances
from magicgen.control.geometry import Box
from magicgen.control.tracks import boxes_from_masks
from magicgen.errors import DatasetError, MagicGenError
from magicgen.media import read_video, write_image, write_json
from magicgen.segmentation.discover import discover_tracks
from magicgen.segmentation.grabcut import GrabCutSegmenter
from magicgen.segmentation.propagate import propagate_masks
from magicgen.synthetic import SceneSettings, held_out_scenes

RESULTS = Path(__file__).resolve().parent / "results"
UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
TASKS = ("track", "discover", "cut", "scenes")
TINTS = ((230, 40, 40), (40, 200, 60), (50, 90, 240), (240, 210, 40), (220, 60, 220), (50, 210, 220))


@dataclass(frozen=True)
class Row:
    """One clip: mean J of every object, processor seconds, and what else belongs to the task."""

    task: str
    name: str
    frames: int
    objects: tuple[float, ...]
    seconds: float
    note: str = ""

    @property
    def mean(self) -> float:
        """Mean over the objects."""
        return float(np.mean(self.objects))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the measurement; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    cv2.setNumThreads(1)
    try:
        rows = list(_rows(options))
    except MagicGenError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    known = json.loads(options.out.read_text())["rows"] if options.out.is_file() else []
    result = _merged(known, rows, circumstances("segmentation", given))
    print("\n".join(f"{task}: mean J {mean:.3f}" for task, mean in result["means"].items()))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    print(f"written to {write_json(options.out, result)}")
    return 0


def _merged(known: Sequence[dict[str, Any]], rows: Sequence[Row], facts: dict[str, Any]) -> dict[str, Any]:
    """Rows of a result file, with those measured now in the place of the same task and clip."""
    merged = {(row["task"], row["name"]): row for row in known}
    for row in rows:
        merged[row.task, row.name] = {**asdict(row), "mean": row.mean, "made": facts["made"], "commit": facts["commit"]}
    ordered = [merged[key] for key in sorted(merged)]
    fields = [field.name for field in dataclass_fields(Row)]
    return {**facts, "rows": ordered, "means": _means([Row(**{name: row[name] for name in fields}) for row in ordered])}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.segmentation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("clips", type=Path, nargs="?", help="folder of clips in DAVIS form")
    add("--what", choices=("all", *TASKS), default="all")
    add("--names", help="only these clips, separated by commas")
    add("--scenes", type=int, default=24, help="number of synthetic scenes")
    add("--seed", type=int, default=777, help="of the synthetic scenes")
    add("--pictures", type=Path, help="folder for contact sheets: truth beside result")
    add(
        "--out",
        type=Path,
        default=RESULTS / "segmentation.json",
        help="result file; what it holds of other tasks and clips stays",
    )
    return parser


def _rows(options: argparse.Namespace) -> Iterator[Row]:
    tasks = TASKS if options.what == "all" else (options.what,)
    on_clips = [task for task in tasks if task != "scenes"]
    if on_clips:
        for folder in _folders(options):
            video, truth = _read(folder)
            for task in on_clips:
                yield _told(_MEASURES[task](folder.name, video, truth, options.pictures))
    if "scenes" in tasks:
        wish = SceneSettings(frames=17, height=128, width=192)
        for index, scene in enumerate(held_out_scenes(options.scenes, options.seed, wish)):
            assert scene.tracks.masks is not None
            row = _track(f"scene-{index:02d}", scene.video, scene.tracks.masks, options.pictures)
            yield _told(Row("scenes", row.name, row.frames, row.objects, row.seconds, row.note))


def _folders(options: argparse.Namespace) -> list[Path]:
    if options.clips is None or not options.clips.is_dir():
        raise DatasetError(f"Give a folder of clips (NAME/video.mp4, NAME/masks/*.png); got {options.clips}.")
    wanted = None if options.names is None else set(options.names.split(","))
    found = sorted(path.parent for path in options.clips.glob("*/video.mp4"))
    found = [path for path in found if wanted is None or path.name in wanted]
    if not found:
        raise DatasetError(f"{options.clips} holds no NAME/video.mp4 of the names asked for.")
    return found


def _read(folder: Path) -> tuple[UInt8, Bools]:
    video = read_video(folder / "video.mp4").frames
    read = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted((folder / "masks").glob("*.png"))]
    ids = [plane for plane in read if plane is not None]
    if len(ids) != len(video):
        raise DatasetError(f"{folder} has {len(video)} frames and {len(ids)} masks; every frame needs one.")
    numbers = np.stack([plane if plane.ndim == 2 else plane[..., 0] for plane in ids])
    return video, np.stack([numbers == number for number in range(1, int(numbers.max()) + 1)])


def _track(name: str, video: UInt8, truth: Bools, pictures: Path | None) -> Row:
    started = time.process_time()
    found = propagate_masks(video, truth[:, 0])
    seconds = time.process_time() - started
    present = np.asarray(truth[:, 1:].any(axis=(2, 3)))
    ghosts = int((found[:, 1:].any(axis=(2, 3)) & ~present).sum())
    _sheet(pictures, f"{name}-track", video, truth, found)
    objects = _means_where(_jaccard(found, truth)[:, 1:], present)
    note = f"masks where nothing is: {ghosts} of {int((~present).sum())}; taken over by another: {_swaps(found, truth)}"
    return Row("track", name, len(video), objects, seconds, note)


def _swaps(found: Bools, truth: Bools) -> int:
    """Id switches: how often the true object that a mask covers most changes from one frame to the next."""
    if len(truth) < 2:
        return 0
    shared = (found[:, None] & truth[None]).sum(axis=(3, 4))
    owner = np.where(shared.max(axis=1) > 0, shared.argmax(axis=1), -1)
    before, after = owner[:, :-1], owner[:, 1:]
    return int(((before != after) & (before >= 0) & (after >= 0)).sum())


def _discover(name: str, video: UInt8, truth: Bools, pictures: Path | None) -> Row:
    started = time.process_time()
    tracks = discover_tracks(video)
    seconds = time.process_time() - started
    present = np.asarray(truth.any(axis=(2, 3)))
    best: list[float] = []
    for mask, there in zip(truth, present, strict=True):
        fits = [float(_jaccard(track.masks, mask)[there].mean()) for track in tracks]
        best.append(max(fits, default=0.0))
    if tracks:
        _sheet(pictures, f"{name}-discover", video, truth, np.stack([track.masks for track in tracks]))
    return Row("discover", name, len(video), tuple(best), seconds, f"{len(tracks)} tracks")


def _cut(name: str, video: UInt8, truth: Bools, pictures: Path | None) -> Row:
    segmenter = GrabCutSegmenter()
    segmenter.set_image(video[0])
    height, width = truth.shape[2:]
    by_box, by_click = [], []
    started = time.process_time()
    for mask in truth[:, 0]:
        if mask.any():
            by_box.append(segmenter.predict(box=Box(*map(float, boxes_from_masks(mask)))).mask)
            depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
            row, column = np.unravel_index(int(depth.argmax()), depth.shape)
            by_click.append(segmenter.predict([((column + 0.5) / width, (row + 0.5) / height)]).mask)
    seconds = time.process_time() - started
    there = truth[:, 0][truth[:, 0].any(axis=(1, 2))]
    _sheet(pictures, f"{name}-cut", video[:1], there[:, None], np.stack(by_box)[:, None])
    clicked = ", ".join(f"{value:.2f}" for value in _jaccard(np.stack(by_click), there))
    return Row("cut", name, 1, tuple(map(float, _jaccard(np.stack(by_box), there))), seconds, f"by click {clicked}")


_MEASURES = {"track": _track, "discover": _discover, "cut": _cut}


def _jaccard(found: Bools, true: Bools) -> npt.NDArray[np.float64]:
    together = (found | true).sum(axis=(-2, -1))
    return np.where(together == 0, 1.0, (found & true).sum(axis=(-2, -1)) / np.maximum(together, 1))


def _means_where(values: npt.NDArray[np.float64], present: Bools) -> tuple[float, ...]:
    return tuple(float(row[there].mean()) for row, there in zip(values, present, strict=True) if there.any())


def _means(rows: Sequence[Row]) -> dict[str, float]:
    """By task: the mean over clips with one object, and that over the objects of the other clips."""
    means: dict[str, float] = {}
    for task in TASKS:
        mine = [row for row in rows if row.task == task]
        if task == "scenes" and mine:
            means["scenes"] = float(np.mean([value for row in mine for value in row.objects]))
            continue
        single = [row.mean for row in mine if len(row.objects) == 1]
        several = [value for row in mine if len(row.objects) > 1 for value in row.objects]
        if single:
            means[f"{task}, clips of one object"] = float(np.mean(single))
        if several:
            means[f"{task}, objects of other clips"] = float(np.mean(several))
    return means


def _told(row: Row) -> Row:
    values = " ".join(f"{value:.2f}" for value in row.objects)
    each = 1000 * row.seconds / row.frames
    print(f"{row.task:9s} {row.name:14s} J {row.mean:.3f} [{values}]  {row.seconds:.1f} s, {each:.0f} ms a frame; "
          f"{row.note}", flush=True)  # fmt: skip
    return row


def _sheet(folder: Path | None, name: str, video: UInt8, truth: Bools, found: Bools) -> None:
    """Up to six frames, the truth on the left and the result on the right of each."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for frame in np.unique(np.linspace(0, len(video) - 1, 6).astype(int)):
        pair = []
        for masks in (truth, found):
            picture = video[frame].astype(np.float32)
            for index, mask in enumerate(masks[:, frame]):
                picture[mask] = 0.45 * picture[mask] + 0.55 * np.array(TINTS[index % len(TINTS)], np.float32)
            height = round(320 * picture.shape[0] / picture.shape[1])
            pair.append(cv2.resize(picture.astype(np.uint8), (320, height), interpolation=cv2.INTER_AREA))
        rows.append(np.hstack(pair))
    write_image(folder / f"{name}.png", np.vstack(rows))


if __name__ == "__main__":
    sys.exit(main())
