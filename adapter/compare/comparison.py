"""A whole comparison: the answers to every request alone, then loads on both services in turn, then their memory."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from adapter.compare import rounds
from adapter.compare.client import Service
from adapter.compare.differences import differ
from adapter.compare.load import Figures, Load
from adapter.compare.memory import memory_mb
from adapter.compare.verdicts import Answers, Verdict, judge
from adapter.compare.workload import Kind, Request, Workload

AT_A_TIME = (1, 4, 16)
ROUNDS = 3
LONG_S = 30
"""A load whose first rounds took longer is not run again: slow answers wait for each other."""

Done = Callable[[str, int], None]
"""Told what was done, and how many steps that was."""


@dataclass(frozen=True)
class Speed:
    """One kind of requests, so many at a time. `ratio` is our rate by theirs."""

    kind: Kind
    at_a_time: int
    ours: Figures
    theirs: Figures
    ratio: float | None


@dataclass(frozen=True)
class Comparison:
    """What was found. `memory_mb` is ours and theirs, None where it cannot be seen."""

    ours: str
    theirs: str
    answers: Sequence[Answers]
    verdicts: Sequence[Verdict]
    speeds: Sequence[Speed]
    memory_mb: tuple[float | None, float | None]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "answers": [answers.as_json() for answers in self.answers]}


def steps(workload: Workload) -> int:
    """How many steps a comparison has."""
    return 2 * (sum(map(len, workload.values())) + ROUNDS * len(AT_A_TIME) * len(workload))


async def compare(
    ours: Service, theirs: Service, workload: Workload, duration_s: float, done: Done
) -> Comparison:
    """Compares two services.

    Args:
        duration_s: of each run of a load, at the least.

    Raises:
        Failed: a request, sent alone, is not answered.
    """
    loads = [Load(service.answer, workload) for service in (ours, theirs)]
    for load in loads:
        await load.learn(lambda: done("each request alone", 1))
    answers = [
        _answers(kind, requests, *(load.alone for load in loads)) for kind, requests in workload.items()
    ]
    speeds = [
        await _speed(kind, at_a_time, loads, duration_s, done) for kind in workload for at_a_time in AT_A_TIME
    ]
    memory = memory_mb(ours.url), memory_mb(theirs.url)
    return Comparison(ours.name, theirs.name, answers, judge(answers), speeds, memory)


def _answers(
    kind: Kind, requests: Sequence[Request], ours: Mapping[str, bytes], theirs: Mapping[str, bytes]
) -> Answers:
    found = Answers(kind)
    for request in requests:
        found.add(request.name, differ(theirs[request.name], ours[request.name]))
    return found


async def _speed(kind: Kind, at_a_time: int, loads: Sequence[Load], duration_s: float, done: Done) -> Speed:
    """Rounds on both services in turn; who comes first changes every round."""
    found: tuple[list[Figures], list[Figures]] = [], []
    started = time.monotonic()
    for number in range(ROUNDS):
        for which in (0, 1) if number % 2 else (1, 0):
            found[which].append((await loads[which].run({kind: at_a_time}, duration_s))[kind])
            done(f"{kind}, {at_a_time} at a time", 1)
        if time.monotonic() - started > LONG_S:
            done(f"{kind}, {at_a_time} at a time", 2 * (ROUNDS - number - 1))
            break
    ours, theirs = found
    return Speed(kind, at_a_time, rounds.middle(ours), rounds.middle(theirs), rounds.ratio(ours, theirs))
