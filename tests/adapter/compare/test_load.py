"""Loads: what is counted, how rates are taken, and that no failure is hidden."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from adapter.compare.client import Failed
from adapter.compare.load import Answered, Figures, Load, summarize, window
from adapter.compare.workload import Kind, Request, Workload

RIGHT, WRONG = b'{"clip":"[1,0]"}', b'{"clip":"[0,1]"}'
WORKLOAD: Workload = {
    Kind.TEXTS: [Request(Kind.TEXTS, f"text {number}", "m", text="a") for number in range(3)]
}

Send = Callable[[Request], Awaitable[bytes]]


def run(send: Send, workers: int = 2) -> Figures:
    """A load whose requests are answered rightly when they are sent alone."""

    async def after_learning() -> Figures:
        learning = True

        async def answer(request: Request) -> bytes:
            return RIGHT if learning else await send(request)

        load = Load(answer, WORKLOAD)
        await load.learn()
        learning = False
        return (await load.run({Kind.TEXTS: workers}, 0.1))[Kind.TEXTS]

    return asyncio.run(after_learning())


def answers(*ended: float) -> list[Answered]:
    return [Answered(time - 0.5, time, None) for time in ended]


def test_as_many_requests_are_in_flight_as_there_are_loops() -> None:
    in_flight = most = 0

    async def send(_: Request) -> bytes:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(0.005)
        in_flight -= 1
        return RIGHT

    found = run(send, workers=4)
    assert (most, in_flight, found.failed) == (4, 0, 0)
    assert found.answered >= 4
    assert found.per_second > 0
    assert 5 <= found.p50_ms <= found.p95_ms


def test_a_wrong_answer_is_a_failure_with_its_reason() -> None:
    async def send(request: Request) -> bytes:
        await asyncio.sleep(0.001)
        return WRONG if request.name == "text 1" else RIGHT

    found = run(send)
    assert found.answered > 0
    assert found.failed > 0
    assert found.faults == ("text 1: cosine 0.000000",)


def test_a_server_that_always_fails_has_no_rate() -> None:
    async def send(_: Request) -> bytes:
        raise Failed("status 500: out of order")

    found = run(send)
    assert (found.answered, found.per_second, found.p50_ms) == (0, 0, 0)
    assert found.failed >= 2
    assert found.faults == ("status 500: out of order",)


def test_a_window_goes_from_an_answer_to_an_answer() -> None:
    found = answers(1, 2, 3, 4, 5, 6)
    assert window(found, start=1.5, end=4.5, least=1) == found[1:5]
    assert summarize(found[1:5]).per_second == 1.0
    assert summarize(found[1:5]).answered == 3


def test_a_window_is_open_until_an_answer_came_after_its_end() -> None:
    assert not window(answers(1, 2, 3), start=1.5, end=4.5, least=1)


def test_a_window_holds_an_answer_of_each_loop() -> None:
    slow = answers(5, 9)
    assert not window(slow, start=1, end=4, least=2)
    assert window([*slow, *answers(13)], start=1, end=4, least=2) == [*slow, *answers(13)]


def test_answers_that_come_many_at_a_time_are_seen_in_proportion() -> None:
    found = answers(*(burst + member * 0.001 for burst in range(6) for member in range(8)))
    assert summarize(window(found, start=0.5, end=4.5, least=8)).per_second == pytest.approx(8)


def test_percentiles_are_of_the_right_answers() -> None:
    found = summarize([Answered(0, number / 1000, None) for number in range(102)])
    assert found.answered == 101
    assert (found.p50_ms, found.p95_ms) == pytest.approx((51, 96))
