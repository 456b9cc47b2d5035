"""How events of all tabs are connected."""

from typing import Any

import gradio as gr

PICTURES = [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"]
# Events that need a model share this queue: one at a time.
MODEL_QUEUE = "model"
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# Never waits for another event. Errors reach the page only through the queue; what cannot fail goes around it.
AT_ONCE: dict[str, Any] = {**QUIET, "concurrency_limit": None}
SURE: dict[str, Any] = {**QUIET, "queue": False}
# Markup of the page's own, without gradio's style for texts.
PLAIN: dict[str, Any] = {"apply_default_css": False, "padding": False}


def history_gallery(label: str, elem_id: str) -> gr.Gallery:
    """What a visitor made, newest first; nothing is seen of it while it is empty."""
    return gr.Gallery(
        label=label,
        columns=8,
        height=176,
        object_fit="contain",
        interactive=False,
        allow_preview=False,
        buttons=[],
        elem_id=elem_id,
        elem_classes=["mg-history", "mg-strip"],
    )
