"""The paper's ablations on a small model: the same budget, one thing left out or changed at a time.

    python -m benchmarks.ablations --out runs/ablations                  # every variant, one after the other
    python -m benchmarks.ablations --steps 20 --scenes 4 --out runs/quick

Variants: all of it; without the latent segmentation loss; without progressive training (the last stage's mix of levels
from the first step on, as many steps); one branch for each level instead of one for all; control blocks at every second
and every fourth block. Every variant runs ``--seeds`` times from configs/train/tiny_ablation.yaml. Judged is the video
sampled from pure noise on held-out scenes, without the motion draft (with it, control hardly matters): PSNR where
something moves. Runs that are there already are not repeated, and stages that variants share are trained once.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import circumstances
from magicgen.errors import MagicGenError

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "train" / "tiny_ablation.yaml"
LEVELS = ("mask", "box", "sparse_box")
# What each of the three stages sees; earlier levels stay in, because one branch serves all.
STAGES: tuple[dict[str, float], ...] = (
    {"mask": 1.0},
    {"mask": 0.4, "box": 0.6},
    {"mask": 0.35, "box": 0.35, "sparse_box": 0.3},
)


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        name: in the table.
        stages: shares of levels in each stage, all stages of equal length, each from the weights of the one before.
        segmentation: weight of the latent segmentation loss after the first stage.
        blocks: the transformer blocks that have a control block.
        level: the only level that this run is judged at; None for all.
    """

    name: str
    stages: tuple[dict[str, float], ...] = STAGES
    segmentation: float = 0.5
    blocks: tuple[int, ...] = (0, 1, 2, 3)
    level: str | None = None


FULL = Variant("everything")
VARIANTS: tuple[Variant, ...] = (
    FULL,
    replace(FULL, name="without the latent segmentation loss", segmentation=0.0),
    replace(FULL, name="without progressive training", stages=(STAGES[2],) * 3),
    *(
        # As in the paper: each level's branch starts from the one of the level before.
        replace(FULL, name="a branch for each level", stages=tuple({one: 1.0} for one in stages), level=stages[-1])
        for stages in (("mask",) * 3, ("mask", "box", "box"), LEVELS)
    ),
    replace(FULL, name="every second control block", blocks=(0, 2)),
    replace(FULL, name="every fourth control block", blocks=(0,)),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, measure, print the table, write JSON; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="of each of the three stages")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=12, help="held-out scenes")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--results", type=Path, help="write the JSON here too")
    options = parser.parse_args(given)
    try:
        result = {**circumstances("ablations", given), "steps": options.steps, "rows": _rows(options)}
    except MagicGenError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    from magicgen.media import write_json

    for folder in (options.out, options.results):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "ablations.json", result)
    print(table(result["rows"]))
    return 0


def _rows(options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """``{variant: {level: PSNR by seed}}``; the held first frame stands first."""
    rows: dict[str, dict[str, list[float]]] = {}
    for seed in range(options.seeds):
        for variant in VARIANTS:
            for score in _measure(variant, seed, options):
                if variant.level in (None, score.level):
                    rows.setdefault("first frame, held", {}).setdefault(score.level, [score.still] * options.seeds)
                    rows.setdefault(variant.name, {}).setdefault(score.level, []).append(score.model)
        print(table(rows), file=sys.stderr)
    return rows


def _measure(variant: Variant, seed: int, options: argparse.Namespace) -> list[Any]:
    """Train the stages of a variant that are not there yet, and sample videos with its averaged weights."""
    from magicgen.config import load_config
    from magicgen.training.checkpoints import latest_checkpoint
    from magicgen.training.loop import Trainer
    from magicgen.training.options import TrainingOptions
    from magicgen.training.run import build_networks
    from magicgen.training.validation import validate, validation_clips

    scores: list[Any] = []

    def judge(current: Trainer) -> dict[str, float]:
        scores[:] = validate(current, validation_clips(current.options), use_draft=False)
        return {f"psnr/{score.level}": score.model for score in scores}

    before: Path | None = None
    for number, shares in enumerate(variant.stages):
        out = options.out / _folder(variant, number, seed)
        changes = [f"out={out}", f"seed={3 * seed + number}", f"steps={options.steps}"]
        changes += [f"data.levels.{level}={shares.get(level, 0.0)}" for level in LEVELS]
        changes += [f"loss.segmentation={variant.segmentation if number else 0.0}"]
        changes += [f"model.control_layers={list(variant.blocks)}", f"validation.scenes={options.scenes}"]
        changes += [] if before is None else [f"start_from={before}"]
        settings = load_config(CONFIG, TrainingOptions, changes)
        last, done = number == len(variant.stages) - 1, latest_checkpoint(out) is not None
        if last and done:
            trainer = Trainer(settings, build_networks(settings))
            trainer.resume()
            judge(trainer)
        elif not done:
            print(f"{variant.name}, seed {seed}, stage {number + 1}", file=sys.stderr)
            Trainer(settings, build_networks(settings)).run(lambda _: None, judge if last else None)
        before = out
    return scores


def _folder(variant: Variant, number: int, seed: int) -> str:
    """Where the weights after stage ``number`` lie: with the first variant that trains the same as far as that."""
    first = next(other for other in VARIANTS if _training(other, number) == _training(variant, number))
    return f"{first.name.replace(' ', '_')}_{first.level or 'all'}_{seed}/stage_{number + 1}"


def _training(variant: Variant, number: int) -> tuple[object, ...]:
    """All but the seed that decides the weights after stage ``number``."""
    return variant.stages[: number + 1], variant.segmentation if number else 0.0, variant.blocks


def table(rows: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: mean over seeds, and the largest difference between seeds where there are several."""
    lines = ["| | " + " | ".join(LEVELS) + " |", "|---|" + "---|" * len(LEVELS)]
    for name, levels in rows.items():
        cells = []
        for level in LEVELS:
            values = levels.get(level, [])
            spread = f" ± {np.ptp(values) / 2:.2f}" if len(values) > 1 and np.ptp(values) > 0 else ""
            cells.append(f"{np.mean(values):.2f}{spread}" if values else "-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
