"""A comparison in a terminal."""

from collections.abc import Iterator

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from adapter.compare.comparison import Comparison


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
        Text(_memory(found)),
        *(Text(verdict.words, "green" if verdict.valid else "red") for verdict in found.verdicts),
    )


def _answers(found: Comparison) -> Table:
    table = columns(
        "answers",
        "",
        "compared",
        "differ",
        "lowest cosine",
        "median cosine",
        "largest box px",
        "lines differ",
    )
    for one in found.answers:
        lines = f"{one.differing_lines} of {one.lines}" if one.lines else ""
        cosines = (
            "" if cosine is None else f"{cosine:.6f}" for cosine in (one.lowest_cosine, one.median_cosine)
        )
        table.add_row(
            one.kind, str(one.compared), str(one.differing), *cosines, number(one.largest_box_px), lines
        )
    return table


def _speeds(found: Comparison) -> Table:
    table = columns(
        "speed: requests/s, latency in ms; the ratio is our rate by theirs",
        "", "at a time", "ours /s", "theirs /s", "ratio", "ours p50", "p95", "theirs p50", "p95",
    )  # fmt: skip
    last = None
    for one in found.speeds:
        if last not in (None, one.kind):
            table.add_section()
        rates = one.ours.per_second, one.theirs.per_second, one.ratio
        latencies = one.ours.p50_ms, one.ours.p95_ms, one.theirs.p50_ms, one.theirs.p95_ms
        name = "" if one.kind == last else one.kind
        table.add_row(name, str(one.at_a_time), *map(number, (*rates, *latencies)))
        last = one.kind
    return table


def _failures(found: Comparison) -> Iterator[RenderableType]:
    for one in found.speeds:
        for name, seen in ((found.ours, one.ours), (found.theirs, one.theirs)):
            if seen.failed:
                where = f"{name}, {one.kind}, {one.at_a_time} at a time"
                what = f"{seen.failed} of {seen.failed + seen.answered} failed or were answered otherwise than alone"
                yield Text(f"! {where}: {what}: {'; '.join(seen.faults)}", "red")


def _memory(found: Comparison) -> str:
    shown = [
        f"{whose} {number(mb)} MB" if mb else f"{whose} cannot be seen (in a container, or on another host)"
        for whose, mb in zip(("ours", "theirs"), found.memory_mb, strict=True)
    ]
    return f"memory after the loads: {', '.join(shown)}"
