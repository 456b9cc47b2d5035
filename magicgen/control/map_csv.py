"""MagicMotion's job list: a CSV of prompt, photo and map video per line (``validation_args/*.csv`` of the project)."""

import csv
import math
import os
from dataclasses import dataclass
from io import StringIO
from pathlib import Path, PurePosixPath, PureWindowsPath

from magicgen.errors import TrajectoryError

_REQUIRED = ("validation_prompt", "validation_images", "validation_trajectory_maps", "output_path")
_OPTIONAL = ("controlnet_weights", "seed")
_MAX_BYTES = 64 * 1024**2
_MAX_WEIGHT = 10.0


@dataclass(frozen=True)
class MapJob:
    """One line of the list.

    Attributes:
        line: its number in the file, for messages.
        prompt: what the video shows.
        image, map_video: the photo and the map video, relative names taken from the folder of the CSV. Whether they
            exist is left to the one who runs the job, so that one missing file does not stop the others.
        output: where the result goes, relative, without "..".
        control_weight: 0..10, 1 if not given.
        seed: 0 or larger, None if not given.
    """

    line: int
    prompt: str
    image: Path
    map_video: Path
    output: PurePosixPath
    control_weight: float
    seed: int | None


def read_map_csv(path: str | os.PathLike[str]) -> tuple[MapJob, ...]:
    """Read a job list; at least one line.

    Raises:
        TrajectoryError: no such file, unknown or missing columns, a value of the wrong kind, two lines with the same
            output; the message names file, line and column.
    """
    source = Path(path)
    try:
        if not source.is_file():
            raise TrajectoryError("there is no such file; check the path")
        if source.stat().st_size > _MAX_BYTES:
            raise TrajectoryError(f"the file is larger than {_MAX_BYTES // 1024**2} MiB")
        return parse_map_csv(source.read_text(encoding="utf-8-sig"), source.parent)
    except TrajectoryError as error:
        raise TrajectoryError(f"{source}: {error}") from error.__cause__
    except (OSError, ValueError) as error:
        raise TrajectoryError(f"{source}: cannot be read as UTF-8 text ({str(error)[:120]})") from error


def parse_map_csv(text: str, folder: str | os.PathLike[str]) -> tuple[MapJob, ...]:
    """The same from a string; relative names are taken from ``folder``.

    Raises:
        TrajectoryError: as :func:`read_map_csv`.
    """
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        rows = [
            (reader.line_num, [cell.strip() for cell in row]) for row in reader if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise TrajectoryError(f"line {reader.line_num}: is not valid CSV ({error})") from error
    if not rows:
        raise TrajectoryError(f"the list is empty; expected the columns {', '.join(_REQUIRED)}")
    header = rows[0][1]
    _check_header(header)
    if len(rows) == 1:
        raise TrajectoryError("the list has a header and no line below it")
    jobs = tuple(_job(line, header, cells, Path(folder)) for line, cells in rows[1:])
    outputs: dict[PurePosixPath, int] = {}
    for job in jobs:
        if job.output in outputs:
            raise TrajectoryError(
                f"line {job.line}: output_path {str(job.output)!r} is also that of line {outputs[job.output]}; "
                "give every line its own"
            )
        outputs[job.output] = job.line
    return jobs


def _check_header(header: list[str]) -> None:
    known = (*_REQUIRED, *_OPTIONAL)
    for index, column in enumerate(header):
        if column not in known:
            raise TrajectoryError(f"line 1: unknown column {column[:60]!r}; expected {', '.join(known)}")
        if column in header[:index]:
            raise TrajectoryError(f"line 1: the column {column!r} stands twice")
    missing = [column for column in _REQUIRED if column not in header]
    if missing:
        raise TrajectoryError(f"line 1: the column {missing[0]!r} is missing; expected {', '.join(known)}")


def _job(line: int, header: list[str], cells: list[str], folder: Path) -> MapJob:
    if len(cells) != len(header):
        raise TrajectoryError(
            f"line {line}: expected {len(header)} values as in the header; got {len(cells)} (quote text with commas)"
        )
    row = dict(zip(header, cells, strict=True))
    for column in _REQUIRED:
        if not row[column] or not row[column].isprintable():
            raise TrajectoryError(f"line {line}: {column} is {row[column][:60]!r}; expected printable text")
    return MapJob(
        line,
        row["validation_prompt"],
        folder / row["validation_images"],
        folder / row["validation_trajectory_maps"],
        _output(row["output_path"], line),
        _weight(row.get("controlnet_weights", ""), line),
        _seed(row.get("seed", ""), line),
    )


def _output(name: str, line: int) -> PurePosixPath:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.is_absolute() or windows.drive or ".." in (*posix.parts, *windows.parts):
        raise TrajectoryError(
            f"line {line}: output_path is {name[:120]!r}; expected a name inside the output folder, without '..'"
        )
    if posix.suffix.lower() != ".mp4":
        raise TrajectoryError(f"line {line}: output_path is {name[:120]!r}; expected a name that ends in .mp4")
    return posix


def _weight(text: str, line: int) -> float:
    try:
        value = float(text) if text else 1.0
    except ValueError:
        value = math.nan
    if not 0 <= value <= _MAX_WEIGHT:
        raise TrajectoryError(f"line {line}: controlnet_weights is {text[:40]!r}; expected 0 to {_MAX_WEIGHT:g}")
    return value


def _seed(text: str, line: int) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) < 2**63):
        raise TrajectoryError(f"line {line}: seed is {text[:40]!r}; expected a whole number from 0 on")
    return int(text)
