"""The dataset builder measured: quality without weights, the motion filter, speed, kill and resume, Ray, exports.

    python -m benchmarks.data                        # all parts
    python -m benchmarks.data --what motion --what exports
    python -m benchmarks.data --clips DIR            # folders with video.mp4 and masks/NNNNN.png (DAVIS layout)

Results of every part are merged into benchmarks/results/data.json.
"""

import argparse
import contextlib
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from data_tools.build import BuildRequest, BuildResult, build
from data_tools.dataset import rows_of
from data_tools.decode import clip_writer
from data_tools.export.clips import ExportClip
from data_tools.export.run import FORMATS, ExportRequest, export
from data_tools.inline import InlineEngine
from data_tools.settings import DataSettings
from data_tools.validate import validate
from data_tools.work import Work
from magicgen.commands.output import table
from magicgen.config import check_config
from magicgen.errors import MagicGenError
from magicgen.media import read_video

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "data.json"
CLIPS = ROOT / ".." / "shared" / "data" / "clips"
_VERSION_FRAMES = 48  # of a clip in the test of the motion filter
Bools = npt.NDArray[np.bool_]
UInt8 = npt.NDArray[np.uint8]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts; returns the exit code."""
    options = _parser().parse_args(arguments)
    parts: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
        "quality": measure_quality,
        "motion": measure_motion_filter,
        "speed": measure_speed,
        "resume": measure_resume,
        "ray": measure_ray,
        "exports": measure_exports,
    }
    if not any(options.clips.glob("*/video.mp4")):
        print(f"error: {options.clips} holds no clips (folders with video.mp4 and masks/)", file=sys.stderr)
        return 2
    for name in options.what or parts:
        with tempfile.TemporaryDirectory(prefix="magicgen-bench-", dir=options.scratch) as folder:
            result = parts[name](options, Path(folder))
        _keep(name, result, options.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--what", action="append", choices=("quality", "motion", "speed", "resume", "ray", "exports"))
    add("--clips", type=Path, default=CLIPS)
    add("--only", action="append", help="names of clips; by default all")
    add("--kills", type=int, default=20, help="moments at which the build is killed")
    add("--videos", type=int, default=12, help="videos of the build that is killed")
    add("--ray-clips", type=int, default=1000)
    add("--ray-frames", type=int, default=16, help="frames of each of them, 96x128 pixels")
    add("--seed", type=int, default=0)
    add("--scratch", type=Path, default=None, help="folder for temporary datasets")
    add("--out", type=Path, default=RESULTS)
    return parser


def _videos(options: argparse.Namespace) -> list[Path]:
    found = sorted(options.clips.resolve().glob("*/video.mp4"))
    return [path for path in found if not options.only or path.parent.name in options.only]


def _settings(**build_values: Any) -> DataSettings:
    return check_config({"build": build_values, "run": {"workers": 1}}, DataSettings, source="benchmark")


def _build(settings: DataSettings, out: Path, inputs: Sequence[Path]) -> BuildResult:
    return build(BuildRequest(inputs, out, settings), InlineEngine(Work(settings.build, out.resolve())))


# Quality: tracks against ground truth.


def measure_quality(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Mean J (intersection over union over all frames) from discovery on, and with the first mask given."""
    rows: dict[str, dict[str, Any]] = {}
    for name, annotation in (("discovery", {"kind": "embedded"}), ("first_mask", {"kind": "given", "use": "first"})):
        out = scratch / name
        _build(_settings(annotation=annotation), out, _videos(options))
        for row in rows_of(out):
            clip = ExportClip(out, {**row, "kept_tracks": [track["track_id"] for track in row["tracks"]]})
            truth = _truth(Path(row["source_uri"]), row["start_frame"], row["end_frame"])
            entry = rows.setdefault(Path(row["source_uri"]).parent.name, {"objects": len(truth)})
            entry[name] = [round(_best(clip.masks, one), 4) for one in truth]
            entry[f"{name}_status"] = row["status"]
            entry[f"{name}_switches"] = _switches(clip.masks, truth)
    single = [entry for entry in rows.values() if entry["objects"] == 1]
    means = {
        name: round(float(np.mean([entry[name][0] for entry in single if entry.get(name)])), 4)
        for name in ("discovery", "first_mask")
        if single
    }
    shown: list[tuple[str, ...]] = [("clip", "discovery J", "first mask J", "switches", "decision")]
    shown += [
        (
            name,
            " ".join(f"{value:.3f}" for value in entry.get("discovery", [])),
            " ".join(f"{value:.3f}" for value in entry.get("first_mask", [])),
            str(entry.get("first_mask_switches", "")),
            str(entry.get("discovery_status", "")),
        )
        for name, entry in sorted(rows.items())
    ]
    print(table([*shown, ("mean of single-object clips", *(f"{value:.3f}" for value in means.values()), "", "")]))
    return {"clips": rows, "mean_single_object": means}


