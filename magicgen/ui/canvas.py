"""The drawing area: one gradio component whose value is what the readers of ``magicgen.control`` read."""

import time
from typing import Any, Literal

import gradio as gr

from magicgen.control.guide import Layer
from magicgen.control.guide_picture import layer_colour
from magicgen.control.raster import map_colour
from magicgen.ui.look import asset

Mode = Literal["animate", "guide", "layout", "pen"]
SCRIPTS = ("rle", "motion", "model", "guide", "view", "tools", "keys", "panel", "story", "main")
TOOLS: dict[Mode, tuple[str, ...]] = {
    "animate": ("plus", "minus", "box", "move", "path", "brush", "eraser", "hand"),
    "guide": ("plus", "minus", "box", "brush", "eraser", "hand"),
    "layout": ("move", "box", "hand"),
    "pen": ("brush", "eraser", "hand"),
}
# The drawing areas of stories are the other two with fewer tools and other words.
LIKE: dict[Mode, str] = {"layout": "animate", "pen": "guide"}
LABELS: dict[Mode, dict[str, str]] = {
    "animate": {},
    "guide": {
        "plus": "Reflection",
        "minus": "Scene",
        "brush": "Brush",
        "eraser": "Scene brush",
    },
    "layout": {"box": "New box"},
    "pen": {"brush": "Pen"},
}
PALETTE_SIZE = 21


def make_canvas(mode: Mode, *, frames: int = 17, fps: float = 8.0, segments: bool = False, elem_id: str) -> gr.HTML:
    """Boxes, paths, keyframes, clicks and strokes over a photo: a ``gr.HTML`` with its own page and script.

    Value: in mode ``animate`` the document of ``trajectory.json`` (version 1) as a dict, ready for
    :func:`magicgen.control.trajectory.parse_trajectory`; in mode ``guide`` the list of marks of a removal guide. Mode
    ``layout`` holds boxes in one frame, mode ``pen`` strokes, whose layer is ``reflection`` for the pen.

    Properties that event handlers set with ``gr.update``: ``picture`` (``{"url", "width", "height"}`` or None; width
    and height are those of the photo, whose pixels boxes snap to), ``wish`` (of :func:`wish_frames`), ``fps``, and
    ``answer`` (``{"id", "turn", "mask", "box"}`` or ``{"id", "turn", "error"}``, the outline of an object).

    Events: ``input`` after every finished change, ``outline`` (an object wants its mask; data ``id``,
    ``turn``, ``box``, ``clicks``) and ``photo`` (a picture was dropped and uploaded; data ``path``).

    A function, not a subclass: gradio writes an interface file beside the source of every subclass that is imported.
    """
    properties: dict[str, Any] = {
        "mode": LIKE.get(mode, mode),
        "role": mode,
        "tools": list(TOOLS[mode]),
        "labels": LABELS[mode],
        "palette": palette(),
        "inks": inks(mode),
        "picture": None,
        "answer": None,
        "frames": frames,
        "wish": None,
        "fps": fps,
        "segments": segments,
    }
    return gr.HTML(
        value=None,
        html_template=asset("canvas.html"),
        css_template=asset("canvas.css"),
        js_on_load="\n".join(asset(f"{name}.js") for name in SCRIPTS),
        apply_default_css=False,
        elem_id=elem_id,
        **properties,
    )


def wish_frames(count: float) -> dict[str, int]:
    """The ``wish`` property: stretch what is drawn over so many frames. Every wish is another one, also for as many."""
    return {"frames": int(count), "turn": time.monotonic_ns() // 1000}


def palette() -> list[str]:
    """The colours of the objects as ``#rrggbb``: those of the condition maps, twice as bright, as on the overlay."""
    colours = (map_colour(index) for index in range(PALETTE_SIZE))
    return [_hex(tuple(min(2 * value, 255) for value in colour)) for colour in colours]


def inks(mode: Mode) -> dict[str, str]:
    """The colours of marks by their layer: those in which a guide's maps are shown; a pen's red and green."""
    if mode == "pen":
        return {"reflection": "#ff4040", "transmission": "#22a045"}
    return {layer.name.lower(): _hex(layer_colour(layer)) for layer in Layer}


def _hex(colour: tuple[int, ...]) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)
