"""Thousands of pictures of every form, and what the processes take from first to last."""

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

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
SIDES = (1, 30, 200, 640, 1024, 1440, 1440, 2000)
BROKEN_EVERY = 8
DIFFERENT = 240
"""Pictures; each is sent again and again, and must always be answered as at first."""
CONCURRENCY = 4
SAMPLES = 100
ERRORS, LEAST = 3, 1.0
"""What grows: a slope of three standard errors and more, and of 1 (megabyte, file) in a thousand requests."""


@dataclass(frozen=True)
class Sample:
    """What the processes take after so many requests, each by its name.

    Attributes:
        megabytes: in 10^6 bytes, but what is mapped of files: that is shared with whoever maps them too.
        files: that are open, but connections.
        connections: of TCP. From the adapter to Triton there are as many as were ever needed at a time, for aiohttp
            takes the one that has been idle for longest. So their number says nothing of a leak.
        shared: how many files lie in shared memory.
    """

    after: int
    megabytes: Mapping[str, float]
    files: Mapping[str, float]
    connections: Mapping[str, float]
    threads: Mapping[str, float]
    shared: Mapping[str, float]


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
    alive = {name: psutil.Process(pid) for pid, name in processes.items()}
    connections = {name: len(each.net_connections("tcp")) for name, each in alive.items()}
    return Sample(
        after,
        {name: _own_bytes(each.pid) / 1e6 for name, each in alive.items()},
        {name: each.num_fds() - connections[name] for name, each in alive.items()},
        connections,
        {name: each.num_threads() for name, each in alive.items()},
        {"all": len([*SHARED_MEMORY.glob(f"{shared_memory_prefix(os.getpid())}*")])},
    )


def _own_bytes(pid: int) -> int:
    """Anonymous memory, and the process's share (PSS) of memory that it shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def _look(samples: list[Sample], report: Report) -> None:
    """Adds what became of the processes: from first to last, and by the second half of the requests."""
    half = len(samples) // 2
    thousands = [sample.after / 1000 for sample in samples[half:]]
    for what in ("megabytes", "files", "connections", "threads", "shared"):
        by_sample: list[Mapping[str, float]] = [getattr(sample, what) for sample in samples]
        for name in ("all", *sorted(by_sample[0])) if what == "megabytes" else ("all",):
            numbers = [sum(each.values()) if name == "all" else each[name] for each in by_sample]
            slope = Slope.of(thousands, numbers[half:])
            report.figures[f"{what}, {name}"] = f"{numbers[0]:.0f} → {numbers[-1]:.0f}, {slope} in a thousand"
            if what != "connections" and slope.value > max(ERRORS * slope.error, LEAST):
                report.faults.append(f"{what}, {name}: grows")
        more = {name: by_sample[-1][name] - by_sample[half][name] for name in by_sample[0]}
        if what != "megabytes" and any(more.values()):
            report.figures[f"{what}, more in the second half"] = str({n: c for n, c in more.items() if c})
