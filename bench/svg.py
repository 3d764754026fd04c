"""Figures as SVG for a page: text stays text, and takes the page's colours, be it light or dark."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a")
"""Told apart with any colour vision (Okabe and Ito), and seen on white and on black; the last is for the rest."""

INK, LINE, PAPER = "#010101", "#020202", "#030303"
_CSS = {INK: "currentColor", LINE: "var(--line, #d0d0d0)", PAPER: "var(--paper, #fff)"}
WIDTH_IN = 5.0
"""Of every figure: at about 360 px, a telephone's width, its text can still be read."""
LONGEST_NAME = 36

_STYLE: dict[Any, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "immich-triton",
    "font.family": "sans-serif",
    "font.size": 10,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.axisbelow": True,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "legend.frameon": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """Within it all is drawn: Matplotlib looks at its style when a part is made, and again when it is written."""
    with matplotlib.rc_context(_STYLE):
        yield


def panels(count: int, height_in: float) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, one below the other.

    Args:
        height_in: of the whole, in inches.
    """
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    axes = figure.subplots(count, squeeze=False)[:, 0]
    for panel in axes:
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x")
        panel.xaxis.set_major_formatter("{x:,g}")
    return figure, list(axes)


def shorten(name: str) -> str:
    """A name that leaves room for the plot: without the middle where it is long."""
    name = name.removeprefix("http://")
    return name if len(name) <= LONGEST_NAME else f"{name[:14]}…{name[14 + 1 - LONGEST_NAME :]}"


def write(figure: Figure, description: str) -> Markup:
    """The figure as an `<svg>` element.

    Args:
        description: what it shows, for those who do not see it.
    """
    text = io.StringIO()
    none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(text, format="svg", metadata=none)
    svg = text.getvalue()[text.getvalue().index("<svg ") :]
    for color, value in _CSS.items():
        svg = svg.replace(color, value)
    svg = re.sub(r' id="[a-zA-Z0-9.]+_\d+"', "", svg)  # would be there in every figure of the page
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1)
    return Markup(svg)  # noqa: S704 - Matplotlib escapes what it writes
