"""Short campaigns *soak*, *fuzz* and *rude*, on one host: see `scripts/campaign`."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from adapter.preparation.catalog import can_be_built
from adapter.protocol import TaskName
from bench.campaigns import fuzz, rude, soak
from bench.campaigns.hosts import one_host
from demo.child_service import ChildService
from tests.support.server import NewState

pytestmark = [
    pytest.mark.triton,
    pytest.mark.slow,
    pytest.mark.skipif(not can_be_built(TaskName.OCR), reason="the weights of demo-ocr are not installed"),
]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def service(runner: asyncio.Runner, new_state: NewState) -> Iterator[ChildService]:
    stack = AsyncExitStack()
    yield runner.run(stack.enter_async_context(one_host(new_state())))
    runner.run(stack.aclose())


def lasting(faults: list[str]) -> list[str]:
    """Without those that a busy machine has, or a service that has just begun."""
    return [fault for fault in faults if not fault.endswith((" held up", ": grows"))]


def test_pictures_of_every_form_are_answered_as_at_first_and_broken_ones_refused(
    runner: asyncio.Runner, service: ChildService
) -> None:
    report = runner.run(soak.run(service, requests=100))
    assert lasting(report.faults) == []
    assert "answered: " in report.figures["pictures"]
    assert "refused: " in report.figures["pictures"]


def test_no_mutation_gets_more_than_a_reason_and_none_reaches_a_disk(
    runner: asyncio.Runner, service: ChildService, tmp_path: Path
) -> None:
    report = runner.run(fuzz.run(service, tmp_path, requests=1500))
    assert lasting(report.faults) == []
    assert report.figures["answers, key"].startswith("403: "), "whoever has not the key"


def test_over_a_thousand_rude_clients_hold_nobody_up(runner: asyncio.Runner, service: ChildService) -> None:
    report = runner.run(rude.run(service, requests=150))
    assert lasting(report.faults) == []
    assert report.figures["rude connections opened"].startswith("idle: 1000 for 1000")
