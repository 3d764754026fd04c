"""What the processes of a target take: memory and processor time.

Memory is PSS, the share of a process in what several of them map, so that the processes' shares add up. Reading it
walks page tables, some milliseconds a process while the target cannot allocate: so it is read after the window, and
within it only what each process has alone (anonymous memory), which costs nothing, and what the shared regions take
together; how much these were higher is added for the peak.
"""

import asyncio
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from adapter.embedded import SHARED_MEMORY
from bench.results import Process

SAMPLE_S = 0.25
FORWARDER = "docker-proxy"
"""Listens for a container, but is not it."""
_ANONYMOUS = re.compile(r"RssAnon:\s*(?P<kib>\d+) kB")
_INSTANCE = re.compile(r"(?P<model>.+)_\d+_\d+")


class Watch:
    """Watches the processes below one, and that one, between `start` and `stop`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def start(self) -> None:
        self._processes = family(self._pid)
        self._before = [cpu_s(process) for process in self._processes]
        self._sampling = asyncio.create_task(self._sample())
        self._peak = 0

    async def stop(self) -> tuple[tuple[Process, ...], float]:
        """What each process took, and the most memory that they had together, in MB."""
        after = [cpu_s(process) for process in self._processes]
        self._sampling.cancel()
        growth = max(0, self._peak - _taken(self._processes))
        found = await asyncio.to_thread(_describe, self._processes, self._before, after)
        return found, sum(process.memory_mb for process in found) + growth / 1e6

    async def _sample(self) -> None:
        while True:
            self._peak = max(self._peak, _taken(self._processes))
            await asyncio.sleep(SAMPLE_S)


def at_rest(pid: int) -> tuple[Process, ...]:
    """The processes as they are now."""
    processes = family(pid)
    none = [0.0] * len(processes)
    return _describe(processes, none, none)


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def cpu_s(process: psutil.Process) -> float:
    """Processor seconds that a process took so far; 0 where it is gone."""
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def listener(url: str) -> int | None:
    """The process of this host that listens at a URL; None where it cannot be seen."""
    parts = urlsplit(url)
    if not _is_here(parts.hostname or ""):
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:2] == (port,)
            if listens and connection.pid and psutil.Process(connection.pid).name() != FORWARDER:
                return int(connection.pid)
    return None


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


def _describe(
    processes: Sequence[psutil.Process], before: Sequence[float], after: Sequence[float]
) -> tuple[Process, ...]:
    found = []
    for index, process in enumerate(processes):
        with suppress(psutil.NoSuchProcess):
            name = name_of(process.name(), process.cmdline(), is_root=index == 0)
            memory_mb = process.memory_full_info().pss / 1e6
            found.append(Process(name, memory_mb, after[index] - before[index]))
    return tuple(found)


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


def _is_here(host: str) -> bool:
    try:
        return socket.gethostbyname(host).startswith("127.")
    except OSError:
        return False
