"""``magicgen train``: one run from a configuration."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from magicgen.commands.output import as_json, note, results

Config = Annotated[Path, typer.Argument(help="A YAML file such as those in configs/.", show_default=False)]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a key: --set data.frames=17.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in 'out'.")]
Precompute = Annotated[
    bool, typer.Option("--precompute", help="Encode the examples of 'data.cache' and stop; goes on where it was.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check and print the configuration, and what memory and time it takes.")
]
Devices = Annotated[int, typer.Option(min=1, help="With --dry-run: devices that share weights and states.")]
Json = Annotated[bool, typer.Option("--json", help="With --dry-run: configuration and plan as JSON.")]


def train(
    config: Config,
    overrides: Overrides = None,
    resume: Resume = False,
    precompute: Precompute = False,
    dry_run: DryRun = False,
    devices: Devices = 1,
    json: Json = False,
) -> None:
    """Train the networks of a configuration; a stopped run goes on with --resume."""
    from magicgen.training.path_options import PathTraining
    from magicgen.training.reflection_options import ReflectionTraining
    from magicgen.training.story_options import CharacterTraining, KeypointTraining, ReaderTraining, StoryTraining
    from magicgen.training.tasks import load_training

    options = load_training(config, overrides or ())
    if dry_run:
        _foresee(options, devices, json)
        return
    if precompute:
        _encode_ahead(options)
        return
    from magicgen.progress import TerminalProgress

    with TerminalProgress() as report:
        match options:
            case ReflectionTraining():
                from magicgen.training.reflection import train_reflection

                results([train_reflection(options, resume=resume, report=report, log=note)])
            case ReaderTraining():
                from magicgen.training.storybook_reader import train_reader

                results([train_reader(options, report=report, log=note)])
            case KeypointTraining():
                from magicgen.training.keypoint_head import train_keypoints

                results([train_keypoints(options, report=report, log=note)])
            case CharacterTraining():
                from magicgen.jobs.story_stages import foreground
                from magicgen.training.story_lora import train_character

                results([train_character(options, foreground, resume=resume, report=report, log=note)])
            case StoryTraining():
                from magicgen.training.story import train_story

                results([train_story(options, resume=resume, report=report, log=note)])
            case PathTraining():
                from magicgen.training.box_paths import train_paths

                results([train_paths(options, report=report, log=note)])
            case _:
                from magicgen.training.run import train as run_training

                results([run_training(options, resume=resume, report=report, log=note)])


def _encode_ahead(options: BaseModel) -> None:
    """Fill the cache of latents that a configuration names."""
    from magicgen.errors import ConfigError
    from magicgen.progress import TerminalProgress
    from magicgen.training.options import TrainingOptions
    from magicgen.training.run import precompute

    if not isinstance(options, TrainingOptions):
        raise ConfigError("--precompute is for trajectory runs (configurations without 'task').")
    with TerminalProgress() as report:
        results([precompute(options, report=report)])


def _foresee(options: BaseModel, devices: int, json: bool) -> None:
    """Print a checked configuration and, for trajectory runs, what one step takes."""
    import yaml

    from magicgen.training.options import TrainingOptions

    settings = options.model_dump(mode="json")
    if not isinstance(options, TrainingOptions):
        as_json({"options": settings})
        return
    from magicgen.jobs.estimate import cpu_operations_per_second, gpu_operations_per_second
    from magicgen.training.memory import memory_plan, plan_table

    rate = gpu_operations_per_second() or cpu_operations_per_second()
    plan = memory_plan(options, devices, rate)
    if json:
        as_json({"options": settings, "plan": plan.as_dict()})
        return
    print(yaml.safe_dump(settings, sort_keys=False))
    print(plan_table(plan))
