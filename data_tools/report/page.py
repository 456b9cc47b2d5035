"""The page: figures and pictures in one self-contained HTML file."""

import json
from pathlib import Path
from typing import Any

from data_tools.dataset import Index, inputs_of, read_index, rows_of
from data_tools.layout import Layout
from data_tools.report.figures import band_text, borderlines, funnel, histograms, object_counts
from data_tools.report.pictures import contact_sheet, swatches
from data_tools.settings import Band
from data_tools.status import read_status
from magicgen.errors import DatasetError, MediaError
from magicgen.media import write_bytes
from magicgen.progress import Report, Stage, silent

_FRAMES, _WIDTH = 6, 216
_TEMPLATE = Path(__file__).with_name("page.html.jinja")


def write_report(root: Path, out: Path, limit: int = 60, report: Report = silent) -> Path:
    """Write the report of a dataset.

    Args:
        root: the dataset's folder.
        out: the HTML file.
        limit: contact sheets at most; kept and rejected clips are taken in turn.
        report: progress.

    Raises:
        DatasetError: there is no dataset.
        MediaError: the file cannot be written.
    """
    try:
        import jinja2
    except ImportError:
        raise DatasetError("Reports need jinja2, which is not installed: pip install 'magicgen[data]'.") from None
    if out.suffix.lower() != ".html":
        raise MediaError(f"The report {out} must end in .html.")
    index = read_index(root)
    # Masks are left on disk until it is known which clips are drawn.
    rows = [_without_masks(row) for row in rows_of(root)]
    near = borderlines(rows, index.thresholds)
    shown = _chosen(rows, limit)
    wanted = {row["clip_id"] for border in near for row, _ in (*border.inside, *border.outside)}
    sheets = _sheets(root, wanted | {row["clip_id"] for row in shown}, report)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        root=root.resolve().name,
        index=index,
        embedded=index.build.annotation.kind == "embedded",
        null_scores=_null_scores(root),
        funnel=funnel(rows, index.thresholds),
        histograms=histograms(rows, index.thresholds),
        borderlines=near,
        counts=object_counts(rows),
        clips=[_card(row) for row in shown],
        total=len(rows),
        sheets=sheets,
        failures=sorted(read_status(root).failures.items()),
        inputs=inputs_of(Layout(root)),
        track_filters=_track_filters(rows, index),
    )
    return write_bytes(out, page.encode("utf-8"))


def _without_masks(row: dict[str, Any]) -> dict[str, Any]:
    tracks = [{key: track[key] for key in ("track_id", "label", "source", "scores")} for track in row["tracks"]]
    return {**row, "tracks": tracks}


def _sheets(root: Path, wanted: set[str], report: Report) -> dict[str, str]:
    """The strips of clips by id, as ``data:`` addresses; empty where a clip cannot be read."""
    progress = Stage(report, "Drawing clips", len(wanted))
    made: dict[str, str] = {}
    for row in rows_of(root):
        if row["clip_id"] in wanted:
            try:
                made[row["clip_id"]] = contact_sheet(root, row, _FRAMES, _WIDTH)
            except MediaError:
                made[row["clip_id"]] = ""
            progress.advance()
    return made


def _card(row: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of a clip."""
    scores = {**row["derived"], **row["scores"]}
    return {
        "row": row,
        "name": "/".join(Path(row["source_uri"]).parts[-2:]),
        "tracks": list(zip(row["tracks"], swatches(row["tracks"], row["kept_tracks"]), strict=True)),
        "scores": {name: value for name, value in scores.items() if value is not None},
    }


def _chosen(rows: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """At most ``limit`` clips: evenly spread over the dataset, kept and rejected by turns."""
    kept = [row for row in rows if row["status"] == "kept"]
    rejected = [row for row in rows if row["status"] != "kept"]
    half = limit // 2
    wanted = min(len(kept), max(limit - len(rejected), limit - half))
    return [*_spread(kept, wanted), *_spread(rejected, limit - wanted)]


def _spread(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    step = max(1.0, len(rows) / max(count, 1))
    return [rows[int(k * step)] for k in range(min(count, len(rows)))]


def _track_filters(rows: list[dict[str, Any]], index: Index) -> list[tuple[str, str, int]]:
    """How many tracks every track filter drops."""
    tracks = [track["scores"] for row in rows for track in row["tracks"]]
    found = []
    for name in type(index.thresholds.tracks).model_fields:
        band: Band = getattr(index.thresholds.tracks, name)
        if band != Band():
            found.append((name, band_text(band), sum(not band.holds(track[name]) for track in tracks)))
    return found


def _null_scores(root: Path) -> dict[str, str]:
    value = json.loads(Layout(root).index.read_text(encoding="utf-8"))
    return dict(value.get("null_scores", {}))
