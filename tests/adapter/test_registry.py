"""Loading happens once, however many ask for it, and again when it is lost."""

import asyncio
from typing import cast

import pytest

from adapter.errors import ModelRefused, ModelUnavailable
from adapter.preparation.door import Preparation, Prepared
from adapter.protocol import Part, TaskName, TypeName
from adapter.registry import REFUSED_S, RETRY_S, Registry
from adapter.triton import Gone, NotLoaded, Triton, TritonError
from adapter.waits import PAUSES_S
from tests.support.clock import settle
from tests.support.triton import FakePreparation, FakeTriton, error_of

PART = Part(TaskName.CLIP, TypeName.VISUAL, "m")
OTHER = Part(TaskName.CLIP, TypeName.TEXTUAL, "m")
LOAD = ["load m.visual.step", "load m.visual"]
IDLE_S = -1.0
"""Whatever is not in use has been idle for longer than this."""


class Stage:
    """A registry with its surroundings; made inside of a scene."""

    def __init__(self) -> None:
        self.triton = FakeTriton()
        self.preparation = FakePreparation()
        self.registry = Registry(cast("Triton", self.triton), cast("Preparation", self.preparation))

    async def get_many(self, count: int = 5) -> list[Prepared | BaseException]:
        return await asyncio.gather(*(self.registry.get(PART) for _ in range(count)), return_exceptions=True)

    async def use(self) -> Prepared:
        async with self.registry.use(PART) as prepared:
            return prepared


def now() -> float:
    return asyncio.get_running_loop().time()


