"""`immich-triton bench-adapter`: what the adapter takes of a core, whatever the models take."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from adapter.commands.extras import bench_extra

ROWS = {
    "per_second": "requests a second",
    "p50_ms": "median, ms",
    "p99_ms": "99th percentile, ms",
    "cpu_ms": "processor time a request, ms",
    "adapter_share": "of a core: the adapter",
    "load_share": "of another core: the load",
    "fake_share": "of that one too: the fake Triton",
    "memory_mb": "memory of the adapter, MB",
}


def bench_adapter(
    duration: Annotated[float, typer.Option(help="Seconds that are measured.", min=0.1)] = 10.0,
    size: Annotated[int, typer.Option(help="Of the picture in each request, in bytes.", min=0)] = 150_000,
    concurrency: Annotated[int, typer.Option(help="Requests in flight.", min=1)] = 16,
    json_output: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Measures the adapter alone, on one core, before a stand-in for Triton that answers at once."""
    with bench_extra():
        from bench.adapter_alone import measure
    cost = asdict(uvloop.run(measure(duration, size, concurrency)))
    if json_output:
        typer.echo(json.dumps(cost))
        return
    table = Table(show_header=False, box=None)
    for name, text in ROWS.items():
        table.add_row(text, f"{cost[name]:.3g}" if cost[name] < 100 else f"{cost[name]:.0f}")
    console = Console()
    console.print(
        f"The adapter alone: pictures of {size / 1000:g} kB, {concurrency} in flight, {duration:g} s"
    )
    console.print(table)
    console.print(f"One core carries {1000 / cost['cpu_ms']:.0f} requests a second.")
