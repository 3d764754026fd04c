"""A service of Immich's protocol, asked as Immich's server asks it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from adapter.compare.workload import CONTENT_TYPE, Request
from adapter.errors import SetupError
from adapter.setting_types import http_url

TIMEOUT = aiohttp.ClientTimeout(total=300)
PING_TIMEOUT = aiohttp.ClientTimeout(total=5)
SHOWN_BYTES = 200


class Failed(SetupError):
    """A request that was not answered with a result; the message says how."""


class Service:
    """Use `connect`.

    Attributes:
        url: with its scheme, and without a slash at its end.
        name: the URL without its path, which may be secret.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        try:
            self.url = http_url(url)
        except ValueError as error:
            raise SetupError(f"{url!r} {error}") from error
        self.name, self._session = _without_path(self.url), session

    async def ping(self) -> None:
        """Raises `Failed` where Immich would call the service unhealthy."""
        status, body = await self._ask("GET", "/ping", timeout=PING_TIMEOUT)
        if (status, body) != (200, b"pong"):
            said = body[:SHOWN_BYTES].decode(errors="replace") if status == 503 else ""
            what = (
                f"cannot serve now: {said}"
                if said
                else f"is no machine-learning service: its /ping answers {status}."
            )
            raise Failed(f"{self.name} {what}")

    async def answer(self, request: Request) -> bytes:
        """The body of the answer to `/predict`. Raises `Failed`."""
        headers = {"Content-Type": CONTENT_TYPE}
        status, body = await self._ask("POST", "/predict", data=BytesIO(request.body), headers=headers)
        if status != 200:
            said = body[:SHOWN_BYTES].decode(errors="replace")
            raise Failed(f"{self.name} answers {status} to {request.name} ({request.model}): {said}")
        return body

    async def _ask(self, method: str, path: str, **options: Any) -> tuple[int, bytes]:
        try:
            async with self._session.request(
                method, self.url + path, ssl=not _is_own_host(self.url), **options
            ) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Failed(f"No answer from {self.name}: {_reason(error)}.") from error


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


def _reason(error: Exception) -> str:
    """Why a request failed, without the words of the library."""
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.errno or 0
        return os.strerror(number) if number > 0 else str(error.strerror)  # negative: of the resolver
    return str(error) or "nothing came in time"


def _is_own_host(url: str) -> bool:
    """Whose certificate is for another name than the one that this host calls itself by."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def _without_path(url: str) -> str:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}"
