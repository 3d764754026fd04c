"""The last failed requests, each kind once with its count: for the page at `/`."""

import re
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from adapter.protocol import Part

MOST = 20
_NUMBER = re.compile(r"(?<![\w.-])\d+(\.\d+)?(?!\.?\w|-)")


def kind(sentence: str) -> str:
    """The sentence without its numbers; those in names and addresses stay. Two of one kind tell the same."""
    return _NUMBER.sub("#", sentence)


@dataclass(frozen=True)
class Fault:
    """A reason for which requests failed. It never holds pixels, text or names of people.

    Attributes:
        when: the last time, in UTC.
        parts: of the models that were asked for; none where the request was not read so far.
        reason: the sentence that the client was told.
        count: how often since the service was started.
    """

    when: datetime
    parts: tuple[Part, ...]
    status: int
    reason: str
    count: int = 1


class Faults:
    """Remembers the last kinds of faults. Reasons that differ in numbers only are of one kind."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[object, Fault] = OrderedDict()

    def add(self, parts: Collection[Part], status: int, reason: str) -> None:
        key = (tuple(parts), status, kind(reason))
        before = self._kinds.pop(key, None)
        count = before.count + 1 if before else 1
        self._kinds[key] = Fault(datetime.now(UTC), tuple(parts), status, reason, count)
        if len(self._kinds) > MOST:
            self._kinds.popitem(last=False)

    def latest(self) -> list[Fault]:
        """The newest first."""
        return [*reversed(self._kinds.values())]
