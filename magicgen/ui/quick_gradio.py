"""Gradio started in half the time: what it does for authors of components, and what it does twice, is left out.

Importing gradio parses the source of each of its components and writes an interface file for editors beside it; an
installed package is not ours to write into, and the files are there already. It renders documentation for each event
of each component. It imports pandas, which tables need once they are filled, and where they are installed ``mcp`` and
a command line of httpx. A page under construction has a web server made for it three times before the one that serves
it, and the schema of a file worked out for each part that takes one. Whatever a later gradio no longer has is passed
over.
"""

import contextlib
import copy
import functools
import gc
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Change = Callable[[ModuleType], None]


@contextlib.contextmanager
def quick_start() -> Iterator[None]:
    """No garbage collection while thousands of classes are made and nothing is thrown away."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def import_gradio(*, mcp: bool) -> None:
    """Import gradio, once, as a program needs it that only uses it.

    Args:
        mcp: whether MCP will be served; if not, its package, which gradio imports where it is installed, stays out.
    """
    if "gradio" in sys.modules:
        return
    finder = _Changing(
        {
            "gradio.component_meta": _write_no_interfaces,
            "gradio.components.dataframe": _empty_tables,
            "gradio.data_classes": _remember_schemas,
            "gradio.events": _write_no_docs,
        }
    )
    sys.meta_path.insert(0, finder)
    try:
        with _absent("httpx._main", *(() if mcp else ("mcp",))), _later("pandas"):
            import gradio  # noqa: F401
    finally:
        sys.meta_path.remove(finder)


@contextlib.contextmanager
def served_later() -> Iterator[None]:
    """Build a page without the web servers that gradio makes along the way; ``launch`` makes its own."""
    from gradio.routes import App

    create = App.__dict__["create_app"]
    App.create_app = staticmethod(_nothing)
    try:
        yield
    finally:
        App.create_app = create


def _write_no_interfaces(module: ModuleType) -> None:
    if hasattr(module, "create_or_modify_pyi"):
        module.create_or_modify_pyi = _nothing  # type: ignore[attr-defined]


def _write_no_docs(module: ModuleType) -> None:
    listener = getattr(module, "EventListener", None)
    if hasattr(listener, "set_doc"):
        listener.set_doc = _nothing  # type: ignore[union-attr]


def _remember_schemas(module: ModuleType) -> None:
    """Every part that takes a file asks for the schema of one, which is always the same."""
    for name in ("GradioModel", "GradioRootModel"):
        model = getattr(module, name, None)
        if model is not None:
            model.model_json_schema = classmethod(_Remembered(model.model_json_schema.__func__))


def _empty_tables(module: ModuleType) -> None:
    """A table without a value is one without rows: nothing that pandas has to look at."""
    table, data = getattr(module, "Dataframe", None), getattr(module, "DataframeData", None)
    if table is None or data is None:
        return
    prepare = table.postprocess

    @functools.wraps(prepare)
    def postprocess(self: Any, value: Any) -> Any:
        return data(headers=self.headers, data=[], metadata=None) if value is None else prepare(self, value)

    table.postprocess = postprocess


class _Remembered:
    """A class method without arguments that works once for each class; every caller gets a copy of his own."""

    def __init__(self, method: Callable[..., dict[str, Any]]) -> None:
        self._method = method
        self._known: dict[type, dict[str, Any]] = {}

    def __call__(self, model: type, *arguments: Any, **named: Any) -> dict[str, Any]:
        if arguments or named:
            return self._method(model, *arguments, **named)
        if model not in self._known:
            self._known[model] = self._method(model)
        return copy.deepcopy(self._known[model])


def _nothing(*arguments: Any, **named: Any) -> None:
    """What stands in for the steps that are left out."""


class _Changing(MetaPathFinder):
    """Finds modules as the others do, and changes some of them once they are loaded."""

    def __init__(self, changes: Mapping[str, Change]) -> None:
        self._changes = dict(changes)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module that is to be changed; None for all others."""
        change = self._changes.pop(fullname, None)  # popped: the search below asks this finder again
        spec = importlib.util.find_spec(fullname) if change is not None else None
        if change is not None and spec is not None and spec.loader is not None:
            spec.loader = _ChangingLoader(spec.loader, change)
        return spec


class _ChangingLoader(Loader):
    """A module's own loader, and a change after it."""

    def __init__(self, loader: Loader, change: Change) -> None:
        self._loader = loader
        self._change = change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._change(module)


@contextlib.contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Packages that cannot be imported meanwhile, but for those that are imported already."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # what the import system takes as "not there"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def _later(name: str) -> Iterator[None]:
    """A package that is imported when something of it is first used by those who import it meanwhile."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = _Later(name)
    try:
        yield
    finally:
        if isinstance(sys.modules.get(name), _Later):
            del sys.modules[name]


class _Later(ModuleType):
    """Stands in for a module until one of its names is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # the import system looks at modules too
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)
