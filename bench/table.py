"""The report in a terminal of 80 columns or more."""

from collections.abc import Iterator
from statistics import median

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from adapter.compare import rounds
from adapter.compare.table import columns, number
from adapter.compare.workload import Kind
from bench.run import SERVED, Report
from bench.scenarios import Scenario

AT_REST = "at rest"


def render(report: Report) -> Group:
    """The loads, memory, and answers that differ."""
    return Group(_loads(report), *_failures(report), *_memory(report), *_differences(report))


def _loads(report: Report) -> Table:
    table = columns(
        "loads: medians of the rounds; the ratio is the service's rate by the target's",
        "load", "target", "/s", "ratio", "p50 ms", "p95 ms", "CPU ms",
    )  # fmt: skip
    table.columns[1].justify = "left"
    for scenario in report.scenarios:
        for kind in scenario.loops:
            for row, target in enumerate(_targets(report)):
                label = f"{scenario.name}: {kind}" if len(scenario.loops) > 1 else scenario.name
                cells = _cells(report, target, scenario, kind)
                table.add_row("" if row else label, target, *cells, style="" if row else "bold")
        table.add_section()
    return table


def _cells(report: Report, target: str, scenario: Scenario, kind: Kind) -> list[str]:
    runs, served = report.of(target, scenario), report.of(SERVED, scenario)
    theirs, ours = ([run.figures[kind] for run in those] for those in (runs, served))
    ratio = None if target == SERVED else rounds.ratio(ours, theirs)
    cpu_s = [run.cpu_s_per_request for run in runs if run.cpu_s_per_request]
    seen = rounds.middle(theirs)
    cpu_ms = median(cpu_s) * 1000 if cpu_s else None
    return [number(value) for value in (seen.per_second, ratio, seen.p50_ms, seen.p95_ms, cpu_ms)]


def _failures(report: Report) -> Iterator[RenderableType]:
    for run in report.runs:
        for kind, seen in run.figures.items():
            if seen.failed:
                where = f"{run.target}, {run.scenario}, {kind}"
                yield Text(f"! {where}: {seen.failed} failed: {'; '.join(seen.faults)}", "bold red")


def _memory(report: Report) -> Iterator[RenderableType]:
    """Of the service: each process at rest, and the most that it had at the end of a load."""
    usages = [run.usage for run in report.runs if run.target == SERVED and run.usage]
    if not usages:
        return
    table = columns("memory of the service (PSS), MB", "process", AT_REST, "most after a load")
    most = {
        name: max(usage.memory_mb.get(name, 0.0) for usage in usages)
        for usage in usages
        for name in usage.memory_mb
    }
    for name in sorted(most, key=lambda name: -most[name]):
        table.add_row(name, number(report.at_rest_mb.get(name, 0.0)), number(most[name]))
    peak = number(max(usage.peak_mb for usage in usages))
    table.add_row("all, at any time", number(sum(report.at_rest_mb.values())), peak, style="bold")
    yield table


def _differences(report: Report) -> Iterator[RenderableType]:
    for baseline, answers in report.answers.items():
        for one in answers:
            same = one.compared - one.differing
            words = "".join(f"\n  {fault}" for fault in one.faults)
            yield Text(f"{one.kind}: {same} of {one.compared} answers are as of {baseline}{words}")


def _targets(report: Report) -> list[str]:
    return list(dict.fromkeys([SERVED, *(run.target for run in report.runs)]))
