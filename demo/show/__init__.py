"""The demo: the whole stack as a user starts it, shown at work; needs no download."""

from pathlib import Path

from rich.console import Console

from demo.show import faces, page, search
from demo.show.client import connect


async def run(url: str | None, output: Path) -> None:
    """Searches among pictures, finds faces, reads a page.

    Args:
        url: of a running service; one is started otherwise, and stopped at the end.
        output: folder for the annotated pictures.

    Raises:
        SetupError: the service cannot be started, or does not answer as it should.
    """
    console = Console()
    async with connect(url, console) as client:
        await search.show(client, console)
        await faces.show(client, console, output / "faces.png")
        await page.show(client, console, output / "page.png")
