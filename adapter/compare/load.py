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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from adapter.compare.client import Failed
from adapter.compare.differences import differ
from adapter.compare.workload import Kind, Request, Workload

Send = Callable[[Request], Awaitable[bytes]]
"""Has a request answered; raises `Failed`."""
Hook = Callable[[], Awaitable[None]]

PAUSE_AFTER_FAULT_S = 0.05
POLL_S = 0.005
SHOWN_FAULTS = 3


@dataclass(frozen=True)
class Answered:
    """A request that was answered, in seconds of a clock. `fault` says what was wrong with it, if anything."""

    started: float
    ended: float
    fault: str | None


@dataclass(frozen=True)
class Figures:
    """What the requests of one kind saw.

    Attributes:
        answered: requests answered as when they are sent alone.
        failed: the others; `faults` says how, a few of them.
        per_second: answered requests by the time from the first answer to the last.
    """

    answered: int
    failed: int
    per_second: float
    p50_ms: float
    p95_ms: float
    faults: tuple[str, ...] = ()


async def nothing() -> None:
    """A hook that does nothing."""


class Load:
    """Sends a workload, each kind in turn by itself."""

    def __init__(self, send: Send, workload: Workload) -> None:
        self._send, self._workload = send, workload
        self.alone: dict[str, bytes] = {}

    async def learn(self, answered: Callable[[], None] = lambda: None) -> Mapping[str, bytes]:
        """Sends each request alone and keeps its answer: by that its later answers are judged.

        Args:
            answered: called after each.

        Returns:
            The answers by the requests' names.

        Raises:
            Failed: one is not answered.
        """
        for request in (request for requests in self._workload.values() for request in requests):
            self.alone[request.name] = await self._send(request)
            answered()
        return self.alone

    async def run(
        self, loops: Mapping[Kind, int], duration_s: float, opened: Hook = nothing, closed: Hook = nothing
    ) -> dict[Kind, Figures]:
        """Runs so many loops of each kind.

        Args:
            duration_s: of the window, at the least.
            opened, closed: awaited when the window opens, and when the last kind's window has closed.
        """
        answers: dict[Kind, list[Answered]] = {kind: [] for kind in loops}
        stop = asyncio.Event()

        def windows(start: float) -> dict[Kind, Sequence[Answered]]:
            return {kind: window(answers[kind], start, start + duration_s, loops[kind]) for kind in loops}

        async with asyncio.TaskGroup() as group:
            for kind, number in loops.items():
                turns = count()
                for _ in range(number):
                    group.create_task(self._loop(kind, turns, answers[kind], stop))
            await _until(lambda: all(len(answers[kind]) >= number for kind, number in loops.items()))
            await opened()
            start = time.perf_counter()
            await asyncio.sleep(duration_s)
            await _until(lambda: all(windows(start).values()))
            await closed()
            stop.set()
        return {kind: summarize(counted) for kind, counted in windows(start).items()}

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
    first = bisect_left(answers, start, key=_ended)
    last = max(bisect_left(answers, end, key=_ended), first + least)
    return answers[first : last + 1] if last < len(answers) else ()


def summarize(answers: Sequence[Answered]) -> Figures:
    """What the requests of a window saw; its first answer opens it, and does not count."""
    counted = answers[1:]
    faults = [answer.fault for answer in counted if answer.fault]
    right = [(answer.ended - answer.started) * 1000 for answer in counted if not answer.fault]
    p50, p95 = (float(value) for value in np.percentile(right or [0.0], (50, 95)))
    per_second = len(right) / (answers[-1].ended - answers[0].ended)
    shown = tuple(dict.fromkeys(faults))[:SHOWN_FAULTS]
    return Figures(len(right), len(faults), per_second, p50, p95, shown)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(POLL_S)


def _ended(answer: Answered) -> float:
    return answer.ended
