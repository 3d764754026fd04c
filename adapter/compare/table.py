"""A comparison in a terminal of 80 columns or more."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple

from rich.box import SIMPLE
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from adapter.compare.comparison import Comparison, Done, Speed


@contextmanager
def progress(steps: int) -> Iterator[Done]:
    """A bar on stderr, which goes on with what is done."""
    shown = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn()
    with Progress(*shown, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("the first answers; models may have to be loaded", total=steps)
        yield lambda what, count: bar.update(task, advance=count, description=what)


def number(value: float | None) -> str:
    """With three digits: `1,390`, `78.2`, `0.97`; nothing for None."""
    if value is None:
        return ""
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:,.{digits}f}"


def columns(title: str, *names: str) -> Table:
    """A table whose first column is text, and whose others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE, padding=(0, 1, 0, 0))
    for index, name in enumerate(names):
        table.add_column(name, justify="right" if index else "left", overflow="fold")
    return table


def render(found: Comparison) -> Group:
    """Answers, speeds and memory side by side, and the verdicts last."""
    return Group(
        Text(f"ours: {found.ours}   theirs: {found.theirs}", "bold"),
        _answers(found),
        *(Text(f"  {fault}") for answers in found.answers for fault in answers.faults),
        _speeds(found),
        *_failures(found),
        *_usage(found),
        Text(_memory(found)),
        *(Text(verdict.words, "green" if verdict.valid else "red") for verdict in found.verdicts),
    )


def _answers(found: Comparison) -> Table:
    names = "compared", "differ", "lowest cosine", "median cosine", "largest box px", "lines differ"
    table = columns("answers", "", *names)
    for one in found.answers:
        cosines = ("" if x is None else f"{x:.6f}" for x in (one.lowest_cosine, one.median_cosine))
        lines = f"{one.differing_lines} of {one.lines}" if one.lines else ""
        counts = str(one.compared), str(one.differing)
        table.add_row(one.kind, *counts, *cosines, number(one.largest_box_px), lines)
    return table


def _speeds(found: Comparison) -> Table:
    title = "speed: the ratio is our rate by theirs, CPU is the service's processor time for an answer"
    table = columns(title, "load", "service", "/s", "ratio", "p50 ms", "p95 ms", "CPU ms")
    table.columns[1].justify = "left"
    for one in found.speeds:
        for load, name, seen, ratio in (
            (_load(one), "ours", one.ours, one.ratio),
            ("", "theirs", one.theirs, None),
        ):
            values = seen.per_second, ratio, seen.p50_ms, seen.p95_ms, seen.cpu_ms
            table.add_row(load, name, *map(number, values), end_section=not load)
    return table


def _usage(found: Comparison) -> Iterator[Table]:
    """What bounds a load: the processor, the GPU, or a process that has no more than a core."""
    sides = [
        (one, name, seen.usage)
        for one in found.speeds
        for name, seen in (("ours", one.ours), ("theirs", one.theirs))
        if seen.usage.cores
    ]
    gpu = ["GPU %", "GPU MiB"] if any(usage.gpu for *_, usage in sides) else []
    table = columns(
        "use: cores of the processor, and those of the busiest process",
        "load",
        "service",
        "cores",
        "of them",
        "the busiest process",
        *gpu,
    )
    table.columns[1].justify = table.columns[4].justify = "left"
    for one, name, usage in sides:
        busiest = max(usage.cores, key=lambda process: usage.cores[process])
        cores = number(sum(usage.cores.values())), number(usage.cores[busiest])
        table.add_row(
            _load(one), name, *cores, busiest, *map(number, astuple(usage.gpu) if usage.gpu else ())
        )
    if sides:
        yield table


def _load(speed: Speed) -> str:
    """`texts at 4`; `texts at 1, mixed` beside other kinds."""
    return f"{speed.kind} at {speed.at_a_time}{', mixed' if speed.beside else ''}"


def _failures(found: Comparison) -> Iterator[Text]:
    for one in found.speeds:
        for name, seen in ((found.ours, one.ours), (found.theirs, one.theirs)):
            if seen.failed:
                what = f"{seen.failed} of {seen.failed + seen.answered} failed or were answered otherwise than alone"
                yield Text(f"! {name}, {_load(one)}: {what}: {'; '.join(seen.faults)}", "red")


def _memory(found: Comparison) -> str:
    shown = [
        f"{whose} {number(mb)} MB" if mb else f"{whose} cannot be seen"
        for whose, mb in zip(("ours", "theirs"), found.memory_mb, strict=True)
    ]
    return f"memory after the loads: {', '.join(shown)}"
