"""The results as a page: players side by side, worst samples first, one HTML file beside a folder of videos."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt

from magicgen.evaluation.magicbench import EVERY_LEVEL, Failure, Score
from magicgen.evaluation.samples import Sample
from magicgen.evaluation.tables import LEVELS, group_rows, overview_rows
from magicgen.media import write_bytes, write_video

UInt8 = npt.NDArray[np.uint8]
FPS = 8.0
PAGE_NAME = "index.html"

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: #222; }
pre { background: #f6f6f4; padding: 1rem; overflow-x: auto; }
section { border-top: 1px solid #ddd; padding: .5rem 0 1rem; }
.row { display: flex; flex-wrap: wrap; gap: .75rem; }
figure { margin: 0; } video { display: block; width: 12rem; background: #ddd; }
figcaption { font-size: 13px; } .number { color: #666; } .poor { color: #b00; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { padding: .15rem .6rem; text-align: right; }
th { border-bottom: 1px solid #999; } td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left; }
"""
# Players start together when their row comes into view, so that a page of a thousand videos opens at once.
SCRIPT = """
const seen = new IntersectionObserver(entries => entries.forEach(({target, isIntersecting}) =>
  target.querySelectorAll('video').forEach(player => {
    if (isIntersecting) { player.currentTime = 0; player.play().catch(() => {}); } else player.pause();
  })), {rootMargin: '50px'});
document.querySelectorAll('section').forEach(section => seen.observe(section));
"""
POOR = 0.5


class Gallery:
    """Keeps the videos of a run under ``folder/videos`` and writes ``folder/index.html``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, sample: Sample, score: Score, video: UInt8) -> None:
        """Write the video of a score; the sample is not needed for it."""
        del sample
        path = self.folder / video_name(score)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, video, FPS)

    def write(
        self,
        scores: Sequence[Score],
        judged: str,
        left_out: Mapping[str, str],
        failures: Sequence[Failure] = (),
        distances: Sequence[Sequence[str]] = (),
    ) -> Path:
        """Write the page: tables, what is missing, then every level's samples, those that ``judged`` (a method's name)
        does worst first. ``distances`` are the rows of a further table, a head first."""
        parts = [_head(scores, left_out, failures, distances)]
        for level in LEVELS:
            parts.append(f'<h2 id="{level}">{level}: worst of {escape(judged)} first</h2>')
            parts.extend(_sample(self.folder, group) for group in worst_first(scores, level, judged))
        parts.append(f"<script>{SCRIPT}</script></html>\n")
        return write_bytes(self.folder / PAGE_NAME, "\n".join(parts).encode())


def video_name(score: Score) -> str:
    """Where a score's video lies, relative to the folder."""
    return f"videos/{score.method.replace(' ', '_').replace('/', '_')}/{score.level}/{score.sample}.mp4"


def worst_first(scores: Sequence[Score], level: str, judged: str) -> list[list[Score]]:
    """Scores of a level grouped by sample; samples in the order of the judged method's Mask-IoU, lowest first."""
    grouped: dict[str, list[Score]] = {}
    for score in scores:
        if score.level in (level, EVERY_LEVEL):
            grouped.setdefault(score.sample, []).append(score)

    def worth(group: list[Score]) -> float:
        found = [score.mask_iou for score in group if score.method == judged]
        return found[0] if found and np.isfinite(found[0]) else 2.0

    return sorted(grouped.values(), key=worth)


def _head(
    scores: Sequence[Score],
    left_out: Mapping[str, str],
    failures: Sequence[Failure],
    distances: Sequence[Sequence[str]],
) -> str:
    missing = "".join(f"<li>{escape(name)}: {escape(why)}.</li>" for name, why in left_out.items())
    failed = "".join(
        f"<li class=poor>{escape(item.method)} on {escape(item.sample)}: {escape(item.reason)}</li>"
        for item in failures
    )
    links = " ".join(f'<a href="#{level}">{level}</a>' for level in LEVELS)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>MagicBench</title><style>{STYLE}</style>\n<h1>MagicBench</h1>\n{_table(overview_rows(scores))}"
        f"<p>Mask-IoU / Box-IoU by number of objects:</p>{_table(group_rows(scores))}"
        f"{_table(distances) if len(distances) > 1 else ''}"
        f"<p>Left out:</p><ul>{missing}</ul>{f'<p>Failed:</p><ul>{failed}</ul>' if failed else ''}<p>{links}</p>"
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [
        "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"
        for tag, row in zip(["th", *["td"] * (len(rows) - 1)], rows, strict=True)
    ]
    return f"<table>{''.join(lines)}</table>"


def _sample(folder: Path, scores: Sequence[Score]) -> str:
    first = scores[0]
    figures = "".join(_figure(folder, score) for score in scores)
    title = (
        f"{escape(first.sample)} <span class=number>({escape(first.group)} object{'s' * (first.group != '1')})</span>"
    )
    return f"<section><h3>{title}</h3><div class=row>{figures}</div></section>"


def _figure(folder: Path, score: Score) -> str:
    name = video_name(score)
    player = (
        f'<video src="{escape(name)}" controls loop muted playsinline preload="none"></video>'
        if (folder / name).is_file()
        else "<p>no video kept</p>"
    )
    kind = "poor" if score.mask_iou < POOR else "number"
    return (
        f"<figure>{player}<figcaption>{escape(score.method)}<br><span class={kind}>Mask {score.mask_iou:.2f}, Box "
        f"{score.box_iou:.2f}, {score.region_psnr:.1f} dB</span></figcaption></figure>"
    )
