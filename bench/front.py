"""`scripts/bench_front`: two hosts of one core each, alone and behind HAProxy; and one killed under load."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import typer
import uvloop
from rich.console import Console

from adapter import settings
from adapter.compare import pictures, processes, workload
from adapter.compare.client import Service, connect
from adapter.compare.load import Load, Round, summarize
from adapter.compare.table import columns, number
from adapter.compare.workload import Kind, Workload
from adapter.embedded import free_port
from adapter.errors import SetupError
from adapter.protocol import TaskName
from bench import standins
from bench.run import START_TIMEOUT_S, parts_of, preload
from demo import child_service
from demo.models.faces import draw_face

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "haproxy"
LOOPS = 8
"""For each host."""
ROUNDS = 3
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20)}
"""As in the image of the front."""
START_S = 2
app = typer.Typer(add_completion=False)


@app.command()
def bench_front(
    clip: Annotated[str, typer.Option(help="Model for pictures.")] = standins.CLIP,
    duration: Annotated[float, typer.Option(help="Seconds of each run.", min=1)] = 20.0,
    requests: Annotated[int, typer.Option(help="At least so many, while a host is killed.", min=1)] = 2000,
) -> None:
    """Measures photos a second of two hosts, each on a core of its own: one, the other, both behind the front.

    Then one is killed under load. Every answer is checked; for each host eight requests are in flight.
    """
    photos = workload.build([Kind.PICTURES], {TaskName.CLIP: clip}, pictures.drawn(draw_face))
    uvloop.run(_measure(photos, duration, requests))


async def _measure(photos: Workload, duration_s: float, requests: int) -> None:
    console = Console()
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(_host(photos, core)) for core in (0, 1)]
        front = await stack.enter_async_context(haproxy([one, other]))
        sides = await stack.enter_async_context(connect(one, other, front.url))
        loads = [await _learnt(side, photos) for side in sides]
        rounds: list[list[Round]] = [[] for _ in loads]
        for _ in range(ROUNDS):
            for load, hosts, seen in zip(loads, (1, 1, 2), rounds, strict=True):
                seen.append(await load.run({Kind.PICTURES: hosts * LOOPS}, duration_s))
        table = columns(
            "photos a second, eight at a time for each host", "host", "a second", "p50 ms", "p95 ms", "failed"
        )
        figures = [summarize(Kind.PICTURES, seen) for seen in rounds]
        for name, found in zip(("one", "the other", "both, behind the front"), figures, strict=True):
            table.add_row(
                name, *map(number, (found.per_second, found.p50_ms, found.p95_ms)), str(found.failed)
            )
        console.print(table)
        parts = figures[0].per_second + figures[1].per_second
        console.print(f"both behind the front: {figures[2].per_second / parts:.1%} of the sum of each alone")
        console.print(await _killed(loads[2], one, requests / figures[2].per_second * 2))


async def _learnt(side: Service, photos: Workload) -> Load:
    load = Load(side, photos)
    await load.learn()
    return load


async def _killed(load: Load, victim: str, duration_s: float) -> str:
    """What the requests of a run saw in whose first quarter a host was killed."""
    run = asyncio.create_task(load.run({Kind.PICTURES: LOOPS}, duration_s))
    await asyncio.sleep(duration_s / 4)
    for process in processes.find(victim):
        process.kill()
    answers = (await run).windows[Kind.PICTURES][1:]
    latencies_ms = [(answer.ended - answer.started) * 1000 for answer in answers]
    p50, p99 = np.percentile(latencies_ms, (50, 99))
    failed = [answer.fault for answer in answers if answer.fault]
    return (
        f"one host killed: {len(failed)} of {len(answers)} requests failed {failed[:3] or ''}\n"
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, slowest {max(latencies_ms):.0f} ms"
    )


@asynccontextmanager
async def _host(photos: Workload, core: int) -> AsyncIterator[str]:
    """A service with one core and one thread. Both have the folders of prepared models in common."""
    parts = parts_of(photos)
    standins.build(settings.load().models, {part.name for part in parts}, Console(stderr=True).print)
    one_thread = {"MACHINE_LEARNING_MODEL_INTRA_OP_THREADS": "1", "IMMICH_LOG_LEVEL": "warning"}
    async with AsyncExitStack() as stack:
        with _on(core):
            started = child_service.start({**preload(parts), **one_thread}, START_TIMEOUT_S)
            service = await stack.enter_async_context(started)
        yield service.url


@contextmanager
def _on(core: int) -> Iterator[None]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


class Front(NamedTuple):
    """HAProxy; it reads its config anew on SIGUSR2."""

    url: str
    process: asyncio.subprocess.Process


@asynccontextmanager
async def haproxy(urls: Sequence[str]) -> AsyncIterator[Front]:
    """The front of deploy/haproxy before these hosts."""
    listen, metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        _list_hosts(Path(folder, "hosts.cfg"), urls)
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "TERM", "haproxy", "-W"),
            *("-f", str(FOLDER / "haproxy.cfg"), "-f", folder),
            env={
                **os.environ,
                **MALLOC,
                "FRONT_LISTEN": listen,
                "FRONT_METRICS": metrics,
                "IMMICH_TRITON_TOKEN": "",
            },
            stdout=log,
            stderr=log,
        )
        try:
            await asyncio.sleep(START_S)
            yield Front(f"http://{listen}", process)
        finally:
            process.terminate()
            await process.wait()


def _list_hosts(file: Path, urls: Sequence[str]) -> None:
    servers = [f"host{index} {urlsplit(url).netloc}" for index, url in enumerate(urls)]
    checked = [f"server {server}" for server in servers]
    unchecked = [f"server unchecked-{server} backup no-check" for server in servers]
    lists = ((f"backend {name} from {name}", *checked, *unchecked, "") for name in ("photos", "searches"))
    file.write_text("\n".join(line for lines in lists for line in lines))


if __name__ == "__main__":
    try:
        app()
    except SetupError as error:
        raise SystemExit(f"bench_front: {error}") from None
