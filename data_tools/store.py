"""Rows in Parquet: the schema, and records to rows and back."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any

from data_tools.records import ClipFacts, ClipRecord, Decision, Phrase, Track, VideoFacts
from data_tools.scores import CLIP_SCORES, DERIVED_SCORES, TRACK_SCORES
from magicgen.errors import DatasetError
from magicgen.media import write_bytes

_KINDS = {str: "string", int: "int64", float: "float64", bool: "bool_"}


@cache
def row_schema(decided: bool) -> Any:
    """The Arrow schema of a row; with the decision and the derived scores where ``decided``."""
    import pyarrow as pa

    scores = pa.struct([(name, pa.float64()) for name in CLIP_SCORES])
    columns = [
        *[(field.name, _type(field.type)) for field in fields(ClipFacts) if field.name != "source"],
        ("source", pa.struct([(field.name, _type(field.type)) for field in fields(VideoFacts)])),
        ("caption", pa.string()),
        ("caption_origin", pa.string()),
        ("phrases", pa.list_(pa.struct([("text", pa.string()), ("origin", pa.string())]))),
        ("tracks", pa.list_(_track_type())),
        ("keep_frames", pa.list_(pa.int32())),
        ("keep_policy", pa.string()),
        ("scores", scores),
        ("image_hash", pa.string()),
        ("stages", pa.list_(pa.struct([("name", pa.string()), ("version", pa.string())]))),
    ]
    if decided:
        columns += [
            ("derived", pa.struct([(name, pa.float64()) for name in DERIVED_SCORES])),
            ("status", pa.string()),
            ("reasons", pa.list_(pa.string())),
            ("kept_tracks", pa.list_(pa.int32())),
            ("thresholds", pa.string()),
        ]
    return pa.schema(columns)


def _type(annotation: Any) -> Any:
    import pyarrow as pa

    return getattr(pa, _KINDS[annotation])()


def _track_type() -> Any:
    import pyarrow as pa

    return pa.struct(
        [
            ("track_id", pa.int32()),
            ("label", pa.string()),
            ("phrase", pa.string()),
            ("score", pa.float64()),
            ("source", pa.string()),
            ("first_frame", pa.int32()),
            ("last_frame", pa.int32()),
            ("rle", pa.list_(pa.string())),
            ("boxes", pa.list_(pa.list_(pa.float32(), 4))),
            ("area", pa.list_(pa.int32())),
            ("confidence", pa.list_(pa.float32())),
            ("forward_backward", pa.list_(pa.float32())),
            ("scores", pa.struct([(name, pa.float64()) for name in TRACK_SCORES])),
        ]
    )


def to_row(record: ClipRecord) -> dict[str, Any]:
    """A record as plain data, without a decision."""
    facts = asdict(record.facts)
    return {
        **facts,
        "caption": record.caption,
        "caption_origin": record.caption_origin,
        "phrases": [asdict(phrase) for phrase in record.phrases],
        "tracks": [_track_row(track) for track in record.tracks],
        "keep_frames": list(record.keep_frames),
        "keep_policy": record.keep_policy,
        "scores": dict(record.scores),
        "image_hash": record.image_hash,
        "stages": [{"name": name, "version": version} for name, version in sorted(record.stages.items())],
    }


def _track_row(track: Track) -> dict[str, Any]:
    seen = [frame for frame, rle in enumerate(track.rle) if rle is not None]
    return {
        **{field.name: getattr(track, field.name) for field in fields(Track) if field.name != "scores"},
        "first_frame": seen[0] if seen else -1,
        "last_frame": seen[-1] if seen else -1,
        "scores": dict(track.scores),
    }


def decided_row(row: dict[str, Any], decision: Decision, derived: dict[str, float | None]) -> dict[str, Any]:
    """A stored row with what the filters say."""
    return {
        **row,
        "derived": derived,
        "status": decision.status,
        "reasons": list(decision.reasons),
        "kept_tracks": list(decision.tracks),
        "thresholds": decision.thresholds,
    }


def from_row(row: dict[str, Any]) -> ClipRecord:
    """A record from a row of either kind."""
    values = {field.name: row[field.name] for field in fields(ClipFacts) if field.name != "source"}
    tracks = [
        {key: value for key, value in t.items() if key not in ("first_frame", "last_frame")} for t in row["tracks"]
    ]
    return ClipRecord(
        facts=ClipFacts(source=VideoFacts(**row["source"]), **values),
        caption=row["caption"],
        caption_origin=row["caption_origin"],
        phrases=tuple(Phrase(**phrase) for phrase in row["phrases"]),
        tracks=tuple(_track(track) for track in tracks),
        keep_frames=tuple(row["keep_frames"]),
        keep_policy=row["keep_policy"],
        scores=row["scores"],
        image_hash=row["image_hash"],
        stages={stage["name"]: stage["version"] for stage in row["stages"]},
    )


def _track(values: dict[str, Any]) -> Track:
    lists = {name: tuple(values[name]) for name in ("rle", "area", "confidence", "forward_backward")}
    return Track(**{**values, **lists, "boxes": tuple(tuple(box) for box in values["boxes"])})


def write_rows(path: Path, rows: Sequence[dict[str, Any]], *, decided: bool) -> Path:
    """Write rows as zstd Parquet, whole or not at all; the same rows give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(list(rows), schema=row_schema(decided))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_bytes(path, buffer.getvalue())


def read_rows(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The rows of a Parquet file; ``columns`` may be dotted names, the rest is not read.

    Raises:
        DatasetError: no such file, or not one of this kind.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return list(file.read(columns=None if columns is None else list(columns)).to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}).") from error


def read_groups(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The rows of a Parquet file, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield list(file.read_row_group(group).to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}).") from error
