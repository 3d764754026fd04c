"""The one place that talks to Triton: inference and model control over HTTP, and what its errors mean."""

import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import numpy as np
from numpy.typing import NDArray
from tritonclient.http import InferInput
from tritonclient.http.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from adapter.errors import SetupError

log = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]

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


class Gone(TritonError):
    """The connection broke: Triton died, perhaps of this request."""


class Unreachable(Gone):
    """Nobody is there to take the request."""


_STUB_DEAD = re.compile(r"Stub process '(?P<model>.+)_\d+_\d+' is not healthy")
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
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise SetupError(f"{url!r} is no URL of a Triton; it looks like http://triton:8000")
        self.url = url
        self._key = {REPOSITORY_KEY_HEADER: repository_key} if repository_key else {}
        self._client = InferenceServerClient(
            parts.netloc + parts.path, ssl=parts.scheme == "https", conn_limit=0, conn_timeout=timeout_s
        )

    async def close(self) -> None:
        await self._client.close()

    async def infer(self, model: str, inputs: Arrays) -> Arrays:
        """Runs a model on one batch.

        Args:
            model: Triton's name of it.
            inputs: arrays with the batch axis; text and bytes as object arrays.

        Raises:
            Rejected, NotLoaded, StubDead, Gone, Unreachable: see there.
        """
        async with _translated():
            result = await self._client.infer(model, [_tensor(*item) for item in inputs.items()])
            outputs = result.get_response()["outputs"]
            return {output["name"]: result.as_numpy(output["name"]) for output in outputs}

    async def load(self, model: str) -> None:
        """Loads a model; an ensemble with its parts. A model that is loaded with the same files stays."""
        async with _translated():
            await self._client.load_model(model, headers=self._key)

    async def unload(self, model: str) -> None:
        async with _translated():
            await self._client.unload_model(model, headers=self._key)

    async def is_up(self) -> bool:
        """Whether it answers. (Its readiness is another thing: one model that failed to load makes it "not ready".)"""
        try:
            async with _translated():
                return bool(await self._client.is_server_live())
        except TritonError:
            return False


def _tensor(name: str, array: NDArray[Any]) -> InferInput:
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """Triton's and aiohttp's errors as ours."""
    try:
        yield
    except InferenceServerException as error:
        raise translate(str(error.message()), error.status()) from error
    except aiohttp.ClientConnectorError as error:
        raise Unreachable(str(error)) from error
    except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
        raise Gone(f"{type(error).__name__}: {error}") from error


def translate(message: str, status: str | None) -> TritonError:
    """What an error of Triton's HTTP interface means."""
    message = _IN_ENSEMBLE.sub("", message)
    if dead := _STUB_DEAD.search(message):
        return StubDead(message, dead["model"])
    if _NOT_LOADED.search(message):
        return NotLoaded(message)
    if status == "400":
        return Rejected(message)
    return TritonError(message)


def bytes_tensor(value: bytes) -> NDArray[np.object_]:
    """One byte string as a BYTES tensor of shape (1, 1): one request, one element."""
    array: NDArray[np.object_] = np.empty((1, 1), dtype=np.object_)
    array[0, 0] = value
    return array
