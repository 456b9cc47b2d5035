"""The settings of a book as components, in the order in which the handlers of the Story tab read them."""

import gradio as gr

from magicgen.jobs.story import StorySettings
from magicgen.jobs.story_painter import StoryFacts

MOST_PANELS = 24


def make_story_form(defaults: StorySettings, facts: StoryFacts) -> list[gr.components.Component]:
    """seed, lock, panels, style, height, width, steps, columns, sketches, plates."""
    with gr.Row():
        panels = gr.Slider(1, MOST_PANELS, value=defaults.max_panels, step=1, label="Panels at most", precision=0)
        seed = gr.Number(defaults.seed, label="Seed of the book", precision=0, minimum=0, elem_id="story-seed")
    lock = gr.Checkbox(False, label="Keep this seed when planning", elem_id="story-lock")
    with gr.Accordion("Size, sampling and pages", open=False):
        with gr.Row():
            usual = f"0: {facts.height}; multiples of {facts.size_step}"
            height = gr.Number(0, label="Panel height", info=usual, precision=0, minimum=0)
            usual = f"0: {facts.width}; multiples of {facts.size_step}"
            width = gr.Number(0, label="Panel width", info=usual, precision=0, minimum=0)
        with gr.Row():
            steps = gr.Number(0, label="Sampling steps", info="0: the model's", precision=0, minimum=0)
            columns = gr.Number(0, label="Panels side by side", info="0: what suits", precision=0, minimum=0, maximum=4)
        style = gr.Textbox(label="Style of the whole book", info="for models that know it", max_length=200)
        with gr.Row():
            sketches = gr.Checkbox(defaults.sketches, label="Draw sketches first")
            plates = gr.Checkbox(defaults.plates, label="Draw each place once")
    return [seed, lock, panels, style, height, width, steps, columns, sketches, plates]
