"""Who may be read and run now. Nobody is refused: a request waits, unread, until there is room for it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SMALL_BODY_BYTES = 64 * 1024
"""A body that fits is a text search or a thumbnail: it never waits behind photos."""


class BodyMemory:
    """A budget of bytes for request bodies, given out in order of arrival.

    A body is counted before it is read and until its request is answered, so that memory stays bounded
    however many photos are sent at once.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._free = capacity
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def held(self) -> int:
        """Bytes of it that are given out."""
        return self.capacity - self._free

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Waits for room for a body of `size` bytes (at most all of it) and keeps it while the block runs."""
        if size <= SMALL_BODY_BYTES:
            yield
            return
        size = min(size, self.capacity)
        await self._take(size)
        try:
            yield
        finally:
            self._give_back(size)

    async def _take(self, size: int) -> None:
        if not self._waiting and size <= self._free:
            self._free -= size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(size)
            raise

    def _give_back(self, size: int) -> None:
        self._free += size
        while self._waiting:
            wanted, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
            elif wanted <= self._free:
                self._waiting.popleft()
                self._free -= wanted
                turn.set_result(None)
            else:
                return
