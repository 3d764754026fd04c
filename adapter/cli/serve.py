"""`immich-triton serve`: the service."""

from pathlib import Path
from typing import Annotated

import typer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="[::]")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on.", show_default="3003", min=0, max=65535)
    ] = None,
    models: Annotated[
        Path | None, typer.Option(help="Folder of the models, in the layout of Immich's model cache.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Folder for prepared models.", show_default="~/.cache/immich-triton"),
    ] = None,
    triton_url: Annotated[
        str | None, typer.Option(help="A Triton that is running already, instead of the embedded one.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning …", show_default="info")] = None,
) -> None:
    """Starts Triton and the adapter, and says which URL to paste into Immich's settings.

    Every option, and many more, can be given as environment variables: see docs/settings.md.
    """
    from adapter import logs, server, settings

    chosen = settings.load(
        host=host,
        port=port,
        cache_folder=models,
        state_folder=state,
        triton_url=triton_url,
        log_level=log_level,
    )
    logs.set_up(chosen.log_level, chosen.log_format, color=not chosen.no_color)
    server.run(chosen)
