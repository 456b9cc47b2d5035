"""``losses.jsonl``: one row for every step of a run, however often the run was stopped and resumed.

Tensorboard's events keep what a killed process wrote after its last checkpoint; the continued run writes those steps
again. This log is cut back to the checkpoint first, so that it holds every step once.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from magicgen.errors import GenerationFailed

NAME = "losses.jsonl"


class LossLog:
    """Appends rows; each is with the operating system before the step's checkpoint is written."""

    def __init__(self, out: Path, step: int) -> None:
        """Keep the rows up to ``step``, the number of steps that the loaded checkpoint has seen (0: none)."""
        self.path = out / NAME
        rows = [row for row in read_losses(out) if row["step"] <= step]
        temporary = self.path.with_suffix(".partial")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))
        temporary.replace(self.path)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append the row of a finished step (counted from 1).

        Raises:
            GenerationFailed: it cannot be written.
        """
        try:
            with self.path.open("a") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        except OSError as error:
            raise GenerationFailed(
                f"{self.path} cannot be written: {error}. Checkpoints are untouched; free some space and run again "
                "with --resume."
            ) from error


def read_losses(out: Path) -> list[dict[str, float]]:
    """The rows of a run in order; a last line that a kill cut off is left out."""
    path = out / NAME
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
