"""`immich-triton perf-analyzer`: NVIDIA's load generator against the public Triton models."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from adapter import logs, settings
from adapter.commands.extras import bench_extra
from adapter.errors import SetupError
from adapter.preparation.catalog import DEMO
from adapter.protocol import Part, TaskName, TypeName, types_of
from adapter.settings import Settings
from bench.perf_analyzer import figures
from bench.perf_analyzer.measuring import Measured, measure

ModelOption = Annotated[str | None, typer.Option(help="Model of the task, by Immich's name.")]


def perf_analyzer(
    context: typer.Context,
    clip: ModelOption = None,
    faces: ModelOption = None,
    ocr: ModelOption = None,
    types: Annotated[
        list[TypeName] | None,
        typer.Option("--type", help="Half of the models; may be repeated.", show_default="both"),
    ] = None,
    concurrency_range: Annotated[
        str, typer.Option(help="Requests at a time: the first, the last, and the step if it is not 1.")
    ] = "1:4",
    output: Annotated[
        Path, typer.Option(help="Folder for the table (CSV), the plot (SVG) and the log.")
    ] = Path("out"),
) -> None:
    """Runs NVIDIA's perf_analyzer against public Triton models, over a range of concurrencies.

    Without a model it measures those of the demo. Options that are not its own, such as `--measurement-interval 5000`,
    are handed on to perf_analyzer. It is taken from the PATH, or run in NVIDIA's SDK container.
    """
    with bench_extra():
        from bench.perf_analyzer import plot
    chosen = settings.load()
    logs.set_up("warning", color=not chosen.no_color)
    named = {TaskName.CLIP: clip, TaskName.FACES: faces, TaskName.OCR: ocr}
    parts = [part for part in choose(named) if not types or part.type in types]
    output.mkdir(parents=True, exist_ok=True)
    log = output / "perf_analyzer.log"
    log.unlink(missing_ok=True)
    console = Console()
    options = ("--concurrency-range", concurrency_range, *context.args)
    measured = asyncio.run(_measure(chosen, parts, options, log, console))
    found = [one for model in measured for one in model.figures]
    if found:
        figures.write(found, output / "perf_analyzer.csv")
        (output / "perf_analyzer.svg").write_text(plot.draw(found))
        console.print(figures.table(found))
        console.print(
            f"The table is {output / 'perf_analyzer.csv'}, the plot {output / 'perf_analyzer.svg'}."
        )
    troubles = [f"{one.model}: {one.trouble}" for one in measured if one.trouble]
    if troubles:
        lines = "\n".join(troubles)
        raise SetupError(
            f"perf_analyzer ended early; its own words are in {log}. Slow models want a longer window, such as "
            f"--measurement-interval 10000.\n{lines}"
        )


def choose(named: Mapping[TaskName, str | None]) -> list[Part]:
    """The parts of the models that are named; if none is, of the demo's."""
    names = {task: name for task, name in named.items() if name} or DEMO
    return [Part(task, type_name, name) for task, name in names.items() for type_name in types_of(task)]


async def _measure(
    chosen: Settings, parts: Sequence[Part], options: Sequence[str], log: Path, console: Console
) -> list[Measured]:
    measured = []
    with console.status("starting Triton ...") as status:
        async for one in measure(chosen, parts, options, log):
            measured.append(one)
            status.update(f"{one.model} is measured, {len(measured)} of {len(parts)}")
    return measured
