"""The report in a browser and in a terminal. Its figures are made up."""

import io
import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from rich.console import Console

from bench import html, table
from bench.results import SERVED, Process, Stage
from tests.support.benchmark import made_up_report

EMPTY = {"area", "br", "hr", "img", "input", "link", "meta"}


class Page(HTMLParser):
    """What an HTML page is made of; checks that elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="module")
def text() -> str:
    return html.page(made_up_report(failing=True))


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_page_needs_nothing_from_elsewhere(page: Page, text: str) -> None:
    assert not page.of("script", "link", "img", "iframe", "object")
    assert not [attributes for _, attributes in page.elements if "src" in attributes]
    links = [attributes["href"] or "" for attributes in page.of("a")]
    assert {link for link in links if not link.startswith("#")} == {"https://immich.app"}
    used = re.findall(r"url\((.*?)\)|xlink:href=\"(.*?)\"|@import (.*?);", text)
    assert used
    assert all(any(part.startswith("#") for part in parts) for parts in used)


def test_the_page_can_be_heard_as_well_as_seen(page: Page) -> None:
    assert page.of("html")[0]["lang"] == "en"
    assert all(attributes.get("scope") for attributes in page.of("th"))
    assert all(attributes.get("aria-label") for attributes in page.of("svg"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


def test_links_within_the_page_lead_somewhere(page: Page) -> None:
    anchors = Counter(
        attributes["id"] for tag, attributes in page.elements if attributes.get("id") and tag != "path"
    )
    targets = {
        (attributes["href"] or "")[1:]
        for attributes in page.of("a")
        if attributes["href"] != "https://immich.app"
    }
    assert targets <= set(anchors)
    assert {anchors[target] for target in targets} == {1}


def test_what_others_wrote_is_text_and_not_markup(page: Page, text: str) -> None:
    assert 'text "Rhabarber & <Co>" for' in page.words
    assert "<Co>" not in text


def test_failures_stand_before_everything_else(page: Page) -> None:
    assert page.words.index("4 of 347") < page.words.index("In short")
    assert "picture beach: status 503: no engine" in page.words
    assert "and 21 more" in page.words


def test_plots_are_whole_and_take_the_colors_of_the_page(text: str) -> None:
    plots = re.findall("<svg .*?</svg>", text, re.DOTALL)
    assert len(plots) == 2 + 6 * 3 + 1
    for plot in plots:
        ET.fromstring(plot)
        assert "currentColor" in plot
        assert not re.search("#0[123]0[123]0[123]|#000000|#ffffff", plot)


def test_long_names_leave_room_for_the_plot() -> None:
    long = "XLM-Roberta-Large-ViT-H-14__frozen_laion5b_s13b_b90k.visual.preprocess"
    first, second, *_ = made_up_report().runs
    runs = (
        replace(first, stages=(Stage(long, 1, 1, 1.0, 1.0),), processes=(Process(long, 900.0, 0.0),)),
        replace(second, target="http://" + "immich." * 9 + "lan:3003"),
    )
    text = html.page(replace(made_up_report(), runs=runs))
    assert "XLM-Roberta-La…" in text
    assert long in Page(text).words


def test_the_command_and_the_terms_are_there(page: Page) -> None:
    report = made_up_report()
    assert report.command in page.words
    assert all(term in page.words for term in ("p50", "in-process", "mean batch", "PSS"))
    assert all(fact in page.words for fact in report.host.values())


@pytest.mark.parametrize("runs", [0, 1])
def test_a_benchmark_that_was_stopped_early_has_a_page_and_a_table(runs: int) -> None:
    report = made_up_report()
    served = [run for run in report.runs if run.target == SERVED]
    bare = replace(report, runs=tuple(served[:runs]), differences=(), resting_memory=(), notes=("Stopped.",))
    assert "Stopped." in Page(html.page(bare)).words
    assert "Stopped." in printed(table.render(bare), 80)


def test_the_table_fits_eighty_columns_and_says_what_matters() -> None:
    lines = printed(table.render(made_up_report(failing=True)), 80)
    assert max(map(len, lines.splitlines())) <= 80
    assert re.search(r"pictures at 16 +served +12\.7", lines)
    assert re.search(r"in-process +13\.0 +0\.96", lines)
    assert "! failed: served, pictures at 1: 4 of 347" in lines
    assert re.search(r"all, at any time +1,512 +2,202", lines)


def printed(what: object, width: int) -> str:
    written = io.StringIO()
    Console(file=written, width=width).print(what)
    return written.getvalue()
