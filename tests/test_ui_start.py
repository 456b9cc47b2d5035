"""What the start of the app leaves out of gradio's, and that nothing of it is missed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from magicgen.ui.quick_gradio import import_gradio, quick_start, served_later

with quick_start():
    import_gradio(mcp={mcp})
import gradio as gr
from gradio import component_meta
from gradio.routes import App

before = App.create_app
with served_later(), gr.Blocks() as page:
    box = gr.Textbox(label="Word")
    box.submit(str.upper, box, box, api_name="shout")
    table = gr.Dataframe(headers=["word"], type="array")
    box.submit(lambda word: [[word]], box, table, api_name="rows")
    page.queue(max_size=2)
assert App.create_app is before
_, url, _ = page.launch(prevent_thread_lock=True, quiet=True, _frontend=False, mcp_server={mcp})
from gradio_client import Client

print(Client(url, verbose=False).predict("word", api_name="/shout"))
print("pandas" in sys.modules, Client(url, verbose=False).predict("word", api_name="/rows"))
print("mcp" in sys.modules, component_meta.create_or_modify_pyi.__module__)
page.close(verbose=False)
"""


def run(tmp_path: Path, mcp: bool) -> list[str]:
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT.format(mcp=mcp)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_page_built_without_its_early_servers_answers(tmp_path: Path) -> None:
    *_, word, table, left_out = run(tmp_path, mcp=False)
    assert word == "WORD"
    assert table.endswith("{'headers': ['word'], 'data': [['word']], 'metadata': None}")
    assert left_out == "False magicgen.ui.quick_gradio"


@pytest.mark.skipif(importlib.util.find_spec("mcp") is None, reason="needs the mcp package")
def test_mcp_is_there_when_it_is_to_be_served(tmp_path: Path) -> None:
    assert run(tmp_path, mcp=True)[-1] == "True magicgen.ui.quick_gradio"
