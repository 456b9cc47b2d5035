"""``magicgen train``: one run from a configuration."""

from pathlib import Path
from typing import Annotated

import typer

from magicgen.commands.output import note, results

Config = Annotated[Path, typer.Argument(help="A YAML file such as those in configs/.", show_default=False)]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a key: --set data.frames=17.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in 'out'.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check the configuration and print it; train nothing.")]


def train(config: Config, overrides: Overrides = None, resume: Resume = False, dry_run: DryRun = False) -> None:
    """Train the networks of a configuration; a stopped run goes on with --resume."""
    from magicgen.config import load_config, read_yaml
    from magicgen.training.options import TrainingOptions
    from magicgen.training.reflection_options import ReflectionTraining
    from magicgen.training.story_options import ReaderTraining, StoryTraining

    values, _ = read_yaml(config)
    options: TrainingOptions | ReflectionTraining | StoryTraining | ReaderTraining
    task = values.get("task", "trajectory") if isinstance(values, dict) else "trajectory"
    if task == "trajectory":
        options = load_config(config, TrainingOptions, overrides or ())
    elif task == "story":
        options = load_config(config, StoryTraining, overrides or ())
    elif task == "storybook_reader":
        options = load_config(config, ReaderTraining, overrides or ())
    else:
        options = load_config(config, ReflectionTraining, overrides or ())
    if dry_run:
        print(options.model_dump_json(indent=2))
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
            case StoryTraining():
                from magicgen.training.story import train_story

                results([train_story(options, resume=resume, report=report, log=note)])
            case _:
                from magicgen.training.run import train as run_training

                results([run_training(options, resume=resume, report=report, log=note)])
