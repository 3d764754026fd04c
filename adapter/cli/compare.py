"""`immich-triton compare`: this service beside another one, such as the container that it is to replace."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from adapter import settings
from adapter.cli.options import Json, own_url
from adapter.protocol import TaskName

if TYPE_CHECKING:
    from adapter.compare.comparison import Comparison, Plan


def compare(
    theirs: Annotated[str, typer.Argument(metavar="URL", help="The other service, such as http://nas:3004.")],
    ours: Annotated[
        str | None, typer.Option(help="This service.", show_default="the one of this host")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pictures to send; of many, 24 are taken.", show_default="drawn ones", exists=True
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
    from adapter.compare import comparison, table, workload
    from adapter.compare.pictures import drawn, own

    models = {TaskName.CLIP: clip, TaskName.FACES: faces, TaskName.OCR: ocr}
    kinds = [kind for kind in workload.Kind if kind.task in (task or TaskName)]
    requests = workload.build(kinds, models, own(pictures) if pictures else drawn())
    loads = [{kind: number} for kind in kinds for number in comparison.AT_A_TIME]
    found = asyncio.run(
        _compare(ours or own_url(settings.load()), theirs, comparison.Plan(requests, loads, duration))
    )
    if json_output:
        typer.echo(json.dumps(asdict(found), indent=1))
    else:
        Console().print(table.render(found))
    if not all(verdict.valid for verdict in found.verdicts):
        raise typer.Exit(1)


async def _compare(ours: str, theirs: str, plan: "Plan") -> "Comparison":
    from adapter.compare.client import connect
    from adapter.compare.comparison import compare
    from adapter.compare.table import progress

    async with connect(ours, theirs) as (one, other):
        with progress(plan.steps) as done:
            return await compare(one, other, plan, done)
