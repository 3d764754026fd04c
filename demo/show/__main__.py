"""`scripts/demo`: a search, faces, a page of text."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from adapter.errors import SetupError
from demo.show import faces, page, search
from demo.show.client import opened


def demo(
    url: Annotated[
        str | None,
        typer.Option(help="A running service.", show_default="one is started, and stopped at the end"),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the annotated pictures.")] = Path("out"),
) -> None:
    """Shows the whole stack at work, without a download: a search, faces, a page of text."""
    output.mkdir(parents=True, exist_ok=True)
    asyncio.run(_show(url, output, Console()))


async def _show(url: str | None, output: Path, console: Console) -> None:
    async with opened(url, console) as client:
        await search.show(client, console)
        await faces.show(client, console, output / "faces.png")
        await page.show(client, console, output / "page.png")


if __name__ == "__main__":
    try:
        typer.run(demo)
    except SetupError as error:
        raise SystemExit(f"demo: {error}") from None
