"""The documented endpoints: what ``gradio_client`` and MCP clients call. The page itself uses none of them."""

from pathlib import Path
from typing import Any

import gradio as gr

from magicgen.config import check_config
from magicgen.errors import MediaError
from magicgen.jobs.animate import AnimateSettings, Prepared
from magicgen.progress import Cancelled, CancelToken
from magicgen.ui.animate_desk import AnimateDesk
from magicgen.ui.form import Choices
from magicgen.ui.photos import take_photo
from magicgen.ui.told import told
from magicgen.ui.visitors import Visitor, Visitors
from magicgen.ui.work import Done


class AnimateApi:
    """Endpoints ``/animate`` and ``/preview``; :meth:`build` is called inside the page."""

    def __init__(self, desk: AnimateDesk, visitors: Visitors, choices: Choices) -> None:
        self._desk, self._visitors, self._choices = desk, visitors, choices

    def build(self, model_queue: str) -> None:
        """Components that nobody sees give the endpoints their types."""
        with gr.Row(visible=False):
            inputs = [
                gr.File(label="photo: a picture file"),
                gr.JSON(label="trajectory: the document of trajectory.json, version 1"),
                gr.JSON(label="settings: fields of AnimateSettings, such as level, seed, steps", value={}),
            ]
            video, overlay = gr.File(label="video.mp4"), gr.File(label="overlay.mp4")
            sidecar, cost = gr.File(label="sidecar.json"), gr.Textbox(label="cost")
            gr.Button().click(
                self.animate,
                inputs,
                [video, overlay, sidecar],
                api_name="animate",
                concurrency_id=model_queue,
                concurrency_limit=1,
            )
            gr.Button().click(self.preview, inputs, [overlay, cost], api_name="preview", concurrency_limit=2)

    def animate(
        self,
        request: gr.Request,
        photo: str,
        trajectory: dict[str, Any],
        settings: dict[str, Any],
    ) -> tuple[str, str, str]:
        """Animate a photo: its objects move along a trajectory.

        Args:
            photo: A picture file (PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF).
            trajectory: The document of a trajectory.json, version 1: frames, and objects with keyframed boxes.
            settings: Settings by name, such as level (mask, box, sparse_box), seed, steps, prompt; {} for defaults.

        Returns:
            The video, the overlay of the trajectory over the photo, and the sidecar with everything that decided it.
        """
        with told():
            visitor = self._visitors.of(request.session_hash)
            prepared = self._prepare(visitor, photo, trajectory, settings)
            token = visitor.token = CancelToken()
            try:
                for event in self._desk.run(prepared, token):
                    if isinstance(event, Done):
                        made = event.value
                        return str(made.video), str(made.overlay), str(made.sidecar)
            except Cancelled:
                raise gr.Error("The job was stopped.", print_exception=False) from None
            finally:
                visitor.token = None
        raise AssertionError("work ends with a result or an error")

    def preview(
        self,
        request: gr.Request,
        photo: str,
        trajectory: dict[str, Any],
        settings: dict[str, Any],
    ) -> tuple[str, str]:
        """Show what the model would be told about a trajectory, and what the run would cost. Loads no model.

        Args:
            photo: A picture file (PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF).
            trajectory: The document of a trajectory.json, version 1: frames, and objects with keyframed boxes.
            settings: Settings by name, such as level (mask, box, sparse_box); {} for defaults.

        Returns:
            The overlay video and a line about size, memory and time.
        """
        with told():
            prepared = self._prepare(self._visitors.of(request.session_hash), photo, trajectory, settings)
            return str(self._desk.preview(prepared)), self._desk.describe(prepared)

    def _prepare(self, visitor: Visitor, photo: str, trajectory: Any, settings: Any) -> Prepared:
        if not photo:
            raise MediaError("photo: expected a picture file.")
        wanted = check_config(settings or {}, AnimateSettings, source="settings")
        self._choices.check(wanted)
        visitor.photo = take_photo(Path(photo), visitor.folder)
        return self._desk.prepare(visitor, trajectory if isinstance(trajectory, dict) else None, wanted)
