"""`immich-triton bench`: measures a service, and what it is compared with."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from adapter import settings
from adapter.bench.scenarios import Mix, choose
from adapter.errors import SetupError

SERVICE, LOAD, OUTPUT = "What is measured", "Load", "Report"


def bench(
    url: Annotated[
        str | None,
        typer.Option(
            help="A running service.",
            show_default="one is started, and stopped at the end",
            rich_help_panel=SERVICE,
        ),
    ] = None,
    triton_url: Annotated[
        str | None,
        typer.Option(
            help="The Triton of that service, so that its stages are seen.", rich_help_panel=SERVICE
        ),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="What to compare with: the URL of another server, such as an original Immich container, or "
            "`in-process`, the same graphs in one process: the limit. May be repeated.",
            rich_help_panel=SERVICE,
        ),
    ] = None,
    clip: Annotated[
        str, typer.Option(help="Model for pictures and texts.", rich_help_panel=SERVICE)
    ] = "stand-in-ViT-B-32",
    faces: Annotated[
        str, typer.Option(help="Model for group photos.", rich_help_panel=SERVICE)
    ] = "stand-in-buffalo_l",
    ocr: Annotated[str, typer.Option(help="Model for pages.", rich_help_panel=SERVICE)] = "demo-ocr",
    models: Annotated[
        Path | None,
        typer.Option(help="Folder of the models, as of `serve`.", rich_help_panel=SERVICE),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Folder for prepared models.",
            show_default="~/.cache/immich-triton",
            rich_help_panel=SERVICE,
        ),
    ] = None,
    mix: Annotated[
        list[Mix] | None,
        typer.Option(
            help="One kind of request alone; default: Immich's default mix; search: a search while eight indexing "
            "requests are in flight. May be repeated.",
            show_default="all of them",
            rich_help_panel=LOAD,
        ),
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(
            help="Requests in flight, for the mixes of one kind.",
            show_default="1,16; groups 1,8; pages 1,4",
            rich_help_panel=LOAD,
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Folder of your own pictures, of which twelve are taken.",
            show_default="drawn ones",
            exists=True,
            file_okay=False,
            rich_help_panel=LOAD,
        ),
    ] = None,
    duration: Annotated[
        float,
        typer.Option(
            help="Seconds that each run measures; longer where requests are slow.",
            min=0.1,
            rich_help_panel=LOAD,
        ),
    ] = 2.0,
    warm_up: Annotated[
        float, typer.Option(help="Seconds of load before them.", min=0, rich_help_panel=LOAD)
    ] = 0.5,
    rounds: Annotated[
        int,
        typer.Option(
            help="Runs of every scenario on every server, in alternation; medians are reported.",
            min=1,
            rich_help_panel=LOAD,
        ),
    ] = 3,
    json_file: Annotated[
        Path, typer.Option("--json", help="Where the figures go.", dir_okay=False, rich_help_panel=OUTPUT)
    ] = Path("out/bench.json"),
    html_file: Annotated[
        Path, typer.Option("--html", help="Where the report goes.", dir_okay=False, rich_help_panel=OUTPUT)
    ] = Path("out/bench.html"),
) -> None:
    """Measures throughput, latency, processor time and memory under the loads that Immich makes; checks every answer.

    Without options it builds models of the sizes of Immich's default ones with random weights, and starts a service
    of its own. Nothing else should run meanwhile. Ctrl-C ends it early: what was measured is reported.

    To see what Triton costs: --baseline in-process

    To compare with the original: --url http://nas:3003 --baseline http://nas:3004 --clip ViT-B-32__openai
    --faces buffalo_l --ocr PP-OCRv5_mobile
    """
    try:
        from adapter.bench import html, opening, run, table
        from adapter.bench.load import Timing
        from adapter.bench.workloads import Models
    except ModuleNotFoundError as error:
        raise SetupError(
            f"{error.name} is missing, which benchmarks need. Install it with: pip install 'immich-triton[bench]'"
        ) from error
    chosen = settings.load(cache_folder=models, state_folder=state)
    console = Console()
    plan = opening.Plan(
        command=opening.without_paths(shlex.join(["immich-triton", *sys.argv[1:]])),
        models=Models(clip, faces, ocr),
        scenarios=choose(mix or (), _numbers(concurrency)),
        timing=Timing(warm_up, duration),
        rounds=rounds,
        url=url,
        triton_url=triton_url,
        baselines=baseline or (),
        pictures=pictures,
    )
    report = uvloop.run(run.benchmark(plan, chosen, console))
    for path in (json_file, html_file):
        path.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps(report.as_json(), indent=1))
    html.write(report, html_file)
    console.print(table.render(report))
    console.print(f"The report: {html_file}; the figures: {json_file}")


def _numbers(text: str | None) -> list[int]:
    try:
        numbers = [int(number) for number in text.split(",")] if text else []
    except ValueError:
        numbers = [0]
    if any(number < 1 for number in numbers):
        raise typer.BadParameter(f"--concurrency is {text!r}; it looks like 1,16")
    return numbers
