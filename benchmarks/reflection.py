"""Measures reflection removal on a folder of pairs: baselines, the automatic result, and what guidance adds.

``magicgen bench reflection --pairs FOLDER [--adapter FOLDER | --folds FOLDER] [--protocol 420|native] [--out DIR]``, or
``magicgen bench reflection --synthetic N``: N pairs composed from freely licensed photos that no training sees.

The table goes to stdout; ``--out`` writes ``reflection.json`` (``reflection-native.json``) with every picture's PSNR.

FOLDER holds ``mixture/NAME`` and ``transmission/NAME``. With ``--folds``, the adapter for each picture is
``FOLDER/foldK``, trained without it (5-fold cross-validation as in ``configs/train/reflection_real.yaml``); the causal
colour baseline is then fitted on the same training folds. With ``--adapter`` one adapter answers for all pictures: that
is fair only for pictures that it was not trained on.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.reflection_pictures import composed_pair
from magicgen.control.guide import BoxMark, Layer, Mark, MaskMark, RemovalGuide
from magicgen.evaluation.reflection import (
    ColourCorrector,
    Darkening,
    PictureScore,
    best_colour_fit,
    bootstrap,
    psnr,
    resized_pair,
    score,
)
from magicgen.jobs.dereflect import region_segmenter
from magicgen.media import read_image
from magicgen.synthetic.reflection_guides import Regions, box_around, centre_click, random_click, regions
from magicgen.training.reflection_data import fold_names, pair_names

UInt8 = npt.NDArray[np.uint8]
CLICKS = (1, 2, 3, 5)


@dataclass(frozen=True, eq=False)
class Case:
    """One pair at the protocol's size, and which fold it belongs to."""

    name: str
    fold: int
    mixture: UInt8
    truth: UInt8


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and write ``reflection.json``; returns the exit code."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    if options.synthetic is not None:
        cases = composed_cases(options.synthetic)
    else:
        cases = list(load_cases(options.pairs, options.protocol, options.folds is not None, options.limit))
    known, cases = cases, [case for case in cases if options.only_fold in (None, case.fold)]
    started = time.perf_counter()
    rows: dict[str, dict[str, PictureScore]] = {}
    baselines(cases, rows, known if options.folds is not None else [])
    notes = solve_all(cases, options, rows)
    report = summary(rows, notes)
    protocol = options.protocol if options.synthetic is None else "composed, 300x400"
    report |= {"protocol": protocol, "pictures": len(cases), "seconds": round(time.perf_counter() - started, 1)}
    report |= {"seed": options.seed, "machine": _machine()}
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print(table(report))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        kind = "synthetic" if options.synthetic is not None else options.protocol
        name = {"synthetic": "reflection-synthetic", "420": "reflection", "native": "reflection-native"}[kind] + ".json"
        (options.out / name).write_text(json.dumps(report, indent=2) + "\n")
    return 0


def load_cases(folder: Path, protocol: str, folds: bool, limit: int | None) -> Iterator[Case]:
    """The pairs of a folder at the size of the protocol."""
    names = pair_names(folder)
    membership = {name: fold for fold in range(5) for name in fold_names(names, 5, fold)} if folds else {}
    for name in names[:limit]:
        mixture, truth = read_image(folder / "mixture" / name), read_image(folder / "transmission" / name)
        mixture, truth = resized_pair(mixture, truth, 420 if protocol == "420" else None)
        yield Case(name, membership.get(name, 0), mixture, truth)


def composed_cases(count: int) -> list[Case]:
    """Composed pairs from pictures that no training sees, at their own size."""
    return [Case(f"composed {seed}", 0, *composed_pair(seed)) for seed in range(count)]


def baselines(cases: list[Case], rows: dict[str, dict[str, PictureScore]], known: list[Case]) -> None:
    """The photo itself, the colour corrections with and without knowledge of the truth; the latter are fitted on those
    of ``known`` that belong to other folds, and left out where nothing is known."""
    rows["photo"] = {case.name: score(case.mixture, case.mixture, case.truth) for case in cases}
    rows["best colour fit (knows the truth)"] = {
        case.name: score(best_colour_fit(case.mixture, case.truth), case.mixture, case.truth) for case in cases
    }
    if not known:
        return
    causal: dict[str, PictureScore] = {}
    darker: dict[str, PictureScore] = {}
    for fold in sorted({case.fold for case in cases}):
        others = [(case.mixture, case.truth) for case in known if case.fold != fold]
        corrector, darkening = ColourCorrector.fitted(others), Darkening.fitted(others)
        for case in (case for case in cases if case.fold == fold):
            causal[case.name] = score(corrector(case.mixture), case.mixture, case.truth)
            darker[case.name] = score(darkening(case.mixture), case.mixture, case.truth)
    rows["causal colour correction"] = causal
    rows["causal darkening"] = darker


