"""How the log looks: lines for people on a terminal, JSON for machines otherwise. Set up once, by the command line."""

import json
import logging
import sys
from datetime import UTC, datetime

from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler

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


def set_up(level: str, *, color: bool) -> None:
    """Installs the one handler. `level` is Python's or Immich's name of a level."""
    name = _LEVELS.get(level.lower(), level.lower()).upper()
    handler = _for_people(color) if sys.stderr.isatty() else _for_machines()
    logging.basicConfig(level=name, handlers=[handler], force=True)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(name)))


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


def _for_machines() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter())
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
