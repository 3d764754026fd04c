"""`immich-triton bench`: measures a service, and what it is compared with."""

import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from adapter import settings
from adapter.commands.extras import bench_extra
from bench.scenarios import Mix, choose

service_option, load_option, report_option = (
    partial(typer.Option, rich_help_panel=panel) for panel in ("What is measured", "Load", "Report")
)


def bench(
    url: Annotated[
        str | None,
        service_option(help="A running service.", show_default="one is started, and stopped at the end"),
    ] = None,
    triton_url: Annotated[
        str | None,
        service_option(help="The Triton of that service, so that its stages are seen."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        service_option(
            help="What to compare with: the URL of another server, such as an original Immich container, or "
            "`in-process`, the same graphs in one process: the limit. May be repeated."
        ),
    ] = None,
    clip: Annotated[str, service_option(help="Model for pictures and texts.")] = "stand-in-ViT-B-32",
    faces: Annotated[str, service_option(help="Model for group photos.")] = "stand-in-buffalo_l",
    ocr: Annotated[str, service_option(help="Model for pages.")] = "demo-ocr",
    models: Annotated[
        Path | None,
        service_option(help="Folder of the models, as of `serve`."),
    ] = None,
    state: Annotated[
        Path | None,
        service_option(help="Folder for prepared models.", show_default="~/.cache/immich-triton"),
    ] = None,
    mix: Annotated[
        list[Mix] | None,
        load_option(
            help="One kind of request alone; default: Immich's default mix; search: a search while eight indexing "
            "requests are in flight. May be repeated.",
            show_default="all of them",
        ),
    ] = None,
    concurrency: Annotated[
        str | None,
        load_option(
            help="Requests in flight, for the mixes of one kind.", show_default="1,16; groups 1,8; pages 1,4"
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        load_option(
            help="Folder of your own pictures, of which twelve are taken.",
            show_default="drawn ones",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    duration: Annotated[
        float,
        load_option(help="Seconds that each run measures; longer where requests are slow.", min=0.1),
    ] = 2.0,
    warm_up: Annotated[float, load_option(help="Seconds of load before them.", min=0)] = 0.5,
    rounds: Annotated[
        int,
        load_option(
            help="Runs of every scenario on every server, in alternation; medians are reported.", min=1
        ),
    ] = 3,
    json_file: Annotated[Path, report_option("--json", help="Where the figures go.", dir_okay=False)] = Path(
        "out/bench.json"
    ),
    html_file: Annotated[Path, report_option("--html", help="Where the report goes.", dir_okay=False)] = Path(
        "out/bench.html"
    ),
) -> None:
    """Measures throughput, latency, processor time and memory under the loads that Immich makes; checks every answer.

    Without options it builds models of the sizes of Immich's default ones with random weights, and starts a service
    of its own. Nothing else should run meanwhile. Ctrl-C ends it early: what was measured is reported.

    To see what Triton costs: --baseline in-process

    To compare with the original: --url http://nas:3003 --baseline http://nas:3004 --clip ViT-B-32__openai
    --faces buffalo_l --ocr PP-OCRv5_mobile
    """
    with bench_extra():
        from bench import html, opening, run, table
        from bench.load import Timing
        from bench.workloads import Models
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
