"""A Triton that notes what it is asked, and fails or waits as it is told."""

import asyncio
from collections import defaultdict
from typing import Any

from adapter.preparation.door import Prepared
from adapter.protocol import Part
from adapter.triton import Arrays

Fault = Exception | None


class FakeTriton:
    """Asked as `adapter.triton.Triton` is.

    Attributes:
        calls: what it was asked, such as `load m.visual`.
        faults: for each such call, what is raised the next times; None is a time without a fault.
        answer: what every model answers.
        up: whether it answers the next times; the last one holds from then on.
        open: cleared, loads and unloads wait until it is set.
    """

    def __init__(self, answer: Arrays | None = None) -> None:
        self.calls: list[str] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.answer = answer or {}
        self.up = [True]
        self.open = asyncio.Event()
        self.open.set()
        self.url = "http://triton:8000"

    async def infer(self, model: str, inputs: Arrays) -> Arrays:
        await self._act(f"infer {model}")
        return self.answer

    async def load(self, model: str) -> None:
        await self._act(f"load {model}")
        await self.open.wait()

    async def unload(self, model: str) -> None:
        await self._act(f"unload {model}")
        await self.open.wait()

    async def fault(self) -> str:
        await asyncio.sleep(0)
        return "" if (self.up.pop(0) if len(self.up) > 1 else self.up[0]) else "connection refused"

    async def _act(self, call: str) -> None:
        self.calls.append(call)
        await asyncio.sleep(0)
        if self.faults[call] and (fault := self.faults[call].pop(0)):
            raise fault


class FakePreparation:
    """Asked as `adapter.preparation.door.Preparation` is: every part is an ensemble of one step,
    `<name>.<type>.step`, or its faults are raised one by one."""

    def __init__(self, **outputs: tuple[int, ...]) -> None:
        self.prepared: list[Part] = []
        self.faults: list[Fault] = []
        self._outputs = outputs

    async def ensure(self, part: Part) -> Prepared:
        self.prepared.append(part)
        await asyncio.sleep(0)
        if self.faults and (fault := self.faults.pop(0)):
            raise fault
        name = f"{part.name}.{part.type}"
        return Prepared(name, (f"{name}.step", name), 8, self._outputs)


def error_of(results: list[Any]) -> Exception:
    """The error that several waiters were given: the same for all."""
    first, *others = results
    assert isinstance(first, Exception)
    assert all(other is first for other in others)
    return first
