"""`scripts/bench`: measures the service beside its limit, under the loads that Immich makes."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from adapter.compare import pictures as previews
from adapter.compare import workload
from adapter.compare.comparison import AT_A_TIME, ROUNDS, Plan
from adapter.compare.load import Loops
from adapter.compare.workload import Kind
from adapter.errors import SetupError
from adapter.protocol import TaskName
from bench import standins
from bench.run import SEARCH, measure
from demo.models import ocr as demo_ocr
from demo.models.faces import draw_face

app = typer.Typer(add_completion=False)


class Mix(StrEnum):
    """Requests of one kind, so many at a time; or a search while eight indexing requests are in flight."""

    PICTURES = "pictures"
    TEXTS = "texts"
    GROUPS = "groups"
    PAGES = "pages"
    SEARCH = "search"


@app.command()
def bench(
    clip: Annotated[str, typer.Option(help="Model for pictures and texts.")] = standins.CLIP,
    faces: Annotated[str, typer.Option(help="Model for group photos.")] = standins.FACES,
    ocr: Annotated[str, typer.Option(help="Model for pages.")] = demo_ocr.NAME,
    mix: Annotated[
        list[Mix] | None,
        typer.Option(
            help="One kind of request alone; search: a search while eight indexing requests are in flight. "
            "May be repeated.",
            show_default="all of them",
        ),
    ] = None,
    concurrency: Annotated[
        str, typer.Option(help="Requests in flight, for the mixes of one kind.")
    ] = ",".join(map(str, AT_A_TIME)),
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder of your own pictures.", show_default="drawn ones", exists=True),
    ] = None,
    duration: Annotated[
        float, typer.Option(help="Seconds of each run; longer where requests are slow.", min=0.1)
    ] = 3.0,
    rounds: Annotated[int, typer.Option(help="Runs of every load on either, in turn.", min=1)] = ROUNDS,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Measures throughput, latency, processor time and memory under the loads that Immich makes; checks every answer.

    It starts a service of its own (ours) and compares it with its limit, the
    same graphs in one process (theirs). Without options it measures models of
    the sizes of Immich's default ones, with random weights. The settings of
    `serve` hold, as environment variables. Nothing else should run meanwhile.
    """
    loads = [loops for one in dict.fromkeys(mix or Mix) for loops in _loads(one, _numbers(concurrency))]
    kinds = [kind for kind in Kind if any(kind in loops for loops in loads)]
    models = {TaskName.CLIP: clip, TaskName.FACES: faces, TaskName.OCR: ocr}
    requests = workload.build(
        kinds, models, previews.own(pictures) if pictures else previews.drawn(draw_face)
    )
    report = uvloop.run(measure(Plan(requests, loads, duration, rounds)))
    if json_output:
        typer.echo(json.dumps(asdict(report), indent=1))
    else:
        Console().print(report.shown())


def _loads(mix: Mix, concurrencies: list[int]) -> list[Loops]:
    return [SEARCH] if mix is Mix.SEARCH else [{Kind(mix): number} for number in concurrencies]


def _numbers(text: str) -> list[int]:
    numbers = [int(number) if number.isdecimal() else 0 for number in text.split(",")]
    if min(numbers) < 1:
        raise typer.BadParameter(f"--concurrency is {text!r}; it looks like 1,16")
    return numbers


if __name__ == "__main__":
    try:
        app()
    except SetupError as error:
        raise SystemExit(f"bench: {error}") from None
