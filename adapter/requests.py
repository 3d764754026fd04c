"""One log line a request, with the reason of its failure. It never holds pixels, text, vectors or names of people."""

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter.faults import Faults
from adapter.metrics import Metrics, Progress
from adapter.protocol import Part

log = logging.getLogger("adapter.requests")

QUIET_PATHS = ("/ping", "/")
BUG = "Internal error; the log has more."


@dataclass
class Account:
    """What the line and the metrics say beside status and time; routes fill it in as they learn it.

    Attributes:
        reason: of a failure: what the client is told.
    """

    progress: Progress
    parts: Collection[Part] = ()
    bytes: int = 0
    reason: str = "The client went away."
    found: dict[str, int] = field(default_factory=dict)

    @property
    def tasks(self) -> str:
        return "+".join(map(str, self.parts)) or "-"


class RequestLog:
    """ASGI middleware: gives every request an `account` in its state; logs and counts it when it is answered."""

    def __init__(self, app: ASGIApp, metrics: Metrics, faults: Faults) -> None:
        self._app, self._metrics, self._faults = app, metrics, faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        account = Account(Progress(self._metrics.in_flight))
        started, status, bug = time.monotonic(), 499, None  # 499: the client went away

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        scope.setdefault("state", {})["account"] = account
        try:
            await self._app(scope, receive, watch)
        except Exception as error:
            bug, account.reason = error, BUG
            await detail(500, BUG)(scope, receive, watch)
        finally:
            _write(scope, account, status, (time.monotonic() - started) * 1000, bug)
            if status >= 400:
                self._faults.add(account.parts, status, account.reason)
            account.progress.enter(None)
            if account.progress.stages_s:  # a prediction, however it ended
                self._metrics.answered(account.parts, status, account.progress)
                self._metrics.received(account.bytes, account.found)


def detail(status: int, what: object, headers: Mapping[str, str] | None = None) -> Response:
    """A failure as Immich's service tells it."""
    return Response(orjson.dumps({"detail": what}), status, headers, media_type="application/json")


def _write(scope: Scope, account: Account, status: int, ms: float, bug: Exception | None) -> None:
    quiet = scope["path"] in QUIET_PATHS and status < 400
    level = logging.DEBUG if quiet else logging.WARNING if status >= 400 else logging.INFO
    found = "".join(f", {count} {thing}" for thing, count in account.found.items())
    reason = {"reason": account.reason} if status >= 400 else {}
    log.log(
        level,
        "%s %s: %s, %.0f kB%s, %.0f ms, %d%s",
        *(scope["method"], scope["path"], account.tasks, account.bytes / 1000, found, ms, status),
        f": {account.reason}" if reason else "",
        exc_info=bug,
        extra={
            "fields": {
                "path": scope["path"],
                "tasks": account.tasks,
                "bytes": account.bytes,
                "ms": round(ms, 1),
                "status": status,
                **account.found,
                **reason,
            }
        },
    )
