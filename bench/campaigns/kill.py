"""Three hosts behind HAProxy, of which something is killed every few seconds: no request may be lost."""

import asyncio
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from statistics import median

import psutil

from adapter.compare.client import Failed, Service, connect
from bench.campaigns.asking import Judge, ask_all, everything, mixed
from bench.campaigns.hosts import Host
from bench.campaigns.report import Report, counted, latencies
from bench.front import Front, haproxy
from bench.run import START_TIMEOUT_S

VICTIMS = ("step", "graph", "tritonserver", "adapter", "host", "front")
"""A step of Python, an ONNX process, Triton, an adapter, a whole host; HAProxy is told to read its list anew."""
HOSTS = "abc"
CONCURRENCY = 16
PAUSE_S = 2.0, 6.0


async def run(
    folder: Path,
    prepared: Path,
    requests: int = 10_000,
    seed: int = 0,
    pause_s: tuple[float, float] = PAUSE_S,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Sends requests, sixteen at a time, and checks each answer.

    Args:
        folder: for the hosts' states and logs.
        prepared: a state folder in which the models are prepared.
        seed: of what is asked and what is killed.
    """
    report, judge, known = Report({"seed": str(seed)}), Judge(), everything()
    killings = _Killings(random.Random(seed), say)  # noqa: S311
    async with AsyncExitStack() as stack:
        hosts = [Host(folder / name, prepared) for name in HOSTS]
        for host in hosts:
            await stack.enter_async_context(host.supervised())
        front = await stack.enter_async_context(haproxy([host.url for host in hosts]))
        client, alone = [
            await stack.enter_async_context(_connected(url)) for url in (front.url, hosts[0].url)
        ]
        await judge.learn(alone, [request for of_kind in known.values() for request in of_kind])
        async with asyncio.TaskGroup() as group:
            killer = group.create_task(killings.go_on(hosts, front, judge, pause_s))
            outcomes = await ask_all(judge, client, mixed(known, requests, seed), CONCURRENCY, say)
            killer.cancel()
        await asyncio.gather(*killings.recoveries)
    lost, wrong = (
        [fault for each in outcomes if (fault := getattr(each, what))] for what in ("lost", "wrong")
    )
    report.figures |= {
        "requests": counted(each.kind for each in outcomes),
        "answered right": str(len(outcomes) - len(lost) - len(wrong)),
        "answered wrong": str(len(wrong)),
        "lost": str(len(lost)),
        "killed": counted(killings.killed),
        "latency": latencies([each.took_s for each in outcomes]),
        **{
            f"right again after the end of a {victim}": _seconds(took)
            for victim, took in killings.took_s.items()
        },
    }
    report.faults += lost + wrong
    return report


class _Killings:
    """What was killed, and how long it took until the host alone answered everything right."""

    def __init__(self, chance: random.Random, say: Callable[[str], None]) -> None:
        self._chance, self._say = chance, say
        self.killed: list[str] = []
        self.took_s: dict[str, list[float]] = defaultdict(list)
        self.recoveries: list[asyncio.Task[None]] = []

    async def go_on(
        self, hosts: Sequence[Host], front: Front, judge: Judge, pause_s: tuple[float, float]
    ) -> None:
        """Kills until it is cancelled: each kind of process as often as the others, on a host by chance."""
        while True:
            for victim in self._chance.sample(VICTIMS, len(VICTIMS)):
                await asyncio.sleep(self._chance.uniform(*pause_s))
                host = self._chance.choice(hosts)
                if victim == "front":
                    front.process.send_signal(signal.SIGUSR2)
                elif found := self._found(victim, host):
                    for process in found:
                        with suppress(psutil.NoSuchProcess):
                            process.kill()
                    self.recoveries.append(asyncio.create_task(self._recover(victim, host, judge)))
                else:
                    continue  # it is down already
                self.killed.append(victim)
                self._say(
                    f"killed: {victim} of {host.url}" if victim != "front" else "the front was reloaded"
                )

    def _found(self, victim: str, host: Host) -> list[psutil.Process]:
        processes = host.processes()
        if victim == "host":
            return [process for of_kind in processes.values() for process in of_kind]
        return [self._chance.choice(processes[victim])] if victim in processes else []

    async def _recover(self, victim: str, host: Host, judge: Judge) -> None:
        self.took_s[victim].append(await host.recovered(judge))


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Service]:
    """The service at a URL, once it is up."""
    async with AsyncExitStack() as stack, asyncio.timeout(START_TIMEOUT_S):
        while True:
            with suppress(Failed):
                (service,) = await stack.enter_async_context(connect(url))
                break
            await asyncio.sleep(0.1)
        yield service


def _seconds(took: Sequence[float]) -> str:
    return f"median {median(took):.1f} s, max {max(took):.1f} s"
