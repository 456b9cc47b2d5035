"""Scores as tables: plain data, Markdown."""

import math
from collections.abc import Sequence
from typing import Any

from magicgen.control.tracks import level_name, paper_levels
from magicgen.evaluation.magicbench import Score, mean_score

LEVELS = tuple(level_name(level) for level in paper_levels(17))
GROUPS = ("1", "2", "3", "4", "5", ">5")
COLUMNS = {
    "mask_iou": ("Mask-IoU", "{:.3f}"),
    "box_iou": ("Box-IoU", "{:.3f}"),
    "region_psnr": ("moved regions", "{:.2f} dB"),
    "background_psnr": ("background", "{:.1f} dB"),
    "ssim": ("SSIM", "{:.3f}"),
    "warping_error": ("warping error", "{:.2f}"),
    "seconds": ("s a clip", "{:.1f}"),
}


def as_data(scores: Sequence[Score]) -> dict[str, Any]:
    """``{level: {method: {"all": means, "groups": {group: means}}}}``."""
    methods = _methods(scores)
    return {
        level: {
            method: {
                "all": mean_score(scores, method, level),
                "groups": {group: means for group in GROUPS if (means := mean_score(scores, method, level, group))},
            }
            for method in methods
            if mean_score(scores, method, level)
        }
        for level in LEVELS
    }


def markdown(scores: Sequence[Score]) -> str:
    """A table by level and method, and one of Mask-IoU / Box-IoU by object count."""
    overview, groups = grid(overview_rows(scores)), grid(group_rows(scores))
    return f"{overview}\n\nMask-IoU / Box-IoU by number of objects:\n\n{groups}\n"


def overview_rows(scores: Sequence[Score]) -> list[list[str]]:
    """A head, then a row for every level and method."""
    rows = [["level", "method", *(title for title, _ in COLUMNS.values())]]
    for level in LEVELS:
        for method in _methods(scores):
            means = mean_score(scores, method, level)
            if means:
                rows.append([level, method, *(_cell(form, means[key]) for key, (_, form) in COLUMNS.items())])
    return rows


def group_rows(scores: Sequence[Score]) -> list[list[str]]:
    """A head, then Mask-IoU / Box-IoU by object count for every level and method."""
    groups = [group for group in GROUPS if any(score.group == group for score in scores)]
    rows = [["level", "method", *(f"{group} object{'s' * (group != '1')}" for group in groups)]]
    for level in LEVELS:
        for method in _methods(scores):
            cells = [mean_score(scores, method, level, group) for group in groups]
            if any(cells):
                pairs = [f"{cell['mask_iou']:.2f} / {cell['box_iou']:.2f}" if cell else "" for cell in cells]
                rows.append([level, method, *pairs])
    return rows


def _cell(form: str, value: float) -> str:
    return form.format(value) if math.isfinite(value) else "-"


def _methods(scores: Sequence[Score]) -> list[str]:
    return list(dict.fromkeys(score.method for score in scores))


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, a head first, as a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
