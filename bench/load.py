"""A load: closed loops of requests, each sent when the one before it is answered, and each answer checked.

How a rate is measured without a bias. The loops run already when the window opens, each kind with as many answers
behind it as it has loops, and go on until it is closed: the target is never seen filling up or running dry. The window
of a kind of request opens with its next answer, and closes with its first answer after the duration, but not before as
many answers came since as there are loops; their number by the time between the two is the rate. So no request is half
inside, however slow it is, and answers that come many at a time are seen in proportion. What is in flight at the end is
awaited and not counted.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import aiohttp
import numpy as np

from adapter.errors import ServiceError, SetupError
from bench.checking import deviation
from bench.results import Latency
from bench.workloads import Kind, Request, Workload

Send = Callable[[Request], Awaitable[bytes]]
"""Has a request answered; raises `Failed`, or an error of aiohttp or of the service."""
Hook = Callable[[], Awaitable[None]]

PAUSE_AFTER_FAULT_S = 0.05
POLL_S = 0.005
SHOWN_FAULTS = 3


class Failed(Exception):
    """A request that was not answered with a result; the message says how."""


@dataclass(frozen=True)
class Timing:
    """Seconds of a run: before the window, and of the window; both are the least."""

    warm_up_s: float
    duration_s: float


@dataclass(frozen=True)
class Answered:
    """A request that was answered, in seconds of a clock. `fault` says what was wrong with it, if anything."""

    started: float
    ended: float
    fault: str | None


class Load:
    """Sends a workload.

    Args:
        send: to the target.
        workload: taken in turn, each kind by itself.
    """

    def __init__(self, send: Send, workload: Workload) -> None:
        self._send, self._workload = send, workload
        self._expected: dict[str, bytes] = {}

    async def learn(self) -> Mapping[str, bytes]:
        """Sends each request alone and keeps its answer: by that its later answers are judged.

        Returns:
            The answers by the requests' names.

        Raises:
            SetupError: one is not answered.
        """
        for request in (request for requests in self._workload.values() for request in requests):
            try:
                self._expected[request.name] = await self._send(request)
            except (Failed, ServiceError, aiohttp.ClientError, TimeoutError) as error:
                raise SetupError(f"{request.name}, sent alone, failed: {_words(error)}") from error
        return self._expected

    async def run(
        self, workers: Mapping[str, int], timing: Timing, opened: Hook, closed: Hook
    ) -> dict[str, Latency]:
        """Runs so many loops of each kind.

        Args:
            opened, closed: awaited when the window opens, and when the last kind's window has closed.

        Returns:
            What the requests of each kind saw.
        """
        answers: dict[str, list[Answered]] = {kind: [] for kind in workers}
        stop = asyncio.Event()

        def windows(start: float, end: float) -> dict[str, Sequence[Answered]]:
            return {kind: window(answers[kind], start, end, number) for kind, number in workers.items()}

        async with asyncio.TaskGroup() as group:
            for kind, number in workers.items():
                turns = count()
                for _ in range(number):
                    group.create_task(self._loop(Kind(kind), turns, answers[kind], stop))
            await asyncio.sleep(timing.warm_up_s)
            await _until(lambda: all(len(answers[kind]) >= number for kind, number in workers.items()))
            await opened()
            start = time.perf_counter()
            end = start + timing.duration_s
            await asyncio.sleep(timing.duration_s)
            await _until(lambda: all(windows(start, end).values()))
            await closed()
            stop.set()
        return {kind: summarize(counted) for kind, counted in windows(start, end).items()}

    async def _loop(
        self, kind: Kind, turns: "count[int]", answers: list[Answered], stop: asyncio.Event
    ) -> None:
        requests = self._workload[kind]
        while not stop.is_set():
            request = requests[next(turns) % len(requests)]
            started = time.perf_counter()
            try:
                body = await self._send(request)
                ended = time.perf_counter()
                fault = self._fault(request, body)
            except (Failed, ServiceError, aiohttp.ClientError, TimeoutError) as error:
                ended, fault = time.perf_counter(), f"{request.name}: {_words(error)}"
            answers.append(Answered(started, ended, fault))
            if fault:
                await asyncio.sleep(PAUSE_AFTER_FAULT_S)

    def _fault(self, request: Request, body: bytes) -> str | None:
        found = deviation(self._expected[request.name], body)
        return None if found.is_same else f"{request.name}: {found.words}"


def window(answers: Sequence[Answered], start: float, end: float, least: int) -> Sequence[Answered]:
    """The first answer after `start`, and those that count: all after it, up to the first one after `end`.

    Args:
        answers: in the order in which they came.
        least: how many have to count.

    Returns:
        Nothing as long as the window is open.
    """
    first = bisect_left(answers, start, key=_ended)
    last = max(bisect_left(answers, end, key=_ended), first + least)
    return answers[first : last + 1] if last < len(answers) else ()


def summarize(answers: Sequence[Answered]) -> Latency:
    """What the requests of a window saw; its first answer opens it, and does not count."""
    counted = answers[1:]
    faults = [answer.fault for answer in counted if answer.fault]
    right = [(answer.ended - answer.started) * 1000 for answer in counted if not answer.fault]
    values = np.array(right or [0.0])
    p50, p90, p95, p99 = (float(value) for value in np.percentile(values, (50, 90, 95, 99)))
    return Latency(
        answered=len(right),
        failed=len(faults),
        per_second=len(right) / (answers[-1].ended - answers[0].ended),
        mean_ms=float(values.mean()),
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        faults=tuple(dict.fromkeys(faults))[:SHOWN_FAULTS],
    )


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(POLL_S)


def _ended(answer: Answered) -> float:
    return answer.ended


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
