"""What is measured: a server over HTTP, or the same models in one process."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Protocol

import aiohttp

from adapter.errors import SetupError
from bench.inprocess import Job
from bench.load import Failed, Hook, Load, Timing
from bench.results import Latency, Scenario
from bench.workloads import CONTENT_TYPE, Request, Workload

TIMEOUT_S = 300
LONGEST_LINE = 1 << 28
"""Of the in-process baseline's answers, in bytes."""


class Target(Protocol):
    """Something that answers requests.

    Attributes:
        name: for the reader.
        pid: the process that all of its processes are below; None where they cannot be seen.
        triton_url: of its Triton; None where there is none, or its counters cannot be read.
    """

    name: str
    pid: int | None
    triton_url: str | None

    async def learn(self) -> Mapping[str, bytes]:
        """As `Load.learn`."""

    async def run(self, scenario: Scenario, timing: Timing, opened: Hook, closed: Hook) -> dict[str, Latency]:
        """As `Load.run`."""


class Served:
    """A server of Immich's protocol.

    Args:
        url: without a slash at its end.
    """

    def __init__(
        self,
        name: str,
        url: str,
        session: aiohttp.ClientSession,
        workload: Workload,
        *,
        pid: int | None = None,
        triton_url: str | None = None,
    ) -> None:
        self.name, self.pid, self.triton_url = name, pid, triton_url
        self._url, self._session = f"{url.rstrip('/')}/predict", session
        self._load = Load(self._send, workload)

    async def learn(self) -> Mapping[str, bytes]:
        return await self._load.learn()

    async def run(self, scenario: Scenario, timing: Timing, opened: Hook, closed: Hook) -> dict[str, Latency]:
        return await self._load.run(scenario.workers, timing, opened, closed)

    async def _send(self, request: Request) -> bytes:
        headers = {"Content-Type": CONTENT_TYPE}
        async with self._session.post(self._url, data=request.body, headers=headers) as response:
            body = await response.read()
        if response.status != 200:
            raise Failed(f"status {response.status}: {body[:200].decode(errors='replace')}")
        return body


@asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A session that keeps as many connections as there are requests in flight."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        yield session


class OneProcess:
    """The same models in one process of their own: the limit. Use `one_process`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.pid: int | None = process.pid
        self.triton_url: str | None = None
        self._process = process

    async def learn(self) -> Mapping[str, bytes]:
        await self.order({"learn": True})
        answers: dict[str, str] = (await self.hear())["answers"]
        return {name: body.encode() for name, body in answers.items()}

    async def run(self, scenario: Scenario, timing: Timing, opened: Hook, closed: Hook) -> dict[str, Latency]:
        await self.order({"workers": dict(scenario.workers), "timing": asdict(timing)})
        await self.hear()
        await opened()
        await self.hear()
        await closed()
        kinds: dict[str, dict[str, Any]] = (await self.hear())["kinds"]
        return {kind: Latency(**{**found, "faults": tuple(found["faults"])}) for kind, found in kinds.items()}

    async def order(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self) -> dict[str, Any]:
        """The next message.

        Raises:
            SetupError: it says that it failed, or it has ended.
        """
        assert self._process.stdout
        line = await self._process.stdout.readline()
        if not line:
            raise SetupError("the in-process baseline ended by itself; its own words are above")
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise SetupError(f"in-process: {message['error']}")
        return message


@asynccontextmanager
async def one_process(name: str, job: Job) -> AsyncIterator[OneProcess]:
    """The process, with everything loaded; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "bench.inprocess"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
    )
    try:
        target = OneProcess(name, process)
        await target.order(asdict(job))
        await target.hear()
        yield target
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
