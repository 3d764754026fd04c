"""An event loop in which nobody waits: when all sleep, the time is that of the next alarm."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def play(scene: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine; its sleeps and timeouts take no time. `asyncio.get_running_loop().time()` counts from 0."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(scene)


async def settle() -> None:
    """Returns when every other task waits for something."""
    await asyncio.sleep(1e-6)


class _Selector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "all wait for something that never comes"
            self.now_s += max(timeout, 0)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now_s
