"""`scripts/demo`: a search, faces, a page of text."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from adapter.compare.client import connect
from adapter.errors import SetupError
from demo import child_service
from demo.show import faces, page, search

START_TIMEOUT_S = 120


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
    async with AsyncExitStack() as stack:
        if url is None:
            with console.status("starting Triton and the adapter ..."):
                url = (await stack.enter_async_context(child_service.start({}, START_TIMEOUT_S))).url
            console.print(f"The service runs on {url}/")
        (service,) = await stack.enter_async_context(connect(url))
        await search.show(service, console)
        await faces.show(service, console, output / "faces.png")
        await page.show(service, console, output / "page.png")


if __name__ == "__main__":
    try:
        typer.run(demo)
    except SetupError as error:
        raise SystemExit(f"demo: {error}") from None