class TestLoading:
    async def test_the_first_to_ask_loads_and_the_others_wait(self) -> None:
        stage = Stage()
        first, *others = await stage.get_many()
        assert isinstance(first, Prepared)
        assert all(other is first for other in others)
        assert stage.preparation.prepared == [PART]
        assert stage.triton.calls == LOAD, "steps first, the public model last"
        assert await stage.registry.get(PART) is first
        assert stage.triton.calls == LOAD

    async def test_another_model_does_not_wait_for_a_load(self) -> None:
        stage = Stage()
        await stage.registry.get(OTHER)
        stage.triton.open.clear()
        slow = asyncio.create_task(stage.registry.get(PART))
        await settle()
        assert (await stage.registry.get(OTHER)).model == "m.textual"
        assert not slow.done()
        stage.triton.open.set()
        await slow

    async def test_who_waits_for_a_model_is_held_while_its_trouble_may_pass(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        stage = Stage()
        stage.preparation.faults = [ModelUnavailable("the hub cannot be reached") for _ in range(8)]
        stage.triton.faults["load m.visual"] = [TritonError("too little memory")]
        waiting = asyncio.create_task(stage.get_many())
        await asyncio.sleep(sum(PAUSES_S))
        assert stage.registry.waits.of([PART, OTHER]) == "m (clip visual) waits: the hub cannot be reached"
        assert stage.registry.standings()[0].waits_for == "the hub cannot be reached"
        assert all(isinstance(result, Prepared) for result in await waiting)
        assert now() == pytest.approx(sum(PAUSES_S) + 4 * PAUSES_S[-1]), "attempts are spaced out"
        assert stage.registry.waits.of([PART]) == ""
        told = [record.getMessage() for record in caplog.records]
        assert told == [
            "m (clip visual) waits: the hub cannot be reached",
            "m (clip visual) waits: Triton cannot load m (clip visual): too little memory",
        ]

    async def test_trouble_that_may_pass_is_not_waited_for_when_nobody_asks_any_more(self) -> None:
        stage = Stage()
        stage.preparation.faults = [ModelUnavailable("the disk is full") for _ in range(100)]
        waiting = asyncio.create_task(stage.registry.get(PART))
        await settle()
        waiting.cancel()
        await asyncio.sleep(100)
        assert stage.preparation.prepared == [PART, PART]
        assert stage.registry.standings() == []

    async def test_a_refused_model_is_not_looked_at_again_for_some_time(self) -> None:
        stage = Stage()
        stage.preparation.faults = [ModelRefused("no encoder"), ModelRefused("still none")]
        assert type(error_of(await stage.get_many())) is ModelRefused
        await asyncio.sleep(REFUSED_S - 1)
        with pytest.raises(ModelRefused, match="no encoder"):
            await stage.registry.get(PART)
        assert stage.preparation.prepared == [PART], "it was looked at again"
        await asyncio.sleep(2)
        with pytest.raises(ModelRefused, match="still none"):
            await stage.registry.get(PART)
        await asyncio.sleep(REFUSED_S + 1)
        assert (await stage.registry.get(PART)).model == "m.visual"

    async def test_loading_waits_while_triton_is_away(self) -> None:
        stage = Stage()
        stage.triton.faults["load m.visual"] = [Gone("refused"), Gone("refused"), Gone("reset")]
        assert all(isinstance(result, Prepared) for result in await stage.get_many())
        assert stage.preparation.prepared == [PART]
        assert stage.triton.calls == LOAD * 4, "a Triton that is back has nothing loaded"
        assert now() == pytest.approx(3 * RETRY_S)

    async def test_a_waiter_that_gives_up_does_not_cancel_the_load(self) -> None:
        stage = Stage()
        stage.triton.open.clear()
        impatient, patient = (asyncio.create_task(stage.registry.get(PART)) for _ in range(2))
        await settle()
        impatient.cancel()
        await asyncio.wait([impatient])
        assert impatient.cancelled()
        stage.triton.open.set()
        assert (await patient).model == "m.visual"
        assert stage.triton.calls == LOAD

    async def test_a_load_that_nobody_waits_for_any_more_is_finished(self) -> None:
        stage = Stage()
        stage.triton.open.clear()
        only = asyncio.create_task(stage.registry.get(PART))
        await settle()
        only.cancel()
        stage.triton.open.set()
        await settle()
        assert stage.triton.calls == LOAD
        await stage.registry.get(PART)
        assert stage.triton.calls == LOAD

    async def test_how_a_part_stands_is_told_from_its_load_on(self) -> None:
        stage = Stage()
        assert stage.registry.standings() == []
        stage.triton.open.clear()
        waiting = asyncio.create_task(stage.use())
        await settle()
        (loading,) = stage.registry.standings()
        assert (loading.part, loading.users, loading.prepared, loading.fault) == (PART, 1, None, None)
        assert 0 <= loading.since_s < 60, "since another time than its load began"
        stage.triton.open.set()
        prepared = await waiting
        (ready,) = stage.registry.standings()
        assert (ready.part, ready.users, ready.prepared) == (PART, 0, prepared)

    async def test_a_refused_part_stands_with_its_reason(self) -> None:
        stage = Stage()
        stage.preparation.faults = [refusal := ModelRefused("no encoder")]
        await stage.get_many()
        (refused,) = stage.registry.standings()
        assert (refused.part, refused.prepared, refused.fault) == (PART, None, refusal)

    async def test_closing_ends_what_is_under_way(self) -> None:
        stage = Stage()
        stage.triton.open.clear()
        waiting = asyncio.create_task(stage.registry.get(PART))
        await settle()
        await stage.registry.close()
        await asyncio.wait([waiting])
        assert waiting.cancelled()


class TestRecovery:
    async def test_a_lost_model_is_loaded_again_once_for_all_that_notice(self) -> None:
        stage = Stage()
        lost = await stage.registry.get(PART)
        results = await asyncio.gather(*(stage.registry.reload(PART, lost) for _ in range(5)))
        assert stage.triton.calls == LOAD * 2
        assert all(result is results[0] for result in results)
        assert await stage.registry.get(PART) is results[0]
        assert await stage.registry.reload(PART, lost) is results[0], "who notices late gets the new one"
        assert stage.triton.calls == LOAD * 2

    async def test_a_dead_process_is_replaced_once_for_all_that_notice(self) -> None:
        stage = Stage()
        ill = await stage.registry.get(PART)
        await asyncio.gather(*(stage.registry.heal(PART, ill, "m.visual.step") for _ in range(5)))
        await stage.registry.heal(PART, ill, "m.visual.step")
        assert stage.triton.calls == [*LOAD, "unload m.visual.step", *LOAD]

    @pytest.mark.parametrize("fault", [Gone("refused"), NotLoaded("unknown model")])
    async def test_healing_goes_on_where_there_is_nothing_to_unload(self, fault: TritonError) -> None:
        stage = Stage()
        ill = await stage.registry.get(PART)
        stage.triton.faults["unload m.visual.step"] = [fault]
        await stage.registry.heal(PART, ill, "m.visual.step")
        assert stage.triton.calls == [*LOAD, "unload m.visual.step", *LOAD]

    async def test_a_model_that_cannot_be_unloaded_is_unavailable(self) -> None:
        stage = Stage()
        ill = await stage.registry.get(PART)
        stage.triton.faults["unload m.visual.step"] = [TritonError("busy")]
        with pytest.raises(ModelUnavailable, match="busy"):
            await stage.registry.heal(PART, ill, "m.visual.step")


class TestIdling:
    async def test_an_idle_model_is_unloaded_and_loaded_again_when_it_is_asked_for(self) -> None:
        stage = Stage()
        async with stage.registry.use(PART):
            pass
        await stage.registry.unload_idle(IDLE_S, keep=())
        assert stage.triton.calls == [*LOAD, "unload m.visual", "unload m.visual.step"]
        await stage.registry.get(PART)
        assert stage.triton.calls[4:] == LOAD

    async def test_a_model_that_was_used_a_moment_ago_stays(self) -> None:
        stage = Stage()
        async with stage.registry.use(PART):
            pass
        await stage.registry.unload_idle(1000, keep=())
        assert stage.triton.calls == LOAD

    async def test_a_model_stays_while_it_is_in_use_or_to_be_kept(self) -> None:
        stage = Stage()
        await stage.registry.get(OTHER)
        async with stage.registry.use(PART):
            await stage.registry.unload_idle(IDLE_S, keep=(OTHER,))
        assert not [call for call in stage.triton.calls if call.startswith("unload")]

    async def test_a_model_that_is_being_loaded_is_not_unloaded(self) -> None:
        stage = Stage()
        stage.triton.open.clear()
        loading = asyncio.create_task(stage.registry.get(PART))
        await settle()
        await stage.registry.unload_idle(IDLE_S, keep=())
        stage.triton.open.set()
        await loading
        assert stage.triton.calls == LOAD

    async def test_who_asks_for_a_model_while_it_is_unloaded_waits_and_loads_it(self) -> None:
        stage = Stage()
        await stage.registry.get(PART)
        stage.triton.open.clear()
        unloading = asyncio.create_task(stage.registry.unload_idle(IDLE_S, keep=()))
        await settle()
        asking = asyncio.create_task(stage.registry.get(PART))
        await settle()
        assert stage.triton.calls == [*LOAD, "unload m.visual"], "it is loaded while it is unloaded"
        stage.triton.open.set()
        await asyncio.gather(unloading, asking)
        assert stage.triton.calls == [*LOAD, "unload m.visual", "unload m.visual.step", *LOAD]

    async def test_a_triton_that_is_away_has_unloaded_everything(self) -> None:
        stage = Stage()
        await stage.registry.get(PART)
        stage.triton.faults["unload m.visual"] = [Gone("refused")]
        await stage.registry.unload_idle(IDLE_S, keep=())
        await stage.registry.get(PART)
        assert stage.triton.calls == [*LOAD, "unload m.visual", *LOAD]
