"""``magicgen-data``: datasets from raw videos.

Exit codes: 0 done, 1 failed or done with failed items, 2 wrong input or usage, 130 interrupted.
"""

import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from data_tools.commands.build import build, refilter
from data_tools.commands.look import export, report, status, validate
from magicgen.errors import MagicGenError
from magicgen.progress import Cancelled

INTERRUPTED, TERMINATED = 130, 143

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
    """The entry point: runs a command and turns errors that a person can mend into a message and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app(prog_name="magicgen-data")
    except MagicGenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (Cancelled, KeyboardInterrupt):
        print("stopped; run the same command again to go on", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(0)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(TERMINATED)


if __name__ == "__main__":
    main()
