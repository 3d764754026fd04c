"""How far a download is: for whoever looks, and by a line in the log every few seconds."""

import logging
import time

log = logging.getLogger(__name__)

LINE_EVERY_S = 5.0
MIB = 2**20


class Progress:
    """How far one download is; says so whenever it is told and it is time for a line.

    Attributes:
        arrived: bytes that are here.
        total: of how many, where that is known.
    """

    def __init__(self, label: str, line_every_s: float = LINE_EVERY_S) -> None:
        self._label = label
        self._line_every_s = line_every_s
        self._last = time.monotonic()
        self._last_arrived: int | None = None
        self.arrived = 0
        self.total: int | None = None

    def tell(self, arrived: int, total: int | None) -> None:
        """Takes how many bytes have arrived in all, and of how many where that is known."""
        self.arrived, self.total = arrived, total
        now = time.monotonic()
        if self._last_arrived is None:  # what an earlier try left is no speed
            self._last_arrived = arrived
        if now - self._last < self._line_every_s:
            return
        speed = (arrived - self._last_arrived) / MIB / (now - self._last)
        log.info("%s: %s, %.1f MiB/s", self._label, describe(arrived, total), speed)
        self._last, self._last_arrived = now, arrived


def describe(arrived: int, total: int | None) -> str:
    """Such as `12.0 of 40.0 MiB (30 %)`."""
    if not total:
        return f"{arrived / MIB:.1f} MiB"
    return f"{arrived / MIB:.1f} of {total / MIB:.1f} MiB ({100 * arrived // total} %)"
