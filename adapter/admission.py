"""Who may be read on now. Nobody is refused: what comes of a body waits, unread, until there is room for it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

SMALL_BODY_BYTES = 64 * 1024
"""A body that fits is a text search or a thumbnail: it is not counted, and never waits behind photos."""


class BodyMemory:
    """A budget of bytes for request bodies, which take of it as they arrive, those that came first before the others.

    What a body has taken it keeps until its request is answered, so memory stays bounded however many photos are sent
    at once. The first of all bodies never waits: so no two of them wait for each other, and one that is larger than
    the budget gets through.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        self._shares: list[Share] = []

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """A body's part of the budget, nothing at first, while the block runs."""
        share = Share(self)
        try:
            yield share
        finally:
            if share in self._shares:
                self._shares.remove(share)
                self.held -= share.held
                self.give()

    def give(self, new: "Share | None" = None) -> None:
        """Gives to each what it waits for, as far as there is room.

        Args:
            new: one that has not asked before.
        """
        if new:
            self._shares.append(new)
        for share in filter(lambda each: each.wanted, self._shares):
            if share is not self._shares[0] and self.held + share.wanted > self.capacity:
                return
            self.held += share.wanted
            share.receive()


class Share:
    """One body's part of a budget."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self._arrived = 0
        self.held = self.wanted = 0
        self._turn: asyncio.Future[None] | None = None

    def take(self, size: int) -> bool:
        """Whether there is room for so many bytes more; otherwise `turn` comes when there is."""
        self._arrived += size
        if self._arrived <= SMALL_BODY_BYTES:
            return True
        self.wanted = self._arrived - self.held
        self._memory.give(None if self.held else self)
        return not self.wanted

    async def turn(self) -> None:
        """Waits for what was asked for last."""
        self._turn = asyncio.get_running_loop().create_future()
        await self._turn

    def receive(self) -> None:
        """Called when the budget has given what is wanted."""
        self.held, self.wanted = self.held + self.wanted, 0
        if self._turn and not self._turn.done():
            self._turn.set_result(None)
