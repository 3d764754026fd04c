"""When requests are answered at the latest: each after a time of its own, and all when the service stops."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from adapter.errors import EngineUnavailable


class Deadlines:
    """Holds the running requests to their ends."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: set[asyncio.Timeout] = set()
        self._stop = math.inf

    @asynccontextmanager
    async def hold(self, waited_for: Callable[[], str]) -> AsyncIterator[None]:
        """Lets the block run as long as it may.

        Args:
            waited_for: says in a sentence why there is no answer.

        Raises:
            EngineUnavailable: it took longer.
        """
        end = asyncio.get_running_loop().time() + self._seconds
        self._running.add(timeout := asyncio.timeout_at(min(end, self._stop)))
        try:
            async with timeout:
                yield
        except TimeoutError as error:
            stopped = timeout.when() == self._stop
            lead = "The service is being stopped." if stopped else f"No answer within {self._seconds:g} s."
            raise EngineUnavailable(f"{lead} {waited_for()}") from error
        finally:
            self._running.discard(timeout)

    def stop_in(self, seconds: float) -> None:
        """No request, be it running or yet to come, takes longer than that from now on."""
        self._stop = asyncio.get_running_loop().time() + seconds
        for timeout in self._running:
            if not timeout.expired():
                timeout.reschedule(min(timeout.when() or math.inf, self._stop))
