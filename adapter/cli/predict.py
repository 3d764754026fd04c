"""`immich-triton predict`: one request to a running service."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from adapter import settings
from adapter.cli.options import Json, own_url
from adapter.protocol import TaskName

if TYPE_CHECKING:
    from adapter.compare.workload import Request

SHOWN_NUMBERS = 6


def predict(
    task: Annotated[TaskName, typer.Option(help="What to ask for.")] = TaskName.CLIP,
    image: Annotated[Path | None, typer.Option(help="A picture.", exists=True, dir_okay=False)] = None,
    text: Annotated[str | None, typer.Option(help="A text, for clip.")] = None,
    model: Annotated[str | None, typer.Option(help="Default: Immich's own for the task.")] = None,
    url: Annotated[
        str | None, typer.Option(help="A running service.", show_default="the one of this host")
    ] = None,
    json_output: Json = False,
) -> None:
    """Asks a running service as Immich does, and shows the answer."""
    from adapter.compare.workload import IMMICHS_MODELS, Kind, Request

    if (image is None) == (text is None):
        raise typer.BadParameter("give either --image or --text")
    if text is not None and task is not TaskName.CLIP:
        raise typer.BadParameter(f"a text is for --task clip; {task} wants an --image")
    kind = Kind.TEXTS if text is not None else next(kind for kind in Kind if kind.task is task)
    name = repr(text) if image is None else image.name
    request = Request(kind, name, model or IMMICHS_MODELS[task], image.read_bytes() if image else None, text)
    answer = asyncio.run(_ask(url or own_url(settings.load()), request))
    if json_output:
        typer.echo(json.dumps(answer))
    else:
        Console().print(*tables(answer))


async def _ask(url: str, request: "Request") -> dict[str, Any]:
    from adapter.compare.client import connect

    async with connect(url) as (service,):
        return dict(json.loads(await service.answer(request)))


def tables(answer: Mapping[str, Any]) -> Iterator[Table]:
    """An answer for people."""
    if vector := answer.get(TaskName.CLIP):
        numbers = json.loads(vector)
        table = Table("dimensions", "first numbers", title="CLIP vector")
        table.add_row(str(len(numbers)), ", ".join(f"{number:.4f}" for number in numbers[:SHOWN_NUMBERS]))
        yield table
    if (faces := answer.get(TaskName.FACES)) is not None:
        corners = "x1", "y1", "x2", "y2"
        table = Table("face", *corners, "score", title=f"{len(faces)} faces")
        for number, face in enumerate(faces, 1):
            box = (f"{face['boundingBox'][corner]:.0f}" for corner in corners)
            table.add_row(str(number), *box, f"{face['score']:.3f}")
        yield table
    if lines := answer.get(TaskName.OCR):
        table = Table("line", "text", "score", title=f"{len(lines['text'])} lines")
        for number, (line, score) in enumerate(zip(lines["text"], lines["textScore"], strict=True), 1):
            table.add_row(str(number), line, f"{score:.3f}")
        yield table
