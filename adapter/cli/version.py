"""`immich-triton version`."""

from importlib import metadata

import typer


def version() -> None:
    """Prints the version."""
    typer.echo(metadata.version("immich-triton"))
