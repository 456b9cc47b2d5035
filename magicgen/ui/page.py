"""The page: a closed list of tabs over one model queue, and the server that shows it."""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
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
from magicgen.ui.look import asset, brand, chip, theme
from magicgen.ui.outlines import shared_outline
from magicgen.ui.quick_gradio import served_later
from magicgen.ui.reflection_api import ReflectionApi
from magicgen.ui.reflection_desk import ReflectionDesk
from magicgen.ui.reflection_tab import ReflectionTab
from magicgen.ui.shelf import Shelf
from magicgen.ui.story_api import StoryApi
from magicgen.ui.story_desk import StoryDesk
from magicgen.ui.story_tab import StoryTab
from magicgen.ui.visitors import Visitors
from magicgen.ui.wiring import AT_ONCE, MODEL_QUEUE, PLAIN
from magicgen.weights import resolve_model
from magicgen.weights.facts import model_facts

MAX_UPLOAD = "64mb"
MOST_WAITING = 40
CLOSING_ATTEMPTS = 50
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# Files of visitors are removed when they leave; what gradio keeps of them goes after this many seconds at the latest.
CACHE_S = (600, 3600)
# How long a page waits to say that its model is ready.
LONGEST_LOAD_S = 900.0
# How long loading waits for the first page.
FIRST_PAGE_S = 4.0

# A tab, and the endpoints for programs that do the same.
Part = tuple[AnimateTab, AnimateApi] | tuple[StoryTab, StoryApi] | tuple[ReflectionTab, ReflectionApi]


@dataclass(frozen=True)
class AppOptions:
    """What the person who starts the app decides.

    Attributes:
        host, port: where to listen; port None takes the first free one from 7860.
        models: presets, folders or Hub ids on offer; the first is the default.
        plans: files of attention plans on offer.
        story_models: presets or folders of models that draw stories; the first is the default.
        adapters: reflection adapters, by name or folder; the first is the default. The tabs of both are shown where
            the package's own model is installed, or another one is on offer.
        segmenter: grabcut, sam:CHECKPOINT or none; finds what a click or box means.
        auth: (name, password) that visitors must give, or None.
        mcp: serve the documented endpoints as MCP tools too.
        examples: a folder of photos with trajectories.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    models: tuple[str, ...] = ("tiny",)
    plans: tuple[Path, ...] = ()
    story_models: tuple[str, ...] = ("tiny",)
    adapters: tuple[str, ...] = (ADAPTER,)
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
        self._uploads = self._folder / "uploads"
        self._uploads.mkdir()
        try:
            self.shelf = Shelf()
            self._first, self._opened = options.models[0], threading.Event()
            self.visitors = Visitors(self._folder / "visitors")
            self._outline = shared_outline(options.segmenter)
            self.page = self._build(options)
            self.loading = self._load_first(options.models[0])
            self.url = self._launch(options)
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
        for _ in range(CLOSING_ATTEMPTS):  # a job may write until it hears that it is to stop
            shutil.rmtree(self._folder, ignore_errors=True)
            if not self._folder.exists():
                return
            time.sleep(0.1)

    def _build(self, options: AppOptions) -> gr.Blocks:
        parts = [part for part in (self._animate(options), self._story(options), self._reflection(options)) if part]
        with served_later(), gr.Blocks(title="magicgen", analytics_enabled=False, delete_cache=CACHE_S) as page:
            for _, api in parts:  # first: names of endpoints go to whoever asks first
                api.build(MODEL_QUEUE)
            with gr.Row(elem_classes=["mg-head"]):
                gr.HTML(brand(), **PLAIN)
                state = gr.HTML(chip("Starting", busy=True), elem_id="status", **PLAIN)
            with gr.Tabs():
                for tab, _ in parts:
                    with gr.Tab(tab.name):
                        tab.build()
            page.load(self._state, None, state, **AT_ONCE)
            page.unload(self._leave)
            page.queue(max_size=MOST_WAITING)
        return page

    def _animate(self, options: AppOptions) -> Part:
        facts, *_ = (model_facts(resolve_model(model)) for model in options.models)
        for plan in options.plans:
            if not plan.is_file():
                raise ConfigError(f"There is no attention plan {plan}. Check the path.")
        choices = Choices(options.models, tuple((path.stem, str(path)) for path in options.plans), _devices())
        defaults = AnimateSettings(model=options.models[0], frames=facts.frames)
        desk = AnimateDesk(self.shelf, self._outline)
        examples = find_examples(options.examples)
        tab = AnimateTab(desk, self.visitors, self._uploads, examples, choices, defaults)
        return tab, AnimateApi(desk, self.visitors, choices)

    def _story(self, options: AppOptions) -> Part | None:
        models = [facts for facts in map(story_facts, options.story_models) if facts.folder.is_dir()]
        if not models:
            return None
        tales = sorted((options.examples / "tales").glob("*.txt"))
        desk = StoryDesk(self.shelf, [facts.name for facts in models])
        return StoryTab(desk, self.visitors, tales, models), StoryApi(desk, self.visitors)

    def _reflection(self, options: AppOptions) -> Part | None:
        adapters = [name for name in options.adapters if _installed(name)]
        if not adapters:
            return None
        windows = sorted((options.examples / "windows").glob("*.jpg"))
        settings = DereflectSettings(adapter=adapters[0])
        desk = ReflectionDesk(self.shelf, self._outline, settings, adapters)
        return ReflectionTab(desk, self.visitors, self._uploads, windows), ReflectionApi(desk, self.visitors)

    def _state(self) -> Iterator[str]:
        """What the head says about the model: the page is there before it."""
        self._opened.set()
        name = Path(self._first).name
        if self.loading.is_alive():
            yield chip(f"{name} is being loaded", busy=True)
            self.loading.join(LONGEST_LOAD_S)
        yield chip(f"{name} is ready" if self.shelf.has("animate") else f"{name} loads with the first run")

    def _leave(self, request: gr.Request) -> None:
        self.visitors.leave(request.session_hash)

    def _launch(self, options: AppOptions) -> str:
        try:
            _, url, _ = self.page.launch(
                server_name=options.host,
                server_port=options.port,
                prevent_thread_lock=True,
                # Gradio would ask for the whole page and give up after three seconds, as on a busy machine.
                _frontend=False,
                share=False,
                quiet=True,
                ssr_mode=False,
                auth=options.auth,
                mcp_server=options.mcp,
                max_file_size=MAX_UPLOAD,
                footer_links=["api", "settings"],
                theme=theme(),
                # Not as ``css``: gradio rewrites its rules, and those for narrow windows are lost.
                head=f"<style>{asset('page.css')}</style>",
                js=asset("page.js"),
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
        return self.shelf.warm("animate", load_key(prepared), lambda: load(prepared), self._wait_for_page)

    def _wait_for_page(self) -> None:
        """A page that is being opened goes first: loading takes the whole processor."""
        self._opened.wait(FIRST_PAGE_S)


def _installed(adapter: str) -> bool:
    """Whether an adapter is here; one that is not the package's own must be."""
    try:
        adapter_folder(adapter)
    except WeightsError:
        if adapter != ADAPTER:
            raise
        return False
    return True


def _devices() -> tuple[str, ...]:
    from magicgen.jobs.estimate import gpu_name

    return ("cpu",) if gpu_name() is None else ("cuda", "cpu")
