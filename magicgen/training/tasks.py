"""Which kind of run a configuration asks for."""

from collections.abc import Sequence
from pathlib import Path

from magicgen.config import load_config, read_yaml
from magicgen.errors import ConfigError
from magicgen.training.options import TrainingOptions
from magicgen.training.path_options import PathTraining
from magicgen.training.reflection_options import ReflectionTraining
from magicgen.training.story_options import CharacterTraining, KeypointTraining, ReaderTraining, StoryTraining

TaskTraining = ReflectionTraining | StoryTraining | ReaderTraining | KeypointTraining | CharacterTraining | PathTraining
AnyTraining = TrainingOptions | TaskTraining
_TASKS: dict[str, type[TaskTraining]] = {
    "reflection": ReflectionTraining,
    "story": StoryTraining,
    "storybook_reader": ReaderTraining,
    "keypoint_head": KeypointTraining,
    "character_lora": CharacterTraining,
    "box_paths": PathTraining,
}


def load_training(path: Path, overrides: Sequence[str] = ()) -> AnyTraining:
    """Read and check a configuration; without ``task`` it is a trajectory run.

    Raises:
        ConfigError: no such task, unknown keys, values that are not allowed.
    """
    values, _ = read_yaml(path)
    if not isinstance(values, dict) or "task" not in values:
        return load_config(path, TrainingOptions, overrides)
    kind = _TASKS.get(str(values["task"]))
    if kind is None:
        raise ConfigError(
            f"{path}: task: got {values['task']!r}; expected one of {', '.join(_TASKS)}, or no task at all."
        )
    return load_config(path, kind, overrides)
