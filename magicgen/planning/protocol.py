"""What every planner takes and gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from magicgen.control.story import Character, StoryPage
from magicgen.planning.tale import Tale


@dataclass(frozen=True)
class PlanOptions:
    """What decides a plan beside the tale.

    Attributes:
        seed: of the small irregularities in the boxes, and of a language model that takes one.
        max_panels: neighbouring sentences share panels until there are no more than this.
        max_subjects: how many subjects a panel shows.
        aspect: width / height of a panel's picture.
        style: words for the whole book.
        characters: who is given with description and pictures; a tale's character of that name is this one.
        closed: write prompts in the words of the storybook world only. A model with an open vocabulary gets the tale's
            own words instead.
    """

    seed: int = 0
    max_panels: int = 8
    max_subjects: int = 6
    aspect: float = 1.5
    style: str = ""
    characters: tuple[Character, ...] = ()
    closed: bool = True


@dataclass(frozen=True)
class Plan:
    """A story that passed the check, what the person should know, and what made it (for the sidecar)."""

    page: StoryPage
    warnings: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


class Planner(Protocol):
    """Turns a tale into a plan."""

    def plan(self, tale: Tale, options: PlanOptions) -> Plan:
        """The same tale and options give the same plan (of a language model: as far as it keeps its seed).

        Raises:
            StoryError: the tale cannot be planned; the message says why and how to mend it.
        """
        ...
