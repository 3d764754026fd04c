"""The service as the demo sees it: started as a user does, asked as Immich does."""

import io
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from adapter.errors import SetupError
from demo import child_service

START_TIMEOUT_S = 120


class Client:
    """Sends one task a request, and takes the time."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def predict(
        self, task: str, types: Mapping[str, object], payload: Mapping[str, str | bytes]
    ) -> tuple[dict[str, Any], float]:
        """The answer, and the milliseconds that it took.

        Raises:
            SetupError: it is an error.
        """
        form = aiohttp.FormData()
        form.add_field("entries", json.dumps({task: types}))
        for name, value in payload.items():
            form.add_field(name, value, filename="blob" if isinstance(value, bytes) else None)
        started = time.perf_counter()
        async with self._session.post("predict", data=form) as response:
            answer: dict[str, Any] = await response.json()
            if response.status != 200:
                raise SetupError(f"the service answered {response.status}: {answer.get('detail')}")
        return answer, (time.perf_counter() - started) * 1000


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """A picture (height, width, 3), uint8, RGB, as Immich sends its previews."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@asynccontextmanager
async def connect(url: str | None, console: Console) -> AsyncIterator[Client]:
    """A client of the service at `url`; without one it is started, and stopped at the end.

    Raises:
        SetupError: it cannot be started.
    """
    async with _service(url, console) as base, aiohttp.ClientSession(base) as session:
        yield Client(session)


@asynccontextmanager
async def _service(url: str | None, console: Console) -> AsyncIterator[str]:
    if url:
        yield url.rstrip("/") + "/"
        return
    async with AsyncExitStack() as stack:
        with console.status("starting Triton and the adapter ..."):
            service = await stack.enter_async_context(child_service.start({}, START_TIMEOUT_S))
        console.print(f"The service runs on {service.url}/")
        yield f"{service.url}/"
