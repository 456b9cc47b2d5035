"""Running a command line: errors that a person can mend become a message and an exit code."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from magicgen.errors import MagicGenError
from magicgen.progress import Cancelled

INTERRUPTED = 130
TERMINATED = 143


def run_program(program: Callable[..., object], name: str, on_stop: str | None = None) -> NoReturn:
    """Run a typer application under ``name`` and exit: 0 done, 1 failed, 2 wrong input or usage, 130 interrupted.

    ``on_stop`` is said to who interrupts it.
    """
    # The default action of SIGTERM would leave temporary files behind; as an exception it lets them be removed.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        program(prog_name=name)
    except MagicGenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (Cancelled, KeyboardInterrupt):
        if on_stop is not None:
            print(on_stop, file=sys.stderr)
        sys.exit(INTERRUPTED)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # One process of several in a training. Threads of torch's process groups do not always end with the interpreter
        # ("terminate called without an active exception"), and the launcher would call a finished run failed.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    sys.exit(0)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(TERMINATED)
