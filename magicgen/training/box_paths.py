"""Training of the network that completes sparse boxes, on the tracks of synthetic scenes, and its measure.

Tracks are rendered as masks without pictures, since boxes of the visible part are what a person sees and draws.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from magicgen.control.paths import (
    FEATURES,
    Doubles,
    Frames,
    PathNetwork,
    as_network,
    completed,
    curved,
    path_features,
    trust,
)
from magicgen.control.tracks import paper_levels
from magicgen.media import write_bytes
from magicgen.progress import ProgressEvent, silent
from magicgen.synthetic.plan import SceneSettings
from magicgen.synthetic.scene import EVALUATION_STREAM, HELD_OUT_GROUPS, random_boxes
from magicgen.training.one_cycle import fit_in_one_cycle, keep_scores
from magicgen.training.path_options import PathTraining

Floats = npt.NDArray[np.float32]

DEMO_SHARE = 0.5
"""Share of the tracks thinned out as in the public demos: frames 0 and 1, the middle and the last frame."""
MAX_KNOTS = 6
STRIDES = (1, 2, 4)


@dataclass(frozen=True)
class Thinned:
    """A track of ``count`` frames of which some are known: boxes (count, 4), NaN where the object cannot be seen."""

    boxes: Doubles
    knots: Frames


@dataclass(frozen=True)
class Rows:
    """Asked frames: what the network sees (n, FEATURES), the curve's boxes and the true ones (n, 4), trust (n,)."""

    features: Floats
    curve: Floats
    truth: Floats
    trust: Floats


def tracks(seed: int, scenes: int, settings: SceneSettings, held_out: bool = False) -> list[Doubles]:
    """The boxes of every object of random scenes, (T, 4) each."""
    found: list[Doubles] = []
    for index in range(scenes):
        stream = [EVALUATION_STREAM, seed, index, 9] if held_out else [0x9A7B, seed, index]
        low, high = HELD_OUT_GROUPS[index % len(HELD_OUT_GROUPS)] if held_out else (1, settings.max_objects)
        chosen = replace(settings, min_objects=low, max_objects=high, held_out=held_out)
        found.extend(random_boxes(np.random.default_rng(stream), chosen).astype(np.float64))
    return found


def demo_knots(count: int) -> Frames:
    """Known frames of the public demos' sparse level."""
    return np.array([0, *paper_levels(count)[-1].frames])


def thinned(rng: np.random.Generator, boxes: Doubles, draws: int) -> Iterator[Thinned]:
    """The track at several lengths with few frames known; frame 0 is always one of them."""
    for _ in range(draws):
        part = boxes[:: int(rng.choice(STRIDES))]
        part = _mirrored(part) if rng.random() < 0.5 else part
        knots = demo_knots(len(part))
        if rng.random() >= DEMO_SHARE:
            others = rng.choice(np.arange(1, len(part)), rng.integers(1, min(MAX_KNOTS, len(part))), replace=False)
            knots = np.unique([0, *others])
        knots = knots[np.isfinite(part[knots]).all(axis=1)]
        if len(knots) > 1:
            yield Thinned(part, knots)


def _mirrored(boxes: Doubles) -> Doubles:
    return np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)


def asked(rng: np.random.Generator, track: Thinned, queries: int) -> Rows | None:
    """Rows for some of the frames between known ones where the object is seen and moves."""
    frames = np.setdiff1d(np.arange(track.knots[0] + 1, track.knots[-1]), track.knots)
    frames = frames[np.isfinite(track.boxes[frames]).all(axis=1)]
    known = track.boxes[track.knots]
    frames = frames[trust(track.knots, known, frames) > 0] if len(frames) else frames
    if not len(frames):
        return None
    frames = rng.permutation(frames)[:queries]
    curve = curved(track.knots, known, len(track.boxes))
    return Rows(
        features=path_features(track.knots, known, curve, frames),
        curve=curve[frames].astype(np.float32),
        truth=track.boxes[frames].astype(np.float32),
        trust=trust(track.knots, known, frames),
    )


def train_paths(
    options: PathTraining, *, report: Callable[[ProgressEvent], None] = silent, log: Callable[[str], None] = print
) -> Path:
    """Train, measure, and write ``model.safetensors`` in half precision with ``scores.json``; returns the folder."""
    from safetensors.torch import save

    torch.manual_seed(options.seed)
    rng = np.random.default_rng([options.seed, 1])
    settings = SceneSettings(frames=options.frames, height=128, width=192, max_objects=5)
    rows = _rows(rng, tracks(options.seed, options.scenes, settings), options)
    log(f"{len(rows.trust)} frames to learn from")
    network = _network(options.width)
    _fit(network, rows, options, report, log)
    with torch.no_grad():
        for values in network[-1].parameters():
            values.mul_(options.caution)
    tensors = {
        f"{number}.{part}": getattr(layer, part).detach().half()
        for number, layer in enumerate(network[::2])
        for part in ("weight", "bias")
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write_bytes(options.out / "model.safetensors", save(tensors))
    shipped = as_network({name: value.numpy() for name, value in tensors.items()})
    measured = path_scores(shipped, options)
    scores = {"box IoU between known frames": measured, "seed": options.seed, "scenes": options.scenes}
    keep_scores(options.out, scores, log)
    return options.out


def _rows(rng: np.random.Generator, found: list[Doubles], options: PathTraining) -> Rows:
    parts = [
        part
        for boxes in found
        for track in thinned(rng, boxes, options.draws)
        if (part := asked(rng, track, options.queries)) is not None
    ]
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in Rows.__dataclass_fields__))


