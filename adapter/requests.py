"""One log line a request. It never holds pixels, text, vectors or names of people."""

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter.metrics import Metrics, Progress
from adapter.protocol import Part

log = logging.getLogger("adapter.requests")

QUIET_PATHS = ("/ping", "/")


@dataclass
class Account:
    """What the line and the metrics say beside status and time; routes fill it in as they learn it."""

    progress: Progress
    parts: Collection[Part] = ()
    bytes: int = 0
    found: dict[str, int] = field(default_factory=dict)

    @property
    def tasks(self) -> str:
        return "+".join(map(str, self.parts)) or "-"


class RequestLog:
    """ASGI middleware: gives every request an `account` in its state; logs and counts it when it is answered."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        account = Account(Progress(self._metrics.in_flight))
        started, status = time.monotonic(), 499  # 499: the client went away

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        scope.setdefault("state", {})["account"] = account
        try:
            await self._app(scope, receive, watch)
        except Exception:
            status = 500  # answered outside of this middleware
            raise
        finally:
            _write(scope, account, status, (time.monotonic() - started) * 1000)
            account.progress.enter(None)
            if account.progress.stages_s:  # a prediction, however it ended
                self._metrics.answered(account.parts, status, account.progress)
                self._metrics.received(account.bytes, account.found)


def _write(scope: Scope, account: Account, status: int, ms: float) -> None:
    quiet = scope["path"] in QUIET_PATHS and status < 400
    level = logging.DEBUG if quiet else logging.WARNING if status >= 400 else logging.INFO
    found = "".join(f", {count} {thing}" for thing, count in account.found.items())
    log.log(
        level,
        "%s %s: %s, %.0f kB%s, %.0f ms, %d",
        *(scope["method"], scope["path"], account.tasks, account.bytes / 1000, found, ms, status),
        extra={
            "fields": {
                "path": scope["path"],
                "tasks": account.tasks,
                "bytes": account.bytes,
                "ms": round(ms, 1),
                "status": status,
                **account.found,
            }
        },
    )
