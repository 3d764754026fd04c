"""Who waits, and in which order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapter.admission import SMALL_BODY_BYTES, BodyMemory

LARGE = SMALL_BODY_BYTES + 1


@asynccontextmanager
async def holding(memory: BodyMemory, *pieces: int) -> AsyncIterator[None]:
    """A body that has arrived in pieces, and is being answered while the block runs."""
    with memory.share() as share:
        for size in pieces:
            if not share.take(size):
                await share.turn()
        yield


async def test_bodies_wait_for_room_in_order_of_arrival() -> None:
    memory, order = BodyMemory(2 * LARGE), list[str]()

    async def request(name: str, *pieces: int) -> None:
        async with holding(memory, *pieces):
            order.append(name)
            await asyncio.sleep(0)

    await asyncio.gather(request("a", LARGE), request("b", LARGE, LARGE), request("c", LARGE))
    assert order == ["a", "b", "c"]


async def test_a_small_body_never_waits() -> None:
    memory = BodyMemory(LARGE)
    async with holding(memory, LARGE), asyncio.timeout(1), holding(memory, SMALL_BODY_BYTES):
        assert memory.held == LARGE, "it counts what is large alone"
    assert memory.held == 0


async def test_what_has_not_arrived_takes_no_room() -> None:
    memory = BodyMemory(3 * LARGE)
    with memory.share() as stopped:
        assert stopped.take(LARGE)
        async with asyncio.timeout(1), holding(memory, LARGE, LARGE):
            assert memory.held == 3 * LARGE


async def test_bodies_that_do_not_fit_together_do_not_wait_for_each_other() -> None:
    memory, most = BodyMemory(3 * LARGE), 0

    async def request() -> None:
        nonlocal most
        with memory.share() as share:
            for _ in range(3):
                if not share.take(LARGE):
                    await share.turn()
                most = max(most, memory.held)
                await asyncio.sleep(0)

    async with asyncio.timeout(1):
        await asyncio.gather(*(request() for _ in range(20)))
    assert memory.held == 0
    assert most <= memory.capacity + 3 * LARGE


async def test_a_body_over_the_whole_budget_is_let_in() -> None:
    async with asyncio.timeout(1), holding(BodyMemory(LARGE), 10 * LARGE):
        pass


async def test_a_request_that_gives_up_waiting_leaves_its_room_to_others() -> None:
    memory = BodyMemory(LARGE)

    async def request() -> None:
        async with holding(memory, LARGE):
            pass

    async with holding(memory, LARGE):
        impatient, patient = asyncio.create_task(request()), asyncio.create_task(request())
        await asyncio.sleep(0)
        impatient.cancel()
    await asyncio.wait_for(patient, 1)
    assert memory.held == 0


async def test_a_request_cancelled_in_its_turn_gives_its_room_back() -> None:
    memory = BodyMemory(LARGE)

    async def request() -> None:
        async with holding(memory, LARGE):
            pytest.fail("it was cancelled before")

    async with holding(memory, LARGE):
        waiting = asyncio.create_task(request())
        await asyncio.sleep(0)
    waiting.cancel()  # its turn has come, but it has not run since
    await asyncio.gather(waiting, return_exceptions=True)
    assert memory.held == 0
