"""The documented endpoint for reflections: what ``gradio_client`` and MCP clients call. The page itself uses none."""

from pathlib import Path
from typing import Any

import gradio as gr

from magicgen.errors import MagicGenError, MediaError
from magicgen.progress import Cancelled, CancelToken
from magicgen.ui.reflection_desk import ReflectionDesk
from magicgen.ui.told import told
from magicgen.ui.visitors import Visitors
from magicgen.ui.work import Done


class ReflectionApi:
    """Endpoint ``/dereflect``; :meth:`build` is called inside the page."""

    def __init__(self, desk: ReflectionDesk, visitors: Visitors) -> None:
        self._desk, self._visitors = desk, visitors

    def build(self, model_queue: str) -> None:
        """Components that nobody sees give the endpoint its types."""
        with gr.Row(visible=False):
            inputs = [
                gr.File(label="photo: a picture file"),
                gr.JSON(label="marks: the document of a guide file, version 1; null for the automatic result"),
                gr.JSON(label="settings: strength, octaves, mirrored, adapter", value={}),
            ]
            outputs = [gr.File(label="photo"), gr.File(label="reflection"), gr.File(label="sidecar.json")]
            gr.Button().click(
                self.dereflect,
                inputs,
                outputs,
                api_name="dereflect",
                concurrency_id=model_queue,
                concurrency_limit=1,
            )

    def dereflect(
        self, request: gr.Request, photo: str, marks: dict[str, Any] | None, settings: dict[str, Any]
    ) -> tuple[str, str | None, str]:
        """Remove the reflection from a photo that was taken through glass.

        Args:
            photo: A picture file (PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF).
            marks: What is reflection and what is to stay, as in a guide file, version 1; null lets the model decide.
            settings: Settings by name: strength (0 to 1), octaves (0 to 4), mirrored, adapter (one that is offered);
                {} for defaults.

        Returns:
            The photo without the reflection at its full size, the reflection alone, and the sidecar with everything
            that decided it.
        """
        with told():
            if not photo:
                raise MediaError("photo: expected a picture file.")
            visitor = self._visitors.of(request.session_hash)
            if visitor.removal is not None:
                raise MagicGenError("A reflection is being removed for this client; wait for it.")
            self._desk.take(visitor, Path(photo))
            waiting = self._desk.prepare(visitor, marks, self._desk.settings(settings or {}))
            token = visitor.removal = CancelToken()
            try:
                for event in self._desk.run(waiting, token):
                    if isinstance(event, Done):
                        made = event.value
                        layer = None if made.reflection is None else str(made.reflection)
                        return str(made.image), layer, str(made.files[-1])
            except Cancelled:
                raise gr.Error("The job was stopped.", print_exception=False) from None
            finally:
                visitor.removal = None
        raise AssertionError("work ends with a result or an error")
