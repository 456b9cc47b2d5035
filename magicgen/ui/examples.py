"""The example photos and trajectories, where the project's ``examples`` folder is at hand."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Example:
    """A photo with a trajectory, and what happens."""

    photo: Path
    trajectory: Path
    caption: str


def find_examples(folder: Path) -> list[Example]:
    """Every ``NAME/photo.jpg`` with each of its trajectories; none where there is no such folder."""
    found = []
    for photo in sorted(folder.glob("*/photo.jpg")):
        for trajectory in sorted(photo.parent.glob("*.json"), key=lambda path: (path.stem != "trajectory", path.stem)):
            caption = photo.parent.name + ("" if trajectory.stem == "trajectory" else f", {trajectory.stem}")
            found.append(Example(photo, trajectory, caption))
    return found
