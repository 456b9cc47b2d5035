"""What models and attention plans cost, from measurements that come with the package."""

import html
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from magicgen.progress import duration

FILE = "costs.json"


@cache
def measured_costs() -> dict[str, Any]:
    """``presets/costs.json``, written by ``python -m benchmarks.app costs``: the machine, and for each task a list of
    rows with ``model``, ``attention``, ``what``, ``seconds`` (without loading) and ``bytes`` (the most that the process
    held). Empty where the package has no such file."""
    path = files("magicgen") / "presets" / FILE
    if not path.is_file():
        return {}
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def costs_table(task: str, models: Sequence[str]) -> str:
    """A table for the page: the rows of a task for some models. Empty where nothing was measured."""
    document = measured_costs()
    rows = [row for row in document.get(task, ()) if row["model"] in models]
    if not rows:
        return ""
    plans = len({row["attention"] for row in rows}) > 1  # a column only where there is something to compare
    names = ("Model", *(("Attention",) if plans else ()), "What", "Memory", "Time")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(f"<tr>{''.join(_cells(row, plans))}</tr>" for row in rows)
    where = f"Measured on {document['machine']}, without loading."
    return (
        f'<div class="mg-scroll" tabindex="0" role="region" aria-label="Costs"><table class="mg-table"><caption>'
        f"{html.escape(where)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(row: dict[str, Any], plans: bool) -> list[str]:
    """The cells of a row."""
    seconds = row["seconds"]
    time = f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
    attention = [row["attention"]] if plans else []
    cells = (row["model"], *attention, row["what"], f"{row['bytes'] / 2**30:.1f} GiB", time)
    return [f"<td>{html.escape(cell)}</td>" for cell in cells]
