"""One file a task: an entry of a request → calls of Triton models → the answer in Immich's words."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from adapter.engine import Engine
from adapter.protocol import Entry, Payload, TypeName

T = TypeVar("T")

AT_ONCE = 32
"""So many pieces of a picture with thousands of faces lie in Triton's memory: more than its models work on."""


@dataclass(frozen=True)
class ImageSize:
    height: int
    width: int


@dataclass(frozen=True)
class Answer:
    """A task's value for the response, and what it saw: of a text, no size. `found` is for the log."""

    value: Any
    image_size: ImageSize | None = None
    found: int | None = None


Task = Callable[[Engine, Mapping[TypeName, Entry], Payload], Coroutine[Any, Any, Answer]]


async def gather(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Runs all, so many at once. The first error is raised as itself, after the others were cancelled."""
    if len(work) == 1:
        return [await work[0]]
    results: dict[int, T] = {}
    ahead = iter(enumerate(work))

    async def take_turns() -> None:
        for place, one in ahead:
            results[place] = await one

    try:
        async with asyncio.TaskGroup() as group:
            for _ in work[:AT_ONCE]:
                group.create_task(take_turns())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    finally:
        for one in work:
            one.close()  # where its turn did not come
    return [results[place] for place in range(len(work))]


def vector_text(embedding: NDArray[np.float32]) -> str:
    """A vector (D,) as the string that Immich hands to its database."""
    return orjson.dumps(embedding, option=orjson.OPT_SERIALIZE_NUMPY).decode()
