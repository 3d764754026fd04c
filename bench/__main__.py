"""`scripts/bench`: measures the service under the loads that Immich makes."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from adapter.compare.workload import Models
from adapter.errors import SetupError
from adapter.protocol import TaskName
from bench import scenarios
from bench.run import IN_PROCESS, Plan, benchmark
from bench.scenarios import Mix
from bench.standins import clip as clip_standin
from bench.standins import faces as faces_standin
from bench.table import render
from demo.models import ocr as demo_ocr

service_option, load_option = (
    partial(typer.Option, rich_help_panel=panel) for panel in ("What is measured", "Load")
)
app = typer.Typer(add_completion=False)


@app.command()
def bench(
    url: Annotated[
        str | None,
        service_option(help="A running service.", show_default="one is started, and stopped at the end"),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        service_option(
            help="What to compare with: the URL of another service, or `in-process`, the same graphs in one process: "
            "the limit. May be repeated.",
            show_default="in-process, without --url",
        ),
    ] = None,
    clip: Annotated[str, service_option(help="Model for pictures and texts.")] = clip_standin.NAME,
    faces: Annotated[str, service_option(help="Model for group photos.")] = faces_standin.NAME,
    ocr: Annotated[str, service_option(help="Model for pages.")] = demo_ocr.NAME,
    mix: Annotated[
        list[Mix] | None,
        load_option(
            help="One kind of request alone; search: a search while eight indexing requests are in flight. "
            "May be repeated.",
            show_default="all of them",
        ),
    ] = None,
    concurrency: Annotated[
        str, load_option(help="Requests in flight, for the mixes of one kind.")
    ] = ",".join(map(str, scenarios.CONCURRENCIES)),
    pictures: Annotated[
        Path | None,
        load_option(
            help="Folder of your own pictures.", show_default="drawn ones", exists=True, file_okay=False
        ),
    ] = None,
    duration: Annotated[
        float, load_option(help="Seconds of each run; longer where requests are slow.", min=0.1)
    ] = 3.0,
    rounds: Annotated[
        int, load_option(help="Runs of every load on every target, in turn; medians are shown.", min=1)
    ] = 3,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Measures throughput, latency, processor time and memory under the loads that Immich makes; checks every answer.

    Without options it measures models of the sizes of Immich's default ones,
    with random weights, on a service of its own. The settings of `serve` hold,
    as environment variables. Nothing else should run meanwhile.
    """
    models: Models = {TaskName.CLIP: clip, TaskName.FACES: faces, TaskName.OCR: ocr}
    chosen = scenarios.choose(mix or (), _numbers(concurrency))
    baselines = baseline or ([] if url else [IN_PROCESS])
    plan = Plan(models, chosen, duration, rounds, url, baselines, pictures)
    report = uvloop.run(benchmark(plan, Console(stderr=True)))
    if json_output:
        typer.echo(json.dumps(report.as_json(), indent=1))
    else:
        Console().print(render(report))


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise typer.BadParameter(f"--concurrency is {text!r}; it looks like 1,16")
    return numbers


if __name__ == "__main__":
    try:
        app()
    except SetupError as error:
        raise SystemExit(f"bench: {error}") from None
