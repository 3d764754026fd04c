"""Loads: what is counted, how rates are taken, and that no failure is hidden."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapter.errors import SetupError
from bench.load import Answered, Failed, Load, Timing, summarize, window
from bench.results import Latency, Scenario
from bench.targets import Served, client
from bench.workloads import Kind, Request, Workload

RIGHT, WRONG = b'{"clip":"[1,0]"}', b'{"clip":"[0,1]"}'
TIMING = Timing(0.02, 0.1)
WORKLOAD: Workload = {
    Kind.TEXT: [Request(Kind.TEXT, f"text {number}", "{}", text="a") for number in range(3)]
}

Send = Callable[[Request], Awaitable[bytes]]


async def nothing() -> None:
    pass


def run(send: Send, workers: int = 2) -> Latency:
    """A load whose requests are answered rightly when they are sent alone."""

    async def after_learning() -> Latency:
        learning = True

        async def answer(request: Request) -> bytes:
            return RIGHT if learning else await send(request)

        load = Load(answer, WORKLOAD)
        await load.learn()
        learning = False
        return (await load.run({Kind.TEXT: workers}, TIMING, nothing, nothing))[Kind.TEXT]

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
    assert 5 <= found.p50_ms <= found.p90_ms <= found.p95_ms <= found.p99_ms


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
    assert "text 0: status 500: out of order" in found.faults


def test_a_request_that_fails_alone_ends_the_benchmark() -> None:
    async def send(_: Request) -> bytes:
        raise Failed("status 422: no such model")

    with pytest.raises(SetupError, match="text 0, sent alone, failed: status 422: no such model"):
        asyncio.run(Load(send, WORKLOAD).learn())


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
    assert found.mean_ms == pytest.approx(51)
    assert (found.p50_ms, found.p90_ms, found.p95_ms, found.p99_ms) == pytest.approx((51, 91, 96, 100))


def test_a_server_that_answers_wrongly_or_not_at_all_is_reported() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.content_type)
        if len(asked) > 6:
            return web.json_response({"detail": "Internal error"}, status=500)
        await asyncio.sleep(0.01)
        return web.Response(body=RIGHT if len(asked) <= len(WORKLOAD[Kind.TEXT]) else WRONG)

    async def measure() -> Latency:
        app = web.Application()
        app.router.add_post("/secret/predict", answer)
        async with TestServer(app) as server, client() as session:
            target = Served("fake", f"{server.make_url('/secret/')}", session, WORKLOAD)
            await target.learn()
            load = Scenario("texts", {Kind.TEXT: 1})
            return (await target.run(load, Timing(0, 0.2), nothing, nothing))[Kind.TEXT]

    found = asyncio.run(measure())
    assert set(asked) == {"multipart/form-data"}
    assert (found.answered, found.failed > 0) == (0, True)
    assert any("status 500" in fault for fault in found.faults)
    assert any("cosine" in fault for fault in found.faults)
