"""What models wait for: told in the log, to requests that give up, and on the page."""

import asyncio
import logging
from collections.abc import Collection, Iterator
from itertools import chain, repeat

from adapter.faults import kind
from adapter.protocol import Part

log = logging.getLogger(__name__)

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0)


def pauses_s() -> Iterator[float]:
    """Seconds to wait before each next attempt, without an end."""
    return chain(PAUSES_S, repeat(PAUSES_S[-1]))


class Waits:
    """Parts that cannot be used now, each with what has to pass."""

    def __init__(self) -> None:
        self._reasons: dict[Part, str] = {}

    async def pause(self, part: Part, reason: str, seconds: float) -> None:
        """Waits before the next attempt; a new reason is told in the log."""
        if kind(self.reason(part)) != kind(reason):
            log.warning("%s", _sentence(part, reason))
        self._reasons[part] = reason
        await asyncio.sleep(seconds)

    def end(self, part: Part) -> None:
        """The part can be used, or never will be."""
        if self._reasons.pop(part, None):
            log.info("%s waits no longer", part)

    def reason(self, part: Part) -> str:
        """What has to pass for a part; nothing where nothing has to."""
        return self._reasons.get(part, "")

    def of(self, parts: Collection[Part]) -> str:
        """What these wait for, in a sentence; nothing where they do not."""
        return " ".join(_sentence(part, self.reason(part)) for part in parts if self.reason(part))


def _sentence(part: Part, reason: str) -> str:
    return f"Waiting: {reason}" if reason.startswith(str(part)) else f"{part} waits: {reason}"
