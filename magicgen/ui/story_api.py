"""The documented endpoints for stories: what ``gradio_client`` and MCP clients call. The page itself uses none."""

import secrets
from typing import Any

import gradio as gr

from magicgen.control.story import story_from_values, story_to_values
from magicgen.errors import StoryError
from magicgen.jobs.story import PreparedStory
from magicgen.progress import Cancelled, CancelToken
from magicgen.ui.story_desk import StoryDesk
from magicgen.ui.story_draft import StoryDraft
from magicgen.ui.told import told
from magicgen.ui.visitors import Visitor, Visitors
from magicgen.ui.work import Done

SEEDS = 2**31


class StoryApi:
    """Endpoints ``/plan_story``, ``/make_story`` and ``/remake_panel``; :meth:`build` is called inside the page."""

    def __init__(self, desk: StoryDesk, visitors: Visitors) -> None:
        self._desk, self._visitors = desk, visitors

    def build(self, model_queue: str) -> None:
        """Components that nobody sees give the endpoints their types."""
        with gr.Row(visible=False):
            tale = gr.Textbox(label="tale: plain text")
            named = "settings: such as model, condition, seed, max_panels, steps, height, width"
            settings = gr.JSON(label=named, value={})
            plan = gr.JSON(label="plan: the document of a story file, version 1; null plans the tale", value=None)
            number, seed = gr.Number(label="panel: from 1", precision=0), gr.Number(label="seed: 0 draws", precision=0)
            planned, notes = gr.JSON(label="plan"), gr.JSON(label="warnings")
            files = [gr.File(label="book.pdf"), gr.File(label="story.json")]
            files.append(gr.File(label="panels", file_count="multiple"))
            heavy: dict[str, Any] = {"concurrency_id": model_queue, "concurrency_limit": 1}
            gr.Button().click(
                self.plan_story, [tale, settings], [planned, notes], api_name="plan_story", concurrency_limit=2
            )
            gr.Button().click(self.make_story, [tale, settings, plan], files, api_name="make_story", **heavy)
            gr.Button().click(self.remake_panel, [number, seed], files, api_name="remake_panel", **heavy)

    def plan_story(self, request: gr.Request, tale: str, settings: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Plan a tale: its panels, who is seen in them and where. Loads no model.

        Args:
            tale: Plain English text of at most 3,000 words; a short first line is the title.
            settings: Settings by name, such as max_panels, max_subjects, seed, height, width; {} for defaults.

        Returns:
            The plan, a document that /make_story takes back after changes, and warnings.
        """
        with told():
            visitor = self._visitors.of(request.session_hash)
            draft = self._desk.plan(visitor.place(""), tale or "", self._desk.settings(settings or {}))
            return story_to_values(draft.page, draft.folder), list(draft.warnings)

    def make_story(
        self, request: gr.Request, tale: str, settings: dict[str, Any], plan: dict[str, Any] | None
    ) -> tuple[str | None, str, list[str]]:
        """Make a picture book of a tale.

        Args:
            tale: Plain English text of at most 3,000 words; a short first line is the title.
            settings: Settings by name, such as model (one that is offered), condition (sketch or keypoints), seed,
                max_panels, steps, height, width, columns; {} for defaults.
            plan: A plan from /plan_story, changed or not; null to plan the tale now.

        Returns:
            The PDF, story.json with everything that decided the book, and the pictures of all panels.
        """
        with told():
            visitor = self._visitors.of(request.session_hash)
            wanted = self._desk.settings(settings or {})
            draft = visitor.story = self._desk.plan(visitor.place(""), tale or "", wanted)
            if plan:
                page = story_from_values(plan, "plan")
                if any(who.references for who in page.characters) or any(
                    subject.sketch for panel in page.panels for subject in panel.subjects
                ):
                    raise StoryError("plan: pictures cannot be named here; load the book's story.json on the page.")
                self._desk.edit(draft, page)
            return self._made(visitor, draft, self._desk.prepare(draft, wanted, "pages"))

    def remake_panel(self, request: gr.Request, panel: int, seed: int) -> tuple[str | None, str, list[str]]:
        """Make one panel of this client's last book again; all others stay as they are.

        Args:
            panel: Its number, from 1.
            seed: The new seed; 0 draws one.

        Returns:
            The PDF, story.json, and the pictures of all panels.
        """
        with told():
            visitor = self._visitors.of(request.session_hash)
            draft = visitor.story
            if draft is None:
                raise StoryError("There is no book yet; call /make_story first.")
            chosen = int(seed or 0) or secrets.randbelow(SEEDS - 1) + 1
            prepared = self._desk.prepare(draft, draft.settings, "pages", int(panel or 0), chosen)
            return self._made(visitor, draft, prepared)

    def _made(self, visitor: Visitor, draft: StoryDraft, prepared: PreparedStory) -> tuple[str | None, str, list[str]]:
        token = visitor.telling = CancelToken()
        try:
            for event in self._desk.run(prepared, token):
                if isinstance(event, Done):
                    self._desk.finish(draft, prepared, event.value)
        except Cancelled:
            raise gr.Error("The job was stopped.", print_exception=False) from None
        finally:
            visitor.telling = None
        files = {path.suffix: str(path) for path in draft.shared}
        panels = [str(draft.book.panel(number)) for number in range(len(draft.page.panels))]
        return files.get(".pdf"), files[".json"], panels
