"""The results as a page: players side by side, worst samples first, one HTML file beside a folder of videos."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt

from magicgen.evaluation.magicbench import EVERY_LEVEL, Score
from magicgen.evaluation.tables import LEVELS
from magicgen.media import write_bytes, write_video

UInt8 = npt.NDArray[np.uint8]
FPS = 8.0
PAGE_NAME = "index.html"

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: #222; }
pre { background: #f6f6f4; padding: 1rem; overflow-x: auto; }
section { border-top: 1px solid #ddd; padding: .5rem 0 1rem; }
.row { display: flex; flex-wrap: wrap; gap: .75rem; }
figure { margin: 0; } video { display: block; width: 16rem; background: #000; }
figcaption { font-size: 13px; } .number { color: #666; }
"""


class Gallery:
    """Keeps the videos of a run under ``folder/videos`` and writes ``folder/index.html``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, score: Score, video: UInt8) -> None:
        """Write the video of a score."""
        path = self.folder / video_name(score)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, video, FPS)

    def write(self, scores: Sequence[Score], table: str, left_out: Mapping[str, str]) -> Path:
        """Write the page."""
        parts = [_head(table, left_out)]
        for level in LEVELS:
            parts.append(f"<h2>{level}</h2>")
            parts.extend(_sample(self.folder, group) for group in worst_first(scores, level))
        parts.append("</html>\n")
        return write_bytes(self.folder / PAGE_NAME, "\n".join(parts).encode())


def video_name(score: Score) -> str:
    """Where a score's video lies, relative to the folder."""
    return f"videos/{score.method.replace(' ', '_').replace('/', '_')}/{score.level}/{score.sample}.mp4"


def worst_first(scores: Sequence[Score], level: str) -> list[list[Score]]:
    """Scores of a level grouped by sample; samples in the order of the last method's Mask-IoU, lowest first."""
    chosen = [score for score in scores if score.level in (level, EVERY_LEVEL)]
    methods = list(dict.fromkeys(score.method for score in chosen))
    grouped: dict[str, list[Score]] = {}
    for score in chosen:
        grouped.setdefault(score.sample, []).append(score)

    def badness(group: list[Score]) -> float:
        judged = [score.mask_iou for score in group if score.method == methods[-1]]
        return judged[0] if judged and np.isfinite(judged[0]) else 2.0

    return sorted(grouped.values(), key=badness)


def _head(table: str, left_out: Mapping[str, str]) -> str:
    missing = "".join(f"<li>{escape(name)}: {escape(why)}.</li>" for name, why in left_out.items())
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>MagicBench</title><style>{STYLE}</style>\n<h1>MagicBench</h1>\n<pre>{escape(table)}</pre>\n"
        f"<p>Left out:</p><ul>{missing}</ul>"
    )


def _sample(folder: Path, scores: Sequence[Score]) -> str:
    first = scores[0]
    figures = "".join(_figure(folder, score) for score in scores)
    title = f"{escape(first.sample)} <span class=number>({escape(first.group)} objects)</span>"
    return f"<section><h3>{title}</h3><div class=row>{figures}</div></section>"


def _figure(folder: Path, score: Score) -> str:
    name = video_name(score)
    player = (
        f'<video src="{escape(name)}" controls loop muted preload="none"></video>'
        if (folder / name).is_file()
        else "<p>no video kept</p>"
    )
    return (
        f"<figure>{player}<figcaption>{escape(score.method)}<br><span class=number>Mask {score.mask_iou:.2f}, Box "
        f"{score.box_iou:.2f}, {score.region_psnr:.1f} dB</span></figcaption></figure>"
    )
