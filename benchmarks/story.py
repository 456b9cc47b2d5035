"""Stories: the right subject in its box, their number, the same faces and places, against ablations and real drawings.

    python -m benchmarks.story                        # 60 held-out stories of 4 panels, with ablations
    python -m benchmarks.story --stories 8 --what full truth

Every story is drawn through all stages: sheets, places, subjects alone, sketches, panels. ``full`` is given one picture
of every character from the front, as ``--characters`` takes it; ``words`` is given none. ``truth`` measures the real
drawings of the same stories: the judge's own ceiling. ``keypoints`` is ``full`` after joints instead of sketches. The
ablations leave out of ``full`` the dense conditions (sketches), the regional attention in every stage, and the shared
identity (the pictures). ``--clip`` and ``--dino`` are local folders with weights, in the form of transformers, for
ViStoryBench's measures; without them these are null.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.machine import circumstances
from magicgen.control.story import Character, Facing, Panel, Subject
from magicgen.control.story_sketch import Cutout, compose, cut_out, paste
from magicgen.errors import MagicGenError, StoryError
from magicgen.evaluation.story import PanelScore, StoryScore, Wanted, score_panel, summary
from magicgen.evaluation.story_features import FeatureJudge, PanelFeatures, feature_summary, load_clip, load_dino
from magicgen.jobs.story_joints import JointReader
from magicgen.jobs.story_painter import load_painter, story_facts
from magicgen.jobs.story_stages import foreground
from magicgen.models.storybook_reader import StorybookReader
from magicgen.synthetic.characters import Design
from magicgen.synthetic.layout import Panel as DrawnPanel
from magicgen.synthetic.layout import Story, held_out_stories, panel_scene
from magicgen.synthetic.plan import SceneSettings, place_words
from magicgen.synthetic.story_examples import SLOTS, draw_cast, paper
from magicgen.training.storybook_reader import parts_of, tints_of

UInt8 = npt.NDArray[np.uint8]
RESULTS = Path(__file__).resolve().parent / "results"
READER = Path(__file__).resolve().parents[1] / "magicgen" / "presets" / "storybook_reader"
WHAT = {
    "truth": "real drawings (ceiling of the judge)",
    "full": "all stages, a picture of every character given",
    "words": "all stages, from words alone",
    "keypoints": "all stages, after joints instead of sketches",
    "no-sketch": "without dense conditions",
    "no-regions": "without regional attention",
    "no-cast": "without shared identity",
}


@dataclass
class Tally:
    """Scores of one way of drawing, story by story."""

    scores: list[list[PanelScore]] = field(default_factory=list)
    wanted: list[list[list[Wanted]]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    features: list[list[PanelFeatures]] = field(default_factory=list)
    references: list[PanelFeatures] = field(default_factory=list)

    def result(self, tolerance: float) -> dict[str, Any]:
        """Means, and seconds a story; ``tolerance`` of tints in grey levels."""
        found: StoryScore = summary(self.scores, self.wanted, tolerance)
        return {**found.as_dict(), "seconds_a_story": round(float(np.median(self.seconds)), 2)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and write ``story.json``; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    try:
        result = measure(options)
    except MagicGenError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    described = {**circumstances("story", given), **result}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(described, indent=2, allow_nan=True).replace("NaN", "null"), encoding="utf-8")
    print(json.dumps(described, indent=2) if options.json else table(result["scores"]))
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All ways of drawing on the same stories."""
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    facts = story_facts(options.model)
    painter: Any = load_painter(facts, options.device)
    reader = StorybookReader.from_pretrained(options.reader).float().eval()
    judged = FeatureJudge(
        None if options.clip is None else load_clip(options.clip),
        None if options.dino is None else load_dino(options.dino),
    )
    tallies = {name: Tally() for name in options.what}
    stories = held_out_stories(options.stories, options.seed, options.panels, facts.width / facts.height)
    for number, story in enumerate(stories[options.first :], start=options.first):
        _draw_story(number, story, painter, reader, judged, tallies, (facts.height, facts.width))
        print(f"story {number + 1} of {len(stories)}", file=sys.stderr, flush=True)
    judge = json.loads((options.reader / "scores.json").read_text(encoding="utf-8"))
    scores = {name: tally.result(judge["real drawings"]["tint tolerance"]) for name, tally in tallies.items()}
    return {
        "model": facts.identity,
        "stories": len(stories) - options.first,
        "panels": options.panels,
        "seed": options.seed,
        "judge": judge,
        "scores": scores,
        "vistorybench": {
            name: {
                **feature_summary(judged, tally.features, tally.references),
                "OCCM": scores[name]["occm"],
            }
            for name, tally in tallies.items()
        },
    }


