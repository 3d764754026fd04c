"""Hosts with the demo's models: one in which nothing may die, and several behind HAProxy that are started again."""

import asyncio
import os
import resource
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Self

import aiohttp
import psutil

from adapter import environment
from adapter.compare import processes
from adapter.compare.client import TIMEOUT, Service
from adapter.compare.processes import name_of
from adapter.embedded import EmbeddedTriton, free_port
from adapter.triton import REPOSITORY_KEY_HEADER
from adapter.wheel import Wheel
from bench.campaigns.asking import Judge, everything
from bench.run import START_TIMEOUT_S, parts_of, preload
from demo import child_service
from demo.child_service import ChildService

KEY = "the-key-of-a-campaign"
DOCKERS_LIMIT = 1024
"""Of open files, as a container has it at first."""
RESTART_S = 0.1
"""Docker's and systemd's own."""


def variables(state: Path) -> dict[str, str]:
    """A host's settings: models lie in a state folder and are loaded at start, for good."""
    return {
        **preload(parts_of(everything())),
        "HF_HUB_OFFLINE": "1",
        "IMMICH_TRITON_STATE_FOLDER": str(state),
    }


class _Triton(EmbeddedTriton):
    """As in the container: models are loaded by whoever knows the key."""

    def _command_line(self, wheel: Wheel) -> list[str]:
        guarded = "model-repository,shared-memory,trace,logging"
        option = f"--http-restricted-api={guarded}:{REPOSITORY_KEY_HEADER}={KEY}"
        return [*super()._command_line(wheel), option]


@asynccontextmanager
async def one_host(state: Path) -> AsyncIterator[ChildService]:
    """An adapter that logs nothing, and its Triton with a key, as two containers have them; what they prepare lies
    in `state`."""
    repository = state / "model_repository"
    repository.mkdir(parents=True, exist_ok=True)
    triton = _Triton(repository, environment.child_environment())
    async with AsyncExitStack() as stack:
        await triton.start()
        stack.push_async_callback(triton.stop)
        own = {
            "IMMICH_TRITON_URL": triton.url,
            "IMMICH_TRITON_REPOSITORY_KEY": KEY,
            "IMMICH_LOG_LEVEL": "critical",
        }
        with _limited(DOCKERS_LIMIT):
            starting = child_service.start(variables(state) | own, START_TIMEOUT_S)
            service = await stack.enter_async_context(starting)
        yield ChildService(service.url, triton.url)


def all_processes(service: ChildService) -> dict[int, str]:
    """The adapter, Triton and its steps: name by process."""
    adapter, *_ = processes.find(service.url)
    below = [(each.pid, name_of(each.name(), each.cmdline())) for each in processes.find(service.triton_url)]
    return {adapter.pid: "adapter", **dict(below)}


@contextmanager
def _limited(files: int) -> Iterator[None]:
    """What is started within may open so many files, at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Host:
    """`immich-triton serve`, started again whenever it ends.

    Attributes:
        url: of this host, always the same.
        log: of all its lives.
    """

    def __init__(self, folder: Path, prepared: Path) -> None:
        others = shutil.ignore_patterns("*.lock", "*.log")
        shutil.copytree(prepared, folder, copy_function=os.link, ignore=others)
        self._port, self.log = free_port(), folder / "serve.log"
        self.url = f"http://127.0.0.1:{self._port}"
        self._variables = variables(folder) | {"IMMICH_PORT": str(self._port), "IMMICH_LOG_FORMAT": "text"}

    @asynccontextmanager
    async def supervised(self) -> AsyncIterator[Self]:
        """Runs while the block does."""
        supervisor = asyncio.create_task(self._supervise())
        try:
            yield self
        finally:
            supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await supervisor

    async def _supervise(self) -> None:
        while True:
            with self.log.open("ab") as log:
                process = await child_service.spawn(self._variables, log)
            self._pid = process.pid
            try:
                await process.wait()
            finally:
                if process.returncode is None:
                    process.terminate()
                    await process.wait()
            await asyncio.sleep(RESTART_S)

    def processes(self) -> dict[str, list[psutil.Process]]:
        """What runs of it now: `adapter`, `tritonserver`, `graph`s of ONNX and other `step`s."""
        found: dict[str, list[psutil.Process]] = {}
        with suppress(psutil.Error):
            adapter = psutil.Process(self._pid)
            for process in (adapter, *adapter.children(recursive=True)):
                with suppress(psutil.Error):
                    found.setdefault(_kind_of(process.name(), process.cmdline()), []).append(process)
        return found

    async def recovered(self, judge: Judge) -> float:
        """Seconds until it alone answers a request of every kind as it should."""
        started = time.perf_counter()
        requests = [of_kind[0] for of_kind in everything().values()]
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            service = Service(self.url, session)
            while requests:
                outcome = await judge.ask(service, requests[0])
                if outcome.lost or outcome.wrong:
                    await asyncio.sleep(RESTART_S)
                else:
                    requests.pop(0)
        return time.perf_counter() - started


def _kind_of(program: str, command_line: list[str]) -> str:
    if program.startswith("triton_python"):
        return "graph" if any(word.endswith(".onnx") for word in command_line) else "step"
    return name_of(program, command_line)
