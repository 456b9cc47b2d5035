"""The drawing area: one gradio component whose value is what the readers of ``magicgen.control`` read."""

import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import gradio as gr

from magicgen.control.raster import map_colour

Mode = Literal["animate", "guide"]
SCRIPTS = ("rle", "motion", "model", "guide", "view", "tools", "keys", "panel", "main")
TOOLS: dict[Mode, tuple[str, ...]] = {
    "animate": ("plus", "minus", "box", "move", "path", "brush", "eraser", "hand"),
    "guide": ("plus", "minus", "box", "brush", "eraser", "hand"),
}
# A drawing is text from a browser: masks of a few objects need some hundred kilobytes, a long dense clip megabytes.
MAX_VALUE_BYTES = 32 * 1024**2
PALETTE_SIZE = 21


class Canvas(gr.HTML):
    """Boxes, paths, keyframes, clicks and strokes over a photo.

    Value: in mode ``animate`` the document of ``trajectory.json`` (version 1) as a dict, ready for
    :func:`magicgen.control.trajectory.parse_trajectory`; in mode ``guide`` that of a removal guide.

    Properties that event handlers set with ``gr.update``: ``picture`` (``{"url", "width", "height"}`` or None; width
    and height are those of the photo, whose pixels boxes snap to), ``frames``, ``fps``, and ``answer``
    (``{"id", "mask", "box"}`` or ``{"id", "error"}``, the outline of an object).

    Events: ``input`` after every finished change, ``outline`` (an object wants its mask; data ``id``, ``box``,
    ``clicks``) and ``photo`` (a picture was dropped and uploaded; data ``path``).
    """

    def __init__(
        self,
        mode: Mode,
        value: dict[str, Any] | None = None,
        *,
        frames: int = 17,
        fps: float = 8.0,
        segments: bool = False,
        **options: Any,
    ) -> None:
        # An update from a handler makes the component anew, from these arguments and the properties that it sets.
        super().__init__(
            value=value,
            html_template=_asset("canvas.html"),
            css_template=_asset("canvas.css"),
            js_on_load="\n".join(_asset(f"{name}.js") for name in SCRIPTS),
            apply_default_css=False,
            mode=mode,
            tools=list(TOOLS[mode]),
            palette=palette(),
            frames=frames,
            fps=fps,
            segments=segments,
            **{"picture": None, "answer": None, **options},
        )

    def preprocess(self, payload: Any) -> dict[str, Any] | None:
        """Only plain objects of a reasonable size come in; what is in them is for the readers to judge."""
        if not isinstance(payload, dict) or not payload:
            return None
        if len(json.dumps(payload)) > MAX_VALUE_BYTES:
            raise gr.Error("The drawing is larger than 32 MiB; use fewer objects with masks, or fewer frames.")
        return payload

    def postprocess(self, value: Any) -> dict[str, Any] | None:
        """A document as dict or JSON text."""
        return json.loads(value) if isinstance(value, str) else value

    def api_info(self) -> dict[str, Any]:
        """JSON."""
        return {"type": "object", "description": "the document of trajectory.json, version 1, or of a guide"}

    def example_payload(self) -> Any:
        """A trajectory of one box."""
        return self.example_value()

    def example_value(self) -> Any:
        """A trajectory of one box."""
        keyframes = [{"frame": 0, "box": [0.1, 0.4, 0.3, 0.6]}, {"frame": 16, "box": [0.6, 0.4, 0.8, 0.6]}]
        return {"version": 1, "frames": 17, "objects": [{"name": "ball", "keyframes": keyframes}]}


def palette() -> list[str]:
    """The colours of the objects as ``#rrggbb``: those of the condition maps, twice as bright, as on the overlay."""
    colours = (map_colour(index) for index in range(PALETTE_SIZE))
    return ["#" + "".join(f"{min(2 * value, 255):02x}" for value in colour) for colour in colours]


@cache
def _asset(name: str) -> str:
    return (files("magicgen.ui") / "assets" / name).read_text(encoding="utf-8")
