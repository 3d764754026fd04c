"""The report as one HTML file that needs nothing else: no script, no font, no network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench import plots, summary, words
from bench.results import SERVED, Report
from bench.summary import Comparison, Figures, Memory, Outcome

TEMPLATE = "report.html.j2"


def write(report: Report, path: Path) -> None:
    """Writes the report."""
    path.write_text(page(report), encoding="utf-8")


def page(report: Report) -> str:
    """The report's HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": words.moment,
        "number": words.number,
        "signed": words.signed,
        "spread": words.spread,
    }
    return environment.get_template(TEMPLATE).render(_content(report))


def _content(report: Report) -> dict[str, Any]:
    found, targets = summary.outcomes(report), summary.targets(report)
    memory = summary.memory(report)
    return {
        "report": report,
        "served": SERVED,
        "baselines": targets[1:],
        "sentences": words.sentences(report),
        "failures": words.failures(found),
        "glance": list(_glance(found)),
        "ratio_plots": list(_ratio_plots(found, targets[1:])),
        "loads": [_load(outcome, targets) for outcome in found],
        "memory": memory,
        "memory_rows": list(_memory_rows(memory)),
        "memory_plot": plots.memory(memory) if memory.moments else "",
        "kinds": words.KINDS,
        "at_rest": summary.AT_REST,
    }


def _glance(found: list[Outcome]) -> Iterator[tuple[str, Figures, Outcome]]:
    """A row for each load and kind of request of the service."""
    for outcome in found:
        for figures in outcome.figures:
            if figures.target == SERVED:
                yield words.label(outcome, figures.kind), figures, outcome


def _ratio_plots(found: list[Outcome], baselines: list[str]) -> Iterator[Markup]:
    for baseline in baselines:
        rows: list[tuple[str, Comparison]] = [
            (words.label(outcome, one.kind), one)
            for outcome in found
            for one in outcome.comparisons
            if one.baseline == baseline
        ]
        if rows:
            yield plots.ratios(rows, baseline)


def _load(outcome: Outcome, targets: list[str]) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "kinds": {kind: outcome.of_kind(kind) for kind in outcome.scenario.workers},
        "failed": any(figures.failed for figures in outcome.figures),
        "plots": [plots.throughput(outcome, targets), plots.latency(outcome, targets)],
        "stages_plot": plots.stages(outcome) if outcome.stages else "",
    }


def _memory_rows(memory: Memory) -> Iterator[tuple[str, float | None, float, str]]:
    """Process, MB at rest, most MB under load, and under which."""
    for process in memory.processes:
        shares = {moment: found.get(process, 0.0) for moment, found in memory.moments.items()}
        at_rest = shares.pop(summary.AT_REST, None)
        where = max(shares, key=lambda moment: shares[moment], default="")
        yield process, at_rest, shares.get(where, 0.0), where