def _truth(video: Path, start: int, end: int) -> Bools:
    """(N, T, H, W) masks of the ground truth."""
    files = sorted((video.parent / "masks").glob("*.png"))[start:end]
    labels = np.stack([np.asarray(Image.open(file)) for file in files])
    return np.stack([labels == number for number in np.unique(labels) if number])


def _best(masks: Bools, truth: Bools) -> float:
    """J of the track that matches best; frames in which both are empty count as right."""
    return max((float(np.mean(_overlaps(mask, truth))) for mask in masks), default=0.0)


def _overlaps(masks: Bools, truth: Bools) -> npt.NDArray[np.float64]:
    common, either = (masks & truth).sum(axis=(1, 2)), (masks | truth).sum(axis=(1, 2))
    return np.where(either == 0, 1.0, common / np.maximum(either, 1))


def _switches(masks: Bools, truth: Bools) -> int:
    """How often the track that covers an object best changes from frame to frame."""
    count = 0
    for one in truth:
        overlaps = np.array([_overlaps(mask, one) for mask in masks]).reshape(len(masks), len(one))
        covered = overlaps.max(axis=0, initial=0) > 0.1
        best = overlaps.argmax(axis=0)[covered] if len(masks) else np.zeros(0)
        count += int((np.diff(best) != 0).sum())
    return count


# The motion filter on clips and their spoiled versions.


