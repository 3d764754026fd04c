"""Slow and rude clients: others are not held up by them."""

import asyncio
from asyncio import StreamWriter
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from adapter.compare.client import connect
from adapter.compare.workload import CONTENT_TYPE, Kind
from bench.campaigns import wire
from bench.campaigns.asking import Judge, ask_all, everything, mixed
from bench.campaigns.hosts import all_processes
from bench.campaigns.pings import pinged
from bench.campaigns.report import Report, latencies, percentile
from demo.child_service import ChildService

RUDE = {"idle": 1000, "slow bodies": 200, "endless headers": 200, "stopped uploads": 200}
"""How many connections of each kind there are, all at a time. One that is closed is opened again."""
CONCURRENCY = 4
SLOWER, PING_S = 2.0, 0.05
"""What is held up: requests of which the median takes twice as long, a `/ping` of which one in a hundred does."""


async def run(service: ChildService, requests: int = 2000, share: float = 1.0) -> Report:
    """Honest requests, four at a time, without rude clients and beside them, each checked.

    Args:
        share: of `RUDE`.
    """
    report, before, judge, known = Report(), all_processes(service), Judge(), everything()
    medians = []
    async with connect(service.url) as (client,):
        await judge.learn(client, [request for of_kind in known.values() for request in of_kind])
        for name, part in (("alone", 0.0), ("beside rude clients", share)):
            async with _rude(service.url, part) as opened:
                with pinged(service.url) as pings:
                    outcomes = await ask_all(judge, client, mixed(known, requests, 0), CONCURRENCY)
            took = [outcome.took_s for outcome in outcomes]
            medians.append(percentile(took, 50))
            report.figures |= {f"requests, {name}": latencies(took), f"/ping, {name}": latencies(pings)}
            report.faults += [fault for outcome in outcomes if (fault := outcome.lost or outcome.wrong)]
    report.figures["rude connections opened"] = ", ".join(
        f"{kind}: {opened[kind]} for {round(share * at_a_time)}" for kind, at_a_time in RUDE.items()
    )
    if medians[1] > SLOWER * medians[0]:
        report.faults.append("honest requests are held up")
    if percentile(pings, 99) > PING_S:
        report.faults.append("/ping is held up")
    if all_processes(service) != before:
        report.faults.append("a process died")
    return report


@asynccontextmanager
async def _rude(url: str, share: float) -> AsyncIterator[Counter[str]]:
    """Rude clients while the block runs, and how many connections of each kind were opened."""
    acts = dict(zip(RUDE, (_idle, _slow_body, _endless_headers, _stop), strict=True))
    opened = Counter[str]()

    async def behave(kind: str) -> None:
        while True:
            reader, writer = await wire.connect(url)
            opened[kind] += 1
            acting = asyncio.create_task(acts[kind](writer))
            try:
                with suppress(ConnectionError):
                    await reader.read()  # nothing, or a refusal, and the end
            finally:
                acting.cancel()
                writer.transport.abort()

    async with asyncio.TaskGroup() as group:
        numbers = {kind: round(share * number) for kind, number in RUDE.items()}
        tasks = [group.create_task(behave(kind)) for kind, number in numbers.items() for _ in range(number)]
        while opened.total() < len(tasks):
            await asyncio.sleep(0.01)
        yield opened
        for task in tasks:
            task.cancel()


async def _idle(_: StreamWriter) -> None:
    """Says nothing."""


async def _slow_body(writer: StreamWriter) -> None:
    body = everything()[Kind.PICTURES][0].body
    writer.write(wire.head("/predict", CONTENT_TYPE, len(body)))
    for start in range(0, len(body), 1000):
        writer.write(body[start : start + 1000])
        await asyncio.sleep(1)


async def _endless_headers(writer: StreamWriter) -> None:
    writer.write(b"POST /predict HTTP/1.1\r\n")
    while True:
        writer.write(b"x-more: and more\r\n")
        await asyncio.sleep(0.05)


async def _stop(writer: StreamWriter) -> None:
    """Sends the half, and nothing more."""
    body = everything()[Kind.PICTURES][0].body
    writer.write(wire.head("/predict", CONTENT_TYPE, len(body)) + body[: len(body) // 2])
