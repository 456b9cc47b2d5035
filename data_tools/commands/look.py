"""``magicgen-data status``, ``report``, ``validate`` and ``export``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Folder = Annotated[Path, typer.Argument(help="The folder of a dataset.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON.")]
Html = Annotated[Path | None, typer.Option("--out", help="The HTML file; by default report.html in the folder.")]
FormatName = Annotated[
    Literal["magicdata", "webdataset", "coco-vis", "davis", "maps"], typer.Option("--format", help="What to write.")
]
Out = Annotated[Path, typer.Option(help="A new folder.", show_default=False)]
Rejected = Annotated[bool, typer.Option("--rejected", help="Rejected clips too.")]
Verify = Annotated[bool, typer.Option("--verify", help="Read everything back and compare masks and boxes bit by bit.")]
Limit = Annotated[int, typer.Option(min=1, help="Contact sheets at most.")]


def status(folder: Folder, json: Json = False) -> None:
    """What is finished, what is left and what failed; also while a build runs."""
    from data_tools.status import read_status, status_text
    from magicgen.commands.output import as_json

    found = read_status(folder)
    if json:
        as_json(found.as_dict())
    else:
        print(status_text(found))


def report(folder: Folder, out: Html = None, limit: Limit = 60) -> None:
    """One HTML file for the eye, without network: contact sheets, histograms, survival, errors."""
    from data_tools.report.page import write_report
    from magicgen.commands.output import results
    from magicgen.progress import TerminalProgress

    with TerminalProgress() as progress:
        results([write_report(folder, out or folder / "report.html", limit, progress)])


def validate(folder: Folder, json: Json = False) -> None:
    """Check all that a dataset promises: hashes, masks, boxes, frame counts. The exit code is 1 where that breaks."""
    from data_tools.validate import validate as run_validation
    from magicgen.commands.output import as_json, note
    from magicgen.progress import TerminalProgress

    with TerminalProgress() as progress:
        found = run_validation(folder, progress)
    if json:
        as_json({"content": found.content, "clips": found.clips, "faults": found.faults})
    else:
        for fault in found.faults:
            print(fault)
        note(f"{found.clips} clips, {len(found.faults)} faults, content {found.content[:16]}")
    if found.faults:
        raise typer.Exit(1)


def export(folder: Folder, format: FormatName, out: Out, rejected: Rejected = False, verify: Verify = False) -> None:
    """Write the kept clips in another format."""
    from data_tools.export.run import ExportRequest
    from data_tools.export.run import export as run_export
    from magicgen.commands.output import note, results
    from magicgen.progress import TerminalProgress

    with TerminalProgress() as progress:
        count = run_export(ExportRequest(folder, format, out, rejected, verify), progress)
    note(f"{count} clips" + (", read back without a difference" if verify else ""))
    results([out])
