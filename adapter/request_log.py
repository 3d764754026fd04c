"""One log line a request. It never holds pixels, text, vectors or names of people."""

import logging
import time
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("adapter.requests")

QUIET_PATHS = ("/ping", "/")


@dataclass
class Account:
    """What the line says beside status and time; routes fill it in as they learn it."""

    tasks: str = "-"
    bytes: int = 0
    found: dict[str, int] = field(default_factory=dict)


class RequestLog:
    """ASGI middleware: gives every request an `account` in its state, and logs it when it is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        account, started, status = Account(), time.monotonic(), 499  # 499: the client went away

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
