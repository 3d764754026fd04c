"""How a download's progress is shown: a bar where people watch the log on a terminal, a line every few seconds else."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

log = logging.getLogger(__name__)

LINE_EVERY_S = 5.0
MIB = 2**20

Meter = Callable[[int, int | None], None]
"""Told how many bytes have arrived in all, and of how many where that is known."""


class Display:
    """Shows the downloads of a process; several may be under way."""

    def __init__(self, line_every_s: float = LINE_EVERY_S) -> None:
        self._line_every_s = line_every_s
        self._lock = threading.Lock()
        self._bars: Progress | None = None
        self._shown = 0

    @contextmanager
    def show(self, label: str) -> Iterator[Meter]:
        """Shows one download for as long as the context lasts."""
        console = _terminal()
        if console is None:
            yield _Lines(label, self._line_every_s).at
            return
        bars, bar = self._open_bar(console, label)
        try:
            yield lambda arrived, total: bars.update(bar, completed=arrived, total=total)
        finally:
            self._close_bar(bars, bar)

    def _open_bar(self, console: Console, label: str) -> tuple[Progress, TaskID]:
        with self._lock:
            if self._bars is None:
                self._bars = _bars(console)
                self._bars.start()
            self._shown += 1
            return self._bars, self._bars.add_task(label, total=None)

    def _close_bar(self, bars: Progress, bar: TaskID) -> None:
        with self._lock:
            bars.remove_task(bar)
            self._shown -= 1
            if self._shown == 0:
                bars.stop()
                self._bars = None


class _Lines:
    def __init__(self, label: str, every_s: float) -> None:
        self._label = label
        self._every_s = every_s
        self._last = time.monotonic()
        self._last_arrived: int | None = None

    def at(self, arrived: int, total: int | None) -> None:
        now = time.monotonic()
        if self._last_arrived is None:  # what an earlier try left is no speed
            self._last_arrived = arrived
        if now - self._last < self._every_s:
            return
        speed = (arrived - self._last_arrived) / MIB / (now - self._last)
        log.info("%s: %s, %.1f MiB/s", self._label, describe(arrived, total), speed)
        self._last, self._last_arrived = now, arrived


def describe(arrived: int, total: int | None) -> str:
    """Such as `12.0 of 40.0 MiB (30 %)`."""
    if not total:
        return f"{arrived / MIB:.1f} MiB"
    return f"{arrived / MIB:.1f} of {total / MIB:.1f} MiB ({100 * arrived // total} %)"


def _terminal() -> Console | None:
    """The terminal that the log goes to; bars on another console would be torn by its lines."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, RichHandler) and handler.console.is_terminal:
            return handler.console
    return None


def _bars(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
