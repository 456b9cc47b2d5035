"""The settings of a book as components, in the order in which the handlers of the Story tab read them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from magicgen.jobs.story import StorySettings
from magicgen.jobs.story_painter import StoryFacts
from magicgen.ui.wiring import SURE

MOST_PANELS = 24
# What the form holds, in this order.
FIELDS = (
    "seed",
    "lock",
    "max_panels",
    "style",
    "height",
    "width",
    "steps",
    "columns",
    "sketches",
    "condition",
    "plates",
    "model",
)
CONDITIONS = [("sketch", "sketch"), ("joints", "keypoints")]


def make_story_form(defaults: StorySettings, models: Sequence[StoryFacts]) -> list[gr.components.Component]:
    """The components of :data:`FIELDS`; ``model`` is one of those on offer."""
    tall, wide = sizes(models[0])
    with gr.Row():
        panels = gr.Slider(1, MOST_PANELS, value=defaults.max_panels, step=1, label="Panels at most", precision=0)
        seed = gr.Number(defaults.seed, label="Seed of the book", precision=0, minimum=0, elem_id="story-seed")
    lock = gr.Checkbox(False, label="Keep this seed when planning", elem_id="story-lock")
    condition = gr.Radio(
        CONDITIONS,
        value=defaults.condition,
        label="Dense condition",
        info="What a panel is drawn after: lines, or the joints of everybody in it",
        elem_id="story-condition",
    )
    with gr.Accordion("Model, size, sampling and pages", open=False):
        offered = [(Path(facts.name).name, facts.name) for facts in models]
        model = gr.Dropdown(offered, value=models[0].name, label="Model", elem_id="story-model")
        with gr.Row():
            height = gr.Number(0, label="Panel height", info=tall, precision=0, minimum=0)
            width = gr.Number(0, label="Panel width", info=wide, precision=0, minimum=0)
        with gr.Row():
            steps = gr.Number(0, label="Sampling steps", info="0: the model's", precision=0, minimum=0)
            columns = gr.Number(0, label="Panels side by side", info="0: what suits", precision=0, minimum=0, maximum=4)
        style = gr.Textbox(label="Style of the whole book", info="for models that know it", max_length=200)
        with gr.Row():
            sketches = gr.Checkbox(defaults.sketches, label="Draw sketches or joints first")
            plates = gr.Checkbox(defaults.plates, label="Draw each place once")
    named = {facts.name: facts for facts in models}

    def resized(name: str) -> tuple[Any, Any]:
        chosen = sizes(named.get(name, models[0]))
        return gr.update(info=chosen[0]), gr.update(info=chosen[1])

    model.change(resized, model, [height, width], **SURE)
    return [seed, lock, panels, style, height, width, steps, columns, sketches, condition, plates, model]


def sizes(facts: StoryFacts) -> tuple[str, str]:
    """What to know about the height and the width of a model's panels."""
    return f"0: {facts.height}; multiples of {facts.size_step}", f"0: {facts.width}; multiples of {facts.size_step}"
