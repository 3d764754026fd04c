"""Thousands of pictures of every form, and what the processes take from first to last."""

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psutil

from adapter.compare.client import connect
from adapter.compare.workload import Kind, Request
from adapter.embedded import SHARED_MEMORY, shared_memory_prefix
from adapter.preparation.catalog import DEMO
from bench.campaigns.asking import Judge, Outcome, ask_all
from bench.campaigns.hosts import all_processes
from bench.campaigns.pictures import collection
from bench.campaigns.report import Report, Slope, counted, latencies
from demo.child_service import ChildService

SHARES = {Kind.PICTURES: 6, Kind.GROUPS: 3, Kind.PAGES: 1}
SIDES = (1, 30, 200, 640, 1024, 1440, 1440, 2500)
BROKEN_EVERY = 8
DIFFERENT = 240
"""Pictures; each is sent again and again, and must always be answered as at first."""
CONCURRENCY = 4
SAMPLES = 100
ERRORS, MB = 3, 1.0
"""What grows: a slope of three standard errors and more, and of a megabyte in a thousand requests."""


@dataclass(frozen=True)
class Sample:
    """What the processes take, all of them: memory of each in megabytes, its share (PSS) of what several map."""

    after: int
    megabytes: Mapping[str, float]
    files: int
    threads: int
    shared_memory: int


async def run(
    service: ChildService, requests: int = 10_000, seed: int = 0, say: Callable[[str], None] = lambda _: None
) -> Report:
    """Sends pictures, four at a time, each for a task by chance, and looks at the processes a hundred times."""
    report, processes, judge = Report(), all_processes(service), Judge()
    chance, samples = random.Random(seed), [_sample(processes, 0)]  # noqa: S311
    outcomes: list[Outcome] = []
    async with connect(service.url) as (client,):
        pictures = _pictures(min(DIFFERENT, requests // 2), chance, seed)
        await judge.learn(client, pictures)
        while len(outcomes) < requests:
            some = chance.choices(pictures, k=max(1, requests // SAMPLES))
            outcomes += await ask_all(judge, client, some, CONCURRENCY)
            samples.append(_sample(processes, len(outcomes)))
            say(f"{len(outcomes)} of {requests}, {sum(samples[-1].megabytes.values()):.0f} MB")
    alone = judge.alone.values()
    kinds = ["answered" if isinstance(one, bytes) else "refused" for one in alone]
    report.figures |= {
        "requests": str(requests),
        "pictures": counted(kinds),
        "latency": latencies([outcome.took_s for outcome in outcomes]),
    }
    report.faults += [one for one in alone if isinstance(one, str) and " answers 400 " not in one]
    report.faults += [fault for outcome in outcomes if (fault := outcome.lost or outcome.wrong)]
    _look(samples, report)
    if all_processes(service) != processes:
        report.faults.append("a process died")
    return report


def _pictures(count: int, chance: random.Random, seed: int) -> list[Request]:
    return [
        Request(kind := chance.choices([*SHARES], [*SHARES.values()])[0], name, DEMO[kind.task], file)
        for name, file in collection(count, SIDES, BROKEN_EVERY, seed)
    ]


def _sample(processes: Mapping[int, str], after: int) -> Sample:
    alive = [psutil.Process(pid) for pid in processes]
    return Sample(
        after,
        {processes[each.pid]: each.memory_full_info().pss / 1e6 for each in alive},
        sum(each.num_fds() for each in alive),
        sum(each.num_threads() for each in alive),
        len([*SHARED_MEMORY.glob(f"{shared_memory_prefix(os.getpid())}*")]),
    )


def _look(samples: list[Sample], report: Report) -> None:
    """Adds what became of the processes: from first to last, and by the second half of the requests."""
    half = samples[len(samples) // 2 :]
    thousands = [sample.after / 1000 for sample in half]
    for name in ("all processes", *sorted(samples[0].megabytes)):
        megabytes = [
            sum(sample.megabytes.values()) if name == "all processes" else sample.megabytes[name]
            for sample in samples
        ]
        slope = Slope.of(thousands, megabytes[-len(half) :])
        first, last = megabytes[0], megabytes[-1]
        report.figures[f"MB of {name}"] = f"{first:.1f} → {last:.1f}, {slope} in a thousand requests"
        if slope.value > max(ERRORS * slope.error, MB):
            report.faults.append(f"{name} grows")
    for what in ("files", "threads", "shared memory"):
        numbers = [getattr(sample, what.replace(" ", "_")) for sample in samples]
        slope = Slope.of(thousands, numbers[-len(half) :])
        report.figures[what] = f"{numbers[0]} → {numbers[-1]}, at most {max(numbers)}, {slope}"
        if slope.value > max(ERRORS * slope.error, MB):
            report.faults.append(f"the number of {what} grows")
