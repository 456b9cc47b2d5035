"""The page: a closed list of tabs over one model queue, and the server that shows it."""

import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import gradio as gr
import numpy as np

from magicgen.control.tracks import BoxLevel, Tracks
from magicgen.errors import ConfigError, WeightsError
from magicgen.jobs.animate import AnimateSettings, load, load_key, prepare_again
from magicgen.jobs.dereflect import ADAPTER, DereflectSettings, adapter_folder
from magicgen.jobs.inputs import ClipInputs
from magicgen.jobs.story_painter import story_facts
from magicgen.ui.animate_desk import AnimateDesk
from magicgen.ui.animate_tab import AnimateTab
from magicgen.ui.api import AnimateApi
from magicgen.ui.examples import find_examples
from magicgen.ui.form import Choices
from magicgen.ui.outlines import shared_outline
from magicgen.ui.reflection_tab import ReflectionTab
from magicgen.ui.shelf import Shelf
from magicgen.ui.story_api import StoryApi
from magicgen.ui.story_desk import StoryDesk
from magicgen.ui.story_tab import StoryTab
from magicgen.ui.visitors import Visitors
from magicgen.ui.wiring import MODEL_QUEUE
from magicgen.weights import resolve_model
from magicgen.weights.facts import model_facts

MAX_UPLOAD = "64mb"
MOST_WAITING = 40
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# Files of visitors are removed when they leave; what gradio keeps of them goes after this many seconds at the latest.
CACHE_S = (600, 3600)


@dataclass(frozen=True)
class AppOptions:
    """What the person who starts the app decides.

    Attributes:
        host, port: where to listen; port None takes the first free one from 7860.
        models: presets, folders or Hub ids on offer; the first is the default.
        plans: files of attention plans on offer.
        story_model: preset or folder of the model that draws stories; its tab is shown where it is installed.
        adapter: the reflection adapter, by name or folder; its tab is shown where it is installed.
        segmenter: grabcut, sam:CHECKPOINT or none; finds what a click or box means.
        auth: (name, password) that visitors must give, or None.
        mcp: serve the documented endpoints as MCP tools too.
        examples: a folder of photos with trajectories.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    models: tuple[str, ...] = ("tiny",)
    plans: tuple[Path, ...] = ()
    story_model: str = "tiny"
    adapter: str = ADAPTER
    segmenter: str = "grabcut"
    auth: tuple[str, str] | None = None
    mcp: bool = False
    examples: Path = EXAMPLES


class App:
    """A running server; ``url`` is where it listens. Close it to stop all jobs and to remove all files of visitors.

    Raises:
        MagicGenError: a model or plan that is not there.
        ConfigError: the port is taken, or MCP was asked for without its package.
    """

    def __init__(self, options: AppOptions) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="magicgen-app-"))
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["GRADIO_TEMP_DIR"] = str(self._folder / "uploads")
        (self._folder / "uploads").mkdir()
        try:
            self.shelf = Shelf()
            self.visitors = Visitors(self._folder / "visitors")
            self.page = self._build(options)
            self.url = self._launch(options)
            self.loading = self._load_first(options.models[0])
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def wait(self) -> None:
        """Serve until interrupted."""
        threading.Event().wait()

    def close(self) -> None:
        """Stop serving."""
        self.visitors.close()
        self.page.close(verbose=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _build(self, options: AppOptions) -> gr.Blocks:
        facts, *_ = (model_facts(resolve_model(model)) for model in options.models)
        for plan in options.plans:
            if not plan.is_file():
                raise ConfigError(f"There is no attention plan {plan}. Check the path.")
        choices = Choices(options.models, tuple((path.stem, str(path)) for path in options.plans), _devices())
        defaults = AnimateSettings(model=options.models[0], frames=facts.frames)
        outline = shared_outline(options.segmenter)
        desk = AnimateDesk(self.shelf, outline)
        uploads = self._folder / "uploads"
        tabs: list[AnimateTab | StoryTab | ReflectionTab] = [
            AnimateTab(desk, self.visitors, uploads, find_examples(options.examples), choices, defaults)
        ]
        stories = story_facts(options.story_model)
        teller: StoryDesk | None = None
        if stories.folder.is_dir():
            tales = sorted((options.examples / "tales").glob("*.txt"))
            teller = StoryDesk(self.shelf, options.story_model)
            tabs.append(StoryTab(teller, self.visitors, tales, stories))
        removal = DereflectSettings(adapter=options.adapter)
        if _installed(removal):
            tabs.append(ReflectionTab(self.shelf, self.visitors, uploads, outline, removal))
        with gr.Blocks(title="magicgen", analytics_enabled=False, delete_cache=CACHE_S) as page:
            gr.Markdown("# magicgen\nDraw on a photo, see what the model will be told, make the video.")
            with gr.Tabs():
                for tab in tabs:
                    with gr.Tab(tab.name):
                        tab.build()
            AnimateApi(desk, self.visitors, choices).build(MODEL_QUEUE)
            if teller is not None:
                StoryApi(teller, self.visitors).build(MODEL_QUEUE)
            page.unload(self._leave)
        return page.queue(max_size=MOST_WAITING)

    def _leave(self, request: gr.Request) -> None:
        self.visitors.leave(request.session_hash)

    def _launch(self, options: AppOptions) -> str:
        try:
            _, url, _ = self.page.launch(
                server_name=options.host,
                server_port=options.port,
                prevent_thread_lock=True,
                share=False,
                quiet=True,
                ssr_mode=False,
                auth=options.auth,
                mcp_server=options.mcp,
                max_file_size=MAX_UPLOAD,
                footer_links=["api", "settings"],
                theme=_theme(),
                css=(files("magicgen.ui") / "assets" / "page.css").read_text(encoding="utf-8"),
            )
        except OSError as error:
            raise ConfigError(f"The app cannot listen on {options.host}:{options.port or ''} ({error}).") from None
        if self.page.mcp_error:
            self.page.close(verbose=False)
            raise ConfigError(f'MCP cannot be served ({self.page.mcp_error}). Try: pip install "gradio[mcp]".')
        return url

    def _load_first(self, model: str) -> threading.Thread:
        """Load the model that the first visitor will want, by a run that needs nobody's photo."""
        facts = model_facts(resolve_model(model))
        mask = np.ones((1, facts.height, facts.width), np.bool_)
        boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (1, facts.frames, 1))
        inputs = ClipInputs(np.zeros((*mask.shape[1:], 3), np.uint8), Tracks(("all",), mask, boxes), BoxLevel())
        prepared = prepare_again(inputs, AnimateSettings(model=model), self._folder / "first.mp4")
        return self.shelf.warm("animate", load_key(prepared), lambda: load(prepared))


def _installed(settings: DereflectSettings) -> bool:
    """Whether reflections can be removed here; an adapter that was asked for by name must be there."""
    try:
        adapter_folder(settings.adapter)
    except WeightsError:
        if settings.adapter != ADAPTER:
            raise
        return False
    return True


def _theme() -> gr.themes.Base:
    """Gradio's look with fonts of the visitor's own system: a page must not ask other servers for fonts."""
    return gr.themes.Default(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace"))


def _devices() -> tuple[str, ...]:
    from magicgen.jobs.estimate import gpu_name

    return ("cpu",) if gpu_name() is None else ("cuda", "cpu")
