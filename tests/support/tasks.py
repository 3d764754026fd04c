"""An engine that answers from tables, and what a task makes of its answers."""

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

from adapter.engine import Engine
from adapter.protocol import Part, Payload, parse_entries
from adapter.tasks import Answer, Task
from adapter.triton import Arrays

Model = Callable[[Arrays], Arrays]


class FakeEngine:
    """Answers a part by the function of its type. Notes what it was asked; the first to ask waits longest.

    Attributes:
        asked: the parts and inputs, in the order they were asked in.
        loaded: the parts that were asked something, be it only their limit.
    """

    def __init__(self, models: Mapping[str, Model], max_batch_size: int = 16) -> None:
        self._models, self._max_batch_size = models, max_batch_size
        self.asked: list[tuple[Part, Arrays]] = []
        self.loaded: set[Part] = set()

    async def infer(self, part: Part, inputs: Arrays) -> Arrays:
        self.asked.append((part, inputs))
        self.loaded.add(part)
        await asyncio.sleep(1 / len(self.asked))
        return self._models[part.type](inputs)

    async def max_batch_size(self, part: Part) -> int:
        self.loaded.add(part)
        return self._max_batch_size

    def inputs_of(self, kind: str) -> list[Arrays]:
        """What the models of a type were asked."""
        return [inputs for part, inputs in self.asked if part.type == kind]


async def ask(task: Task, engine: FakeEngine, types: Mapping[str, Any], name: str) -> Answer:
    """A task's answer to one picture.

    Args:
        types: such as `{"detection": {"modelName": "m"}}`.
        name: of the task.
    """
    ((_, entries),) = parse_entries(json.dumps({name: types})).items()
    return await task(cast("Engine", engine), entries, Payload(image=b"picture"))


def as_json(answer: Answer) -> Any:
    """An answer's value as Immich reads it; every number in it is finite."""
    value = orjson.loads(orjson.dumps(answer.value, option=orjson.OPT_SERIALIZE_NUMPY))
    assert _is_finite(value), value
    return value


def _is_finite(value: Any) -> bool:
    match value:
        case dict():
            return all(map(_is_finite, value.values()))
        case list():
            return all(map(_is_finite, value))
        case str():
            return True
        case int() | float():
            return math.isfinite(value)
        case _:  # a NaN or an infinity is a null in JSON
            return False
