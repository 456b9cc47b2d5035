"""Trajectory control: MagicBench's protocol on held-out scenes or own clips, and photos never trained on.

    python -m benchmarks.trajectory                                # `tiny` on 60 held-out scenes, with all baselines
    python -m benchmarks.trajectory --photos examples              # real photos with trajectories drawn by hand
    python -m benchmarks.trajectory --data CLIPS --frames 49 --height 256 --width 384
    python -m benchmarks.trajectory --videos other=FOLDER          # finished videos of any method beside ours
    accelerate launch -m benchmarks.trajectory                     # samples shared by several GPUs

Every video is made from pure noise at the model's default steps. Scores are kept under --out and not made again; a page
with players, worst first, lies beside them. A sample that fails is named and left out, and the exit code is 1.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, assert_never

from benchmarks.machine import circumstances
from magicgen.control.tracks import Level, MaskLevel, level_name
from magicgen.errors import ConfigError, MagicGenError

PACKAGE = Path(__file__).resolve().parents[1] / "magicgen"
# What decides a baseline's score, and what decides a model's beside that.
MEASURING = ("control", "segmentation", "synthetic", "evaluation")
MAKING = ("models", "sampling.py", "../pipelines/trajectory_video.py")
FLOW_TRACKER = "magicgen flow tracker"
NO_SAM2 = (
    f"needs its weights; masks are followed by the {FLOW_TRACKER}, whose ceiling is the row 'truth'. Where you have "
    "them: --tracker sam2=FOLDER"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table (or JSON), write results; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    try:
        result = _measure_photos(options, given) if options.photos else _measure(options, given)
    except MagicGenError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if options.json and result:
        print((options.out / ("trajectory-photos.json" if options.photos else "trajectory.json")).read_text("utf-8"))
    return 1 if result.get("failures") else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="magicgen bench trajectory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny", help="preset, folder or Hub id; 'none' measures the baselines only")
    parser.add_argument("--videos", action="append", default=[], metavar="NAME=FOLDER", help="finished videos")
    parser.add_argument("--data", type=Path, help="folders NAME/video.mp4 with NAME/masks/NNNNN.png (DAVIS's layout)")
    parser.add_argument("--photos", type=Path, help="folders NAME/photo.jpg with trajectories NAME/*.json")
    parser.add_argument("--scenes", type=int, default=60, help="held-out scenes")
    parser.add_argument("--frames", type=int, help="17 for scenes, at most 49 for clips")
    parser.add_argument("--height", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--steps", type=int, help="denoising steps; the model's own by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tracker", default="flow", help="flow, or sam2=FOLDER with weights in transformers' format")
    parser.add_argument("--fid", type=Path, metavar="FILE", help="Inception in TorchScript, for FID")
    parser.add_argument("--fvd", type=Path, metavar="FILE", help="I3D in TorchScript, for FVD")
    parser.add_argument("--lpips", metavar="ALEXNET,LINEAR", help="two weight files, for LPIPS")
    parser.add_argument("--workers", type=int, help="processes; on a CPU as many as cores, at most 4, by default")
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--no-page", action="store_true", help="keep no videos and write no page")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_trajectory"), help="scores, videos and the page")
    parser.add_argument("--results", type=Path, help="write the JSON here too (benchmarks/results/ for published ones)")
    parser.add_argument("--json", action="store_true", help="JSON on standard output instead of the table")
    return parser


def _measure(options: argparse.Namespace, given: Sequence[str]) -> dict[str, Any]:
    from magicgen.evaluation.distances import distance_rows, set_distances
    from magicgen.evaluation.page import Gallery
    from magicgen.evaluation.tables import as_data, grid, markdown
    from magicgen.evaluation.trackers import tracker_kind

    about, source = circumstances("trajectory", given), _source(options)
    rank, world = _accelerate_share()
    workers = (options.workers or _default_workers()) if world == 1 else 1
    fingerprints = _fingerprints(options)
    if workers > 1:
        outcome = _in_processes(options, workers, fingerprints)
    else:
        outcome = _measure_share(options, (rank, world), fingerprints)
    if not _is_first_of_all(world):
        return {}
    tracker = tracker_kind(options.tracker).name
    distances = set_distances(options.out, outcome.scores)
    left_out = _backbones(options).missing() | ({"Mask-IoU by SAM 2": NO_SAM2} if tracker == FLOW_TRACKER else {})
    if not options.no_page:
        judged = next(reversed([name for name in fingerprints if not _is_baseline(name)] or list(fingerprints)))
        Gallery(options.out).write(outcome.scores, judged, left_out, outcome.failures, distance_rows(distances))
    result = {
        **about,
        "workers": workers,
        "tracker": tracker,
        "data": str(source),
        "left_out": left_out,
        "fingerprints": fingerprints,
        "failures": [asdict(failure) for failure in outcome.failures],
        "distances": distances,
        "scores": as_data(outcome.scores),
    }
    _write(result, options, "trajectory")
    for failure in outcome.failures:
        print(f"failed: {failure.method} on {failure.sample}: {failure.reason}", file=sys.stderr)
    if not options.json:
        print(markdown(outcome.scores))
        if distances:
            print(grid(distance_rows(distances)) + "\n")
        print("\n".join(f"Left out: {name} ({why})." for name, why in left_out.items()))
    return result


def _in_processes(options: argparse.Namespace, workers: int, fingerprints: Mapping[str, str]) -> Any:
    """Every process loads its own pipeline and takes every ``workers``-th sample."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from magicgen.evaluation.magicbench import Outcome, read_scores

    with ProcessPoolExecutor(workers - 1, mp_context=get_context("spawn")) as pool:
        shares = [(rank, workers) for rank in range(workers)]
        others = [pool.submit(_measure_share, options, share, fingerprints) for share in shares[1:]]
        parts = [_measure_share(options, shares[0], fingerprints), *(other.result() for other in others)]
    names = {score.sample for part in parts for score in part.scores}
    scores = [score for score in read_scores(options.out, fingerprints) if score.sample in names]
    return Outcome(tuple(scores), tuple(failure for part in parts for failure in part.failures))


