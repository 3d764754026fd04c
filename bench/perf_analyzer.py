"""`scripts/perf_analyzer`: NVIDIA's load generator against the public Triton models.

It is `PERF_ANALYZER`, a path, or what the PATH has (pip install perf-analyzer).
"""

import asyncio
import base64
import csv
import json
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache, partial
from math import prod
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console

from adapter.compare import pictures
from adapter.compare.table import columns, number
from adapter.compare.workload import TEXTS, Kind
from adapter.errors import SetupError
from adapter.preparation.catalog import DEMO
from adapter.preparation.manifest import public_name
from adapter.protocol import PARTS, Part, TaskName, TypeName
from bench.run import START_TIMEOUT_S, preload
from demo import child_service
from demo.models.faces import draw_face

QUICK = ("--measurement-interval", "2000", "--stability-percentage", "50", "--max-trials", "10")
"""Three windows of two seconds that differ by no more than half: its own defaults take minutes for a slow model."""
Row = Mapping[str, str]
AT = "Concurrency"
COMPUTE = ("Server Compute Input", "Server Compute Infer", "Server Compute Output")
app = typer.Typer(add_completion=False)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def perf_analyzer(
    context: typer.Context,
    clip: Annotated[str, typer.Option(help="Model of CLIP, by Immich's name.")] = DEMO[TaskName.CLIP],
    faces: Annotated[str, typer.Option(help="Of faces.")] = DEMO[TaskName.FACES],
    ocr: Annotated[str, typer.Option(help="Of OCR.")] = DEMO[TaskName.OCR],
    task: Annotated[list[TaskName] | None, typer.Option(help="These alone.", show_default="all")] = None,
    concurrency_range: Annotated[str, typer.Option(help="First, last, and the step if it is not 1.")] = "1:4",
) -> None:
    """Runs NVIDIA's perf_analyzer against each public Triton model, over a range of concurrencies.

    Options that are not its own, such as `--measurement-interval 5000`, are handed on to perf_analyzer.
    """
    names = {TaskName.CLIP: clip, TaskName.FACES: faces, TaskName.OCR: ocr}
    parts = [Part(of, kind, names[of]) for of, kind in PARTS if not task or of in task]
    options = (*QUICK, "--concurrency-range", concurrency_range, *context.args)
    asyncio.run(_measure(parts, options, Console()))


async def _measure(parts: Sequence[Part], options: Sequence[str], console: Console) -> None:
    """Prints a table of what perf_analyzer finds for each part, loaded in a service of its own."""
    tool = os.environ.get("PERF_ANALYZER") or shutil.which("perf_analyzer")
    if not tool:
        raise SetupError("perf_analyzer is not on the PATH; install it with: pip install perf-analyzer")
    table = columns("times in ms", "model", "at a time", "/s", "p50", "p95", "p99", "queue", "compute")
    async with child_service.start(preload(parts), START_TIMEOUT_S) as service:
        for part in parts:
            model = public_name(part)
            console.print(f"measuring {model} ...")
            target = ("-m", model, "-u", urlsplit(service.triton_url).netloc)
            with tempfile.TemporaryDirectory() as scratch:
                rows = await asyncio.to_thread(run, Path(scratch), (tool, *target, *options), part)
            for row in rows:
                table.add_row(model, *row)
    console.print(table)


def run(folder: Path, command: Sequence[str], part: Part) -> list[list[str]]:
    """The cells of a model's rows. Raises `SetupError` in the tool's own words."""
    (folder / "input.json").write_text(json.dumps({"data": inputs(part)}))
    command = (*command, "--input-data", "input.json", "-f", "figures.csv")
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)  # noqa: S603
    if ended.returncode:
        last = (ended.stdout + ended.stderr).strip().rpartition("\n")[2]
        raise SetupError(f"{' '.join(command)} failed: {last}")
    return read(folder)


def read(folder: Path) -> list[list[str]]:
    """The cells of a model's rows, from the files that perf_analyzer wrote.

    Beside the ensemble's own file, which counts queues as time on the network, there is one for each step.
    """
    steps = [row for step in folder.glob("*_v*.figures.csv") for row in _rows(step)]
    return [
        _cells(row, [step for step in steps if step[AT] == row[AT]]) for row in _rows(folder / "figures.csv")
    ]


def _cells(row: Row, steps: Sequence[Row]) -> list[str]:
    latencies_us = [float(row[f"{percentile} latency"]) for percentile in ("p50", "p95", "p99")]
    queue_us = sum(float(step["Server Queue"]) for step in steps or [row])
    times_us = (*latencies_us, queue_us, sum(float(row[phase]) for phase in COMPUTE))
    return [row[AT], number(float(row["Inferences/Second"])), *(number(us / 1000) for us in times_us)]


def _rows(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: int(row[AT]))


def inputs(part: Part) -> list[dict[str, object]]:
    """Inputs of a public model, for perf_analyzer's `--input-data`: a few that it goes through in turn."""
    match part.task, part.type:
        case _, TypeName.TEXTUAL:
            return [{"text": _element(text.encode()), "language": _element(b"")} for text in TEXTS]
        case TaskName.FACES, TypeName.RECOGNITION:
            return [{"crops": _gray(112, 112, 3)}]
        case TaskName.OCR, TypeName.RECOGNITION:
            return [{"lines": _gray(48, 320, 3), "widths": [320]}]
        case TaskName.FACES, _:
            kind, options = Kind.GROUPS, {"min_score": [0.7]}
        case TaskName.OCR, _:
            kind, options = Kind.PAGES, {"min_score": [0.5], "max_resolution": [736]}
        case _:
            kind, options = Kind.PICTURES, {}
    return [{"image": _element(image), **options} for image in _drawn()[kind].values()]


_drawn = cache(partial(pictures.drawn, draw_face))


def _element(value: bytes) -> dict[str, str]:
    """A BYTES element as perf_analyzer wants it: with Triton's length before it."""
    return {"b64": base64.b64encode(struct.pack("<I", len(value)) + value).decode()}


def _gray(*shape: int) -> dict[str, object]:
    return {"content": [128] * prod(shape), "shape": shape}


if __name__ == "__main__":
    try:
        app()
    except SetupError as error:
        raise SystemExit(f"perf_analyzer: {error}") from None
