"""A load: closed loops of requests, each sent when the one before it is answered, and each answer checked.

How a rate is measured without a bias. The loops run already when the window opens, each kind with as many answers
behind it as it has loops, and go on until it is closed: the service is never seen filling up or running dry. The window
of a kind of request opens with its next answer, and closes with its first answer after the duration, but not before as
many answers came since as there are loops; their number by the time between the two is the rate. So no request is half
inside, however slow it is, and answers that come many at a time are seen in proportion. What is in flight at the end is
awaited and not counted.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from statistics import median
from typing import Protocol

import numpy as np

from adapter.compare import usage
from adapter.compare.client import Failed
from adapter.compare.differences import differ
from adapter.compare.usage import Usage
from adapter.compare.workload import Kind, Request, Workload

Loops = Mapping[Kind, int]
"""How many requests of each kind are in flight at a time."""

PAUSE_AFTER_FAULT_S = 0.05
POLL_S = 0.005
SHOWN_FAULTS = 3


class Side(Protocol):
    """One of the two that are compared: a service, or what answers as one. Without a `url` it is in this process."""

    name: str
    url: str

    async def answer(self, request: Request) -> bytes:
        """Raises `Failed`."""


@dataclass(frozen=True)
class Answered:
    """A request that was answered, in seconds of a clock. `fault` says what was wrong with it, if anything."""

    started: float
    ended: float
    fault: str | None


@dataclass(frozen=True)
class Round:
    """A run of a load.

    Attributes:
        windows: the answers to each kind of request; the first opens the window, and does not count.
        cpu_ms: processor time of the service for each answer, of whatever kind.
    """

    windows: Mapping[Kind, Sequence[Answered]]
    cpu_ms: float = 0.0
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class Figures:
    """What the requests of one kind saw.

    Attributes:
        answered: requests answered as when they are sent alone.
        failed: the others; `faults` says how, a few of them.
        per_second: answered requests by the time from the first answer to the last.
        cpu_ms: None where it cannot be seen.
    """

    answered: int
    failed: int
    per_second: float
    p50_ms: float
    p95_ms: float
    cpu_ms: float | None
    usage: Usage
    faults: Sequence[str]


class Load:
    """Sends a workload, each kind in turn by itself.

    Attributes:
        alone: after `learn`, the answer to each request alone, by its name.
    """

    def __init__(self, side: Side, workload: Workload) -> None:
        self._side, self._workload = side, workload
        self.alone: dict[str, bytes] = {}

    async def learn(self, answered: Callable[[], None] = lambda: None) -> None:
        """Sends each request alone and keeps its answer: by that its later answers are judged.

        Args:
            answered: called after each.

        Raises:
            Failed: one is not answered.
        """
        for request in (request for requests in self._workload.values() for request in requests):
            self.alone[request.name] = await self._side.answer(request)
            answered()

    async def run(self, loops: Loops, duration_s: float) -> Round:
        """What is seen in a window of this duration, at the least."""
        answers: dict[Kind, list[Answered]] = {kind: [] for kind in loops}
        stop = asyncio.Event()

        def windows() -> dict[Kind, Sequence[Answered]]:
            return {kind: window(answers[kind], start, start + duration_s, loops[kind]) for kind in loops}

        async with usage.watch(self._side.url) as used, asyncio.TaskGroup() as group:
            for kind, number in loops.items():
                turns = cycle(self._workload[kind])
                for _ in range(number):
                    group.create_task(self._loop(turns, answers[kind], stop))
            await _until(lambda: all(len(answers[kind]) >= number for kind, number in loops.items()))
            start = time.perf_counter()
            await asyncio.sleep(duration_s)
            await _until(lambda: all(windows().values()))
            stop.set()
        return Round(windows(), used.cpu_s / sum(map(len, answers.values())) * 1000, used)

    async def _loop(self, turns: Iterator[Request], answers: list[Answered], stop: asyncio.Event) -> None:
        while not stop.is_set():
            request, started = next(turns), time.perf_counter()
            try:
                body = await self._side.answer(request)
                ended = time.perf_counter()
                fault = self._fault(request, body)
            except Failed as error:
                ended, fault = time.perf_counter(), str(error)
            answers.append(Answered(started, ended, fault))
            if fault:
                await asyncio.sleep(PAUSE_AFTER_FAULT_S)

    def _fault(self, request: Request, body: bytes) -> str | None:
        alone = self.alone[request.name]
        words = [] if body == alone else differ(alone, body).words
        return f"{request.name}: {words[0]}" if words else None


def window(answers: Sequence[Answered], start: float, end: float, least: int) -> Sequence[Answered]:
    """The first answer after `start`, and those that count: all after it, up to the first one after `end`.

    Args:
        answers: in the order in which they came.
        least: how many have to count.

    Returns:
        Nothing as long as the window is open.
    """
    first, last = (bisect_left(answers, at, key=lambda answer: answer.ended) for at in (start, end))
    last = max(last, first + least)
    return answers[first : last + 1] if last < len(answers) else ()


def summarize(kind: Kind, rounds: Sequence[Round]) -> Figures:
    """What the requests of one kind saw in all rounds; of the rates the median, as a host may have been busy."""
    windows = [one.windows[kind] for one in rounds]
    counted = [answer for answers in windows for answer in answers[1:]]
    faults = [answer.fault for answer in counted if answer.fault]
    latencies_ms = [(answer.ended - answer.started) * 1000 for answer in counted if not answer.fault]
    p50, p95 = (float(value) for value in np.percentile(latencies_ms or [0.0], (50, 95)))
    return Figures(
        answered=len(latencies_ms),
        failed=len(faults),
        per_second=median(_rate(answers) for answers in windows),
        p50_ms=p50,
        p95_ms=p95,
        cpu_ms=median(one.cpu_ms for one in rounds) or None,
        usage=usage.mean([one.usage for one in rounds]),
        faults=list(dict.fromkeys(faults))[:SHOWN_FAULTS],
    )


def _rate(answers: Sequence[Answered]) -> float:
    right = sum(not answer.fault for answer in answers[1:])
    return right / (answers[-1].ended - answers[0].ended)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(POLL_S)
