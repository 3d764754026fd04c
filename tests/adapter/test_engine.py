"""No request is lost: it waits for its model, and is sent again when the engine broke under it."""

import asyncio
import logging
from typing import Any, cast

import numpy as np
import pytest

from adapter.engine import BREAKDOWNS, Engine
from adapter.errors import BadInput, EngineUnavailable, WrongAnswer
from adapter.preparation.door import Preparation
from adapter.protocol import Part, TaskName, TypeName
from adapter.registry import Registry
from adapter.triton import (
    Arrays,
    Gone,
    NotLoaded,
    OutOfMemory,
    Rejected,
    StubDead,
    Triton,
    TritonError,
    Unreachable,
)
from tests.support.clock import settle
from tests.support.triton import FakePreparation, FakeTriton

PART = Part(TaskName.CLIP, TypeName.VISUAL, "m")
LOAD = ["load m.visual.step", "load m.visual"]
INFER, UNLOAD = "infer m.visual", "unload m.visual.step"
INPUTS = {"image": np.array([[b"picture"]], np.object_)}


class Stage:
    """An engine with its surroundings, whose model answers with `answer`, as `outputs` promises."""

    def __init__(self, answer: Arrays | None = None, **outputs: tuple[int, ...]) -> None:
        vector = np.array([[0.5, -1]], np.float32)
        self.triton = FakeTriton({"embedding": vector} if answer is None else answer)
        self.preparation = FakePreparation(**(outputs or {"embedding": (2,)}))
        self.registry = Registry(cast("Triton", self.triton), cast("Preparation", self.preparation))
        self.engine = Engine(cast("Triton", self.triton), self.registry)

    async def infer(self) -> Arrays:
        return await self.engine.infer(PART, INPUTS)


def dead() -> StubDead:
    return StubDead("Stub process 'm.visual.step_0_0' is not healthy", "m.visual.step")


class TestAnswers:
    async def test_a_request_loads_its_model_and_is_answered(self) -> None:
        stage = Stage()
        assert (await stage.infer())["embedding"].tolist() == [[0.5, -1]]
        await stage.infer()
        assert stage.triton.calls == [*LOAD, INFER, INFER]

    async def test_how_many_items_fit_into_a_request_is_known_once_the_model_is_loaded(self) -> None:
        stage = Stage()
        assert await stage.engine.max_batch_size(PART) == 8
        assert stage.triton.calls == LOAD

    async def test_a_request_at_fault_is_refused_at_once(self) -> None:
        stage = Stage()
        stage.triton.faults[INFER] = [Rejected("The picture is empty (0 bytes).")]
        with pytest.raises(BadInput, match="empty") as caught:
            await stage.infer()
        assert caught.value.status == 400
        assert stage.triton.calls == [*LOAD, INFER]

    async def test_a_failure_that_another_try_would_not_mend_is_not_tried_again(self) -> None:
        stage = Stage()
        stage.triton.faults[INFER] = [TritonError("a graph that fails")]
        with pytest.raises(EngineUnavailable, match="a graph that fails") as caught:
            await stage.infer()
        assert caught.value.status == 503
        assert stage.triton.calls == [*LOAD, INFER]


