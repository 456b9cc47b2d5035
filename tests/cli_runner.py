"""The command line in this process: its type, shared by the tests that use the ``run`` fixture."""

from collections.abc import Callable

# magicgen ARGUMENTS -> (exit code, standard output, standard error)
Run = Callable[..., tuple[int, str, str]]
