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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from numpy.typing import NDArray
from rich.console import Console

from adapter.compare.table import columns, number
from adapter.compare.workload import TEXTS, Kind
from adapter.errors import SetupError
from adapter.preparation.manifest import public_name
from adapter.protocol import Part, TaskName, TypeName
from bench import scenes
from bench.run import START_TIMEOUT_S, preload_variable
from demo import child_service
from demo.models import clip as demo_clip
from demo.models import face_graphs as demo_faces
from demo.models import ocr as demo_ocr
from demo.show.page import draw_letter
from transforms.ocr_recognition import run_width, scale_line

QUICK = ("--measurement-interval", "2000", "--stability-percentage", "50", "--max-trials", "10")
"""Three windows of two seconds that differ by no more than half: its own defaults take minutes for a slow model."""
COMPUTE = ("Server Compute Input", "Server Compute Infer", "Server Compute Output")
app = typer.Typer(add_completion=False)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def perf_analyzer(
    context: typer.Context,
    clip: Annotated[str, typer.Option(help="Model of CLIP, by Immich's name.")] = demo_clip.NAME,
    faces: Annotated[str, typer.Option(help="Of faces.")] = demo_faces.NAME,
    ocr: Annotated[str, typer.Option(help="Of OCR.")] = demo_ocr.NAME,
    task: Annotated[list[TaskName] | None, typer.Option(help="These alone.", show_default="all")] = None,
    concurrency_range: Annotated[
        str, typer.Option(help="Requests at a time: the first, the last, and the step if it is not 1.")
    ] = "1:4",
) -> None:
    """Runs NVIDIA's perf_analyzer against each public Triton model, over a range of concurrencies.

    Options that are not its own, such as `--measurement-interval 5000`, are handed on to perf_analyzer.
    """
    names = {TaskName.CLIP: clip, TaskName.FACES: faces, TaskName.OCR: ocr}
    parts = [Part(of, kind, names[of]) for of, kind in INPUTS if not task or of in task]
    options = (*QUICK, "--concurrency-range", concurrency_range, *context.args)
    asyncio.run(measure(parts, options, Console()))


async def measure(parts: Sequence[Part], options: Sequence[str], console: Console) -> None:
    """Prints a table of what perf_analyzer finds for each part, loaded in a service of its own.

    Raises:
        SetupError: there is no perf_analyzer, or it fails.
    """
    tool = os.environ.get("PERF_ANALYZER") or shutil.which("perf_analyzer")
    if not tool:
        raise SetupError("perf_analyzer is not on the PATH; install it with: pip install perf-analyzer")
    preload = {preload_variable(part): part.name for part in parts}
    table = columns("times in ms", "model", "at a time", "/s", "p50", "p95", "p99", "queue", "compute")
    async with child_service.start(
        {**preload, "MACHINE_LEARNING_MODEL_TTL": "0"}, START_TIMEOUT_S
    ) as service:
        for model, part in ((public_name(part), part) for part in parts):
            console.print(f"measuring {model} ...")
            target = ("-m", model, "-u", urlsplit(service.triton_url).netloc)
            with tempfile.TemporaryDirectory() as scratch:
                rows = await asyncio.to_thread(_run, Path(scratch), (tool, *target, *options), part)
            for row in rows:
                table.add_row(model, *row)
    console.print(table)


def _run(folder: Path, command: Sequence[str], part: Part) -> list[list[str]]:
    data = {"data": list(inputs(part))}
    (folder / "input.json").write_text(json.dumps(data))
    command = (*command, "--input-data", "input.json", "-f", "figures.csv")
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)  # noqa: S603
    if ended.returncode:
        last = (ended.stdout + ended.stderr).strip().rpartition("\n")[2]
        raise SetupError(f"{' '.join(command)} failed: {last}")
    return list(read(folder))


def read(folder: Path) -> Iterator[list[str]]:
    """The cells of a model's rows, from the files that perf_analyzer wrote.

    Beside the ensemble's own file, which counts queues as time on the network, there is one for each step.
    """
    queue_us: dict[str, float] = {}
    for step in folder.glob("*_v*.figures.csv"):
        for row in _rows(step):
            queue_us[row["Concurrency"]] = queue_us.get(row["Concurrency"], 0.0) + float(row["Server Queue"])
    for row in sorted(_rows(folder / "figures.csv"), key=lambda row: int(row["Concurrency"])):
        latencies_us = [float(row[f"{percentile} latency"]) for percentile in ("p50", "p95", "p99")]
        queue = queue_us.get(row["Concurrency"], float(row["Server Queue"]))
        compute = sum(float(row[phase]) for phase in COMPUTE)
        times = [number(value / 1000) for value in (*latencies_us, queue, compute)]
        yield [row["Concurrency"], number(float(row["Inferences/Second"])), *times]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def inputs(part: Part) -> Iterator[Mapping[str, object]]:
    """Inputs of a public model, for perf_analyzer's `--input-data`: a few that it goes through in turn."""
    kind, rest = INPUTS[part.task, part.type]
    if kind is Kind.TEXTS:
        yield from ({"text": _element(text.encode()), "language": _element(b"")} for text in TEXTS)
    elif part.type is TypeName.RECOGNITION:
        yield rest
    else:
        for image in scenes.choose(None)[kind].values():
            yield {"image": _element(image), **rest}


def _element(value: bytes) -> dict[str, object]:
    """A BYTES element as perf_analyzer wants it: with Triton's length before it."""
    return {"b64": base64.b64encode(struct.pack("<I", len(value)) + value).decode()}


def _raw(array: NDArray[Any]) -> dict[str, object]:
    """A tensor without its batch axis, as its bytes and its shape."""
    return {"content": {"b64": base64.b64encode(array.tobytes()).decode()}, "shape": list(array.shape)}


_LINE = draw_letter()[50:110, :1000]
_SCALED = scale_line(_LINE, run_width(_LINE.shape[0], _LINE.shape[1]))
INPUTS: dict[tuple[TaskName, TypeName], tuple[Kind, dict[str, object]]] = {
    (TaskName.CLIP, TypeName.VISUAL): (Kind.PICTURES, {}),
    (TaskName.CLIP, TypeName.TEXTUAL): (Kind.TEXTS, {}),
    (TaskName.FACES, TypeName.DETECTION): (Kind.GROUPS, {"min_score": [0.7]}),
    (TaskName.FACES, TypeName.RECOGNITION): (
        Kind.GROUPS,
        {"crops": _raw(_LINE.repeat(2, axis=0)[:112, :112])},
    ),
    (TaskName.OCR, TypeName.DETECTION): (
        Kind.PAGES,
        {"min_score": [0.5], "max_resolution": [736]},
    ),
    (TaskName.OCR, TypeName.RECOGNITION): (
        Kind.PAGES,
        {"lines": _raw(_SCALED), "widths": [_SCALED.shape[1]]},
    ),
}
"""What each public model is asked: pictures of this kind, with these other tensors."""


def main() -> None:
    """Runs the command; a fault ends it with one sentence."""
    try:
        app()
    except SetupError as error:
        raise SystemExit(f"perf_analyzer: {error}") from None


if __name__ == "__main__":
    main()
