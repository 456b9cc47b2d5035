"""A book that a visitor works on: its folder, its plan, and which pictures no longer fit the plan."""

from dataclasses import dataclass, field
from pathlib import Path

from magicgen.control.story import Panel, StoryPage
from magicgen.jobs.story import PreparedStory, StorySettings
from magicgen.jobs.story_book import Book


@dataclass
class StoryDraft:
    """One book of one visitor.

    Attributes:
        folder: everything of the book lies in it.
        source: the tale, or the story file where there is no tale.
        settings: as they were when it was planned, later when it was made.
        page: the plan, as it stands in ``plan.yaml``.
        warnings: what the planner and the last run had to say.
        shown: index of the panel that is being looked at.
        changed: indices of panels whose plan or sketch changed after they were drawn.
        shared: the files for the visitor to keep; empty until the book is bound.
        facts: lines about the last run.
        waiting: a run that was checked and not begun.
    """

    folder: Path
    source: Path
    settings: StorySettings
    page: StoryPage
    warnings: tuple[str, ...] = ()
    shown: int = 0
    changed: set[int] = field(default_factory=set)
    shared: tuple[Path, ...] = ()
    facts: tuple[str, ...] = ()
    waiting: PreparedStory | None = None

    @property
    def book(self) -> Book:
        """Its files."""
        return Book(self.folder)

    @property
    def panel(self) -> Panel:
        """The panel that is being looked at."""
        return self.page.panels[self.shown]

    @property
    def tag(self) -> str:
        """Names book and panel for the drawing area, whose changes may come when another panel is shown."""
        return f"{self.folder.name}/{self.shown}"

    def tagged(self, tag: object) -> int | None:
        """The panel that :attr:`tag` named, if it is one of this book."""
        book, _, number = str(tag).rpartition("/")
        known = book == self.folder.name and number.isascii() and number.isdigit()
        return int(number) if known and int(number) < len(self.page.panels) else None

    @property
    def tale(self) -> str:
        """The text of the tale; empty for a book that began with a story file."""
        return self.source.read_text(encoding="utf-8") if self.source.suffix == ".txt" else ""

    @property
    def pages(self) -> list[Path]:
        """The bound pages."""
        return sorted(self.book.pages.glob("page-*.png"))

    @property
    def sheets(self) -> list[tuple[Path, str]]:
        """Character sheets that are there, with what they show."""
        known = [(self.book.sheet(who.name), f"{who.name}: {who.description}") for who in self.page.characters]
        return [(path, words) for path, words in known if path.is_file()]

    def undrawn(self) -> list[int]:
        """Panels, counted from 1, that have no picture."""
        return [number + 1 for number in range(len(self.page.panels)) if not self.book.panel(number).is_file()]
