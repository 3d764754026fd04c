"""Triton from PyPI as a supervised child process."""

import asyncio
import logging
import os
import re
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import aiohttp

from adapter.errors import SetupError
from adapter.wheel import Wheel, assemble_backends, locate

log = logging.getLogger(__name__)
server_log = logging.getLogger("triton")

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - POSIX shared memory, where Python stubs exchange tensors
TEMPORARY = "/tmp"  # noqa: S108 - Triton's Python backend makes a folder there, and nowhere else
MALLOC_ARENAS = "2"
"""Of the C library, in each process: one for each thread, its default, keeps 100 MB more in all."""
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
RESTART_DELAYS_S = (0.2, 1.0, 3.0, 5.0)
HEALTHY_AFTER_S = 30.0

_GLOG_LINE = re.compile(r'^([IWEF])\d{4} [\d:.]+ \d+ (?:\S+\] )?"?(.*?)"?$')
_GLOG_LEVELS = {"I": logging.DEBUG, "W": logging.WARNING, "E": logging.ERROR, "F": logging.CRITICAL}
# What Triton warns of on every host without a GPU, and of what a GPU does not measure.
_NO_GPU = re.compile(
    "CudaDriverHelper|pinned memory|CUDA memory pool|GPU metrics|cudaGetDevice|CUDA driver|NVML|DCGM"
)


def free_port() -> int:
    """A TCP port of the loopback interface that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def shared_memory_prefix(pid: int) -> str:
    return f"immich_triton_{pid}_"


def sweep_shared_memory(pid: int | None = None) -> None:
    """Removes the shared memory of one process's Triton, or of all whose process is gone."""
    for region in SHARED_MEMORY.glob("immich_triton_*_*"):
        owner = region.name.split("_")[2]
        if owner.isdigit() and (int(owner) == pid or not Path(f"/proc/{owner}").exists()):
            region.unlink(missing_ok=True)


class EmbeddedTriton:
    """A `tritonserver` on the loopback interface that is started again whenever it dies."""

    def __init__(
        self,
        repository: Path,
        environment: Mapping[str, str],
        http_port: int = 0,
        metrics_port: int = 0,
        on_restart: Callable[[], object] = lambda: None,
        *,
        gpu: bool = False,
    ) -> None:
        self._repository = repository
        self._environment = environment
        self._port = http_port or free_port()
        self._metrics_port = metrics_port
        self._on_restart = on_restart
        self._gpu = gpu
        self._last_lines: deque[str] = deque(maxlen=20)
        self._supervisor: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The server's process, or None while there is none."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Starts the server and waits until it answers.

        Raises:
            SetupError: it cannot be started, with the end of its log.
        """
        if not os.access(TEMPORARY, os.W_OK):
            raise SetupError(
                f"{TEMPORARY} cannot be written, as Triton must; in Docker, add --tmpfs {TEMPORARY}"
            )
        wheel = locate()
        sweep_shared_memory(os.getpid())
        assemble_backends(wheel)
        self._command = self._command_line(wheel)
        await self._spawn(wheel)
        await self._wait_until_ready()
        self._supervisor = asyncio.create_task(self._supervise(wheel))

    async def stop(self) -> None:
        """Ends the server; leaves no process and no shared memory behind."""
        await asyncio.sleep(0.05)  # the client's connections close: Triton looks for them once a second
        if self._supervisor:
            self._supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervisor
        await self._end_process()
        sweep_shared_memory(os.getpid())

    def _command_line(self, wheel: Wheel) -> list[str]:
        prefix = shared_memory_prefix(os.getpid())
        return [
            *("setpriv", "--pdeathsig", "TERM"),  # not left running when this process is killed
            str(wheel.server),
            f"--model-repository={self._repository}",
            f"--backend-directory={wheel.backends}",
            f"--backend-config=python,shm-region-prefix-name={prefix}",
            "--model-control-mode=explicit",
            "--disable-auto-complete-config",
            "--http-address=127.0.0.1",
            f"--http-port={self._port}",
            "--allow-grpc=false",
            *self._metrics_options(),
            f"--exit-timeout-secs={int(STOP_TIMEOUT_S) - 2}",
        ]

    def _metrics_options(self) -> list[str]:
        if not self._metrics_port:
            return ["--allow-metrics=false"]
        return ["--metrics-address=127.0.0.1", f"--metrics-port={self._metrics_port}"]

    async def _spawn(self, wheel: Wheel) -> None:
        inherited = self._environment.get("LD_LIBRARY_PATH")
        libraries = ":".join([*map(str, wheel.libraries), *([inherited] if inherited else [])])
        bin_folder = Path(sys.executable).parent
        environment = {
            "MALLOC_ARENA_MAX": MALLOC_ARENAS,
            **self._environment,
            "LD_LIBRARY_PATH": libraries,
            "PATH": f"{bin_folder}:{self._environment.get('PATH', '/usr/bin:/bin')}",
            **({} if self._gpu else {"CUDA_VISIBLE_DEVICES": ""}),  # where it sees one, it takes memory of it
        }
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle; its stubs end with its group
            limit=1 << 20,
        )
        log.debug("Triton started as process %d on %s", self._process.pid, self.url)
        self._reader = asyncio.create_task(self._pass_log_through(self._process))

    async def _pass_log_through(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        async for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip()
            if line:
                self._last_lines.append(line)
                level, message = read_log_line(line)
                server_log.log(level, "%s", message)

    async def _wait_until_ready(self) -> None:
        assert self._process
        try:
            async with asyncio.timeout(START_TIMEOUT_S), aiohttp.ClientSession() as session:
                while not await _answers(session, f"{self.url}/v2/health/live"):
                    if self._process.returncode is not None:
                        raise TimeoutError
                    await asyncio.sleep(0.05)
        except TimeoutError:
            await self.stop()
            tail = "\n".join(self._last_lines)
            raise SetupError(f"Triton did not start. The end of its log:\n{tail}") from None

    async def _supervise(self, wheel: Wheel) -> None:
        loop = asyncio.get_running_loop()
        failures, started = 0, loop.time()
        while True:
            assert self._process
            code = await self._process.wait()
            failures = 0 if loop.time() - started > HEALTHY_AFTER_S else failures
            delay_s = RESTART_DELAYS_S[min(failures, len(RESTART_DELAYS_S) - 1)]
            log.error("Triton ended by itself (%s); starting it again in %g s", _describe(code), delay_s)
            self._on_restart()
            await self._end_process()
            sweep_shared_memory(os.getpid())
            await asyncio.sleep(delay_s)
            failures, started = failures + 1, loop.time()
            await self._spawn(wheel)

    async def _end_process(self) -> None:
        """Ends the server if it runs, and its Python stubs in any case."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        self._reader.cancel()


def read_log_line(line: str) -> tuple[int, str]:
    """A line of Triton's log as a level of `logging` and the message without Triton's prefix."""
    match = _GLOG_LINE.match(line)
    if not match:
        return logging.DEBUG, line
    level, message = _GLOG_LEVELS[match[1]], match[2]
    return (logging.DEBUG if _NO_GPU.search(message) else level), message


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


def _describe(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
