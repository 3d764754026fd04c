"""`immich-triton compare`: this service beside another one, such as the container that it is to replace."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapter.cli.options import Json
from adapter.protocol import TaskName

if TYPE_CHECKING:
    from adapter.compare.comparison import Comparison


def compare(
    theirs: Annotated[str, typer.Argument(metavar="URL", help="The other service, such as http://nas:3004.")],
    ours: Annotated[str, typer.Option(help="This service.")] = "http://localhost:3003",
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pictures to send; of many, 24 are taken.",
            show_default="drawn ones",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    task: Annotated[
        list[TaskName] | None, typer.Option(help="Compare this alone. May be repeated.", show_default="all")
    ] = None,
    clip: Annotated[str, typer.Option(help="Model for pictures and texts.")] = "ViT-B-32__openai",
    faces: Annotated[str, typer.Option(help="Model for group photos.")] = "buffalo_l",
    ocr: Annotated[str, typer.Option(help="Model for pages.")] = "PP-OCRv5_mobile",
    duration: Annotated[
        float, typer.Option(help="Seconds of each run of a load; longer where answers are slow.", min=0.1)
    ] = 3.0,
    json_output: Json = False,
) -> None:
    """Sends the same pictures and texts to this service and to another one, and shows both side by side.

    Compared are the answers, and whether the index that Immich has filled
    with the other service's stays valid; requests a second and latency with
    1, 4 and 16 at a time, each load three times on each service in turn (once,
    where it is slow); and memory, where both run on this host.

    It takes some minutes, more where models are fetched first. Nothing else
    should keep the services busy meanwhile. Exit status 1: the index does not
    stay valid as it is.
    """
    from adapter.compare.table import render

    models = {TaskName.CLIP: clip, TaskName.FACES: faces, TaskName.OCR: ocr}
    found = asyncio.run(_compare(ours, theirs, task or list(TaskName), models, pictures, duration))
    if json_output:
        typer.echo(json.dumps(found.as_json(), indent=1))
    else:
        Console().print(render(found))
    if not all(verdict.valid for verdict in found.verdicts):
        raise typer.Exit(1)


async def _compare(
    ours: str,
    theirs: str,
    tasks: Sequence[TaskName],
    models: Mapping[TaskName, str],
    folder: Path | None,
    duration_s: float,
) -> "Comparison":
    from adapter.compare import comparison, pictures, workload
    from adapter.compare.client import connect

    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn()
    async with connect(ours, theirs) as (one, other):
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("the first answers; models may have to be loaded", total=None)

            def done(what: str, steps: int) -> None:
                progress.update(bar, advance=steps, description=what)

            kinds = [kind for kind in workload.Kind if kind.task in tasks]
            sent = workload.build(kinds, models, pictures.own(folder) if folder else pictures.drawn())
            progress.update(bar, total=comparison.steps(sent))
            return await comparison.compare(one, other, sent, duration_s, done)
