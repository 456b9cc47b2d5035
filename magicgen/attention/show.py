"""A plan for people: a table in text and the layer x head map as a picture."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from magicgen.attention.patterns import Spec, density
from magicgen.attention.plan import PartPlan, Phase, SparsePlan
from magicgen.attention.report import kind_of, label_of

COLOURS: dict[str, tuple[int, int, int]] = {
    "dense": (70, 78, 92),
    "skip": (205, 209, 216),
    "diagonal": (31, 119, 180),
    "multi_diagonal": (230, 140, 20),
    "vertical_stripe": (20, 150, 105),
    "anchor": (190, 85, 150),
}
"""One colour a pattern, apart from each other also for the colour-blind."""

_INK, _PAPER, _FAINT = (25, 28, 34), (255, 255, 255), (120, 126, 138)
_MARGIN, _TITLE, _LABEL = 18, 30, 34


def plan_table(plan: SparsePlan) -> str:
    """The plan as text: what it is for, what was measured, and per part and phase the patterns with their densities."""
    record = plan.record
    lines = [
        f"plan for {plan.model} at {plan.grid} ({plan.grid.total} tokens)"
        + (f", weights {record.weights}" if record.weights else ""),
        f"found by {record.criterion} on {record.device or 'unknown device'}, {record.threads} threads, "
        f"{record.dtype or 'unknown dtype'}, seed {record.seed}, in {record.seconds:.0f} s",
        f"mean density {plan.density:.3f}; attention share {_shown(record.attention_share)}; speed-up predicted "
        f"{_shown(record.predicted_speedup)}, measured {_shown(record.measured_speedup)}; PSNR "
        f"{_shown(record.measured_psnr)} dB",
    ]
    if record.note:
        lines.append(f"note: {record.note}")
    for name, part in plan.parts.items():
        for phase, table in zip(plan.phases, part.tables, strict=True):
            lines.append(f"{name}, phase {phase.name} (noise {phase.start:g} to {phase.end:g}):")
            lines.append(f"  {'heads':>5}  {'density':>7}  pattern")
            lines += _pattern_rows([spec for row in table for spec in row], plan)
            lines += [f"  layer {index:>2}  {_layer_row(row, plan)}" for index, row in enumerate(table)]
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "not measured" if value is None else f"{value:g}"


def _pattern_rows(specs: list[Spec], plan: SparsePlan) -> list[str]:
    counts = {spec: specs.count(spec) for spec in dict.fromkeys(specs)}
    by_label: dict[tuple[str, float], int] = {}
    for spec, count in counts.items():
        key = (label_of(spec), density(spec, plan.grid))
        by_label[key] = by_label.get(key, 0) + count
    ranked = sorted(by_label.items(), key=lambda item: (-item[1], item[0]))
    return [f"  {count:>5}  {share:>7.3f}  {label}" for (label, share), count in ranked]


def _layer_row(row: Iterable[Spec], plan: SparsePlan) -> str:
    return " ".join(f"{_short(spec)}{100 * density(spec, plan.grid):3.0f}%" for spec in row)


def _short(spec: Spec) -> str:
    return {"dense": "D", "skip": "-", "diagonal": "\\", "multi_diagonal": "M", "vertical_stripe": "|", "anchor": "A"}[
        kind_of(spec)
    ]


def draw_plan(plan: SparsePlan) -> npt.NDArray[np.uint8]:
    """The plan as a picture (H,W,3) uint8 RGB: one map a part and phase, layers down, heads across, a legend below.

    A cell's colour is its pattern; the fuller the bar inside, the denser the head.
    """
    from PIL import Image, ImageDraw

    cell = _cell_size(plan)
    maps = [(name, part, index) for name, part in plan.parts.items() for index in range(len(plan.phases))]
    widths = [_LABEL + part.heads * cell + _MARGIN for _, part, _ in maps]
    tallest = max(part.layers for _, part, _ in maps) * cell
    width = max(_MARGIN + sum(widths), 620)
    height = 2 * _MARGIN + 3 * _TITLE + tallest + _TITLE * 2
    image = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(image)
    font = _font(14)
    draw.text((_MARGIN, _MARGIN - 4), f"{plan.model}: {plan.grid}", fill=_INK, font=_font(17))
    left = _MARGIN
    for (name, part, index), wide in zip(maps, widths, strict=True):
        _draw_map(draw, plan, part, plan.phases[index], name, index, (left, _MARGIN + _TITLE), cell)
        left += wide
    _draw_legend(draw, plan, (_MARGIN, height - _MARGIN - 2 * _TITLE), font)
    return np.asarray(image)


def _cell_size(plan: SparsePlan) -> int:
    most = max(max(part.heads, part.layers) for part in plan.parts.values())
    return 34 if most <= 12 else 22 if most <= 24 else 14


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _draw_map(
    draw: Any,
    plan: SparsePlan,
    part: PartPlan,
    phase: Phase,
    name: str,
    index: int,
    corner: tuple[int, int],
    cell: int,
) -> None:
    left, top = corner
    small = _font(12)
    draw.text((left, top), name.replace("_", " "), fill=_INK, font=_font(14))
    draw.text((left, top + 17), f"{phase.name}: noise {phase.start:g} to {phase.end:g}", fill=_FAINT, font=small)
    top += _TITLE + 14
    left += _LABEL
    step = 1 if cell > 20 else 4
    for layer, row in enumerate(part.tables[index]):
        y = top + layer * cell
        if layer % step == 0:
            draw.text((left - 8, y + cell / 2), str(layer), fill=_FAINT, font=small, anchor="rm")
        for head, spec in enumerate(row):
            _draw_cell(draw, spec, density(spec, plan.grid), (left + head * cell, y), cell)


def _draw_cell(draw: Any, spec: Spec, share: float, corner: tuple[int, int], cell: int) -> None:
    x, y = corner
    colour = COLOURS[kind_of(spec)]
    pale = tuple((2 * 255 + channel) // 3 for channel in colour)
    full = cell - 3
    draw.rectangle((x, y, x + full, y + full), fill=pale)
    filled = round(full * share)
    draw.rectangle((x, y + full - filled, x + full, y + full), fill=colour)
    if cell >= 34 and 0.005 <= share < 0.995:
        ink = _PAPER if share > 0.6 else _INK
        draw.text((x + full / 2, y + full / 2), f"{100 * share:.0f}", fill=ink, font=_font(12), anchor="mm")


def _draw_legend(draw: Any, plan: SparsePlan, corner: tuple[int, int], font: Any) -> None:
    left, top = corner
    x = left
    for kind, colour in COLOURS.items():
        draw.rectangle((x, top + 3, x + 13, top + 16), fill=colour)
        label = kind.replace("_", "-")
        draw.text((x + 19, top + 1), label, fill=_INK, font=font)
        x += 19 + round(draw.textlength(label, font=font)) + 18
    record = plan.record
    told = f"number and fill: density in %; mean {100 * plan.density:.1f} %"
    if record.measured_speedup:
        told += f"; measured {record.measured_speedup:.2f}x"
        told += f" at {record.measured_psnr:.1f} dB" if record.measured_psnr else ""
    elif record.note:
        told += f"; {record.note[:70]}"
    draw.text((left, top + 24), told, fill=_FAINT, font=font)
