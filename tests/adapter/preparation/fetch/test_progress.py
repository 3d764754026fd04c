"""How downloads are shown: lines in a log, bars on a terminal."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.logging import RichHandler

from adapter.preparation.fetch.progress import MIB, Display, describe
from tests.support.downloads import NAME, VISUAL, Bench, opened_bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened_bench(tmp_path / "cache") as opened:
        yield opened


@pytest.fixture
def terminal() -> Iterator[io.StringIO]:
    """What is on the terminal that the log goes to."""
    screen = io.StringIO()
    handler = RichHandler(console=Console(file=screen, force_terminal=True, width=120))
    logging.getLogger().addHandler(handler)
    try:
        yield screen
    finally:
        logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize(
    ("arrived", "total", "text"),
    [
        (3 * MIB, 12 * MIB, "3.0 of 12.0 MiB (25 %)"),
        (3 * MIB, None, "3.0 MiB"),
        (0, 12 * MIB, "0.0 of 12.0 MiB (0 %)"),
    ],
)
def test_progress_is_said_in_bytes_and_percent(arrived: int, total: int | None, text: str) -> None:
    assert describe(arrived, total) == text


def test_without_a_terminal_there_is_a_line_every_few_seconds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Display(line_every_s=0).show("a model") as meter:
        meter(0, 4 * MIB)
        meter(2 * MIB, 4 * MIB)
    assert caplog.messages[-1].startswith("a model: 2.0 of 4.0 MiB (50 %), ")
    assert caplog.messages[-1].endswith(" MiB/s")


def test_lines_are_not_more_often_than_that(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Display(line_every_s=3600).show("a model") as meter:
        for arrived in range(1000):
            meter(arrived, 1000)
    assert caplog.messages == []


def test_a_terminal_shows_a_bar_for_every_download_and_takes_it_away(terminal: io.StringIO) -> None:
    display = Display()
    with display.show("one model") as one, display.show("another model") as other:
        one(2 * MIB, 4 * MIB)
        other(1 * MIB, None)
    assert "one model" in terminal.getvalue()
    assert "another model" in terminal.getvalue()
    assert display._bars is None
    with display.show("a third model"):
        pass


def test_a_fetch_says_what_it_fetches_from_where_and_how_much_it_was(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "adapter")
    bench.downloads().fetch(VISUAL)
    first, last = caplog.messages[0], caplog.messages[-1]
    assert first.startswith(f"{NAME} (clip visual): fetching 4 files from immich-app/{NAME}@")
    assert last.startswith(f"{NAME} (clip visual): fetched and checked 0.3 of 0.3 MiB (100 %) in ")
