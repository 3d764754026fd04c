"""What the processes of a service take: memory and processor time.

Memory is PSS, the share of a process in what several of them map, so that the processes' shares add up. Reading it
walks page tables, some milliseconds a process while the service cannot allocate: so it is read after the window, and
within it only what each process has alone (anonymous memory), which costs nothing, and what the shared regions take
together; how much these were higher is added for the peak.
"""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from adapter.embedded import SHARED_MEMORY

SAMPLE_S = 0.25
_ANONYMOUS = re.compile(r"RssAnon:\s*(?P<kib>\d+) kB")
_INSTANCE = re.compile(r"(?P<model>.+)_\d+_\d+")


@dataclass(frozen=True)
class Usage:
    """What processes take.

    Attributes:
        memory_mb: by what they are (`adapter`, `tritonserver`, or the Triton model that a stub runs), in 10^6 bytes.
        peak_mb: the most that all had together.
        cpu_s: processor time of all.
    """

    memory_mb: dict[str, float]
    peak_mb: float
    cpu_s: float = 0.0


class Watch:
    """Watches processes between `open` and `close`; the first is the one that all others are below."""

    def __init__(self, processes: Sequence[psutil.Process]) -> None:
        self._processes, self._peak = processes, 0
        self.usage: Usage | None = None

    async def open(self) -> None:
        self._cpu_s = _cpu_s(self._processes)
        self._sampling = asyncio.create_task(self._sample())

    async def close(self) -> None:
        cpu_s = _cpu_s(self._processes) - self._cpu_s
        self._sampling.cancel()
        growth = max(0, self._peak - _taken(self._processes))
        memory_mb = await asyncio.to_thread(memory_of, self._processes)
        if memory_mb:
            self.usage = Usage(memory_mb, sum(memory_mb.values()) + growth / 1e6, cpu_s)

    async def _sample(self) -> None:
        while True:
            self._peak = max(self._peak, _taken(self._processes))
            await asyncio.sleep(SAMPLE_S)


def memory_of(processes: Sequence[psutil.Process]) -> dict[str, float]:
    """PSS in MB by what the processes are."""
    found: dict[str, float] = {}
    for index, process in enumerate(processes):
        with suppress(psutil.Error):
            name = name_of(process.name(), process.cmdline(), is_root=index == 0)
            found[name] = found.get(name, 0.0) + process.memory_full_info().pss / 1e6
    return found


def name_of(program: str, command_line: Sequence[str], *, is_root: bool) -> str:
    """What a process is to the reader: a stub is named by the Triton model that it runs.

    Args:
        program: the executable's name, which Linux cuts at 15 characters.
        is_root: whether it is the one that all others are below.
    """
    if is_root:
        return "adapter" if "serve" in command_line else program
    if program.startswith("triton_python"):
        instances = (_INSTANCE.fullmatch(argument) for argument in command_line[1:])
        return next((found["model"] for found in instances if found), program)
    return program


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    taken = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            taken += times.user + times.system
    return taken


def _taken(processes: Sequence[psutil.Process]) -> int:
    """Bytes of anonymous memory, and of the regions through which Triton's processes exchange tensors."""
    own = sum(_anonymous(process.pid) for process in processes)
    return own + sum(_bytes_of(region) for region in SHARED_MEMORY.glob("immich_triton_*"))


def _anonymous(pid: int) -> int:
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        if found := _ANONYMOUS.search(status):
            return int(found["kib"]) * 1024
    return 0


def _bytes_of(region: Path) -> int:
    with suppress(OSError):
        return region.stat().st_blocks * 512
    return 0
