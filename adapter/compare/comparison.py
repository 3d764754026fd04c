"""A whole comparison: the answers to every request alone, then loads on both services in turn, then their memory."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from adapter.compare import processes
from adapter.compare.differences import differ
from adapter.compare.load import Figures, Load, Loops, Round, Side, summarize
from adapter.compare.verdicts import Answers, Verdict, join, judge
from adapter.compare.workload import Kind, Workload

AT_A_TIME = (1, 4, 16)
ROUNDS = 3
LONG_S = 30
"""A load whose first rounds took longer is not run again: slow answers wait for each other."""

Done = Callable[[str, int], None]
"""Told what was done, and how many steps that was."""


@dataclass(frozen=True)
class Speed:
    """One kind of requests, so many at a time, beside others. `ratio` is our rate by theirs."""

    kind: Kind
    at_a_time: int
    beside: Mapping[Kind, int]
    ours: Figures
    theirs: Figures
    ratio: float | None


@dataclass(frozen=True)
class Comparison:
    """What was found. `memory_mb` is ours and theirs, 0 where it cannot be seen."""

    ours: str
    theirs: str
    answers: Sequence[Answers]
    verdicts: Sequence[Verdict]
    speeds: Sequence[Speed]
    memory_mb: Sequence[float]


@dataclass(frozen=True)
class Plan:
    """What is sent: the requests, and the loads that are made of them, each run for so long, so many times."""

    workload: Workload
    loads: Sequence[Loops]
    duration_s: float
    rounds: int = ROUNDS

    @property
    def steps(self) -> int:
        """How many steps a comparison has."""
        return 2 * (sum(map(len, self.workload.values())) + self.rounds * len(self.loads))


async def compare(ours: Side, theirs: Side, plan: Plan, done: Done) -> Comparison:
    """Compares two services.

    Raises:
        Failed: a request, sent alone, is not answered.
    """
    loads = [Load(side, plan.workload) for side in (ours, theirs)]
    for load in loads:
        await load.learn(lambda: done("each request alone", 1))
    one, other = (load.alone for load in loads)
    answers = [
        join(kind, {each.name: differ(other[each.name], one[each.name]) for each in requests})
        for kind, requests in plan.workload.items()
    ]
    speeds = [speed for loops in plan.loads for speed in await _speeds(loops, loads, plan, done)]
    memory_mb = [sum(processes.memory_mb(side.url).values()) for side in (ours, theirs)]
    return Comparison(ours.name, theirs.name, answers, judge(answers), speeds, memory_mb)


async def _speeds(loops: Loops, loads: Sequence[Load], plan: Plan, done: Done) -> list[Speed]:
    """Rounds on both services in turn; who comes first changes every round."""
    found: tuple[list[Round], list[Round]] = [], []
    what = f"{', '.join(f'{kind} {number}' for kind, number in loops.items())} at a time"
    started = time.monotonic()
    for number in range(plan.rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            found[which].append(await loads[which].run(loops, plan.duration_s))
            done(what, 1)
        if time.monotonic() - started > LONG_S:
            done(what, 2 * (plan.rounds - number - 1))
            break
    return [_speed(kind, loops, *(summarize(kind, rounds) for rounds in found)) for kind in loops]


def _speed(kind: Kind, loops: Loops, ours: Figures, theirs: Figures) -> Speed:
    beside = {other: number for other, number in loops.items() if other is not kind}
    ratio = ours.per_second / theirs.per_second if theirs.per_second else None
    return Speed(kind, loops[kind], beside, ours, theirs, ratio)
