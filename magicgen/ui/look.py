"""How the page looks: colours and fonts, the head with its sign, headings."""

import html
from functools import cache
from importlib.resources import files

import gradio as gr

PROMISE = "Draw what should happen, see what the model will be told, then make it."
# A box that follows a path, as on the drawing area.
SIGN = (
    '<svg viewBox="0 0 48 48" aria-hidden="true"><rect width="48" height="48" rx="13" fill="#4338ca"/>'
    '<path d="M10 35C24 35 18 16 33 15" fill="none" stroke="#c7d2fe" stroke-width="3" stroke-dasharray="1 5.5"'
    ' stroke-linecap="round"/><rect x="27" y="9" width="13" height="12" rx="3" fill="none" stroke="#fff"'
    ' stroke-width="3"/><circle cx="10" cy="35" r="4" fill="#fbbf24"/></svg>'
)


def theme() -> gr.themes.Base:
    """Colours that can be read on light and dark grounds. Fonts are those of the visitor's own system: a page must not
    ask other servers for fonts."""
    look = gr.themes.Base(
        primary_hue=gr.themes.colors.indigo,
        secondary_hue=gr.themes.colors.indigo,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    )
    white, accent, deep, warning = "#ffffff", "#4338ca", "#3730a3", "#b3261e"
    return look.set(
        body_background_fill="#f4f5fa",
        body_background_fill_dark="#0f1117",
        body_text_color="#171a26",
        body_text_color_subdued="#545b70",
        body_text_color_subdued_dark="#aab1c5",
        background_fill_primary=white,
        background_fill_primary_dark="#191c26",
        background_fill_secondary="#f4f5fa",
        background_fill_secondary_dark="#222633",
        block_background_fill=white,
        block_background_fill_dark="#191c26",
        block_border_color="#dfe2ec",
        block_border_color_dark="#2c3140",
        border_color_primary="#d5d9e6",
        border_color_primary_dark="#353b4c",
        block_shadow="0 1px 2px rgba(15,20,40,.05)",
        block_info_text_color="#545b70",
        block_info_text_color_dark="#aab1c5",
        block_label_text_color="#434a5f",
        block_label_text_color_dark="#c3c9da",
        block_title_text_color="#2c3246",
        block_title_text_color_dark="#d7dbe8",
        block_title_text_weight="600",
        input_placeholder_color="#616980",
        input_placeholder_color_dark="#9aa2b8",
        input_background_fill=white,
        input_background_fill_dark="#13161e",
        input_border_width="1px",
        input_border_color="#c9cede",
        input_border_color_dark="#3b4256",
        input_border_color_focus="#6366f1",
        checkbox_border_width="1px",
        checkbox_border_radius="5px",
        checkbox_border_color="#8a91a8",
        checkbox_border_color_dark="#6b7288",
        color_accent=accent,
        slider_color=accent,
        slider_color_dark="#818cf8",
        button_primary_background_fill=accent,
        button_primary_background_fill_dark=accent,
        button_primary_background_fill_hover=deep,
        button_primary_background_fill_hover_dark="#4f46e5",
        button_primary_text_color=white,
        button_secondary_background_fill=white,
        button_secondary_background_fill_dark="#222633",
        button_secondary_background_fill_hover="#eceefb",
        button_secondary_background_fill_hover_dark="#2e3445",
        button_secondary_border_color="#c9cede",
        button_secondary_border_color_dark="#3b4256",
        button_secondary_text_color="#23283a",
        button_cancel_background_fill=white,
        button_cancel_background_fill_dark="#222633",
        button_cancel_background_fill_hover="#fdecea",
        button_cancel_background_fill_hover_dark="#4a1f1f",
        button_cancel_border_color=warning,
        button_cancel_border_color_dark="#f2a59d",
        button_cancel_text_color=warning,
        button_cancel_text_color_dark="#f7b8b1",
        button_border_width="1px",
        button_large_text_weight="650",
        checkbox_background_color_selected=accent,
        checkbox_background_color_selected_dark="#6366f1",
        checkbox_border_color_selected=accent,
    )


def brand() -> str:
    """Sign, name and promise."""
    return f'<div class="mg-brand">{SIGN}<div><h1>magicgen</h1><p>{PROMISE}</p></div></div>'


def chip(words: str, *, busy: bool = False) -> str:
    """A short state, with a dot that breathes while something is going on."""
    return f'<span class="mg-chip{" busy" if busy else ""}" role="status">{html.escape(words)}</span>'


def heading(words: str, below: str = "", *, level: int = 2) -> str:
    """A heading of a part of the page, with a line below it."""
    line = f"<p>{html.escape(below)}</p>" if below else ""
    return f'<div class="mg-title"><h{level}>{html.escape(words)}</h{level}>{line}</div>'


@cache
def asset(name: str) -> str:
    """A file of the page's own: a style or a script."""
    return (files("magicgen.ui") / "assets" / name).read_text(encoding="utf-8")
