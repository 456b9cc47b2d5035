"""The same work on a Ray cluster: Ray Data streams items through pools of actors.

Only tasks and outcomes travel, a few kilobytes each; frames stay on the shared disk under the dataset's folder. The
manifest is the project's own (outcomes on that disk), so a lost node or a killed driver costs only what was under way.
Every actor keeps a guarded worker process, so that a hanging or crashing decoder costs one item there too.
"""

import functools
import logging
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.layout import Layout
from data_tools.pool import Pool, PoolSettings
from data_tools.settings import DataSettings
from data_tools.work import AnnotateClip, Done, Failed, IngestVideo, Outcome, Task, Work
from magicgen.errors import ConfigError, GenerationFailed

Callback = Callable[[Outcome], Iterable[Task]]


class RayEngine:
    """Runs tasks as a Ray Data pipeline: one pool of actors cuts videos, one annotates clips (with GPUs where the
    settings ask for them). The folder must be the same on every node."""

    def __init__(self, settings: DataSettings, root: Path, address: str | None) -> None:
        try:
            import ray
        except ImportError:
            raise ConfigError(
                "--engine ray needs Ray, which is not installed: pip install 'magicgen[data,ray]'."
            ) from None
        self._ray: Any = ray
        self._settings, self._root, self._private = settings, root, address is None
        workers = settings.run.workers
        try:
            # A cluster's size is its own; a private one is made as large as asked.
            local = {} if address else {"num_cpus": workers, "include_dashboard": False}
            ray.init(
                address=address, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True, **local
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"No Ray cluster answers at {address or 'this machine'} ({str(error).splitlines()[0]}). Start one with "
                "'ray start --head' and give --address auto, or leave --address out."
            ) from error
        self._workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))

    def run(self, tasks: Iterable[Task], done: Callback) -> None:
        """Stream all tasks, and the clips of ingested videos behind them, through the pools.

        Raises:
            GenerationFailed: the output cannot be written any more.
        """
        items = list(tasks)
        if not items:
            return
        for row in self._pipeline(items).iter_rows():
            outcome: Outcome = pickle.loads(row["item"])
            if isinstance(outcome, Failed) and outcome.fatal:
                raise GenerationFailed(f"{outcome.reason} What is finished stays; run the same command again to go on.")
            list(done(outcome))  # further clips are on their way already

    def close(self) -> None:
        """Leave the cluster (a private one ends)."""
        self._ray.shutdown()

    def _pipeline(self, items: list[Task]) -> Any:
        data = self._ray.data
        context = data.DataContext.get_current()
        context.enable_progress_bars = False  # the build has its own
        # One item a block: the clips of one long video spread over all actors. Dataset.repartition would do the same
        # with tasks of a whole core each, which never start while actors hold every core.
        context.target_max_block_size = 1
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        rows = [{"item": pickle.dumps(item)} for item in items]
        dataset = data.from_items(rows, override_num_blocks=min(len(rows), 16 * self._workers))
        dataset = self._stage(dataset, CutActor)
        if any(isinstance(item, IngestVideo | AnnotateClip) for item in items):
            dataset = self._stage(dataset, AnnotateActor)
        return dataset

    def _stage(self, dataset: Any, actor: type) -> Any:
        work = Work(self._settings.build, self._root)
        needs = [work.ingest.resources] if actor is CutActor else [stage.resources for stage in work.stages]
        gpus = max(need.gpus for need in needs)
        least = self._workers if self._private else 1  # a shared cluster may be full of others' work
        # Both pools share the cores of the cluster; an actor that waits costs none.
        return dataset.map_batches(
            actor,
            fn_constructor_kwargs={"settings": self._settings, "root": str(self._root)},
            compute=self._ray.data.ActorPoolStrategy(min_size=least, max_size=self._workers),
            batch_size=1,
            num_cpus=0.1 if actor is CutActor else 0.9,
            num_gpus=gpus or None,
        )


class _Guarded:
    """A worker process of its own inside an actor."""

    def __init__(self, settings: DataSettings, root: str, work: type) -> None:
        run = settings.run
        self.layout = Layout(Path(root))
        limits = PoolSettings(1, run.time_limit_s, run.attempts, run.memory_mb)
        self._pool = Pool(functools.partial(work, settings.build, Path(root)), limits)

    def do(self, task: Task) -> Outcome:
        """One item; failures become outcomes."""
        outcomes: list[Outcome] = []

        def done(outcome: Outcome) -> Iterable[Task]:
            outcomes.append(outcome)
            return ()

        try:
            self._pool.run([task], done)
        except GenerationFailed as error:
            return Failed(task, str(error), fatal=True)
        return outcomes[0]


class CutOnly(Work):
    """Work without weights: hashing and cutting."""

    def setup(self) -> None:
        """Nothing to load."""


class CutActor:
    """Hashes files and cuts videos; clips pass through, and those of a cut video follow it."""

    def __init__(self, settings: DataSettings, root: str) -> None:
        self._guarded = _Guarded(settings, root, CutOnly)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        items: list[Task | Outcome] = []
        for packed in batch["item"]:
            item = pickle.loads(packed)
            if isinstance(item, AnnotateClip):
                items.append(item)
                continue
            outcome = self._guarded.do(item)
            items.append(outcome)
            if isinstance(outcome, Done):
                items += [AnnotateClip(clip) for clip in outcome.clips if self._open(clip.clip_id)]
        return _packed(items)

    def _open(self, clip_id: str) -> bool:
        layout = self._guarded.layout
        return not (layout.row(clip_id).is_file() or layout.failure(clip_id).is_file())


class AnnotateActor:
    """Annotates clips; outcomes pass through."""

    def __init__(self, settings: DataSettings, root: str) -> None:
        self._guarded = _Guarded(settings, root, Work)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        items = [pickle.loads(packed) for packed in batch["item"]]
        return _packed([self._guarded.do(item) if isinstance(item, AnnotateClip) else item for item in items])


def _packed(items: list[Any]) -> dict[str, Any]:
    column = np.empty(len(items), dtype=object)
    column[:] = [pickle.dumps(item) for item in items]
    return {"item": column}
