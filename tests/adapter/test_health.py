"""What `/ping` knows: whether all that is to be preloaded is, and whether Triton is there."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import cast

import pytest

from adapter import health
from adapter.checks import Finding
from adapter.errors import InvalidEntries, ModelUnavailable
from adapter.health import GRACE_S, LOOK_S, PRELOAD_RETRY_S, PROBE_S, Health
from adapter.preparation.door import Preparation
from adapter.protocol import Part, TaskName, TypeName
from adapter.registry import Registry
from adapter.triton import Triton
from tests.support.clock import settle
from tests.support.triton import FakePreparation, FakeTriton

VISUAL = Part(TaskName.CLIP, TypeName.VISUAL, "m")
TEXTUAL = Part(TaskName.CLIP, TypeName.TEXTUAL, "m")


class NotingRegistry(Registry):
    """Notes what it is told to unload."""

    def __init__(self, triton: FakeTriton, preparation: FakePreparation) -> None:
        super().__init__(cast("Triton", triton), cast("Preparation", preparation))
        self.unloads: list[tuple[float, Collection[Part]]] = []

    async def unload_idle(self, ttl_s: float, keep: Collection[Part]) -> None:
        self.unloads.append((ttl_s, keep))


class Stage:
    def __init__(self, *preload: Part, ttl_s: float = 0, poll_s: float = 10) -> None:
        self.triton = FakeTriton()
        self.preparation = FakePreparation()
        self.registry = NotingRegistry(self.triton, self.preparation)
        self.findings: list[Finding] = []
        self.health = Health(cast("Triton", self.triton), self.registry, self.look, preload, ttl_s, poll_s)

    async def look(self) -> list[Finding]:
        return self.findings


@asynccontextmanager
async def watched(stage: Stage) -> AsyncIterator[Health]:
    watching = asyncio.create_task(stage.health.watch())
    await settle()
    try:
        yield stage.health
        assert not watching.done(), "nobody watches any more"
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


@pytest.fixture(autouse=True)
def _scene_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scenes' own time instead of the clock's."""
    clock = SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time())
    monkeypatch.setattr(health, "time", clock)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


class TestPreloading:
    async def test_it_is_not_ready_until_everything_is_preloaded(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "adapter.health")
        stage = Stage(VISUAL, TEXTUAL)
        stage.triton.open.clear()
        async with watched(stage) as seen:
            loading = "m (clip visual) is being loaded; m (clip textual) is being loaded"
            assert seen.trouble == loading
            assert not seen.ready.is_set()
            stage.triton.open.set()
            await settle()
            assert seen.trouble is None
            assert seen.ready.is_set()
        assert told(caplog) == [
            f"INFO not ready: {loading}",
            "INFO not ready: m (clip textual) is being loaded",
        ]
        assert sorted(part.type for part in stage.preparation.prepared) == ["textual", "visual"]

    async def test_a_name_that_does_not_exist_is_told_once_and_looked_for_again(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        fault = InvalidEntries("There is no model 'm'. Did you mean n?")
        stage = Stage(VISUAL)
        stage.preparation.faults = [fault, fault]
        async with watched(stage) as seen:
            await asyncio.sleep(2 * PRELOAD_RETRY_S - 1)
            assert seen.trouble == f"m (clip visual) cannot be preloaded: {fault}"
            await asyncio.sleep(PROBE_S + 1)
            assert seen.trouble is None
        assert len(stage.preparation.prepared) == 3
        assert told(caplog) == [
            f"ERROR cannot preload m (clip visual): {fault}",
            f"WARNING not ready: m (clip visual) cannot be preloaded: {fault}",
        ]

    async def test_what_a_preloaded_model_waits_for_is_told_until_it_has_passed(self) -> None:
        stage = Stage(VISUAL)
        stage.preparation.faults = [ModelUnavailable("no network") for _ in range(40)]
        async with watched(stage) as seen:
            await asyncio.sleep(400)
            assert seen.trouble == "m (clip visual) waits: no network"
            await asyncio.sleep(400)
            assert seen.trouble is None


class TestTriton:
    async def test_it_is_not_ready_before_triton_has_answered(self, caplog: pytest.LogCaptureFixture) -> None:
        stage = Stage()
        stage.triton.up = [False, False, True]
        async with watched(stage) as seen:
            assert seen.trouble == "Triton at http://triton:8000 does not answer: connection refused"
            await asyncio.sleep(3 * PROBE_S)
            assert seen.trouble is None
        assert told(caplog) == [
            "WARNING not ready: Triton at http://triton:8000 does not answer: connection refused"
        ]

    async def test_a_short_absence_is_not_told(self) -> None:
        async with watched(stage := Stage()) as seen:
            stage.triton.up = [False]
            await asyncio.sleep(GRACE_S - PROBE_S)
            assert seen.trouble is None

    async def test_a_long_absence_is_told_until_it_is_back(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "adapter.health")
        async with watched(stage := Stage()) as seen:
            stage.triton.up = [False]
            await asyncio.sleep(GRACE_S + PROBE_S)
            assert seen.trouble == "Triton at http://triton:8000 does not answer: connection refused"
            stage.triton.up = [True]
            await asyncio.sleep(PROBE_S)
            assert seen.trouble is None
        assert told(caplog)[-2:] == [
            "WARNING not ready: Triton at http://triton:8000 does not answer: connection refused",
            "INFO ready again",
        ]


class TestHost:
    async def test_what_it_lacks_is_told_and_ready_waits_for_what_nothing_works_without(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        stage = Stage()
        missing = Finding("models", False, "/cahce does not exist: make it", blocks=True)
        little = Finding("shared memory", False, "only 64 MB: --shm-size 1g")
        stage.findings = [missing, little, Finding("state", True, "9 GB free")]
        async with watched(stage) as seen:
            await asyncio.sleep(LOOK_S + 1)
            assert seen.trouble == "models: /cahce does not exist: make it"
            stage.findings = [little]
            await asyncio.sleep(LOOK_S)
            assert seen.trouble is None
            seen.stopping = True
            await asyncio.sleep(PROBE_S)
        assert told(caplog) == [
            "WARNING shared memory: only 64 MB: --shm-size 1g",
            "WARNING not ready: models: /cahce does not exist: make it",
        ]


class TestIdling:
    async def test_idle_models_are_unloaded_at_every_turn_but_preloaded_ones(self) -> None:
        async with watched(stage := Stage(VISUAL, ttl_s=300, poll_s=10)):
            await asyncio.sleep(35)
        assert stage.registry.unloads == [(300, (VISUAL,))] * 3

    @pytest.mark.parametrize("ttl_s", [0, -1])
    async def test_without_a_time_limit_models_stay(self, ttl_s: float) -> None:
        async with watched(stage := Stage(ttl_s=ttl_s)):
            await asyncio.sleep(1000)
        assert stage.registry.unloads == []


def test_a_triton_that_does_not_answer_is_down() -> None:
    async def scene() -> str:
        hung_up = asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()  # until the other side hangs up
            writer.close()
            await writer.wait_closed()
            hung_up.set()

        async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            triton = Triton(f"http://127.0.0.1:{port}", timeout_s=0.05)
            fault = await triton.fault()
            await triton.close()
            await hung_up.wait()
        return fault

    assert "TimeoutError" in asyncio.run(scene())
