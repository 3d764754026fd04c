"""The one place that talks to Triton: inference and model control over HTTP, and what its errors mean."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import numpy as np
import orjson
from numpy.typing import NDArray

from adapter import tensors

Arrays = tensors.Arrays

HEADER_LENGTH = "Inference-Header-Content-Length"
REPOSITORY_KEY_HEADER = "immich-triton-key"
"""As in Triton's `--http-restricted-api=model-repository:immich-triton-key=<key>`."""


class TritonError(Exception):
    """Triton did not do what it was asked."""


class Rejected(TritonError):
    """The request itself is at fault: a picture that cannot be decoded, a tensor of a wrong shape."""


class NotLoaded(TritonError):
    """The model, or a part of it, is not loaded: never was, or Triton was started again."""


class StubDead(TritonError):
    """The Python process of a model is gone. Triton neither starts it again nor says so by its health."""

    def __init__(self, message: str, model: str) -> None:
        super().__init__(message)
        self.model = model


class OutOfMemory(TritonError):
    """The host's memory, the GPU's or the shared one does not suffice now; others may leave some."""


class Gone(TritonError):
    """The work was lost on its way: the connection broke, Triton died (perhaps of this request), or a step of it."""


class Unreachable(Gone):
    """Nobody is there to take the request."""


_STUB_DEAD = re.compile(r"Stub process '(?P<model>.+)_\d+_\d+' is not healthy")
_OUT_OF_MEMORY = re.compile(
    "allocate memory|Available memory of|out of memory|ALLOC_FAILED|bad.alloc|MemoryError|GPU's memory|"
    "No space left on device"
)
_IN_ENSEMBLE = re.compile(r"^in ensemble '[^']*', ")
_NOT_LOADED = re.compile(r"unknown model|is not ready|no available versions|has no version|is not found")


class Triton:
    """A client of one Triton server.

    Args:
        url: such as `http://127.0.0.1:8000`.
        timeout_s: longest time that one call may take; callers have deadlines of their own.
        repository_key: for a Triton that lets nobody else load and unload.
    """

    def __init__(self, url: str, timeout_s: float, repository_key: str = "") -> None:
        self.url = url.rstrip("/")
        self._key = {REPOSITORY_KEY_HEADER: repository_key} if repository_key else {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            skip_auto_headers=["Accept-Encoding"],  # with it, Triton would compress every tensor
        )

    async def close(self) -> None:
        await self._session.close()

    async def infer(self, model: str, inputs: Arrays) -> Arrays:
        """Runs a model on one batch.

        Args:
            model: Triton's name of it.
            inputs: arrays with the batch axis; text and bytes as object arrays.

        Raises:
            Rejected, NotLoaded, StubDead, OutOfMemory, Gone, Unreachable: see there.
        """
        header, content = tensors.encode(inputs)
        pieces = [header, *content]
        headers = {HEADER_LENGTH: str(len(header)), "Content-Length": str(sum(map(len, pieces)))}
        async with self._ask("POST", f"models/{quote(model)}/infer", headers, _stream(pieces)) as response:
            return tensors.decode(await response.read(), int(response.headers[HEADER_LENGTH]))

    async def load(self, model: str) -> None:
        """Loads a model; an ensemble with its parts. A model that is loaded with the same files stays."""
        async with self._ask("POST", f"repository/models/{quote(model)}/load", self._key):
            pass

    async def unload(self, model: str) -> None:
        async with self._ask("POST", f"repository/models/{quote(model)}/unload", self._key):
            pass

    async def fault(self) -> str:
        """Why it does not answer; nothing where it does. (Its readiness is another thing: one model that failed to load
        makes it "not ready".)"""
        try:
            async with self._ask("GET", "health/live"):
                return ""
        except TritonError as error:
            return str(error)

    @asynccontextmanager
    async def _ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Any = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, where it is a good one; Triton's and aiohttp's errors as ours."""
        url = f"{self.url}/v2/{path}"
        try:
            async with self._session.request(method, url, headers=headers, data=body) as response:
                if response.status != 200:
                    raise translate(await _message(response), response.status)
                yield response
        except aiohttp.ClientConnectorError as error:
            reason = error.os_error.strerror or error.os_error
            raise Unreachable(f"{error.host}:{error.port} cannot be reached ({reason})") from error
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise Gone(f"{type(error).__name__}: {error}") from error


async def _stream(pieces: Sequence[bytes | memoryview]) -> AsyncIterator[bytes | memoryview]:
    for piece in pieces:
        yield piece


async def _message(response: aiohttp.ClientResponse) -> str:
    body = await response.read()
    try:
        return str(orjson.loads(body)["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):  # not Triton's own words
        return body.decode(errors="replace") or f"HTTP status {response.status}"


def translate(message: str, status: int) -> TritonError:
    """What an error of Triton's HTTP interface means."""
    message = _IN_ENSEMBLE.sub("", message)
    if dead := _STUB_DEAD.search(message):
        return StubDead(message, dead["model"])
    if _OUT_OF_MEMORY.search(message):
        return OutOfMemory(message)
    if _NOT_LOADED.search(message):
        return NotLoaded(message)
    if status == 400:
        return Rejected(message)
    if status == 503:  # a step lost what another one had left for it
        return Gone(message)
    return TritonError(message)


def bytes_tensor(value: bytes) -> NDArray[np.object_]:
    """One byte string as a BYTES tensor of shape (1, 1): one request, one element."""
    array: NDArray[np.object_] = np.empty((1, 1), dtype=np.object_)
    array[0, 0] = value
    return array
