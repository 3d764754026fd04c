"""A short campaign *kill*: see `scripts/campaign`."""

from pathlib import Path

import pytest
import uvloop

from adapter.preparation.catalog import can_be_built
from adapter.protocol import TaskName
from bench.campaigns import kill
from tests.support.front import needs_haproxy
from tests.support.server import NewState

pytestmark = [
    pytest.mark.triton,
    pytest.mark.slow,
    pytest.mark.skipif(not can_be_built(TaskName.OCR), reason="the weights of demo-ocr are not installed"),
    needs_haproxy,
]


def test_no_request_is_lost_whatever_is_killed_behind_the_front(new_state: NewState, tmp_path: Path) -> None:
    report = uvloop.run(kill.run(tmp_path / "hosts", new_state(), requests=600, pause_s=(0.5, 1.5)))
    assert report.faults == []
    assert (report.figures["answered right"], report.figures["lost"]) == ("600", "0")
    assert report.figures["killed"] != "none"