def solve_all(
    cases: list[Case], options: argparse.Namespace, rows: dict[str, dict[str, PictureScore]]
) -> dict[str, Any]:
    """The model's rows; returns notes (clean photos, seconds)."""
    import torch

    from pipelines.reflection_removal import ReflectionRemovalPipeline

    torch.set_num_threads(options.threads)
    clean, seconds = [], []
    for fold in sorted({case.fold for case in cases}):
        folder = options.adapter if options.folds is None else options.folds / f"fold{fold}"
        pipeline = ReflectionRemovalPipeline.from_adapter(folder, options.base, options.octaves, not options.single)
        for case in (case for case in cases if case.fold == fold):
            started = time.perf_counter()
            pipeline.set_image(case.mixture)
            answers = dict(_answers(case, pipeline, options))
            seconds.append(time.perf_counter() - started)
            for method, result in answers.items():
                rows.setdefault(method, {})[case.name] = score(result, case.mixture, case.truth)
            pipeline.set_image(case.truth)
            clean.append(psnr(np.asarray(pipeline().transmission, np.uint8), case.truth))
    return {
        "clean photos, PSNR to the input (dB)": {
            "mean": float(np.mean(clean)),
            "median": float(np.median(clean)),
            "at least 35 dB (share)": float(np.mean(np.array(clean) >= 35)),
        },
        "seconds per picture, all answers": float(np.mean(seconds)),
    }


def _answers(case: Case, pipeline: Any, options: argparse.Namespace) -> Iterator[tuple[str, UInt8]]:
    def ask(*marks: Mark) -> UInt8:
        return np.asarray(pipeline(guide=RemovalGuide(marks)).transmission)

    yield "automatic", ask()
    if options.automatic_only:
        return
    apart = np.abs(case.mixture.astype(np.float32) - case.truth).mean(axis=2) / 255
    reflected = regions(apart, Layer.REFLECTION, keep=8)
    clear = regions(apart, Layer.TRANSMISSION, keep=8)
    for count in CLICKS:
        yield f"{count} click{'s' if count > 1 else ''} each", ask(*clicks(reflected, clear, count, centre_click))
    rng = np.random.default_rng([options.seed, sum(case.name.encode())])
    yield (
        "1 click each, anywhere inside",
        ask(*clicks(reflected, clear, 1, lambda part, layer: random_click(rng, part, layer))),
    )
    both = clicks(reflected, clear, 1, centre_click)
    segment = region_segmenter(options.segmenter, case.mixture)
    yield (
        f"1 click each, {options.segmenter}",
        np.asarray(pipeline(guide=RemovalGuide(tuple(both)), segment=segment).transmission),
    )
    box, click = _boxes(reflected), clicks(reflected, Regions(Layer.TRANSMISSION, ()), 1, centre_click)
    yield "1 click on the reflection", ask(*click)
    yield "box around the reflection", ask(*box)
    yield "box, and a click in it", ask(*box, *click)
    found = pipeline(guide=RemovalGuide(tuple(box)), segment=segment)
    yield f"box around the reflection, {options.segmenter}", np.asarray(found.transmission)
    masks = [MaskMark(each.whole, each.layer) for each in (reflected, clear) if each.parts]
    yield "oracle masks", ask(*masks)
    swapped = (Regions(Layer.REFLECTION, clear.parts), Regions(Layer.TRANSMISSION, reflected.parts))
    yield "wrong click (a clear place)", ask(*clicks(swapped[0], Regions(Layer.TRANSMISSION, ()), 1, centre_click))
    yield "wrong clicks each", ask(*clicks(*swapped, 1, centre_click))
    wrong = clicks(swapped[0], Regions(Layer.TRANSMISSION, ()), 1, centre_click)
    found = pipeline(guide=RemovalGuide(tuple(wrong)), segment=segment)
    yield f"wrong click, {options.segmenter}", np.asarray(found.transmission)
    yield "oracle masks, shifted by half", ask(*(_shifted(mark) for mark in masks))


