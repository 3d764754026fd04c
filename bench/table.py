"""The report in a terminal of 80 columns or more."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench import summary, words
from bench.results import SERVED, Report
from bench.summary import Figures, Memory, Outcome
from bench.words import number


def render(report: Report) -> Group:
    """What was found, for people: the loads, Triton's stages, memory, differences, and the sentences last."""
    found, memory = summary.outcomes(report), summary.memory(report)
    parts: list[RenderableType] = [_loads(found)] if found else []
    if any(outcome.stages for outcome in found):
        parts.append(_stages(found))
    if memory.moments:
        parts.append(_memory(memory))
    if report.differences:
        parts.append(_differences(report))
    parts += [Text(f"! {note}", "yellow") for note in report.notes]
    parts += [
        Text(f"! failed: {' · '.join([where, *faults])}", "bold red")
        for where, faults in words.failures(found)
    ]
    parts += [Text(f"- {sentence}") for sentence in words.sentences(report)]
    return Group(*parts)


def _loads(found: Sequence[Outcome]) -> Table:
    table = _table(
        "loads (ratio: throughput of served by that of the target)",
        "load", "target", "/s", "ratio", "p50 ms", "p90 ms", "p99 ms", "CPU ms",
    )  # fmt: skip
    for outcome in found:
        for kind in outcome.scenario.workers:
            for row, figures in enumerate(outcome.of_kind(kind)):
                label = "" if row else words.label(outcome, kind)
                table.add_row(
                    label, *_cells(outcome, figures), style="bold" if figures.target == SERVED else ""
                )
            table.add_section()
    return table


def _cells(outcome: Outcome, figures: Figures) -> tuple[str, ...]:
    comparison = outcome.comparison(figures.target, figures.kind)
    cpu_s = outcome.cpu_s.get(figures.target)
    return (
        figures.target,
        number(figures.per_second),
        f"{comparison.ratio:.2f}" if comparison else "",
        number(figures.p50_ms),
        number(figures.p90_ms),
        number(figures.p99_ms),
        "" if cpu_s is None else number(cpu_s * 1000),
    )


def _stages(found: Sequence[Outcome]) -> Table:
    table = _table("Triton's models", "model", "mean batch", "waiting ms", "computing ms")
    for outcome in found:
        if outcome.stages:
            table.add_row(Text(outcome.scenario.name, "bold"))
        for stage in outcome.stages:
            times = number(stage.queue_ms), number(stage.compute_ms)
            table.add_row(stage.model, f"{stage.mean_batch:.1f}", *times)
    return table


def _memory(memory: Memory) -> Table:
    loads = [shares for moment, shares in memory.moments.items() if moment != summary.AT_REST]
    at_rest = memory.moments.get(summary.AT_REST, {})
    table = _table("memory of the service, MB", "process", summary.AT_REST, "most after a load")
    for name in memory.processes:
        most = max((shares.get(name, 0.0) for shares in loads), default=0.0)
        table.add_row(name, number(at_rest.get(name, 0.0)), number(most))
    table.add_row("all, at any time", number(memory.at_rest_mb), number(memory.peak_mb), style="bold")
    return table


def _differences(report: Report) -> Table:
    table = _table("answers", "baseline", "kind", "the same", "furthest from the service")
    for one in report.differences:
        style = "" if one.equal == one.compared else "red"
        table.add_row(one.baseline, one.kind, f"{one.equal} of {one.compared}", Text(one.worst), style=style)
    return table


def _table(title: str, *columns: str) -> Table:
    """A table whose first column is text, and whose others are aligned right but for texts."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE)
    table.padding = (0, 1, 0, 0)
    texts = {"load", "kind", "target", "model", "process", "baseline", "furthest from the service"}
    for column in columns:
        table.add_column(column, justify="left" if column in texts else "right", overflow="fold")
    return table
