"""Broken requests without end: each is refused with a reason, and nothing dies, waits or touches a disk.

A request is made anew from the seed and its number. One that is answered as it should not be is written to a file, in
the bytes that were sent.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson
import psutil

from adapter.compare.client import connect
from bench.campaigns import wire
from bench.campaigns.asking import Judge, everything
from bench.campaigns.hosts import all_processes
from bench.campaigns.mutations import SHARES, Case, Corpus, Maker
from bench.campaigns.pings import pinged
from bench.campaigns.report import Report, counted, latencies, percentile
from demo.child_service import ChildService

CONCURRENCY = 16
PATIENCE_S, WHOLE_PATIENCE_S = 0.3, 100.0
"""For the answer to a request that may be without an end, and to one that is whole."""
PING_S, BEFORE_S = 0.05, 3.0
FEW_BYTES = 256 * 1024
"""Pages of files that the kernel writes now and then; bodies on a disk would be many megabytes."""


async def run(
    service: ChildService,
    folder: Path,
    requests: int = 100_000,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Sends them, sixteen at a time, and pings meanwhile. What is answered wrongly is written into `folder`."""
    report, before, corpus = Report(), all_processes(service), Corpus()
    kinds = random.Random(seed).choices([*SHARES], [*SHARES.values()], k=requests)  # noqa: S311
    numbers, statuses = iter(range(requests)), {kind: Counter[str]() for kind in SHARES}
    written = _written(before)

    async def loop() -> None:
        for number in numbers:
            case = Maker(corpus, f"{seed}-{number}").make(kinds[number])
            url = service.triton_url if case.to_triton else service.url
            answer = await wire.exchange(url, case.request, WHOLE_PATIENCE_S if case.is_whole else PATIENCE_S)
            statuses[kinds[number]][str(answer.status) if answer else "no answer"] += 1
            if fault := _fault(case, kinds[number], answer):
                (folder / f"{kinds[number]}-{seed}-{number}").write_bytes(case.request)
                report.faults.append(fault)
            if number % 1000 == 0:
                say(f"{number} of {requests}")

    judge, honest = Judge(), [of_kind[0] for of_kind in everything().values()]
    async with connect(service.url) as (client,):
        await judge.learn(client, honest)
        with pinged(service.url) as before_pings:
            await asyncio.sleep(BEFORE_S)
        with pinged(service.url) as pings:
            async with asyncio.TaskGroup() as group:
                for _ in range(CONCURRENCY):
                    group.create_task(loop())
        after = [await judge.ask(client, request) for request in honest]
    report.faults += [f"afterwards: {fault}" for outcome in after if (fault := outcome.lost or outcome.wrong)]
    report.figures |= {f"answers, {kind}": counted(found.elements()) for kind, found in statuses.items()}
    report.figures |= {"/ping before": latencies(before_pings), "/ping meanwhile": latencies(pings)}
    if percentile(pings, 99) > PING_S:
        report.faults.append("/ping is held up")
    if all_processes(service) != before:
        report.faults.append("a process died")
    new = {name: count - written[name] for name, count in _written(before).items() if count != written[name]}
    report.figures["bytes written to disks"] = (
        ", ".join(f"{name}: {count}" for name, count in new.items()) or "none"
    )
    report.faults += [f"{name} wrote to a disk" for name, count in new.items() if count > FEW_BYTES]
    return report


def _fault(case: Case, kind: str, answer: wire.Answer | None) -> str | None:
    """What is wrong with an answer. Triton's own errors are its own, but none may pass without the key."""
    if answer is None:
        return f"{kind}: a whole request was not answered" if case.is_whole else None
    if kind == "key" and answer.status < 400:
        return f"key: {answer.status} with a wrong key"
    if case.to_triton or answer.status < 400:
        return None
    if answer.status >= 500 and answer.status != 503:
        return f"{kind}: {answer.status} {answer.body[:200]!r}"
    try:
        reason = orjson.loads(answer.body)["detail"]
    except (ValueError, KeyError, TypeError):
        reason = answer.body == b"Invalid HTTP request received."
    return None if reason else f"{kind}: {answer.status} without a reason: {answer.body[:200]!r}"


def _written(processes: Mapping[int, str]) -> dict[str, int]:
    """Bytes that each has had written to disks."""
    alive = {pid: name for pid, name in processes.items() if psutil.pid_exists(pid)}
    return {f"{name} ({pid})": psutil.Process(pid).io_counters().write_bytes for pid, name in alive.items()}