def measure_motion_filter(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """The clips, frozen, a still panned, and shuffled, with ground-truth masks: which the filters keep."""
    for video in _videos(options):
        _write_versions(video, scratch / "in", options.seed)
    kinds = ("real", "frozen", "panned", "shuffled")
    out = scratch / "set"
    _build(_settings(annotation={"kind": "given"}), out, [scratch / "in"])
    rows = {}
    for row in rows_of(out):
        name, kind = Path(row["source_uri"]).parent.name.rsplit(".", 1)
        reasons = [reason for reason in row["reasons"] if reason != "copy_distance"]
        tracks = row["tracks"]
        rows[f"{name}.{kind}"] = {
            "kept": not reasons,
            "reasons": reasons,
            "residual": max((track["scores"]["residual"] for track in tracks), default=None),
            "ratio": max((track["scores"]["motion_ratio"] for track in tracks), default=None),
            "order": row["scores"]["order"],
            "consistency": row["scores"]["flow_consistency"],
        }
    right = sum(entry["kept"] == name.endswith(".real") for name, entry in rows.items())
    shown: list[tuple[str, ...]] = [("clip", "kept", "residual", "ratio", "order", "consistency", "reasons")]
    for name, entry in sorted(rows.items(), key=lambda pair: (kinds.index(pair[0].rsplit(".", 1)[1]), pair[0])):
        numbers = (entry["residual"], entry["ratio"], entry["order"], entry["consistency"])
        texts = ("-" if value is None else f"{value:.4f}" for value in numbers)
        shown.append((name, str(entry["kept"]), *texts, " ".join(entry["reasons"])))
    print(table(shown))
    print(f"{right} of {len(rows)} right")
    return {"right": right, "of": len(rows), "clips": rows}


def _write_versions(video: Path, folder: Path, seed: int) -> None:
    loaded = read_video(video, max_frames=_VERSION_FRAMES)
    frames, fps = loaded.frames, loaded.fps
    files = sorted((video.parent / "masks").glob("*.png"))[: len(frames)]
    labels = np.stack([np.asarray(Image.open(file)) for file in files])
    order = np.random.default_rng(seed).permutation(len(frames))
    still = np.zeros(len(frames), dtype=np.intp)
    name = video.parent.name
    _write(folder / f"{name}.real", frames, labels, fps)
    _write(folder / f"{name}.frozen", frames[still], labels[still], fps)
    _write(folder / f"{name}.shuffled", frames[order], labels[order], fps)
    _write(folder / f"{name}.panned", _panned(frames[0], len(frames)), _panned(labels[0], len(frames)), fps)


def _panned(picture: UInt8, count: int) -> UInt8:
    """A window that glides over a still picture and comes a little closer."""
    import cv2

    height, width = picture.shape[:2]
    how = cv2.INTER_AREA if picture.ndim == 3 else cv2.INTER_NEAREST
    cells = []
    for share in np.linspace(0, 1, count):
        scale = 0.85 - 0.05 * share
        h, w = height * scale, width * scale
        x, y = share * (width - w), share * (height - h)
        corners = np.array([[w / width, 0, x], [0, h / height, y]], np.float32)
        flags = (cv2.INTER_CUBIC if how == cv2.INTER_AREA else how) | cv2.WARP_INVERSE_MAP
        cells.append(cv2.warpAffine(picture, corners, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE))
    return np.stack(cells)


def _write(folder: Path, frames: UInt8, labels: UInt8, fps: float) -> None:
    """A clip in the DAVIS layout, without loss."""
    import av

    (folder / "masks").mkdir(parents=True)
    size = (frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2)
    with clip_writer(folder / "video.mp4", size, Fraction(fps).limit_denominator(1001)) as writer:
        for pixels in frames:
            writer.add(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"), 0)
    for number, label in enumerate(labels):
        Image.fromarray(label).save(folder / "masks" / f"{number:05d}.png")


# Speed of one core.


def measure_speed(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Processor seconds of every stage on 49 frames at 480p: cutting, annotation without weights, scores."""
    import cv2

    cv2.setNumThreads(1)
    rows: dict[str, dict[str, float]] = {}
    for video in _videos(options):
        frames = read_video(video, max_frames=49)
        if frames.frames.shape[1] < 480 or len(frames.frames) < 49:
            continue
        name = video.parent.name
        _write(scratch / name, frames.frames, np.zeros((0, 8, 8), np.uint8), frames.fps)
        rows[name] = _stage_times(scratch / name / "video.mp4", scratch / f"{name}.set")
    means = {key: round(float(np.median([row[key] for row in rows.values()])), 2) for key in next(iter(rows.values()))}
    print(
        table([("clip", *means), *((name, *(f"{value:.2f}" for value in row.values())) for name, row in rows.items())])
    )
    print(f"median: {means}")
    return {"clips": rows, "median": means, "unit": "processor seconds per 49 frames at 480p, one thread"}


def _stage_times(video: Path, out: Path) -> dict[str, float]:
    from data_tools.build import prepare_folder
    from data_tools.records import ClipRecord, VideoFile
    from data_tools.stages.ingest import file_digest

    root = prepare_folder(out)
    work = Work(_settings().build, root)
    times: dict[str, float] = {}
    before = time.process_time()
    clip = work.ingest(VideoFile(video, file_digest(video)))[0]
    times["ingest"] = time.process_time() - before
    records: Sequence[ClipRecord] = [ClipRecord(clip)]
    for stage in work.stages:
        stage.setup()
        before = time.process_time()
        records = stage(records[0])
        times[stage.name] = time.process_time() - before
    times["annotation in all"] = sum(value for name, value in times.items() if name != "ingest")
    return {name: round(value, 3) for name, value in times.items()}


# Kill and resume.


def measure_resume(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Kill -9 builds at random moments of their work and resume them; compare what they end with against an undisturbed
    one. A build that ends between two kills is compared, and the next kill meets a new one."""
    inputs = _small_videos(scratch / "in", options, options.videos)
    rng = random.Random(options.seed)
    before = time.perf_counter()
    _given_build(inputs, scratch / "whole").wait()
    longest = 0.7 * (time.perf_counter() - before)
    whole = validate(scratch / "whole")
    done_at_kill: list[int] = []
    ends: list[dict[str, Any]] = []
    out = scratch / "killed0"
    while len(done_at_kill) < options.kills or out.exists():  # the last is finished
        process = _given_build(inputs, out)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.3, longest) if len(done_at_kill) < options.kills else None)
        if process.poll() is None:
            done_at_kill.append(len(list((out / "state" / "rows").glob("*/*.parquet"))))
            process.kill()
            process.wait()
            continue
        found = validate(out)
        left_over = len(list(out.rglob("*.part")))
        same = found.content == whole.content
        ends.append({"exit": process.returncode, "clips": found.clips, "faults": len(found.faults),
                     "left_over_files": left_over, "identical": same})  # fmt: skip
        out = scratch / f"killed{len(ends)}"
    result = {
        "videos": options.videos,
        "kills": len(done_at_kill),
        "clips_done_at_each_kill": done_at_kill,
        "builds": ends,
        "identical": all(end["identical"] and end["exit"] == 0 for end in ends),
    }
    print(json.dumps(result))
    return result


def _given_build(inputs: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "data_tools.cli", "build", str(inputs), "--out", str(out), "--workers", "2"]
    command += ["--set", "build.annotation.kind=given", "--set", "build.clips.min_frames=9"]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=ROOT)


