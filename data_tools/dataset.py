"""The finished dataset: ``dataset.json`` and the Parquet parts that it names."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_tools.decide import COLUMNS, Decided, decide_all
from data_tools.layout import Layout
from data_tools.lock import locked_briefly
from data_tools.scores import NEEDS_WEIGHTS
from data_tools.settings import PIPELINE_VERSION, BuildSettings, Thresholds
from data_tools.store import decided_row, read_groups, read_rows, write_rows
from magicgen.config import check_config
from magicgen.errors import DatasetError
from magicgen.media import write_json
from magicgen.training.magic_data import FORMAT, check_format

ROWS_A_PART = 256


@dataclass(frozen=True)
class Index:
    """What ``dataset.json`` says."""

    build: BuildSettings
    thresholds: Thresholds
    parts: tuple[dict[str, Any], ...]
    counts: dict[str, int]
    content: str


def read_index(root: Path) -> Index:
    """The index of a dataset.

    Raises:
        DatasetError: no dataset there, or a damaged one.
    """
    path = Layout(root).index
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"{root} holds no dataset (no dataset.json). Give the --out folder of a build.") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}).") from error
    if not isinstance(value, dict) or "format" not in value:
        raise DatasetError(f"{path} is no dataset index (it names no format).")
    check_format(path, value["format"])
    return Index(
        check_config(value["build"], BuildSettings, source=f"{path}: build"),
        check_config(value["thresholds"], Thresholds, source=f"{path}: thresholds"),
        tuple(value["parts"]),
        dict(value["counts"]),
        str(value["content"]),
    )


def rows_of(root: Path, *, kept_only: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of a dataset with their decisions, a row group in memory at a time."""
    for part in read_index(root).parts:
        for group in read_groups(root / part["file"]):
            yield from (row for row in group if not kept_only or row["status"] == "kept")


def finish(root: Path, build: BuildSettings, thresholds: Thresholds) -> Index:
    """Decide all finished clips and write parts and index; the same clips give the same bytes.

    Readers see the old dataset until the index is replaced; parts of an older index are removed afterwards.
    """
    layout = Layout(root)
    with locked_briefly(root):
        uris = _first_names(layout)
        paths = sorted((layout.state / "rows").glob("*/*.parquet"))
        decided = decide_all((_named(read_rows(path, COLUMNS)[0], uris) for path in paths), thresholds)
        parts = _write_parts(layout, {entry.clip_id: entry for entry in decided}, paths, uris)
        counts = _counts(layout, decided)
        content = hashlib.sha256("".join(part["sha256"] for part in parts).encode()).hexdigest()
        write_json(
            layout.index,
            {
                "format": FORMAT,
                "pipeline_version": PIPELINE_VERSION,
                "content": content,
                "counts": counts,
                "null_scores": _null_scores(build),
                "build": build.model_dump(mode="json"),
                "build_hash": build.digest(),
                "thresholds": thresholds.model_dump(mode="json"),
                "thresholds_hash": thresholds.digest(),
                "parts": parts,
            },
        )
        _remove_others(layout, {part["file"] for part in parts})
    return Index(build, thresholds, tuple(parts), counts, content)


def _write_parts(
    layout: Layout, decided: dict[str, Decided], paths: list[Path], uris: dict[str, str]
) -> list[dict[str, Any]]:
    layout.parts.mkdir(exist_ok=True)
    parts = []
    for start in range(0, len(paths), ROWS_A_PART):
        rows = [_named(read_rows(path)[0], uris) for path in paths[start : start + ROWS_A_PART]]
        entries = [decided[row["clip_id"]] for row in rows]
        complete = [decided_row(row, e.decision, e.derived) for row, e in zip(rows, entries, strict=True)]
        temporary = write_rows(layout.parts / "next.parquet", complete, decided=True)
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
        # The name carries the content: a reader of the old index never meets a half-new dataset.
        final = temporary.rename(layout.parts / f"part-{start // ROWS_A_PART:05d}-{digest[:12]}.parquet")
        parts.append({"file": str(final.relative_to(layout.root)), "rows": len(rows), "sha256": digest})
    return parts


def _remove_others(layout: Layout, kept: set[str]) -> None:
    for path in layout.parts.glob("*.parquet"):
        if str(path.relative_to(layout.root)) not in kept:
            path.unlink(missing_ok=True)


def _named(row: dict[str, Any], uris: dict[str, str]) -> dict[str, Any]:
    return {**row, "source_uri": uris.get(row["source_sha256"], row["source_uri"])}


def _first_names(layout: Layout) -> dict[str, str]:
    """The first name of every content hash: with copies under several names, the order of work must not matter."""
    names: dict[str, str] = {}
    for entry in inputs_of(layout):
        if entry.sha256 and entry.path < names.get(entry.sha256, "\U0010ffff"):
            names[entry.sha256] = entry.path
    return names


def _counts(layout: Layout, decided: list[Decided]) -> dict[str, int]:
    inputs = inputs_of(layout)
    hashes = [entry.sha256 for entry in inputs if entry.sha256]
    states = Counter(video_status(layout, sha256) for sha256 in set(hashes))
    return {
        "inputs": len(inputs),
        "refused": sum(entry.error != "" for entry in inputs),
        "copies": len(hashes) - len(set(hashes)),
        "videos": len(set(hashes)),
        "quarantined": states["quarantined"],
        "skipped": states["skipped"],
        "clips": len(decided),
        "failed_clips": len(list((layout.state / "failed").glob("*.json"))),
        "kept": sum(entry.decision.status == "kept" for entry in decided),
        "rejected": sum(entry.decision.status == "rejected" for entry in decided),
    }


def _null_scores(build: BuildSettings) -> dict[str, str]:
    """Why some scores are null."""
    given = build.model_scores
    known = {
        "aesthetic": given.clip_model and given.aesthetic_head,
        "text_area": given.text_detector,
        "caption_match": given.clip_model,
    }
    return {name: f"no weights given; needs {needs}" for name, needs in NEEDS_WEIGHTS.items() if not known[name]}


@dataclass(frozen=True)
class InputEntry:
    """An input as the manifest has it: its content hash, or why there is none."""

    path: str
    sha256: str = ""
    error: str = ""


def inputs_of(layout: Layout) -> list[InputEntry]:
    """All inputs of all shards, by path."""
    entries: dict[str, InputEntry] = {}
    for path in sorted(layout.state.glob("inputs-*.json")):
        entries.update((value["path"], InputEntry(**value)) for value in json.loads(path.read_text(encoding="utf-8")))
    return [entries[name] for name in sorted(entries)]


def add_inputs(layout: Layout, shard: str, entries: list[InputEntry]) -> None:
    """Add to the list of one shard; an input named again takes its new place."""
    path = layout.inputs(shard)
    known = {value["path"]: value for value in json.loads(path.read_text(encoding="utf-8"))} if path.is_file() else {}
    known.update((entry.path, asdict(entry)) for entry in entries)
    write_json(path, [known[name] for name in sorted(known)])


def video_status(layout: Layout, sha256: str) -> str:
    """'done', 'skipped', 'quarantined', or 'waiting' where nothing is recorded."""
    try:
        return str(json.loads(layout.video(sha256).read_text(encoding="utf-8"))["status"])
    except FileNotFoundError:
        return "waiting"
