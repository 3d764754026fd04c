"""Processes that die, and what is left of them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from adapter.embedded import SHARED_MEMORY
from demo.models.clip import NAME
from tests.support.asking import EVERYTHING, LEMON
from tests.support.load import Load
from tests.support.server import Server

pytestmark = pytest.mark.triton

RECOVERY_S = 10


@pytest.fixture
def own_server(state: Path) -> Iterator[Server]:
    """A service of this test's own, to be broken."""
    with Server(state) as running:
        yield running


def shared_memory(pid: int) -> list[Path]:
    return list(SHARED_MEMORY.glob(f"immich_triton_{pid}_*"))


def load(server: Server) -> Load:
    """Requests of all kinds."""
    return Load(*(partial(status, server, *request) for request in EVERYTHING))


def status(server: Server, entries: dict[str, Any], payload: dict[str, Any]) -> int:
    return server.predict(entries, **payload).status_code


def answers(server: Server) -> list[dict[str, Any]]:
    return [server.predict(entries, **payload).json() for entries, payload in EVERYTHING]


def test_no_request_is_lost_when_any_process_of_triton_is_killed(own_server: Server) -> None:
    expected = answers(own_server)
    with load(own_server) as running:
        running.wait_for_answers(8)
        victims = own_server.stubs()
        assert victims.keys() == own_server.steps()
        for victim in victims.values():
            victim.kill()
            running.wait_for_answers(8)
        server = next(process for process in own_server.children() if process.name() == "tritonserver")
        server.kill()
        running.wait_for_answers(16)
    assert set(running.outcomes) == {200}
    assert running.slowest_s < 3 * RECOVERY_S  # a request may meet several deaths in a row
    for before, after in zip(expected, answers(own_server), strict=True):
        assert_alike(before, after)


def assert_alike(one: Any, other: Any) -> None:
    """The same but for the rounding of sums, which depends on what was in a batch."""
    if isinstance(one, str) and one.startswith("["):
        np.testing.assert_allclose(json.loads(other), json.loads(one), atol=1e-3)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_alike(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_alike(mine, theirs)
    else:
        assert other == (pytest.approx(one, abs=1e-3) if isinstance(one, float) else one)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_leaves_nothing_behind(state: Path, number: signal.Signals) -> None:
    with Server(state) as server:
        server.clip(NAME, LEMON)
        processes, pid = server.children(), server.process.pid
        assert shared_memory(pid)
        started = time.monotonic()
        server.process.send_signal(number)
        assert server.process.wait(RECOVERY_S) == 0
        assert time.monotonic() - started < RECOVERY_S
        _, alive = psutil.wait_procs(processes, 1)
        assert alive == []
        assert shared_memory(pid) == []


def test_a_killed_service_takes_triton_with_it_and_the_next_one_clears_its_shared_memory(
    state: Path,
) -> None:
    with Server(state) as server:
        server.clip(NAME, LEMON)
        processes, pid = server.children(), server.process.pid
        server.process.kill()
        server.process.wait()
        _, alive = psutil.wait_procs(processes, RECOVERY_S)
        assert alive == []
    (SHARED_MEMORY / f"immich_triton_{pid}_left_behind").touch()
    with Server(state):
        assert shared_memory(pid) == []


def test_a_stop_under_load_answers_every_request_that_was_taken(state: Path) -> None:
    def outcome(entries: dict[str, Any], payload: dict[str, Any]) -> int | str:
        try:
            return status(server, entries, payload)
        except httpx.ConnectError:
            return "refused"

    settings = {"IMMICH_TRITON_STOP_NOTICE_S": "1", "IMMICH_TRITON_STOP_GRACE_S": "30"}
    with Server(state, None, **settings) as server:
        answers(server)
        with Load(*(partial(outcome, *request) for request in EVERYTHING)) as running:
            running.wait_for_answers(16)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(60) == 0
            running.wait_for_answers(8)
    assert set(running.outcomes) == {200, "refused"}


def test_a_taken_port_ends_the_command_with_one_sentence(own_server: Server) -> None:
    environment = {**os.environ, "IMMICH_HOST": "127.0.0.1", "IMMICH_PORT": str(own_server.port)}
    done = subprocess.run(
        [sys.executable, "-m", "adapter", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert f"Port {own_server.port} is taken" in done.stderr
    assert "Traceback" not in done.stderr
