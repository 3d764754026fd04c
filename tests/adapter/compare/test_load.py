"""Loads: what is counted, how rates are taken, and that no failure is hidden."""

import asyncio
from collections.abc import Callable

import pytest

from adapter.compare.client import Failed
from adapter.compare.load import Answered, Figures, Load, Round, summarize, window
from adapter.compare.workload import Kind, Request, Workload

RIGHT, WRONG = b'{"clip":"[1,0]"}', b'{"clip":"[0,1]"}'
WORKLOAD: Workload = {
    Kind.TEXTS: [Request(Kind.TEXTS, f"text {number}", "m", text="a") for number in range(3)]
}


class Side:
    """Answers rightly at first; as `behave` says when it is asked by many."""

    name, url = "side", ""

    def __init__(self, behave: Callable[[Request], bytes]) -> None:
        self._behave, self.in_flight, self.most = behave, 0, 0
        self.is_known = False

    async def answer(self, request: Request) -> bytes:
        if not self.is_known:
            return RIGHT
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(0.001)
        self.in_flight -= 1
        return self._behave(request)

    def load(self, loops: int) -> Figures:
        """What so many loops see."""

        async def run() -> Figures:
            load = Load(self, WORKLOAD)
            await load.learn()
            self.is_known = True
            return summarize(Kind.TEXTS, [await load.run({Kind.TEXTS: loops}, 0.1)])

        return asyncio.run(run())


def answers(*ended: float) -> list[Answered]:
    return [Answered(time - 0.5, time, None) for time in ended]


def test_as_many_requests_are_in_flight_as_there_are_loops() -> None:
    side = Side(lambda _: RIGHT)
    found = side.load(4)
    assert (side.most, side.in_flight, found.failed) == (4, 0, 0)
    assert found.answered >= 4
    assert found.per_second > 0
    assert 1 <= found.p50_ms <= found.p95_ms


def test_a_wrong_answer_is_a_failure_with_its_reason() -> None:
    found = Side(lambda request: WRONG if request.name == "text 1" else RIGHT).load(2)
    assert found.answered > 0 < found.failed
    assert found.faults == ["text 1: cosine 0.000000"]


def test_a_server_that_always_fails_has_no_rate() -> None:
    def fail(_: Request) -> bytes:
        raise Failed("status 500: out of order")

    found = Side(fail).load(2)
    assert (found.answered, found.per_second, found.p50_ms) == (0, 0, 0)
    assert found.failed >= 2
    assert found.faults == ["status 500: out of order"]


@pytest.mark.parametrize(
    ("ended", "counted"),
    [
        ((1, 2, 3, 4, 5, 6), (2, 3, 4, 5)),  # from an answer to an answer
        ((1, 2, 3), ()),  # open until an answer came after its end
        ((2, 5, 6), ()),  # open until there is one of each loop after the first
        ((2, 5, 6, 7), (2, 5, 6, 7)),
    ],
)
def test_a_window_goes_from_an_answer_to_an_answer(ended: list[float], counted: list[float]) -> None:
    assert list(window(answers(*ended), start=1.5, end=4.5, least=3)) == answers(*counted)


def test_answers_that_come_many_at_a_time_are_seen_in_proportion() -> None:
    found = answers(*(burst + member * 0.001 for burst in range(6) for member in range(8)))
    seen = Round({Kind.TEXTS: window(found, start=0.5, end=4.5, least=8)})
    assert summarize(Kind.TEXTS, [seen]).per_second == pytest.approx(8)


def test_of_several_rounds_the_median_rate_counts_and_the_latency_of_every_right_answer() -> None:
    rounds = [
        Round({Kind.TEXTS: [Answered(0, n / pace, None) for n in range(35)]}, cpu_ms)
        for pace, cpu_ms in ((1, 3.0), (4, 1.0), (2, 2.0))
    ]
    found = summarize(Kind.TEXTS, rounds)
    assert (found.answered, found.per_second, found.cpu_ms) == (102, 2.0, 2.0)
    assert (found.p50_ms, found.p95_ms) == pytest.approx((7500, 28950))
