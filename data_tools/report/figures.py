"""Numbers of the report: histograms with threshold lines, survival, near misses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_tools.scores import CLIP_SCORES, DERIVED_SCORES, TRACK_SCORES
from data_tools.settings import Band, Thresholds

_BINS = 32
_WIDTH, _HEIGHT, _LEFT = 320, 92, 4


@dataclass(frozen=True)
class Histogram:
    """One score of all clips or tracks as SVG, with its meaning and how many pass."""

    name: str
    meaning: str
    of: str
    svg: str
    known: int
    unknown: int
    passing: int
    band: str


def histograms(rows: Sequence[dict[str, Any]], thresholds: Thresholds) -> list[Histogram]:
    """All scores that any clip or track has."""
    clips = [{**row["scores"], **row["derived"]} for row in rows]
    tracks = [track["scores"] for row in rows for track in row["tracks"]]
    meanings = {**DERIVED_SCORES, **CLIP_SCORES}
    found = [_histogram(name, meanings[name], "clips", clips, thresholds.clips) for name in meanings]
    found += [_histogram(name, TRACK_SCORES[name], "tracks", tracks, thresholds.tracks) for name in TRACK_SCORES]
    return found


def _histogram(name: str, meaning: str, of: str, scores: Sequence[dict[str, Any]], thresholds: Any) -> Histogram:
    band: Band = getattr(thresholds, name, Band())
    values = [score[name] for score in scores if score.get(name) is not None]
    passing = sum(band.holds(value) for value in values)
    svg = _bars(np.array(values, dtype=np.float64), band) if values else ""
    return Histogram(name, meaning, of, svg, len(values), len(scores) - len(values), passing, band_text(band))


def band_text(band: Band) -> str:
    """Such as ``0.1 to 2``, ``at least 3`` or nothing."""
    match band:
        case Band(min=None, max=None):
            return ""
        case Band(min=None):
            return f"at most {band.max:g}"
        case Band(max=None):
            return f"at least {band.min:g}"
        case _:
            return f"{band.min:g} to {band.max:g}"


def _bars(values: Any, band: Band) -> str:
    """Blue bars pass, red ones do not; dashed lines are thresholds. Rare far values are gathered in the last bar."""
    low, high = float(values.min()), float(np.quantile(values, 0.99))
    ends = [end for end in (band.min, band.max) if end is not None]
    spread = max(high - low, 1e-9)
    near = [end for end in ends if low - spread <= end <= high + spread]
    low, high = min([low, *near]), max([high, *near])
    high = high if high > low else low + max(abs(low), 1e-3)
    ticks = (low, high)
    low, high = low - 0.02 * (high - low), high + 0.02 * (high - low)
    holds = np.array([band.holds(float(value)) for value in values])
    passing, edges = np.histogram(np.clip(values[holds], low, high), bins=_BINS, range=(low, high))
    failing, _ = np.histogram(np.clip(values[~holds], low, high), bins=_BINS, range=(low, high))
    step, scale = (_WIDTH - 2 * _LEFT) / _BINS, (_HEIGHT - 20) / max(int((passing + failing).max()), 1)
    parts = []
    for number in range(_BINS):
        foot = float(_HEIGHT - 14)
        for kind, count in (("pass", int(passing[number])), ("fail", int(failing[number]))):
            if count:
                tall = max(2.0, count * scale)
                foot -= tall
                parts.append(
                    f'<rect class="{kind}" x="{_LEFT + number * step:.1f}" y="{foot:.1f}" width="{step - 1:.1f}" '
                    f'height="{tall:.1f}"><title>{edges[number]:.4g} to {edges[number + 1]:.4g}: {count}</title></rect>'
                )
    for end in near:
        x = _LEFT + (end - low) / (high - low) * (_WIDTH - 2 * _LEFT)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_HEIGHT - 14}"/>')
    parts.append(f'<text x="{_LEFT}" y="{_HEIGHT - 2}">{ticks[0]:.3g}</text>')
    parts.append(f'<text x="{_WIDTH - _LEFT}" y="{_HEIGHT - 2}" text-anchor="end">{ticks[1]:.3g}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'


@dataclass(frozen=True)
class Step:
    """A filter in the funnel: how many clips fail it at all, fail it alone, and are left after it and those above."""

    name: str
    band: str
    fail: int
    only: int
    left: int
    share: float


def funnel(rows: Sequence[dict[str, Any]], thresholds: Thresholds) -> list[Step]:
    """The survival of clips, filter by filter in the order of the settings."""
    left = list(rows)
    steps = []
    for name in type(thresholds.clips).model_fields:
        band: Band = getattr(thresholds.clips, name)
        if band == Band():
            continue
        failing = [row for row in rows if name in row["reasons"]]
        left = [row for row in left if name not in row["reasons"]]
        only = sum(row["reasons"] == [name] for row in failing)
        steps.append(Step(name, band_text(band), len(failing), only, len(left), len(left) / max(len(rows), 1)))
    return steps


@dataclass(frozen=True)
class Borderline:
    """The clips nearest to a threshold, on both sides."""

    name: str
    band: str
    inside: list[tuple[dict[str, Any], float]]
    outside: list[tuple[dict[str, Any], float]]


def borderlines(rows: Sequence[dict[str, Any]], thresholds: Thresholds, count: int = 2) -> list[Borderline]:
    """For every threshold in use the clips just inside and just outside."""
    found = []
    for name in type(thresholds.clips).model_fields:
        band: Band = getattr(thresholds.clips, name)
        known = [(row, value) for row in rows if (value := {**row["scores"], **row["derived"]}[name]) is not None]
        if band == Band() or not known:
            continue
        ends = [end for end in (band.min, band.max) if end is not None]
        near = sorted(known, key=lambda pair: min(abs(pair[1] - end) for end in ends))
        inside = [pair for pair in near if band.holds(pair[1])][:count]
        outside = [pair for pair in near if not band.holds(pair[1])][:count]
        found.append(Borderline(name, band_text(band), inside, outside))
    return found


def object_counts(rows: Sequence[dict[str, Any]]) -> list[tuple[int, int, int]]:
    """(number of kept objects, clips kept, clips rejected)."""
    numbers = sorted({len(row["kept_tracks"]) for row in rows})
    return [
        (
            number,
            sum(len(row["kept_tracks"]) == number and row["status"] == "kept" for row in rows),
            sum(len(row["kept_tracks"]) == number and row["status"] != "kept" for row in rows),
        )
        for number in numbers
    ]
