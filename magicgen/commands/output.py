"""Results to standard output, everything for the eye to standard error."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path


def results(paths: Iterable[Path]) -> None:
    """One path a line."""
    for path in paths:
        print(path, flush=True)


def as_json(value: object) -> None:
    """One JSON document; numbers that JSON does not know become null by the callers."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str), flush=True)


def note(text: str) -> None:
    """A line for the person, on standard error."""
    print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """A warning for the person, on standard error."""
    note(f"warning: {text}")


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows as aligned columns: the first to the left, the others to the right."""
    listed = list(rows)
    widths = [max(len(row[column]) for row in listed) for column in range(len(listed[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in listed
    )


def size(count: float) -> str:
    """Bytes for people: 3.1 GB, 12 MB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} B"