def _small_videos(folder: Path, options: argparse.Namespace, count: int, length: int = 24) -> Path:
    """Small moving windows of the clips with their masks, so that many videos cost little."""
    rng = np.random.default_rng(options.seed)
    sources = []
    for video in _videos(options):
        files = sorted((video.parent / "masks").glob("*.png"))[:length]
        labels = np.stack([np.asarray(Image.open(file)) for file in files])
        sources.append((read_video(video, max_frames=length).frames, labels))
    for number in range(count):
        frames, labels = sources[number % len(sources)]
        y, x = rng.integers(0, frames.shape[1] - 96), rng.integers(0, frames.shape[2] - 128)
        window = (slice(None), slice(y, y + 96), slice(x, x + 128))
        _write(folder / f"{number:04d}", frames[window], labels[window], 24.0)
    return folder


# Ray.


def measure_ray(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Many small clips on Ray with two workers on two cores, one on one, and two again: time and memory."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise MagicGenError("Two workers need two processor cores; this machine offers one.")
    inputs = _small_videos(scratch / "in", options, options.ray_clips, options.ray_frames)
    runs = [_ray_run(inputs, scratch / f"ray{number}", cores[:workers]) for number, workers in enumerate((2, 1, 2))]
    one, two = ([run for run in runs if run["workers"] == workers] for workers in (1, 2))
    result = {
        "clips": options.ray_clips,
        "frames_a_clip": options.ray_frames,
        "runs": runs,
        "speed_up": round(_mean(one, "seconds") / _mean(two, "seconds"), 2),
        "speed_up_once_started": round(_mean(two, "clips_a_second") / _mean(one, "clips_a_second"), 2),
        "processor_seconds_of_two_workers_to_one": round(
            _mean(two, "processor_seconds") / _mean(one, "processor_seconds"), 2
        ),
        "same_content": len({run["content"] for run in runs}) == 1,
    }
    print(json.dumps(result, indent=2))
    return result


def _mean(runs: Sequence[dict[str, Any]], name: str) -> float:
    return float(np.mean([run[name] for run in runs]))


def _rate(out: Path) -> float:
    """Clips a second between the first and the last tenth of a build, by the times of their files."""
    ends = _row_times(out)
    tenth = len(ends) // 10
    return (len(ends) - 2 * tenth - 1) / (ends[len(ends) - tenth - 1] - ends[tenth])


def _row_times(out: Path) -> list[float]:
    """When the clips of a build were done, in seconds since the epoch."""
    return sorted(path.stat().st_mtime for path in (out / "state" / "rows").glob("*/*.parquet"))


def _ray_run(inputs: Path, out: Path, cores: Sequence[int]) -> dict[str, Any]:
    """One build with a worker a core, bound to these cores; the memory of all its processes by quarters of the time
    from its first clip to its last, and their processor time."""
    command = [sys.executable, "-m", "data_tools.cli", "build", str(inputs), "--out", str(out)]
    command += ["--engine", "ray", "--workers", str(len(cores)), "--json"]
    command += ["--set", "build.annotation.kind=given", "--set", "build.clips.min_frames=9"]
    before = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    os.sched_setaffinity(process.pid, cores)
    sizes: list[tuple[float, float]] = []
    worked: dict[tuple[int, int], float] = {}
    while process.poll() is None:
        size, times = tree_usage(process.pid)
        sizes.append((time.time(), size))
        worked.update(times)
        time.sleep(0.5)
    seconds = time.perf_counter() - before
    found = validate(out)
    first, *_, last = _row_times(out)
    during = np.array([size for when, size in sizes if first <= when <= last])
    quarters = [round(float(np.mean(part))) for part in np.array_split(during, 4) if len(part)]
    return {
        "workers": len(cores),
        "seconds": round(seconds, 1),
        "processor_seconds": round(sum(worked.values()), 1),
        "clips_a_second": round(_rate(out), 2),
        "load_average": round(os.getloadavg()[0], 1),
        "memory_mb_by_quarter": quarters,
        "clips": found.clips,
        "faults": len(found.faults),
        "content": found.content,
    }


def tree_usage(pid: int) -> tuple[float, dict[tuple[int, int], float]]:
    """What a process and all its descendants use (Linux): the megabytes that they hold for themselves (anonymous
    pages), and the processor seconds of each of them so far, by number and time of start."""
    parents: dict[int, int] = {}
    own: dict[int, int] = {}
    worked: dict[int, tuple[int, float]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            facts = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            times = (folder / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):  # ended meanwhile
            continue
        number = int(folder.name)
        parents[number] = int(facts["PPid"])
        own[number] = int(facts.get("RssAnon", "0 kB").split()[0])
        worked[number] = (int(times[19]), (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"))
    total = 0
    seconds: dict[tuple[int, int], float] = {}
    ring = {pid} & parents.keys()
    while ring:
        total += sum(own[one] for one in ring)
        seconds.update({(one, worked[one][0]): worked[one][1] for one in ring})
        ring = {child for child, parent in parents.items() if parent in ring}
    return total / 1024, seconds


# Exports.


def measure_exports(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Every format written and read back: are masks and boxes those of the dataset, bit by bit?"""
    out = scratch / "set"
    _build(_settings(annotation={"kind": "given"}), out, _videos(options))
    result: dict[str, Any] = {"clips": validate(out).clips, "faults": len(validate(out).faults)}
    for name in FORMATS:
        target = scratch / name
        count = export(ExportRequest(out, name, target, rejected=True, verify=True))
        size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
        result[name] = {"exact": True, "clips": count, "bytes": size}
    print(json.dumps(result, indent=2))
    return result


def _keep(name: str, result: dict[str, Any], out: Path) -> None:
    """Merge one part into the result file."""
    known = json.loads(out.read_text()) if out.is_file() else {}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT
    ).stdout.strip()
    facts = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "load_average": [round(value, 1) for value in os.getloadavg()],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**known, name: {**facts, **result}}, indent=2) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
