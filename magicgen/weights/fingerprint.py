"""Which weights a folder holds, in a word: what was measured on some weights says nothing about others."""

import hashlib
from pathlib import Path
from typing import assert_never

from magicgen.weights.sources import ModelSource, PipelineFolder, ReleasedMagicMotion

SAMPLES, SAMPLE_BYTES = 64, 4096
"""Evenly spread pieces that are read of each file: training changes nearly every byte, and files may hold 10 GB."""


def weights_fingerprint(source: ModelSource) -> str:
    """16 hexadecimal digits that change when transformer or control branch are trained on; "" without safetensors."""
    match source:
        case PipelineFolder(_, folder):
            folders = [folder / "transformer", folder / "branch"]
        case ReleasedMagicMotion(_, base, branches):
            folders = [base / "transformer", *(branch for _, branch in branches)]
        case _:
            assert_never(source)
    files = [path for folder in folders for path in sorted(folder.glob("*.safetensors"))]
    digest = hashlib.sha256()
    for path in files:
        _add_file(digest, path)
    return digest.hexdigest()[:16] if files else ""


def _add_file(digest: "hashlib._Hash", path: Path) -> None:
    size = path.stat().st_size
    digest.update(f"{path.name} {size}\n".encode())
    with path.open("rb") as file:
        for index in range(SAMPLES):
            file.seek(max(0, size - SAMPLE_BYTES) * index // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
