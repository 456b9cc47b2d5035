"""``magicgen bench``: the measurements behind the tables of the README."""

import importlib
from types import ModuleType

import typer

from magicgen.errors import ConfigError

ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

bench = typer.Typer(help="Measure: every table of the README is one of these commands.", no_args_is_help=True)


@bench.command(context_settings=ARGUMENTS, add_help_option=False)
def trajectory(context: typer.Context) -> None:
    """MagicBench protocol on held-out scenes: Mask-IoU and Box-IoU by level and object count."""
    _run("trajectory", context.args)


@bench.command(context_settings=ARGUMENTS, add_help_option=False)
def attention(context: typer.Context) -> None:
    """Dense against sparse attention: per kernel and end to end, with PSNR and SSIM against the dense result."""
    _run("attention", context.args)


@bench.command(context_settings=ARGUMENTS, add_help_option=False)
def reflection(context: typer.Context) -> None:
    """Reflection removal on pairs: photo, colour fits, automatic, clicks, boxes, masks, wrong clicks."""
    _run("reflection", context.args)


@bench.command(context_settings=ARGUMENTS, add_help_option=False)
def story(context: typer.Context) -> None:
    """Stories: layout, number of subjects, identity and places, with ablations."""
    _run("story", context.args)


def _run(name: str, arguments: list[str]) -> None:
    code = _program(name).main(arguments)
    if code:
        raise typer.Exit(int(code))


def _program(name: str) -> ModuleType:
    """The program ``benchmarks/NAME.py``, which has a ``main(arguments) -> exit code``."""
    module = f"benchmarks.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in ("benchmarks", module):
            raise
        raise ConfigError(f"The program {module} is not installed; run this from the project's folder.") from None
