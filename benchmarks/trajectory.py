"""Trajectory control: MagicBench's protocol on held-out scenes or own clips, and photos never trained on.

    python -m benchmarks.trajectory                                # `tiny` on 60 held-out scenes, with all baselines
    python -m benchmarks.trajectory --photos examples              # real photos with trajectories drawn by hand
    python -m benchmarks.trajectory --data CLIPS --frames 49 --height 256 --width 384
    python -m benchmarks.trajectory --videos other=FOLDER          # finished videos of any method beside ours

Every video is made from pure noise at the model's default steps. Scores are kept under --out and not made again; a page
with players, worst first, lies beside them.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import circumstances
from magicgen.errors import ConfigError, MagicGenError

TRACKER = "magicgen flow tracker"
LEFT_OUT = {
    "FID, FVD": "need Inception and I3D weights, which the package does not hold",
    "LPIPS": "needs AlexNet weights, which the package does not hold",
    "Mask-IoU by SAM 2": f"needs SAM 2 weights; masks are followed by the {TRACKER}, whose ceiling is the row 'truth'",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table (or JSON), write results; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    try:
        result = _measure_photos(options, given) if options.photos else _measure(options, given)
    except MagicGenError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(result, indent=2))
    return 0


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
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--no-page", action="store_true", help="keep no videos and write no page")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_trajectory"), help="scores, videos and the page")
    parser.add_argument("--results", type=Path, help="write the JSON here too (benchmarks/results/ for published ones)")
    parser.add_argument("--json", action="store_true", help="JSON on standard output instead of the table")
    return parser


def _measure(options: argparse.Namespace, given: Sequence[str]) -> dict[str, Any]:
    from magicgen.evaluation.magicbench import run_bench
    from magicgen.evaluation.page import Gallery
    from magicgen.evaluation.samples import sample_count, samples
    from magicgen.evaluation.tables import as_data, markdown
    from magicgen.progress import TerminalProgress
    from magicgen.segmentation.propagate import propagate_masks

    source, methods = _source(options), _methods(options)
    count = sample_count(source)
    about = circumstances("trajectory", given)
    gallery = None if options.no_page else Gallery(options.out)
    share = _share()
    with TerminalProgress() as report:
        scores = run_bench(
            samples(source),
            count,
            methods,
            options.out,
            track=propagate_masks,
            keep=None if gallery is None else gallery.keep,
            report=report,
            share=share,
        )
    table = markdown(scores)
    if gallery is not None:
        gallery.write(scores, table, LEFT_OUT)
    result = {**about, "tracker": TRACKER, "data": str(source), "left_out": LEFT_OUT, "scores": as_data(scores)}
    _write(result, options, "trajectory")
    if not options.json:
        print(table)
        print("\n".join(f"Left out: {name} ({why})." for name, why in LEFT_OUT.items()))
    return result


def _measure_photos(options: argparse.Namespace, given: Sequence[str]) -> dict[str, Any]:
    from benchmarks.photos import measure_photos, photo_table
    from magicgen.progress import TerminalProgress

    about = circumstances("trajectory", given)
    with TerminalProgress() as report:
        rows = measure_photos(options.photos, options.model, options.out, report, seed=options.seed)
    result = {**about, "tracker": TRACKER, "photos": [row.as_data() for row in rows]}
    _write(result, options, "trajectory-photos")
    if not options.json:
        print(photo_table(rows))
    return result


def _source(options: argparse.Namespace) -> Any:
    from magicgen.evaluation.samples import ClipFolders, HeldOutScenes

    size = {key: value for key in ("frames", "height", "width") if (value := getattr(options, key)) is not None}
    if options.data is not None:
        return ClipFolders(options.data, **size)
    return HeldOutScenes(options.scenes, options.seed, **size)


def _methods(options: argparse.Namespace) -> list[Any]:
    from magicgen.evaluation.methods import CutAndPaste, Model, MotionDraft, Still, Truth, Videos

    methods: list[Any] = [] if options.no_baselines else [Truth(), Still(), CutAndPaste(), MotionDraft()]
    if options.model != "none":
        methods.append(Model(options.model, _load(options.model, options.steps), options.seed))
    for entry in options.videos:
        name, separator, folder = entry.partition("=")
        if not separator or not Path(folder).is_dir():
            raise ConfigError(f"--videos '{entry}': expected NAME=FOLDER with an existing folder.")
        methods.append(Videos(name, Path(folder)))
    return methods


def _load(model: str, steps: int | None) -> Any:
    from magicgen.control.tracks import MaskLevel
    from magicgen.jobs.loading import LoadOptions, load_pipeline
    from magicgen.weights import resolve_model

    pipeline = load_pipeline(resolve_model(model), MaskLevel(), LoadOptions())
    if steps is not None:
        pipeline.register_to_config(default_steps=steps)
    return pipeline


def _share() -> tuple[int, int]:
    """(rank, world) under ``accelerate launch``."""
    from accelerate import PartialState

    state = PartialState()
    return state.process_index, state.num_processes


def _write(result: dict[str, Any], options: argparse.Namespace, name: str) -> None:
    from magicgen.media import write_json

    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / f"{name}.json", result)
    if options.results is not None:
        options.results.mkdir(parents=True, exist_ok=True)
        write_json(options.results / f"{name}.json", result)


if __name__ == "__main__":
    sys.exit(main())
