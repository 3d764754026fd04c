"""perf_analyzer's CSV files as figures, a table and one CSV file."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

FILE = "figures.csv"
PERCENTILES = ("p50", "p90", "p95", "p99")
COMPUTE = ("Server Compute Input", "Server Compute Infer", "Server Compute Output")


@dataclass(frozen=True)
class Figures:
    """A model at one concurrency. Times are of one inference; queue and compute on the server, on average."""

    model: str
    concurrency: int
    per_second: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    queue_ms: float
    compute_ms: float


def read(folder: Path, model: str) -> list[Figures]:
    """What perf_analyzer wrote to `figures.csv`, and to a file beside it for each step of an ensemble.

    The ensemble's own file counts its steps' queues as time on the network.

    Returns:
        Nothing if there is no file: it ended before the first measurement.
    """
    if not (folder / FILE).exists():
        return []
    queue_us: dict[str, float] = defaultdict(float)
    for step in sorted(folder.glob(f"*_v*.{FILE}")):
        for row in _rows(step):
            queue_us[row["Concurrency"]] += float(row["Server Queue"])
    rows = sorted(_rows(folder / FILE), key=lambda row: int(row["Concurrency"]))
    return [_figures(model, row, queue_us[row["Concurrency"]]) for row in rows]


def write(found: Sequence[Figures], path: Path) -> None:
    """All models in one CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Figures)])
        writer.writeheader()
        writer.writerows({key: _rounded(value) for key, value in asdict(one).items()} for one in found)


def table(found: Sequence[Figures]) -> Table:
    """All models, for people."""
    shown = Table(title="times in ms", title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    shown.add_column("model", overflow="fold")
    for title in ("at a time", "/s", "p50", "p90", "p95", "p99", "queue", "compute"):
        shown.add_column(title, justify="right")
    for model, those in groupby(found, lambda one: one.model):
        for row, one in enumerate(those):
            times = (one.p50_ms, one.p90_ms, one.p95_ms, one.p99_ms, one.queue_ms, one.compute_ms)
            cells = (f"{value:.1f}" for value in (one.per_second, *times))
            shown.add_row("" if row else model, str(one.concurrency), *cells)
        shown.add_section()
    return shown


def _figures(model: str, row: Mapping[str, str], queue_us: float) -> Figures:
    p50, p90, p95, p99 = (float(row[f"{percentile} latency"]) / 1000 for percentile in PERCENTILES)
    return Figures(
        model,
        concurrency=int(row["Concurrency"]),
        per_second=float(row["Inferences/Second"]),
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        queue_ms=(queue_us or float(row["Server Queue"])) / 1000,
        compute_ms=sum(float(row[part]) for part in COMPUTE) / 1000,
    )


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value
