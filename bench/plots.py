"""The report's plots, each an `<svg>` element that says in words what it shows."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import BarContainer

from bench import svg
from bench.results import SERVED
from bench.summary import Comparison, Figures, Memory, Outcome
from bench.words import number

PERCENTILES = ("p50", "p90", "p95", "p99")
MARKERS = ("o", "^", "s", "D")
MOST_PARTS = 6
"""Processes of the memory plot with a colour of their own."""

Labelled = Sequence[tuple[str, Comparison]]


@svg.styled()
def ratios(rows: Labelled, baseline: str) -> Markup:
    """Throughput of the service by a baseline's: the rounds as rings, their median as a dot.

    Args:
        rows: label → comparison with the baseline.
    """
    figure, (axes,) = svg.panels(1, 1.0 + 0.3 * len(rows))
    for row, (_, comparison) in enumerate(rows):
        axes.plot(comparison.ratios, [row] * len(comparison.ratios), "o", mfc="none", mec=svg.COLORS[0])
        axes.plot(comparison.ratio, row, "o", color=svg.COLORS[0], ms=9)
    axes.axvline(1, color=svg.INK, lw=1)
    _label_rows(axes, [label for label, _ in rows])
    seen = [ratio for _, comparison in rows for ratio in comparison.ratios]
    axes.set_xlim(min(0.8, *seen) - 0.02, max(1.1, *seen) + 0.02)
    axes.set_xlabel(f"throughput of {SERVED}, times that of\n{svg.shorten(baseline)}")
    words = ", ".join(f"{label} {comparison.ratio:.2f}" for label, comparison in rows)
    return svg.write(figure, f"Throughput of {SERVED} by that of {baseline}: {words}")


@svg.styled()
def throughput(outcome: Outcome, targets: Sequence[str]) -> Markup:
    """A bar for each target, in a panel for each kind of request."""
    kinds = list(outcome.scenario.workers)
    figure, panels = svg.panels(len(kinds), _height_in(outcome, targets))
    for kind, axes in zip(kinds, panels, strict=True):
        figures = outcome.of_kind(kind)
        colors = [_color(one.target, targets) for one in figures]
        bars = axes.barh(range(len(figures)), [one.per_second for one in figures], color=colors, height=0.7)
        axes.bar_label(bars, [number(one.per_second) for one in figures], padding=4)
        _label_rows(axes, [one.target for one in figures])
        axes.margins(x=0.15)
        axes.set_title(f"{kind}s a second")
    return svg.write(figure, f"Throughput, {outcome.scenario.name}: {_words(outcome.figures)}")


@svg.styled()
def latency(outcome: Outcome, targets: Sequence[str]) -> Markup:
    """A line from p50 to p99 for each target, in a panel for each kind of request."""
    kinds = list(outcome.scenario.workers)
    figure, panels = svg.panels(len(kinds), _height_in(outcome, targets))
    for kind, axes in zip(kinds, panels, strict=True):
        figures = outcome.of_kind(kind)
        for row, one in enumerate(figures):
            color = _color(one.target, targets)
            axes.plot([one.p50_ms, one.p99_ms], [row, row], color=color, lw=2)
            for marker, value in zip(MARKERS, _percentiles(one), strict=True):
                axes.plot(value, row, marker, color=color, ms=7)
        _label_rows(axes, [one.target for one in figures])
        axes.set_xlim(0, max(one.p99_ms for one in figures) * 1.08 or 1)
        axes.set_title(f"ms a {kind}")
    for marker, name in zip(MARKERS, PERCENTILES, strict=True):
        panels[-1].plot([], [], marker, color=svg.INK, label=name)
    figure.legend(loc="outside lower center", ncols=len(PERCENTILES), handletextpad=0.1)
    return svg.write(figure, f"Latency, {outcome.scenario.name}; the figures are in the table")


@svg.styled()
def stages(outcome: Outcome) -> Markup:
    """Waiting and computing of one inference, for each Triton model of the service."""
    found = outcome.stages
    figure, (axes,) = svg.panels(1, 1.1 + 0.3 * len(found))
    queues = [stage.queue_ms for stage in found]
    computes = [stage.compute_ms for stage in found]
    axes.barh(range(len(found)), computes, color=svg.COLORS[0], label="computing", height=0.7)
    axes.barh(range(len(found)), queues, left=computes, color=svg.COLORS[4], label="waiting", height=0.7)
    _label_rows(axes, [stage.model for stage in found])
    axes.set_xlabel("ms an inference")
    figure.legend(loc="outside lower center", ncols=2)
    return svg.write(figure, f"Stages, {outcome.scenario.name}; the figures are in the table")


@svg.styled()
def memory(found: Memory) -> Markup:
    """A bar for each moment, made of the largest processes and the rest; lines for the graphs and the aim."""
    parts, rest = found.processes[:MOST_PARTS], found.processes[MOST_PARTS:]
    groups = {part: [part] for part in parts} | ({f"{len(rest)} others": rest} if rest else {})
    figure, (axes,) = svg.panels(1, 2.8 + 0.34 * len(found.moments))
    rows = range(len(found.moments))
    left = np.zeros(len(rows))
    handles: list[Artist | BarContainer] = []
    for color, (label, names) in zip(svg.COLORS, groups.items(), strict=False):
        widths = [sum(shares.get(name, 0.0) for name in names) for shares in found.moments.values()]
        handles.append(
            axes.barh(rows, widths, 0.7, left, label=svg.shorten(label), color=color, ec=svg.PAPER)
        )
        left += widths
    if found.graphs_mb:
        handles += [
            axes.axvline(found.graphs_mb, color=svg.INK, lw=1, ls=":", label="the models' files"),
            axes.axvline(found.aim_mb, color=svg.INK, lw=1, ls="--", label="the aim: less than this"),
        ]
    _label_rows(axes, list(found.moments))
    axes.set_xlabel("MB")
    figure.legend(handles=handles, loc="outside lower left")
    return svg.write(figure, f"Memory of the service, at most {number(found.peak_mb)} MB")


def _label_rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), [svg.shorten(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)


def _height_in(outcome: Outcome, targets: Sequence[str]) -> float:
    return 0.8 + len(outcome.scenario.workers) * (0.6 + 0.3 * len(targets))


def _color(target: str, targets: Sequence[str]) -> str:
    return svg.COLORS[list(targets).index(target) % len(svg.COLORS)]


def _percentiles(figures: Figures) -> tuple[float, ...]:
    return figures.p50_ms, figures.p90_ms, figures.p95_ms, figures.p99_ms


def _words(figures: Sequence[Figures]) -> str:
    return ", ".join(f"{one.target} {number(one.per_second)} {one.kind}s a second" for one in figures)