class TestBreakdowns:
    @pytest.mark.parametrize(
        ("fault", "repair"),
        [
            (Gone("connection reset"), []),
            (Unreachable("connection refused"), []),
            (OutOfMemory("the GPU's memory is full"), []),
            (NotLoaded("unknown model"), LOAD),
            (dead(), [UNLOAD, *LOAD]),
        ],
        ids=["gone", "unreachable", "out of memory", "not loaded", "stub dead"],
    )
    async def test_a_request_is_sent_again_after_the_repair(
        self, fault: TritonError, repair: list[str]
    ) -> None:
        stage = Stage()
        stage.triton.faults[INFER] = [fault]
        assert (await stage.infer())["embedding"].tolist() == [[0.5, -1]]
        assert stage.triton.calls == [*LOAD, INFER, *repair, INFER]

    @pytest.mark.parametrize("fault", [Gone("reset"), dead()], ids=["gone", "stub dead"])
    async def test_a_request_that_breaks_the_engine_every_time_is_given_up(self, fault: TritonError) -> None:
        stage = Stage()
        stage.triton.faults[INFER] = [fault] * (BREAKDOWNS + 1)
        with pytest.raises(EngineUnavailable, match=f"broke {BREAKDOWNS} times") as caught:
            await stage.infer()
        assert caught.value.status == 503
        assert stage.triton.calls.count(INFER) == BREAKDOWNS

    @pytest.mark.parametrize("fault", [Unreachable("refused"), OutOfMemory("full")])
    async def test_what_a_request_waits_for_can_be_told_until_it_has_passed(
        self, fault: TritonError, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        stage = Stage()
        stage.triton.faults[INFER] = [fault, fault]
        waiting = asyncio.create_task(stage.infer())
        await settle()
        assert str(fault) in stage.registry.waits.of([PART])
        await waiting
        assert stage.registry.waits.of([PART]) == ""
        told = [line for line in caplog.messages if "waits" in line]
        assert len(told) == 2
        assert str(fault) in told[0]
        assert told[1] == "m (clip visual) waits no longer"

    @pytest.mark.parametrize("fault", [Unreachable("refused"), OutOfMemory("full"), NotLoaded("unknown")])
    async def test_what_cannot_be_the_requests_fault_is_not_held_against_it(self, fault: TritonError) -> None:
        stage = Stage()
        stage.triton.faults[INFER] = [fault] * (BREAKDOWNS + 1)
        assert (await stage.infer())["embedding"].tolist() == [[0.5, -1]]

    async def test_a_request_that_gives_up_leaves_the_others_alone(self) -> None:
        stage = Stage()
        stage.triton.open.clear()
        impatient, patient = (asyncio.create_task(stage.infer()) for _ in range(2))
        await settle()
        impatient.cancel()
        await asyncio.wait([impatient])
        stage.triton.open.set()
        assert (await patient)["embedding"].tolist() == [[0.5, -1]]
        assert stage.triton.calls == [*LOAD, INFER]

    async def test_a_model_in_use_is_not_unloaded_however_long_it_takes(self) -> None:
        stage = Stage()
        stage.triton.faults[INFER] = [Unreachable("refused")]
        waiting = asyncio.create_task(stage.infer())
        await settle()
        await stage.registry.unload_idle(-1, keep=())
        await waiting
        await stage.registry.unload_idle(-1, keep=())
        assert stage.triton.calls == [*LOAD, INFER, INFER, "unload m.visual", UNLOAD]


class TestChecks:
    """What a model may not say is not handed on."""

    @pytest.mark.parametrize(
        "embedding",
        [[[0.5]], [[0.5, 1, 2]], [[[0.5, 1]]], [0.5], [[np.nan, 1]], [[0.5, np.inf]], [[-np.inf, 1]]],
    )
    async def test_a_wrong_shape_or_number_is_no_answer(self, embedding: list[Any]) -> None:
        stage = Stage({"embedding": np.array(embedding, np.float32)})
        with pytest.raises(WrongAnswer, match="embedding") as caught:
            await stage.infer()
        assert caught.value.status == 503
        assert stage.triton.calls == [*LOAD, INFER]

    async def test_a_missing_output_is_no_answer(self) -> None:
        with pytest.raises(WrongAnswer, match="embedding"):
            await Stage({"image_size": np.zeros((1, 2), np.int32)}, embedding=(2,)).infer()

    @pytest.mark.parametrize("faces", [0, 1, 300])
    async def test_sizes_that_vary_may_be_any(self, faces: int) -> None:
        boxes = np.zeros((1, faces, 4), np.float32)
        assert (await Stage({"boxes": boxes}, boxes=(-1, 4)).infer())["boxes"] is boxes

    async def test_numbers_are_checked_where_they_can_be_wrong_only(self) -> None:
        answer = {"text": np.array([b"a"], np.object_), "image_size": np.array([[1, 2]], np.int32)}
        assert await Stage(answer, text=(), image_size=(2,)).infer() is answer