def _measure_share(options: argparse.Namespace, share: tuple[int, int], fingerprints: Mapping[str, str]) -> Any:
    import cv2
    import torch

    from magicgen.evaluation.magicbench import run_bench
    from magicgen.evaluation.samples import sample_count, samples
    from magicgen.evaluation.trackers import load_tracker, tracker_kind
    from magicgen.progress import TerminalProgress

    rank, world = share
    if world > 1 and not torch.cuda.is_available():
        threads = max(1, (os.cpu_count() or 1) // world)
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    source = _source(options)
    with TerminalProgress(enabled=rank == 0) as report:
        return run_bench(
            samples(source),
            sample_count(source),
            _methods(options),
            options.out,
            track=load_tracker(tracker_kind(options.tracker)),
            fingerprints=fingerprints,
            keep=_keeper(options),
            report=report,
            share=share,
        )


def _backbones(options: argparse.Namespace) -> Any:
    from magicgen.evaluation.distances import Backbones

    pair = None
    if options.lpips is not None:
        files = [Path(part) for part in options.lpips.split(",")]
        if len(files) != 2:
            raise ConfigError(f"--lpips '{options.lpips}': expected two files, ALEXNET,LINEAR.")
        pair = (files[0], files[1])
    backbones = Backbones(options.fid, options.fvd, pair)
    for path in backbones.files():
        if not path.is_file():
            raise ConfigError(f"There is no file {path}; {' '.join(backbones.missing().values())}".rstrip("; "))
    return backbones


def _keeper(options: argparse.Namespace) -> Callable[..., None]:
    """What is kept of every video: itself for the page, and its features for the distances between sets."""
    from magicgen.evaluation.distances import FeatureStore
    from magicgen.evaluation.page import Gallery

    keepers: list[Callable[..., None]] = [] if options.no_page else [Gallery(options.out).keep]
    if (backbones := _backbones(options)).files():
        keepers.append(FeatureStore(backbones, options.out).keep)

    def keep(*made: Any) -> None:
        for each in keepers:
            each(*made)

    return keep


def _default_workers() -> int:
    import torch

    return 1 if torch.cuda.is_available() else min(4, os.cpu_count() or 1)


def _measure_photos(options: argparse.Namespace, given: Sequence[str]) -> dict[str, Any]:
    from benchmarks.photos import measure_photos, photo_table
    from magicgen.progress import TerminalProgress

    about = circumstances("trajectory", given)
    with TerminalProgress() as report:
        rows = measure_photos(options.photos, options.model, options.out, report, seed=options.seed)
    result = {**about, "tracker": FLOW_TRACKER, "photos": [row.as_data() for row in rows]}
    _write(result, options, "trajectory-photos")
    if not options.json:
        print(photo_table(rows))
    return result


def _source(options: argparse.Namespace) -> Any:
    """The samples; clips of one's own come at the model's size unless another one is asked for."""
    from magicgen.evaluation.samples import ClipFolders, HeldOutScenes

    size = {key: value for key in ("frames", "height", "width") if (value := getattr(options, key)) is not None}
    if options.data is None:
        return HeldOutScenes(options.scenes, options.seed, **size)
    if options.model != "none":
        from magicgen.weights import resolve_model
        from magicgen.weights.facts import model_facts

        facts = model_facts(resolve_model(options.model))
        size = {"frames": facts.frames, "height": facts.height, "width": facts.width} | size
    return ClipFolders(options.data, **size)


def _methods(options: argparse.Namespace) -> list[Any]:
    from magicgen.evaluation.methods import CutAndPaste, Model, MotionDraft, Reconstruction, Still, Truth, Videos

    pipeline = None if options.model == "none" else _load(options.model, options.steps)
    methods: list[Any] = []
    if not options.no_baselines:
        methods = [Truth(), Still(), CutAndPaste(), MotionDraft()]
        if pipeline is not None:
            methods.insert(1, Reconstruction(pipeline(MaskLevel())))
    if pipeline is not None:
        methods.append(Model(options.model, pipeline, options.seed))
    methods += [Videos(name, folder) for name, folder in _video_folders(options)]
    return methods


def _video_folders(options: argparse.Namespace) -> list[tuple[str, Path]]:
    folders = []
    for entry in options.videos:
        name, separator, folder = entry.partition("=")
        if not separator or not name or not Path(folder).is_dir():
            raise ConfigError(f"--videos '{entry}': expected NAME=FOLDER with an existing folder.")
        if _is_baseline(name) or name == options.model:
            raise ConfigError(f"--videos '{entry}': the name '{name}' is taken; choose another one.")
        folders.append((name, Path(folder)))
    return folders


def _is_baseline(name: str) -> bool:
    return name in ("truth", "autoencoder", "still", "cut-and-paste", "motion draft")


def _fingerprints(options: argparse.Namespace) -> dict[str, str]:
    """By method: a digest of the code, the data's description and, where there are any, the weights or videos."""
    from dataclasses import replace

    from magicgen.evaluation.samples import HeldOutScenes

    source = _source(options)
    data = replace(source, count=0) if isinstance(source, HeldOutScenes) else source
    measuring = [path for room in MEASURING for path in _files(PACKAGE / room, ".py")]
    measuring += _files(PACKAGE / "presets" / "box_paths", ".safetensors")  # drafts follow it
    code = _digest(measuring, f"{data} {options.tracker} {_backbones(options)}")
    found = {} if options.no_baselines else dict.fromkeys(("truth", "still", "cut-and-paste", "motion draft"), code)
    if options.model != "none":
        weights = [
            path for folder in _weight_folders(options.model) for path in _files(folder, ".safetensors", ".json")
        ]
        makers = [path for room in MAKING for path in _files(PACKAGE / room, ".py")]
        of_model = _digest(weights + makers, f"{code} {options.model} {options.steps} {options.seed}")
        names = [options.model] if options.no_baselines else ["autoencoder", options.model]
        found |= dict.fromkeys(names, of_model)
    for name, folder in _video_folders(options):
        found[name] = _digest(_files(folder, ".mp4"), code)
    return found


def _weight_folders(model: str) -> list[Path]:
    from magicgen.weights import PipelineFolder, ReleasedMagicMotion, resolve_model

    match resolve_model(model):
        case PipelineFolder(_, folder):
            return [folder]
        case ReleasedMagicMotion(_, base, branches):
            return [base, *(folder for _, folder in branches)]
        case other:
            assert_never(other)


def _files(root: Path, *suffixes: str) -> list[Path]:
    return [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.suffix in suffixes)


def _digest(files: Sequence[Path], text: str) -> str:
    """Of contents; of large files (over 64 MiB) of size and time."""
    import hashlib

    digest = hashlib.sha256(text.encode())
    for path in files:
        facts = path.stat()
        digest.update(path.name.encode())
        digest.update(path.read_bytes() if facts.st_size < 2**26 else f"{facts.st_size} {facts.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _load(model: str, steps: int | None) -> Callable[[Level], Any]:
    """``level -> pipeline``, each loaded once; one serves all levels unless the weights have a branch for each."""
    from magicgen.jobs.loading import LoadOptions, load_pipeline
    from magicgen.weights import PipelineFolder, resolve_model

    source, loaded = resolve_model(model), {}

    def pipeline_for(level: Level) -> Any:
        key = "" if isinstance(source, PipelineFolder) else level_name(level)
        if key not in loaded:
            loaded[key] = load_pipeline(source, level, LoadOptions())
            if steps is not None:
                loaded[key].register_to_config(default_steps=steps)
        return loaded[key]

    return pipeline_for


def _accelerate_share() -> tuple[int, int]:
    """(rank, world) under ``accelerate launch``."""
    if "WORLD_SIZE" not in os.environ:
        return 0, 1
    from accelerate import PartialState

    state = PartialState()
    return state.process_index, state.num_processes


def _is_first_of_all(world: int) -> bool:
    """Waits until all processes of ``accelerate launch`` are done; whether this is the one that writes the results."""
    if world == 1:
        return True
    from accelerate import PartialState

    state = PartialState()
    state.wait_for_everyone()
    return bool(state.is_main_process)


def _write(result: dict[str, Any], options: argparse.Namespace, name: str) -> None:
    from magicgen.media import write_json

    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / f"{name}.json", result)
    if options.results is not None:
        options.results.mkdir(parents=True, exist_ok=True)
        write_json(options.results / f"{name}.json", result)


if __name__ == "__main__":
    sys.exit(main())
