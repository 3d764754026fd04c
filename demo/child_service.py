"""The service as a child process, started as a user starts it: for the demo and for benchmarks."""

import asyncio
import io
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import IO, NamedTuple

from adapter.compare.client import connect
from adapter.embedded import free_port
from adapter.errors import SetupError

POLL_S = 0.1
OPEN_TO_THIS_HOST = {
    "IMMICH_HOST": "127.0.0.1",
    "IMMICH_TRITON_TOKEN": "",
    "IMMICH_TRITON_ALLOWED_NETWORKS": "",
    "IMMICH_TRITON_TLS_CERTIFICATE": "",
}
"""Settings of the user's own service that would be in the way here."""


class ChildService(NamedTuple):
    """A running service; the URLs end without a slash. `triton_url` is that of the embedded Triton."""

    url: str
    triton_url: str


@asynccontextmanager
async def start(variables: Mapping[str, str], timeout_s: float) -> AsyncIterator[ChildService]:
    """`immich-triton serve` on a free port of the loopback interface; ready within the block, ended after it.

    Args:
        variables: settings beside those of the environment.

    Raises:
        SetupError: it does not become ready in time; with the end of its log.
    """
    port, triton_port = free_port(), free_port()
    ports = {"IMMICH_PORT": str(port), "IMMICH_TRITON_PORT": str(triton_port)}
    with tempfile.TemporaryFile() as log:
        process = await spawn({**ports, **variables}, log)
        service = ChildService(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{triton_port}")
        try:
            await _until_ready(process, service.url, timeout_s, log)
            yield service
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def spawn(variables: Mapping[str, str], log: IO[bytes]) -> asyncio.subprocess.Process:
    """`immich-triton serve`, ended when this process ends."""
    return await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "adapter", "serve"),
        env={**os.environ, **OPEN_TO_THIS_HOST, **variables},
        stdout=log,
        stderr=log,
    )


async def _until_ready(
    process: asyncio.subprocess.Process, url: str, timeout_s: float, log: io.IOBase
) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while process.returncode is None:
                with suppress(SetupError):
                    async with connect(url):
                        return
                await asyncio.sleep(POLL_S)
        fault = "did not start"
    except TimeoutError:
        fault = f"was not ready within {timeout_s:g} s"
    log.seek(0)
    raise SetupError(f"the service {fault}:\n{log.read().decode(errors='replace')[-2000:]}")