def _network(width: int) -> nn.Sequential:
    """Nothing is added to the curve before training."""
    sizes = (FEATURES, width, width, width, 4)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.GELU(approximate="tanh")]
    last = layers[-2]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers[:-1])


def _fit(
    network: nn.Sequential,
    rows: Rows,
    options: PathTraining,
    report: Callable[[ProgressEvent], None],
    log: Callable[[str], None],
) -> None:
    """Maximise the overlap with the true boxes."""
    features, curve, truth, weight = (torch.from_numpy(getattr(rows, name)) for name in Rows.__dataclass_fields__)

    def loss_of_next() -> torch.Tensor:
        chosen = torch.randint(len(features), (options.batch_size,))
        moved = _moved(curve[chosen], network(features[chosen]) * weight[chosen, None])
        return (1 - _overlap(moved, truth[chosen])).mean() + 0.2 * F.l1_loss(moved, truth[chosen])

    fit_in_one_cycle(
        network,
        loss_of_next,
        options.steps,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        report=report,
        log=log,
        log_every=1000,
    )


def _moved(curve: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """The curve's boxes (n, 4) with the change (n, 4) of centre and size, without the bound that
    :func:`completed` puts on sizes."""
    centre, size = (curve[:, :2] + curve[:, 2:]) / 2, curve[:, 2:] - curve[:, :2]
    centre, half = centre + 0.1 * change[:, :2], torch.maximum(size + 0.1 * change[:, 2:], 0.1 * size) / 2
    return torch.cat([centre - half, centre + half], dim=1)


def _overlap(boxes: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """IoU (n,) of boxes, cut at the picture's border, with true ones."""
    boxes = boxes.clamp(0, 1)
    sides = torch.minimum(boxes[:, 2:], truth[:, 2:]) - torch.maximum(boxes[:, :2], truth[:, :2])
    shared = sides.clamp_min(0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp_min(0).prod(1) + (truth[:, 2:] - truth[:, :2]).prod(1)
    return shared / (areas - shared).clamp_min(1e-6)


def path_scores(network: PathNetwork, options: PathTraining) -> dict[str, dict[str, float]]:
    """Mean IoU with the true boxes between known frames on held-out scenes, for straight lines, curves and network."""
    settings = SceneSettings(frames=options.frames, height=128, width=192, max_objects=5)
    found = tracks(options.seed, options.test_scenes, settings, held_out=True)
    rng = np.random.default_rng([options.seed, 5])
    sets = {
        "as in the demos": [Thinned(boxes, demo_knots(len(boxes))) for boxes in found],
        "any frames": [track for boxes in found for track in thinned(rng, boxes, 1)],
    }
    return {name: completion_scores(some, network) for name, some in sets.items()}


def completion_scores(some: list[Thinned], network: PathNetwork) -> dict[str, float]:
    """Mean IoU over tracks, each over its unknown frames between the first and the last known one."""
    ways: dict[str, list[float]] = {"straight": [], "curve": [], "network": []}
    for track in some:
        seen = np.asarray(np.isfinite(track.boxes).all(axis=1))
        knots = track.knots[seen[track.knots]]
        if len(knots) < 2:
            continue
        frames = np.setdiff1d(np.flatnonzero(seen[: knots[-1]])[1:], knots)
        if not len(frames):
            continue
        truth = torch.from_numpy(track.boxes[frames])
        for name, boxes in _answers(knots, track.boxes[knots], len(seen), network).items():
            ways[name].append(float(_overlap(torch.from_numpy(boxes[frames]), truth).mean()))
    return {name: round(float(np.mean(values)), 4) for name, values in ways.items()} | {"tracks": len(ways["curve"])}


def _answers(knots: Frames, known: Doubles, count: int, network: PathNetwork) -> dict[str, Doubles]:
    straight = [np.interp(np.arange(count), knots, known[:, side]) for side in range(4)]
    return {
        "straight": np.stack(straight, axis=1),
        "curve": curved(knots, known, count),
        "network": completed(knots, known, count, network),
    }
