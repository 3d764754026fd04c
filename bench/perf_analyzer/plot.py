"""The plot of what perf_analyzer found."""

from collections.abc import Sequence
from itertools import groupby

from matplotlib.ticker import MaxNLocator

from bench import svg
from bench.perf_analyzer.figures import Figures

MARKERS = "o^sDvP"


@svg.styled()
def draw(found: Sequence[Figures]) -> str:
    """Throughput and p95 over concurrency, a line for each model; logarithmic, as models differ by hundreds.

    Returns:
        A file of its own.
    """
    figure, panels = svg.panels(2, 6.5)
    for index, (model, group) in enumerate(groupby(found, lambda one: one.model)):
        those = list(group)
        concurrency = [one.concurrency for one in those]
        color, style = svg.COLORS[index % len(svg.COLORS)], f"{MARKERS[index % len(MARKERS)]}-"
        rates, p95s_ms = [one.per_second for one in those], [one.p95_ms for one in those]
        panels[0].plot(concurrency, rates, style, color=color, label=svg.shorten(model))
        panels[1].plot(concurrency, p95s_ms, style, color=color)
    for panel, title in zip(panels, ("inferences a second", "p95 latency, ms"), strict=True):
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter("{x:,g}")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(axis="y")
        panel.set_title(title)
    panels[1].set_xlabel("requests at a time")
    figure.legend(loc="outside lower left", ncols=2)
    return svg.write(
        figure, "Throughput and p95 latency over concurrency; the figures are in perf_analyzer.csv"
    )
