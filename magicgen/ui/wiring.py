"""How events of all tabs are connected."""

from typing import Any

PICTURES = [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"]
# Events that need a model share this queue: one at a time.
MODEL_QUEUE = "model"
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# Never waits for another event. Errors reach the page only through the queue; what cannot fail goes around it.
AT_ONCE: dict[str, Any] = {**QUIET, "concurrency_limit": None}
SURE: dict[str, Any] = {**QUIET, "queue": False}
