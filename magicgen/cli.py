"""``magicgen``: the command line. Exit codes: 0 done, 1 failed, 2 wrong input or usage, 130 interrupted."""

import logging
import sys
from typing import Annotated, NoReturn

import typer

from magicgen import __version__
from magicgen.commands.animate import animate
from magicgen.commands.app import app as open_app
from magicgen.commands.batch import batch
from magicgen.commands.bench import bench
from magicgen.commands.dereflect import dereflect
from magicgen.commands.models import convert, download
from magicgen.commands.plan import plan
from magicgen.commands.program import run_program
from magicgen.commands.story import story
from magicgen.commands.train import train

app = typer.Typer(
    help="A diffusion transformer steered by what you draw.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(animate)
app.command()(story)
app.command()(dereflect)
app.command()(batch)
app.command("app")(open_app)
app.command()(train)
app.command()(convert)
app.command()(download)
app.add_typer(bench, name="bench")
app.add_typer(plan, name="plan")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more to standard error.")] = False,
) -> None:
    """Settings of every command."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s", stream=sys.stderr, force=True)
    logging.addLevelName(logging.WARNING, "warning")
    logging.addLevelName(logging.INFO, "info")
    logging.addLevelName(logging.ERROR, "error")


def main() -> NoReturn:
    """Run the command line of this process, and exit."""
    run_program(app, "magicgen")


if __name__ == "__main__":
    main()
