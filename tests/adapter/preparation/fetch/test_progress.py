"""How downloads are shown: by lines in the log."""

import logging

import pytest

from adapter.preparation.fetch.progress import MIB, Progress, describe
from tests.support.downloads import NAME, VISUAL, Bench


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


@pytest.mark.parametrize(("line_every_s", "said"), [(0, ["a model: 2.0 of 4.0 MiB (50 %)"]), (3600, [])])
def test_a_line_is_said_when_it_is_time_for_one(
    caplog: pytest.LogCaptureFixture, line_every_s: float, said: list[str]
) -> None:
    caplog.set_level(logging.INFO)
    progress = Progress("a model", line_every_s)
    progress.tell(0, 4 * MIB)
    caplog.clear()
    progress.tell(2 * MIB, 4 * MIB)
    assert [line.partition(", ")[0] for line in caplog.messages] == said


def test_a_fetch_says_what_it_fetches_from_where_and_how_much_it_was(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "adapter")
    bench.downloads().fetch(VISUAL)
    first, last = caplog.messages[0], caplog.messages[-1]
    assert first.startswith(f"{NAME} (clip visual): fetching 3 files from immich-app/{NAME}@")
    assert last.startswith(f"{NAME} (clip visual): fetched and checked 0.3 of 0.3 MiB (100 %) in ")
