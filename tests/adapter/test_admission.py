"""Who waits, and in which order."""

import asyncio

from adapter.admission import SMALL_BODY_BYTES, BodyMemory

LARGE = SMALL_BODY_BYTES + 1


def test_bodies_wait_for_room_in_order_of_arrival() -> None:
    async def scene() -> list[str]:
        memory, order = BodyMemory(2 * LARGE), list[str]()

        async def request(name: str, size: int) -> None:
            async with memory.hold(size):
                order.append(name)
                await asyncio.sleep(0)

        await asyncio.gather(request("a", LARGE), request("b", 2 * LARGE), request("c", LARGE))
        return order

    assert asyncio.run(scene()) == ["a", "b", "c"]


def test_a_small_body_never_waits() -> None:
    async def scene() -> None:
        memory = BodyMemory(LARGE)
        async with memory.hold(LARGE), asyncio.timeout(1), memory.hold(SMALL_BODY_BYTES):
            assert memory.held == LARGE, "it counts what is large alone"
        assert memory.held == 0

    asyncio.run(scene())


def test_a_body_over_the_whole_budget_is_let_in_alone() -> None:
    async def scene() -> None:
        async with asyncio.timeout(1), BodyMemory(LARGE).hold(10 * LARGE):
            pass

    asyncio.run(scene())


def test_a_request_that_gives_up_waiting_leaves_its_room_to_others() -> None:
    async def scene() -> None:
        memory = BodyMemory(LARGE)

        async def request() -> None:
            async with memory.hold(LARGE):
                pass

        async with memory.hold(LARGE):
            impatient = asyncio.create_task(request())
            patient = asyncio.create_task(request())
            await asyncio.sleep(0)
            impatient.cancel()
        await asyncio.wait_for(patient, 1)
        await asyncio.wait_for(request(), 1)

    asyncio.run(scene())


def test_a_request_cancelled_in_its_turn_gives_its_room_back() -> None:
    async def scene() -> None:
        memory = BodyMemory(LARGE)

        async def request() -> None:
            async with memory.hold(LARGE):
                pass

        async with memory.hold(LARGE):
            waiting = asyncio.create_task(request())
            await asyncio.sleep(0)
        waiting.cancel()  # its turn has come, but it has not run since
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.wait_for(request(), 1)

    asyncio.run(scene())