def clicks(
    reflected: Regions, clear: Regions, count: int, click: Callable[[npt.NDArray[np.bool_], Layer], Any]
) -> list[Mark]:
    """One click in each of the largest parts of both layers, none of which contradict each other."""
    marks: list[Any] = []
    for found in (reflected, clear):
        for part in found.parts[:count]:
            mark = click(part, found.layer)
            near = (max(abs(mark.x - other.x), abs(mark.y - other.y)) < 0.01 for other in marks)
            if not any(near):
                marks.append(mark)
    return marks


def _boxes(reflected: Regions) -> list[BoxMark]:
    return [box_around(part, reflected.layer) for part in reflected.parts[:1]]


def _shifted(mark: MaskMark) -> MaskMark:
    rows, columns = mark.mask.shape
    return MaskMark(np.roll(mark.mask, (rows // 2, columns // 2), axis=(0, 1)), mark.layer)


def summary(rows: dict[str, dict[str, PictureScore]], notes: dict[str, Any]) -> dict[str, Any]:
    """Means, and differences to photo and automatic result with 95 % intervals, for each method."""
    methods = {}
    for method, scores in rows.items():
        values = {name: value.psnr for name, value in scores.items()}
        gain = [values[name] - rows["photo"][name].psnr for name in values]
        entry: dict[str, Any] = {
            "psnr": float(np.mean(list(values.values()))),
            "ssim": float(np.mean([each.ssim for each in scores.values()])),
            "inside": float(np.nanmean([each.inside for each in scores.values()])),
            "outside": float(np.nanmean([each.outside for each in scores.values()])),
            "gain": asdict(bootstrap(gain)),
            "better_share": float(np.mean(np.array(gain) > 0)),
        }
        if "automatic" in rows:
            entry["over_automatic"] = asdict(bootstrap([values[n] - rows["automatic"][n].psnr for n in values]))
        methods[method] = entry
    pictures = {method: {n: round(s.psnr, 3) for n, s in scores.items()} for method, scores in rows.items()}
    return {"methods": methods, "notes": notes, "pictures_psnr": pictures}


def table(report: dict[str, Any]) -> str:
    """The report for people, as a Markdown table."""
    lines = [
        f"protocol {report['protocol']}, {report['pictures']} pictures",
        "",
        "| method | PSNR | SSIM | inside | outside | over the photo | better | over automatic |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method, entry in report["methods"].items():
        over = entry.get("over_automatic")
        lines.append(
            f"| {method} | {entry['psnr']:.2f} | {entry['ssim']:.4f} | {entry['inside']:.2f} | "
            f"{entry['outside']:.2f} | {_interval(entry['gain'])} | {100 * entry['better_share']:.0f} % | "
            f"{_interval(over) if over else ''} |"
        )
    lines += ["", *(f"{name}: {value}" for name, value in report["notes"].items())]
    lines.append("LPIPS is left out: it needs network weights that are not installed (pip install lpips).")
    return "\n".join(lines)


def _interval(value: dict[str, float]) -> str:
    return f"{value['mean']:+.2f} [{value['low']:+.2f}, {value['high']:+.2f}]"


def _machine() -> dict[str, Any]:
    import torch

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "commit": commit.stdout.strip() or None,
    }


def _parser() -> argparse.ArgumentParser:
    package = Path(__file__).resolve().parents[1] / "magicgen" / "presets"
    parser = argparse.ArgumentParser(prog="magicgen bench reflection", description=__doc__.split("\n", 1)[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pairs", type=Path, help="folder with mixture/ and transmission/")
    source.add_argument("--synthetic", type=int, metavar="N", help="N composed pairs instead, which need no data")
    parser.add_argument("--adapter", type=Path, default=package / "reflection_tiny")
    parser.add_argument("--folds", type=Path, help="folder with fold0 ... fold4")
    parser.add_argument("--base", type=Path, default=package / "tiny", help="the backbone's pipeline folder")
    parser.add_argument("--protocol", choices=("420", "native"), default="420")
    parser.add_argument("--octaves", type=int, default=1)
    parser.add_argument("--single", action="store_true", help="do not average with the mirror image")
    parser.add_argument("--automatic-only", action="store_true")
    parser.add_argument("--limit", type=int, help="only the first pictures")
    parser.add_argument("--only-fold", type=int, help="with --folds, only the pictures of one fold")
    parser.add_argument("--segmenter", default="grabcut", help="for the rows whose clicks find a region")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder for reflection_PROTOCOL.json")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
