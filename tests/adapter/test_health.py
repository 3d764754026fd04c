"""What `/ping` knows: whether all that is to be preloaded is, and whether Triton is there."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import cast

import pytest

from adapter import health
from adapter.errors import ModelUnavailable
from adapter.health import GRACE_S, PRELOAD_RETRY_S, PROBE_S, Health
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
        self.health = Health(cast("Triton", self.triton), self.registry, preload, ttl_s, poll_s)


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


class TestPreloading:
    async def test_it_is_not_well_until_everything_is_preloaded(self) -> None:
        stage = Stage(VISUAL, TEXTUAL)
        stage.triton.open.clear()
        assert stage.health.trouble == "models are being loaded"
        async with watched(stage) as seen:
            assert seen.trouble == "models are being loaded"
            stage.triton.open.set()
            await settle()
            assert seen.trouble is None
        assert sorted(part.type for part in stage.preparation.prepared) == ["textual", "visual"]

    async def test_a_model_that_cannot_be_had_is_tried_again(self) -> None:
        stage = Stage(VISUAL)
        stage.preparation.faults = [ModelUnavailable("no network"), ModelUnavailable("no network")]
        async with watched(stage) as seen:
            await asyncio.sleep(2 * PRELOAD_RETRY_S - 1)
            assert (seen.trouble, len(stage.preparation.prepared)) == ("models are being loaded", 2)
            await asyncio.sleep(2)
            assert (seen.trouble, len(stage.preparation.prepared)) == (None, 3)


class TestTriton:
    async def test_a_short_absence_is_not_told(self) -> None:
        async with watched(stage := Stage()) as seen:
            stage.triton.up = [False]
            await asyncio.sleep(GRACE_S - PROBE_S)
            assert seen.trouble is None

    async def test_a_long_absence_is_told_until_it_is_back(self) -> None:
        async with watched(stage := Stage()) as seen:
            stage.triton.up = [False]
            await asyncio.sleep(GRACE_S + PROBE_S)
            assert seen.trouble == "the inference engine is down"
            stage.triton.up = [True]
            await asyncio.sleep(PROBE_S)
            assert seen.trouble is None


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
    async def scene() -> bool:
        hung_up = asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()  # until the other side hangs up
            writer.close()
            await writer.wait_closed()
            hung_up.set()

        async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            triton = Triton(f"http://127.0.0.1:{port}", timeout_s=0.05)
            is_up = await triton.is_up()
            await triton.close()
            await hung_up.wait()
        return is_up

    assert asyncio.run(scene()) is False
