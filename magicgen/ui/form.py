"""Every field of the settings as a component, and back: what is shown is what is stored."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from magicgen.config import check_config
from magicgen.errors import ConfigError
from magicgen.jobs.animate import AnimateSettings

AUTO = "auto"
LEVELS = [("finest that was drawn", AUTO), ("masks", "mask"), ("boxes", "box"), ("few boxes", "sparse_box")]
DRAFT = [("as the model likes it", AUTO), ("on", "on"), ("off", "off")]
OFFLOAD = ["auto", "none", "model", "group", "sequential"]
MOST_FRAMES = 97
# Numbers that may be left open; a number field in the browser cannot be empty, so 0 says it.
OPEN = ("height", "width", "steps", "guidance", "fps")


@dataclass(frozen=True)
class Choices:
    """What the person who started the app offers: models, attention plans (label, file) and devices."""

    models: tuple[str, ...] = ("tiny",)
    plans: tuple[tuple[str, str], ...] = ()
    devices: tuple[str, ...] = ("cpu",)

    @property
    def attention(self) -> list[tuple[str, str]]:
        """Labels and values of the attention menu."""
        return [("dense", "dense"), ("auto: a plan where one fits and gains", "auto"), *self.plans]

    def check(self, settings: AnimateSettings) -> None:
        """Files on the server are chosen by whoever started it, never by a visitor.

        Raises:
            ConfigError: a model, plan or device that is not on offer.
        """
        plans = tuple(value for _, value in self.attention)
        devices = (None, *self.devices)
        for name, given, offered in (
            ("model", settings.model, self.models),
            ("attention", settings.attention, plans),
            ("device", settings.device, devices),
        ):
            if given not in offered:
                words = " or ".join(str(each) for each in offered if each is not None)
                raise ConfigError(f"{name}: {str(given)[:80]!r} is not offered here; choose {words}.")


@dataclass(frozen=True)
class Form:
    """The components, by the name of the settings field; two for ``control_range``."""

    parts: dict[str, gr.components.Component]
    choices: Choices

    @property
    def components(self) -> list[gr.components.Component]:
        """In the order of :meth:`settings` and :meth:`values`."""
        return list(self.parts.values())

    def settings(self, values: Sequence[Any]) -> AnimateSettings:
        """What the components hold, as settings.

        Raises:
            ConfigError: a field that is out of range, or a choice that is not offered.
        """
        given = dict(zip(self.parts, values, strict=True))
        for name in OPEN:
            given[name] = given[name] or None
        span = (given.pop("control_start"), given.pop("control_end"))
        fields = {name: value for name, value in given.items() if value not in (None, "", AUTO) or name == "attention"}
        fields["control_range"] = span
        fields["control_weight"] = _weight(str(given["control_weight"]))
        if "use_draft" in fields:
            fields["use_draft"] = fields["use_draft"] == "on"
        settings = check_config(fields, AnimateSettings, source="settings")
        self.choices.check(settings)
        return settings

    def values(self, settings: AnimateSettings) -> list[Any]:
        """The inverse: what the components show for some settings."""
        shown: dict[str, Any] = settings.model_dump()
        shown["level"] = settings.level or AUTO
        shown["use_draft"] = AUTO if settings.use_draft is None else "on" if settings.use_draft else "off"
        shown.update({name: shown[name] or 0 for name in OPEN})
        shown["device"] = settings.device or AUTO
        shown["negative_prompt"] = settings.negative_prompt or ""
        weight = settings.control_weight
        shown["control_weight"] = ", ".join(
            json.dumps(each) for each in ((weight,) if isinstance(weight, float) else weight)
        )
        shown["control_start"], shown["control_end"] = settings.control_range
        return [shown[name] for name in self.parts]


def _weight(text: str) -> Any:
    try:
        value = json.loads(f"[{text or 1}]")
    except ValueError:
        return text  # the check of the settings says what is expected
    return value[0] if len(value) == 1 else value


def _number(label: str, hint: str, *, whole: bool = False) -> gr.Number:
    return gr.Number(0, label=label, info=hint, precision=0 if whole else None, minimum=0)


def make_form(choices: Choices, defaults: AnimateSettings) -> tuple[Form, gr.Checkbox]:
    """Create the components where they stand: what everybody needs, the rest folded away, the lock of the seed."""
    parts: dict[str, gr.components.Component] = {}
    parts["prompt"] = gr.Textbox(
        label="What happens (optional)", lines=1, max_lines=4, max_length=2000, placeholder="the rocket flies away"
    )
    with gr.Row():
        parts["level"] = gr.Radio(LEVELS, value=AUTO, label="What the model is told")
        frames = defaults.frames or 17
        parts["frames"] = gr.Slider(5, MOST_FRAMES, value=frames, step=4, label="Frames", precision=0)
    with gr.Row(equal_height=True):
        parts["seed"] = gr.Number(defaults.seed, label="Seed", precision=0, minimum=0)
        lock = gr.Checkbox(False, label="Keep this seed for the next video", elem_id="lock")
    with gr.Accordion("Model, size and sampling", open=False):
        with gr.Row():
            parts["model"] = gr.Dropdown(list(choices.models), value=defaults.model, label="Model")
            parts["attention"] = gr.Dropdown(choices.attention, value="dense", label="Attention plan")
        with gr.Row():
            parts["height"] = _number("Height", "0: what suits the model and the photo", whole=True)
            parts["width"] = _number("Width", "0: what suits the model and the photo", whole=True)
        with gr.Row():
            parts["steps"] = _number("Steps", "0: the model's", whole=True)
            parts["guidance"] = _number("Guidance", "0: the model's")
            parts["fps"] = _number("Frames a second", "0: the model's")
        parts["negative_prompt"] = gr.Textbox(label="What to avoid", info="needs guidance above 1", max_length=2000)
        with gr.Row():
            parts["control_weight"] = gr.Textbox("1", label="Weight of the trajectory", info="or one for each block")
            parts["control_start"] = gr.Number(
                0.0, label="Control from", info="part of the steps", minimum=0, maximum=1
            )
            parts["control_end"] = gr.Number(1.0, label="Control to", info="part of the steps", minimum=0, maximum=1)
        parts["use_draft"] = gr.Radio(DRAFT, value=AUTO, label="Motion draft")
        with gr.Row():
            parts["device"] = gr.Dropdown([AUTO, *choices.devices], value=AUTO, label="Device")
            parts["offload"] = gr.Dropdown(OFFLOAD, value=AUTO, label="Offload to main memory")
        parts["interpolate_positions"] = gr.Checkbox(
            False, label="Lift the size bound of released weights", info="at a quality nobody has measured"
        )
    return Form(parts, choices), lock
