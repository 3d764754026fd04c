"""What a service of this host uses under a load: cores of the processor, and the GPU."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import astuple, dataclass, field
from statistics import fmean

from adapter.compare import processes

GPU = "nvidia-smi --id=0 --query-gpu=utilization.gpu,memory.used --format=csv,noheader,nounits --loop-ms=200"


@dataclass(frozen=True)
class Gpu:
    """The first GPU as its driver sees it: the part of the time in which it computes, and the memory that is taken."""

    percent: float
    mib: float


@dataclass
class Usage:
    """What was used.

    Attributes:
        cpu_s: processor time, all in all; 0 where it cannot be seen.
        cores: that each process kept busy, by its name.
        gpu: None where there is none.
    """

    cpu_s: float = 0.0
    cores: Mapping[str, float] = field(default_factory=dict)
    gpu: Gpu | None = None


@asynccontextmanager
async def watch(url: str) -> AsyncIterator[Usage]:
    """What the service at a URL uses while the block runs; it is known after it."""
    usage, started, before = Usage(), time.perf_counter(), processes.cpu_s(url)
    async with _watch_gpu() as seen:
        yield usage
    seconds = time.perf_counter() - started
    taken = {name: cpu_s - before.get(name, 0.0) for name, cpu_s in processes.cpu_s(url).items()}
    usage.cpu_s = sum(taken.values())
    usage.cores = {name: cpu_s / seconds for name, cpu_s in taken.items()}
    usage.gpu = _mean_gpu(seen) if taken else None


def mean(usages: Sequence[Usage]) -> Usage:
    """Several as one."""
    names = dict.fromkeys(name for usage in usages for name in usage.cores)
    return Usage(
        fmean(usage.cpu_s for usage in usages),
        {name: fmean(usage.cores.get(name, 0.0) for usage in usages) for name in names},
        _mean_gpu([usage.gpu for usage in usages if usage.gpu]),
    )


def _mean_gpu(seen: Sequence[Gpu]) -> Gpu | None:
    return Gpu(*map(fmean, zip(*map(astuple, seen), strict=True))) if seen else None


@asynccontextmanager
async def _watch_gpu() -> AsyncIterator[list[Gpu]]:
    """What the driver's own program says while the block runs, after it; nothing where there is none."""
    seen: list[Gpu] = []
    try:
        process = await asyncio.create_subprocess_exec(
            *GPU.split(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except FileNotFoundError:
        yield seen
        return
    try:
        yield seen
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        lines = (await process.communicate())[0].decode().splitlines()
        with suppress(ValueError):  # it says in words what it cannot do
            seen.extend(Gpu(*map(float, line.split(","))) for line in lines)
