"""``magicgen-data``: datasets from raw videos.

Exit codes: 0 done, 1 failed or done with failed items, 2 wrong input or usage, 130 interrupted.
"""

from typing import NoReturn

import typer

from data_tools.commands.build import build, refilter
from data_tools.commands.look import export, report, status, validate
from magicgen.commands.program import run_program

app = typer.Typer(
    help="From a folder of raw videos to a trajectory dataset.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(build)
app.command()(refilter)
app.command()(status)
app.command()(report)
app.command()(validate)
app.command()(export)


def main() -> NoReturn:
    """Run the command line of this process, and exit."""
    run_program(app, "magicgen-data", on_stop="stopped; run the same command again to go on")


if __name__ == "__main__":
    main()
