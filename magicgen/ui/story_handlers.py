"""What the parts of the Story tab call. Every handler finds its visitor by gradio's session."""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from magicgen.control.story import StoryPage
from magicgen.errors import MagicGenError, StoryError
from magicgen.jobs.story import StorySettings, Upto
from magicgen.progress import Cancelled, CancelToken, ProgressEvent
from magicgen.ui.photos import shrunk
from magicgen.ui.story_desk import StoryDesk, read_picture, read_text
from magicgen.ui.story_draft import StoryDraft
from magicgen.ui.story_form import FIELDS
from magicgen.ui.story_joints import moves_joints, replace_joints
from magicgen.ui.story_order import rearranged
from magicgen.ui.story_rows import (
    Rows,
    labels,
    with_balloon_rows,
    with_boxes,
    with_cast_rows,
    with_panel_rows,
    with_subject_rows,
    with_title,
)
from magicgen.ui.story_sketches import add_strokes, drawing_paper
from magicgen.ui.story_view import StoryView
from magicgen.ui.told import in_words, note, progress_bar, told, where
from magicgen.ui.visitors import Visitor, Visitors
from magicgen.ui.work import Done

SEEDS = 2**31
SKETCH_SIDE = 1024


class StoryHandlers:
    """Handlers of one page. Those that answer with a view give the parts of
    :data:`magicgen.ui.story_view.WHOLE_PARTS` and :data:`~magicgen.ui.story_view.PANEL_PARTS`.

    Args:
        desk: does the work.
        visitors: whose work it is.
        tales: example tales, in the order of the menu.
    """

    def __init__(self, desk: StoryDesk, visitors: Visitors, tales: Sequence[Path] = ()) -> None:
        self.desk, self.visitors, self.tales = desk, visitors, tales

    def choose_tale(self, index: int | None) -> Any:
        """An example -> the text."""
        return gr.skip() if index is None else self.tales[int(index)].read_text(encoding="utf-8")

    def load_file(self, path: str, request: gr.Request) -> list[Any]:
        """A tale, a story file or the ``story.json`` of a book -> text, settings, progress, the view."""
        visitor, source = self._visitor(request), Path(path)
        with told():
            self._at_rest(visitor)
            if source.suffix.lower() in (".txt", ".md"):
                skipped = [gr.skip()] * (len(self.settings_values(StorySettings())) + 1)
                return [read_text(source), *skipped, *self._skipped_view()]
            draft = visitor.story = self.desk.restore(visitor.place(""), source)
        return [
            draft.tale,
            *self.settings_values(draft.settings),
            note(f"{source.name} is loaded. Make the pictures when the plan suits you."),
            *StoryView(draft).plan(),
        ]

    def plan(self, request: gr.Request, tale: str, *values: Any) -> list[Any]:
        """A tale -> seed, progress, the view."""
        visitor = self._visitor(request)
        with told():
            self._at_rest(visitor)
            settings = self.settings(values)
            if not values[1]:
                settings = settings.model_copy(update={"seed": secrets.randbelow(SEEDS)})
            draft = visitor.story = self.desk.plan(visitor.place(""), tale or "", settings)
        said = f"Planned: {len(draft.page.panels)} panels. Look at them, change what you like, then make the pictures."
        return [settings.seed, note(said), *StoryView(draft).plan()]

    def show_panel(self, number: int | None, request: gr.Request) -> list[Any]:
        """A choice of panel -> the parts that show one panel."""
        draft = self._visitor(request).story
        if draft is None or number is None:
            return [gr.skip()] * StoryView.PANEL_COUNT
        draft.shown = min(int(number), len(draft.page.panels) - 1)
        return StoryView(draft).panel()

    def edit_panels(self, rows: Rows, request: gr.Request) -> list[Any]:
        """The table of panels -> the view."""
        return self._edited(request, "panels", rows, lambda draft: with_panel_rows(draft.page, rows))

    def edit_subjects(self, rows: Rows, number: int | None, request: gr.Request) -> list[Any]:
        """The table of who is seen in a panel -> the view."""
        return self._edited(request, "subjects", rows, lambda d: with_subject_rows(d.page, _panel(d, number), rows))

    def edit_balloons(self, rows: Rows, number: int | None, request: gr.Request) -> list[Any]:
        """The table of a panel's balloons -> the view."""
        return self._edited(request, "balloons", rows, lambda d: with_balloon_rows(d.page, _panel(d, number), rows))

    def edit_cast(self, rows: Rows, request: gr.Request) -> list[Any]:
        """The table of characters -> the view."""
        return self._edited(request, "cast", rows, lambda draft: with_cast_rows(draft.page, rows))

    def edit_title(self, title: str, request: gr.Request) -> list[Any]:
        """Another title -> the view."""
        words = (title or "").strip()[:200]
        return self._edited(request, "title", title, lambda draft: with_title(draft.page, words))

    def edit_boxes(self, request: gr.Request, document: dict[str, Any] | None) -> list[Any]:
        """The drawing area -> the view; the area itself stays as it is unless somebody came or went."""
        draft = self._visitor(request).story
        number = draft.tagged(document.get("tag")) if draft is not None and document else None
        if number is None:
            return self._skipped_view()
        return self._edited(request, "canvas", document, lambda draft: with_boxes(draft.page, number, document))

    def add_panel(self, request: gr.Request) -> list[Any]:
        """A copy of the shown panel after it -> the view."""
        return self._rearranged(request, lambda count, shown: [*range(shown + 1), *range(shown, count)], 1)

    def delete_panel(self, request: gr.Request) -> list[Any]:
        """The plan without the shown panel -> the view."""
        return self._rearranged(request, lambda count, shown: [each for each in range(count) if each != shown], 0)

    def check_pages(self, request: gr.Request, *values: Any) -> tuple[Any, ...]:
        """Before the pictures are queued -> progress, the four buttons."""
        return self._check(request, "pages", values)

    def check_sketches(self, request: gr.Request, *values: Any) -> tuple[Any, ...]:
        """Before the sketches are queued -> progress, the four buttons."""
        return self._check(request, "conditions", values)

    def check_panel(self, request: gr.Request, number: int | None, seed: float | None, *values: Any) -> tuple[Any, ...]:
        """Before one panel is made again; seed 0 draws one -> progress, the four buttons."""
        chosen = int(seed) if seed else secrets.randbelow(SEEDS - 1) + 1
        return self._check(request, "pages", values, int(number or 0) + 1, chosen)

    def run(self, request: gr.Request) -> Iterator[list[Any]]:
        """The run that was checked -> progress, live picture, history, the view."""
        visitor = self._visitor(request)
        draft, token = visitor.story, visitor.telling
        prepared = None if draft is None else draft.waiting
        hidden, kept = gr.update(visible=False), [gr.skip(), *self._skipped_view()]
        if draft is not None:
            draft.waiting = None
        if draft is None or prepared is None or token is None or token.cancelled:
            visitor.telling = None
            yield [note("Stopped before it began."), hidden, *kept]
            return
        progress = BookProgress()
        try:
            for event in self.desk.run(prepared, token):
                if isinstance(event, Done):
                    self.desk.finish(draft, prepared, event.value)
                    yield [note("Done."), hidden, self._history(visitor, draft), *StoryView(draft).plan()]
                else:
                    seen = progress.told(event)
                    live = gr.skip() if seen.preview is None else gr.update(value=seen.preview, visible=True)
                    yield [progress_bar(seen), live, *kept]
        except Cancelled:
            words = f"Stopped: {where(progress.last)}. What is finished is kept; make the pictures to go on."
            yield [note(words), hidden, gr.skip(), *StoryView(draft).plan()]
        except MagicGenError as error:
            yield [note(in_words(error), kind="wrong"), hidden, *kept]
        finally:
            visitor.telling = None
            self.visitors.ended(visitor)

    def stop(self, request: gr.Request) -> str:
        """The Stop button -> progress."""
        visitor = self._visitor(request)
        if not visitor.stop_telling():
            return note("Nothing is running.")
        if visitor.story is not None and visitor.story.waiting is not None:  # it waits in the queue
            visitor.story.waiting = visitor.telling = None
        return note("Stopping ...")

    def open(self, event: gr.SelectData, request: gr.Request) -> list[Any]:
        """A click in the history -> text, settings, progress, the view."""
        visitor = self._visitor(request)
        with told():
            self._at_rest(visitor)
        draft = visitor.story = visitor.books[int(event.index)]
        return [
            draft.tale,
            *self.settings_values(draft.settings),
            note(f"{draft.page.title or 'The book'} is on the desk again."),
            *StoryView(draft).plan(),
        ]

    def paper(self, subject: int | None, request: gr.Request) -> Any:
        """A choice of subject -> the paper with its drawing."""
        draft = self._visitor(request).story
        if draft is None or subject is None or int(subject) >= len(draft.panel.subjects):
            return gr.skip()
        shown = drawing_paper(draft, int(subject))
        return gr.update(picture=StoryView.property(shown), value={"version": 1, "marks": []})

    def use_drawing(self, request: gr.Request, subject: int | None, marks: dict[str, Any] | None) -> list[Any]:
        """The strokes on the paper -> the view, with the drawing as the subject's own."""
        return self._sketched(request, subject, lambda draft, who: add_strokes(drawing_paper(draft, who), marks))

    def use_picture(self, path: str, subject: int | None, request: gr.Request) -> list[Any]:
        """An uploaded drawing -> the view."""
        return self._sketched(request, subject, lambda draft, who: shrunk(read_picture(Path(path)), SKETCH_SIDE))

    def drop_sketch(self, subject: int | None, request: gr.Request) -> list[Any]:
        """Let the model draw the subject again -> the view."""
        return self._sketched(request, subject, lambda draft, who: None)

    def skeleton(self, subject: int | None, request: gr.Request) -> list[Any]:
        """A choice of subject -> its joints as a picture and as a file."""
        draft = self._visitor(request).story
        if draft is None or subject is None or int(subject) >= len(draft.panel.subjects):
            return [gr.skip()] * 2
        return StoryView(draft).skeleton(int(subject))

    def use_joints(self, path: str, subject: int | None, request: gr.Request) -> list[Any]:
        """An uploaded file of joints -> the view."""
        return self._jointed(request, subject, Path(path))

    def drop_joints(self, subject: int | None, request: gr.Request) -> list[Any]:
        """Have the subject's joints read again -> the view."""
        return self._jointed(request, subject, None)

    def use_reference(self, path: str, name: str | None, request: gr.Request) -> list[Any]:
        """A picture of a character -> the view."""
        visitor = self._visitor(request)
        with told():
            draft = self._draft(visitor)
            picture = shrunk(read_picture(Path(path)), SKETCH_SIDE)
            self.desk.replace_reference(draft, name or "", picture)
        gr.Info(f"{name}'s sheet will be made after this picture.", duration=6)
        return StoryView(draft).plan()

    def settings(self, values: Sequence[Any]) -> StorySettings:
        """The form -> settings. Numbers that may be left open are 0."""
        given = dict(zip(FIELDS, values, strict=True))
        return self.desk.settings(
            {
                **{name: int(given[name]) for name in ("height", "width", "steps", "columns") if given[name]},
                **{name: given[name] or "" for name in ("style", "condition", "model")},
                **{name: bool(given[name]) for name in ("sketches", "plates")},
                "seed": int(given["seed"] or 0),
                "max_panels": int(given["max_panels"]),
            }
        )

    def settings_values(self, settings: StorySettings) -> list[Any]:
        """The inverse; a seed that came with the settings is kept."""
        values = {**settings.model_dump(include=set(FIELDS)), "lock": True}
        return [0 if values[name] is None else values[name] for name in FIELDS]

    def _edited(
        self, request: gr.Request, part: str, sent: Any, change: Callable[[StoryDraft], StoryPage]
    ) -> list[Any]:
        """A changed plan -> what shows it; where the change cannot be, why, and the plan as it is.

        The part that sent the change is left alone while it shows just that; so are the pictures while the same people
        are seen.
        """
        visitor = self._visitor(request)
        draft = visitor.story
        if draft is None:
            return self._skipped_view()
        people = labels(draft.panel)
        try:
            page = change(draft)
            if moves_joints(draft, page):
                self._at_rest(visitor)
        except MagicGenError as error:
            gr.Warning(in_words(error), duration=10)
            return StoryView(draft).plan()
        if page != draft.page:
            self.desk.edit(draft, page)
        return StoryView(draft).edited(part, sent, same=labels(draft.panel) == people)

    def _rearranged(self, request: gr.Request, order: Callable[[int, int], list[int]], step: int) -> list[Any]:
        """Other panels make another book: the one before stays in the history as it is."""
        visitor = self._visitor(request)
        with told():
            draft = self._idle(visitor)
            fresh = rearranged(draft, visitor.place(""), order(len(draft.page.panels), draft.shown))
        fresh.shown = min(draft.shown + step, len(fresh.page.panels) - 1)
        visitor.story = fresh
        return StoryView(fresh).plan()

    def _sketched(self, request: gr.Request, subject: int | None, draw: Callable[[StoryDraft, int], Any]) -> list[Any]:
        visitor = self._visitor(request)
        with told():
            draft = self._draft(visitor)
            who = -1 if subject is None else int(subject)
            if not 0 <= who < len(draft.panel.subjects):
                raise StoryError("Choose whom the drawing shows.")
            drawn = draw(draft, who)
            self.desk.replace_sketch(draft, who, drawn)
        return StoryView(draft, who).plan()

    def _jointed(self, request: gr.Request, subject: int | None, source: Path | None) -> list[Any]:
        """Joints are files that a run reads, so that none may be running."""
        visitor, who = self._visitor(request), -1 if subject is None else int(subject)
        with told():
            draft = self._idle(visitor)
            replace_joints(draft, who, source)
        return StoryView(draft, who).plan()

    def _check(
        self, request: gr.Request, upto: Upto, values: Sequence[Any], panel: int | None = None, seed: int | None = None
    ) -> tuple[Any, ...]:
        visitor = self._visitor(request)
        with told():
            draft = self._idle(visitor)
            draft.waiting = self.desk.prepare(draft, self.settings(values), upto, panel, seed)
        visitor.telling = CancelToken()
        off = gr.update(interactive=False)
        return note("Waiting for the model ..."), off, off, off, gr.update(interactive=True)

    def _history(self, visitor: Visitor, draft: StoryDraft) -> Any:
        if draft.shared:
            visitor.books = [draft, *(book for book in visitor.books if book is not draft)]
        return StoryView.history(visitor.books)

    def _at_rest(self, visitor: Visitor) -> None:
        if visitor.telling is not None:
            raise StoryError("A book is being made; wait for it, or stop it.")

    def _idle(self, visitor: Visitor) -> StoryDraft:
        """The visitor's book, if nothing is being made."""
        self._at_rest(visitor)
        return self._draft(visitor)

    def _draft(self, visitor: Visitor) -> StoryDraft:
        if visitor.story is None:
            raise StoryError("There is no plan yet. Write a tale and press 'Plan the panels'.")
        return visitor.story

    def _skipped_view(self) -> list[Any]:
        return [gr.skip()] * StoryView.PLAN_COUNT

    def _visitor(self, request: gr.Request) -> Visitor:
        return self.visitors.of(request.session_hash)


def _panel(draft: StoryDraft, number: int | None) -> int:
    """The panel that a table was about when it was changed."""
    known = number is not None and 0 <= int(number) < len(draft.page.panels)
    return int(number) if number is not None and known else draft.shown


class BookProgress:
    """Joins the steps of a panel and the count of panels to one line, with the time that all panels will take."""

    def __init__(self) -> None:
        self.last = ProgressEvent("Starting", 0)
        self._panels: ProgressEvent | None = None
        self._since = time.monotonic()

    def told(self, event: ProgressEvent) -> ProgressEvent:
        """An event of the run -> what the page says."""
        if event.stage == "Panels":
            if self._panels is None:
                self._since = time.monotonic()
            self._panels = event
        if event.stage == "Steps" and event.total and self._panels is not None and self._panels.total:
            done = self._panels.step + event.step / event.total
            left = (time.monotonic() - self._since) * (self._panels.total - done) / done if done else None
            stage = f"Panel {self._panels.step + 1} of {self._panels.total}"
            event = ProgressEvent(stage, event.step, event.total, left, event.preview)
        self.last = event
        return event
