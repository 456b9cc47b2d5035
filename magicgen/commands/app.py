"""``magicgen app``: the page in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from magicgen.commands.output import note
from magicgen.errors import ConfigError

Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")]
Port = Annotated[int | None, typer.Option(help="Port; by default the first free one from 7860.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="Preset, folder or Hub id on offer; repeatable.")]
Plans = Annotated[list[Path] | None, typer.Option("--plan", help="An attention plan on offer; repeatable.")]
Adapters = Annotated[
    list[str] | None,
    typer.Option("--adapter", help="Adapter on offer: reflection_tiny or a folder; repeatable."),
]
StoryModels = Annotated[
    list[str] | None, typer.Option("--story-model", help="Model of stories on offer: tiny or a folder; repeatable.")
]
Segmenter = Annotated[str, typer.Option(help="Finds what clicks and boxes mean: grabcut, sam:CHECKPOINT, none.")]
Auth = Annotated[str | None, typer.Option(help="NAME:PASSWORD that visitors must give.", envvar="MAGICGEN_AUTH")]
Mcp = Annotated[bool, typer.Option("--mcp", help="Serve the endpoints as MCP tools too.")]


def app(
    host: Host = "127.0.0.1",
    port: Port = None,
    model: Models = None,
    plan: Plans = None,
    story_model: StoryModels = None,
    adapter: Adapters = None,
    segmenter: Segmenter = "grabcut",
    auth: Auth = None,
    mcp: Mcp = False,
) -> None:
    """Open the app: draw on a photo, see what the model will be told, make the video."""
    name, colon, password = (auth or "").partition(":")
    if auth is not None and not (name and colon and password):
        raise ConfigError("--auth: expected NAME:PASSWORD.")
    from magicgen.ui.quick_gradio import import_gradio, quick_start

    with quick_start():
        import_gradio(mcp=mcp)
        from magicgen.ui.page import App, AppOptions

        options = AppOptions(
            host=host,
            port=port,
            models=tuple(model or ("tiny",)),
            plans=tuple(plan or ()),
            story_models=tuple(story_model or ("tiny",)),
            adapters=tuple(adapter or ("reflection_tiny",)),
            segmenter=segmenter,
            auth=(name, password) if auth is not None else None,
            mcp=mcp,
        )
        running = App(options)
    try:
        note("The app is open at this address; Ctrl+C ends it.")
        print(running.url, flush=True)
        running.wait()
    finally:
        running.close()
