"""The local hub beside a cache folder, for every test of fetching."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.downloads import Bench, opened_bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened_bench(tmp_path / "cache") as opened:
        yield opened
