"""Finds the shipped attention plans again and measures them: due whenever the weights of `tiny` have changed.

    python -m benchmarks.shipped_plans                     # all requests in configs/attention, then all measurements
    python -m benchmarks.shipped_plans --only tiny_default # one of them
    python -m benchmarks.shipped_plans --measure           # measurements only

For every request: ``magicgen plan --config`` (one to two minutes on two cores), then ``benchmarks.attention --what
run`` on the photo of ``examples/rocket``, dense against planned in turn. Wants a machine that does nothing else. Run in
the project's folder.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.attention import main as measure
from magicgen.attention.plan_file import write_plan
from magicgen.config import load_config
from magicgen.errors import MagicGenError, PlanError
from magicgen.jobs.plan import PlanRequest, find_plan

REQUESTS = Path("configs/attention")
EXAMPLE = Path("examples/rocket")
RESULTS = Path("benchmarks/results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Finds and measures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="one request, by its name in configs/attention")
    parser.add_argument("--measure", action="store_true", help="keep the plans, measure them")
    parser.add_argument("--pairs", default="7", help="A B pairs of a measurement")
    options = parser.parse_args(arguments)
    try:
        requests = read_requests(options.only)
        if not options.measure:
            for request in requests:
                renew(request)
    except MagicGenError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return max(measure(measurement(request, options.pairs)) for request in requests)


def read_requests(only: str | None) -> list[PlanRequest]:
    """The requests behind the shipped plans. Raises PlanError if there is none of that name."""
    paths = [path for path in sorted(REQUESTS.glob("*.yaml")) if only in (None, path.stem)]
    if not paths:
        raise PlanError(f"--only {only}: there is no such request in {REQUESTS}")
    return [load_config(path, PlanRequest) for path in paths]


def renew(request: PlanRequest) -> None:
    """Searches the plan of a request and writes it where the package ships it."""
    assert request.out is not None
    found = find_plan(request, lambda message: print(message, file=sys.stderr))
    print(write_plan(request.out, found.plan))


def measurement(request: PlanRequest, pairs: str) -> list[str]:
    """The arguments of ``benchmarks.attention`` for a request's plan: one step, and as many as it is for."""
    assert request.out is not None
    size = f"{request.frames}x{request.height}x{request.width}"
    steps = sorted({1, request.steps or 1})
    return [
        *("--what", "run", "--model", request.model, "--plan", str(request.out)),
        *("--frames", str(request.frames), "--height", str(request.height), "--width", str(request.width)),
        *("--image", str(EXAMPLE / "photo.jpg"), "--trajectory", str(EXAMPLE / "trajectory.json")),
        *("--steps", *map(str, steps), "--threads", str(request.threads or 2), "--pairs", pairs, "--dtype", "float32"),
        *("--out", str(RESULTS / f"attention-run-{size}.json")),
    ]


if __name__ == "__main__":
    sys.exit(main())
