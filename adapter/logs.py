"""How the log looks: text for people or JSON for machines. Set up once, by the command line."""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler

from adapter.faults import kind
from adapter.setting_types import LogFormat

_LEVELS = {"verbose": "debug", "log": "info", "warn": "warning", "fatal": "critical"}
_NOISY = (
    "uvicorn.error",
    "uvicorn.access",
    "asyncio",
    "httpx",
    "httpx2",
    "huggingface_hub",
    "filelock",
    "urllib3",
)


_TEXT = "%(asctime)s %(levelname)s %(message)s"
REPEATS_S = 60.0
MOST_KINDS = 500
"""Warnings that are remembered; those without a repetition are forgotten first."""


def set_up(level: str, log_format: LogFormat | None, *, color: bool) -> None:
    """Installs the one handler.

    Args:
        level: Python's or Immich's name of one.
        log_format: None: text on a terminal, JSON elsewhere.
        color: on a terminal.
    """
    name = _LEVELS.get(level.lower(), level.lower()).upper()
    on_terminal = sys.stderr.isatty()
    if (log_format or (LogFormat.TEXT if on_terminal else LogFormat.JSON)) is LogFormat.JSON:
        handler = _plain(_JsonFormatter())
    else:
        handler = _for_people(color) if on_terminal else _plain(logging.Formatter(_TEXT))
    handler.addFilter(Repeats())
    logging.basicConfig(level=name, handlers=[handler], force=True)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(name)))


@dataclass
class _Told:
    """A warning that was let through: until when others like it are counted, and how many there were."""

    until: float
    more: int = 0


def after(seconds: float, action: Callable[[], object]) -> None:
    """Runs an action in a thread of its own that nobody waits for."""
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


class Repeats(logging.Filter):
    """Lets a warning through once a minute; how often it came again is told in one line at the end of that time.

    Warnings are the same that differ in numbers only: in milliseconds, or in the bytes of a request.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        after: Callable[[float, Callable[[], object]], object] = after,
    ) -> None:
        super().__init__()
        self._now, self._after = now, after
        self._lock = threading.Lock()
        self._told: dict[object, _Told] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or hasattr(record, "more"):
            return True
        bug = record.exc_info and repr(record.exc_info[1])
        key = (record.name, record.levelno, kind(record.getMessage()), bug)
        with self._lock:
            told, now = self._told.get(key), self._now()
            if told is None or told.until <= now:
                if len(self._told) >= MOST_KINDS:
                    self._told = {other: told for other, told in self._told.items() if told.more}
                self._told[key] = _Told(now + REPEATS_S)
                return True
            told.more += 1
            if told.more == 1:
                self._after(told.until - now, lambda: self._tell(key, record))
        return False

    def _tell(self, key: object, record: logging.LogRecord) -> None:
        with self._lock:
            more = self._told.pop(key).more
        logging.getLogger(record.name).log(
            record.levelno,
            "%d times more in %g s: %s",
            *(more, REPEATS_S, record.getMessage()),
            extra={"more": more, "fields": {**getattr(record, "fields", {}), "more": more}},
        )


def _for_people(color: bool) -> logging.Handler:
    console = Console(stderr=True, no_color=not color)
    handler = RichHandler(
        console=console,
        show_path=False,
        log_time_format="%X",
        omit_repeated_times=False,
        highlighter=NullHighlighter(),
    )
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def _plain(formatter: logging.Formatter) -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    return handler


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what was given as `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)
