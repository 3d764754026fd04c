"""A service of Immich's protocol, asked as Immich's server asks it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp

from adapter.compare.workload import CONTENT_TYPE, Request
from adapter.errors import SetupError

TIMEOUT_S = 300
PING_TIMEOUT_S = 5
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
        self.name = shown(url)
        self.url, self._session = url.rstrip("/"), session

    async def ping(self) -> None:
        """Raises `Failed` where Immich would call the service unhealthy."""
        timeout = aiohttp.ClientTimeout(total=PING_TIMEOUT_S)
        try:
            async with self._session.get(f"{self.url}/ping", timeout=timeout) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Failed(f"No answer from {self.name}: {_words(error)}.") from error
        if response.status != 200 or body != b"pong":
            raise Failed(f"{self.name} is no machine-learning service: its /ping answers {response.status}.")

    async def answer(self, request: Request) -> bytes:
        """The body of the answer to `/predict`. Raises `Failed`."""
        headers = {"Content-Type": CONTENT_TYPE}
        try:
            async with self._session.post(
                f"{self.url}/predict", data=request.body, headers=headers
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Failed(f"No answer from {self.name}: {_words(error)}.") from error
        if response.status != 200:
            said = body[:SHOWN_BYTES].decode(errors="replace")
            raise Failed(f"{self.name} answers {response.status} to {request.name} ({request.model}): {said}")
        return body


@asynccontextmanager
async def connect(*urls: str) -> AsyncIterator[list[Service]]:
    """The services at these URLs, with as many connections as there are requests in flight.

    Raises:
        SetupError: one is no URL.
        Failed: one does not answer.
    """
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        services = [Service(url, session) for url in urls]
        for service in services:
            await service.ping()
        yield services


def shown(url: str) -> str:
    """A URL without its path.

    Raises:
        SetupError: it is none.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SetupError(f"{url!r} is no URL of a service; one looks like http://nas:3003")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}"


def _words(error: Exception) -> str:
    return str(error) or f"nothing came within {TIMEOUT_S} s"
