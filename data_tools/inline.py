"""All work in this very process: for debugging and small tests. Nothing guards it against hanging decoders."""

from collections import deque
from collections.abc import Callable, Iterable

from data_tools.work import Failed, Outcome, Task, Work
from magicgen.errors import GenerationFailed


class InlineEngine:
    """Does one item after the other."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._ready = False

    def run(self, tasks: Iterable[Task], done: Callable[[Outcome], Iterable[Task]]) -> None:
        """Do all tasks and those that ``done`` returns.

        Raises:
            GenerationFailed: the output cannot be written any more.
        """
        if not self._ready:
            self._work.setup()
            self._ready = True
        waiting = deque(tasks)
        while waiting:
            outcome = self._work(waiting.popleft())
            if isinstance(outcome, Failed) and outcome.fatal:
                raise GenerationFailed(f"{outcome.reason} What is finished stays; run the same command again to go on.")
            waiting.extendleft(reversed(list(done(outcome))))

    def close(self) -> None:
        """Nothing to give back."""