def table(scores: dict[str, dict[str, float]]) -> str:
    """The results as a table."""
    names = {
        "layout": "right subject in its box",
        "kind": "kind",
        "colour": "colour",
        "iou": "box IoU",
        "count": "number right",
        "occm": "OCCM",
        "identity": "same identity",
        "look": "same look",
        "sketch": "sketch kept",
        "plate": "place kept",
        "seconds_a_story": "s a story",
    }
    lines = ["| | " + " | ".join(names.values()) + " |", "|---" * (len(names) + 1) + "|"]
    for way, row in scores.items():
        cells = [_cell(key, row.get(key, math.nan)) for key in names]
        lines.append(f"| {WHAT[way]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(key: str, value: float) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.1f}" if key in ("occm", "seconds_a_story") else f"{value:.2f}"


def _draw_story(
    number: int,
    story: Story,
    painter: Any,
    reader: StorybookReader,
    judged: FeatureJudge,
    tallies: dict[str, Tally],
    size: tuple[int, int],
) -> None:
    height, width = size
    started = time.perf_counter()
    slots: dict[str, dict[str, UInt8]] = {"given": {}, "words": {}}
    plates: dict[str, UInt8] = {}
    shared = 0.0
    if set(tallies) - {"truth"}:
        for design in story.cast:
            character = Character(name=design.phrase, description=design.phrase)
            if "words" in tallies:
                slots["words"][design.phrase] = painter.slot(painter.sheet(character, (), seed=number))
            slots["given"][design.phrase] = given_picture(design, number, height, width)
        for panel in story.panels:
            words = place_words(panel.place, panel.time)
            if words not in plates:
                sizes = {"height": height, "width": width}
                lines = painter.place_sketch(words, **sizes, seed=number)
                plates[words] = painter.plate(words, **sizes, seed=number, steps=None, sketch=lines)
        shared = time.perf_counter() - started
    for name, tally in tallies.items():
        began = time.perf_counter()
        known = slots["words" if name == "words" else "given"]
        scores, wanted, features = [], [], []
        for index, drawn in enumerate(story.panels):
            expected = _wanted(drawn)
            wanted.append(expected)
            seed = 1000 * number + index
            picture, plate, sketch = (
                _truth(drawn, size) if name == "truth" else _draw_panel(name, drawn, painter, known, plates, seed, size)
            )
            scores.append(score_panel(picture, plate, expected, sketch, reader))
            features.append(judged.panel(picture, expected, story_panel(drawn).prompt))
        tally.features.append(features)
        tally.references.append(judged.references(known))
        tally.scores.append(scores)
        tally.wanted.append(wanted)
        tally.seconds.append(time.perf_counter() - began + (0.0 if name == "truth" else shared))


def _draw_panel(
    way: str,
    drawn: DrawnPanel,
    painter: Any,
    slots: dict[str, UInt8],
    plates: dict[str, UInt8],
    seed: int,
    size: tuple[int, int],
) -> tuple[UInt8, UInt8, UInt8 | None]:
    """One panel through all stages: (picture, plate, sketch)."""
    height, width = size
    panel = story_panel(drawn)
    known = {} if way == "no-cast" else slots
    plate = plates[panel.background]
    sketch: UInt8 | None = None
    crops: UInt8 | None = None
    points: npt.NDArray[np.float32] | None = None
    if way != "no-sketch":
        cutouts: dict[int, Cutout] = {}
        joints = JointReader() if way == "keypoints" else None
        for index, subject in enumerate(panel.subjects):
            slot = known.get(subject.character)
            alone = painter.alone(subject, slot, seed=seed, steps=None, regional=way != "no-regions")
            try:
                mask = foreground(alone)
                read = None if joints is None or not mask.any() else joints.read(alone, mask, subject.yaw)
                cutouts[index] = cut_out(alone, mask, keypoints=read)
            except StoryError:
                continue
        composed = compose(panel, cutouts, height, width)
        sketch, points = (composed.sketch, None) if joints is None else (None, composed.keypoints)
        crops = paste(panel, cutouts, plate)
    picture = painter.panel(
        panel,
        known,
        plate=plate,
        sketch=sketch,
        crops=crops,
        keypoints=points,
        regional=way != "no-regions",
        height=height,
        width=width,
        seed=seed,
        steps=None,
        cancel=None,
    )
    return picture, plate, sketch


def given_picture(design: Design, seed: int, height: int, width: int) -> UInt8:
    """A picture of a character from the front, such as an author would give: a third of a sheet."""
    sheet = draw_cast([design], paper(np.random.default_rng([0x91F7, seed]), height, width))
    return np.ascontiguousarray(sheet[:, : width // SLOTS])


def _truth(drawn: DrawnPanel, size: tuple[int, int]) -> tuple[UInt8, UInt8, UInt8 | None]:
    clip = panel_scene(drawn, SceneSettings(frames=1, height=size[0], width=size[1]))
    return clip.video[0], clip.background[0], clip.sketches[0]


def story_panel(drawn: DrawnPanel) -> Panel:
    """A panel of the drawn world as a person would have written it."""
    subjects = tuple(
        Subject(
            character=figure.design.phrase,
            prompt=figure.prompt,
            box=tuple(float(np.clip(value, 0, 1)) for value in figure.box),  # type: ignore[arg-type]
            pose=figure.action.value,
            facing=_facing(figure.yaw),
        )
        for figure in drawn.figures
    )
    return Panel(background=place_words(drawn.place, drawn.time), subjects=subjects)


def _facing(yaw: float) -> Facing:
    if abs(yaw) < 60:
        return "front"
    return "right" if yaw > 0 else "left"


def _wanted(drawn: DrawnPanel) -> list[Wanted]:
    return [
        Wanted(
            figure.design.phrase,
            tuple(float(np.clip(value, 0, 1)) for value in figure.box),  # type: ignore[arg-type]
            figure.design.kind,
            figure.design.colour,
            tints_of(figure.design),
            parts_of(figure.design),
        )
        for figure in drawn.figures
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="magicgen bench story", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny", help="preset or folder")
    parser.add_argument("--reader", type=Path, default=READER, help="folder of the judge")
    parser.add_argument("--clip", type=Path, default=None, help="folder with CLIP weights, for CIDS and CLIP_T")
    parser.add_argument("--dino", type=Path, default=None, help="folder with DINOv2 weights")
    parser.add_argument("--stories", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="leave out the stories before this one")
    parser.add_argument("--panels", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="which held-out stories")
    parser.add_argument("--what", nargs="+", choices=tuple(WHAT), default=list(WHAT))
    parser.add_argument("--device", default=None)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "story.json")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
