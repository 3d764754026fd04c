"""The service as the demo sees it: started as a user does, asked as Immich does."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from rich.console import Console

from adapter.compare.client import Service, connect
from adapter.compare.workload import Kind, Request
from demo import child_service

START_TIMEOUT_S = 120


class Client:
    """Takes the time of each request."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def predict(
        self, kind: Kind, model: str, *, image: bytes | None = None, text: str | None = None
    ) -> tuple[dict[str, Any], float]:
        """The answer, and the milliseconds that it took. Raises `SetupError` where it is an error."""
        started = time.perf_counter()
        body = await self._service.answer(Request(kind, kind, model, image, text))
        return json.loads(body), (time.perf_counter() - started) * 1000


@asynccontextmanager
async def opened(url: str | None, console: Console) -> AsyncIterator[Client]:
    """A client of the service at `url`; without one it is started, and stopped at the end.

    Raises:
        SetupError: it cannot be started, or does not answer.
    """
    async with AsyncExitStack() as stack:
        if url is None:
            with console.status("starting Triton and the adapter ..."):
                child = await stack.enter_async_context(child_service.start({}, START_TIMEOUT_S))
            console.print(f"The service runs on {child.url}/")
            url = child.url
        (service,) = await stack.enter_async_context(connect(url))
        yield Client(service)
