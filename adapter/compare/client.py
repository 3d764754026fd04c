"""A service of Immich's protocol, asked as Immich's server asks it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from adapter.compare.workload import CONTENT_TYPE, Request
from adapter.errors import SetupError

TIMEOUT = aiohttp.ClientTimeout(total=300)
PING_TIMEOUT = aiohttp.ClientTimeout(total=5)
SHOWN_BYTES = 200


class Failed(SetupError):
    """A request that was not answered with a result; the message says how."""


class Service:
    """Use `connect`.

    Attributes:
        url: without a slash at its end.
        name: the URL without its path, which may be secret.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.name, self.url, self._session = _without_path(url), url.rstrip("/"), session

    async def ping(self) -> None:
        """Raises `Failed` where Immich would call the service unhealthy."""
        status, body = await self._ask("GET", "/ping", timeout=PING_TIMEOUT)
        if (status, body) != (200, b"pong"):
            raise Failed(f"{self.name} is no machine-learning service: its /ping answers {status}.")

    async def answer(self, request: Request) -> bytes:
        """The body of the answer to `/predict`. Raises `Failed`."""
        headers = {"Content-Type": CONTENT_TYPE}
        status, body = await self._ask("POST", "/predict", data=request.body, headers=headers)
        if status != 200:
            said = body[:SHOWN_BYTES].decode(errors="replace")
            raise Failed(f"{self.name} answers {status} to {request.name} ({request.model}): {said}")
        return body

    async def _ask(self, method: str, path: str, **options: Any) -> tuple[int, bytes]:
        try:
            async with self._session.request(method, self.url + path, **options) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Failed(f"No answer from {self.name}: {str(error) or 'nothing came in time'}.") from error


@asynccontextmanager
async def connect(*urls: str) -> AsyncIterator[list[Service]]:
    """The services at these URLs, with as many connections as there are requests in flight.

    Raises:
        SetupError: one is no URL.
        Failed: one does not answer.
    """
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
        services = [Service(url, session) for url in urls]
        for service in services:
            await service.ping()
        yield services


def _without_path(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        parts, port = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SetupError(f"{url!r} is no URL of a service; one looks like http://nas:3003")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}"
