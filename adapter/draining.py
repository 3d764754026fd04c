"""How the service stops without losing a request.

1. `/ping` says 503 and each answer closes its connection, while requests are still taken: the notice.
2. The port is closed. Connections that wait in it are taken first, and what they send is read.
3. Idle connections are closed, and running requests finished. Those that are not when the grace ends get a 503.
"""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter.health import Health
from adapter.service import Service

log = logging.getLogger(__name__)

READ_S = 0.1
"""Time to read the requests that came just before the port was closed."""
LAST_WORDS_S = 5
"""Time to write the last answers, when all requests are answered."""


class Closing:
    """ASGI middleware: once the service is being stopped, each answer closes its connection."""

    def __init__(self, app: ASGIApp, health: Health) -> None:
        self._app, self._health = app, health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and self._health.stopping:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, answer)


class DrainingServer(uvicorn.Server):
    """Leaves signals to who runs it, and drains when it is told to exit; told again, it ends at once."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self.force_exit:
            self._service.deadlines.stop_in(0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains; every request that the kernel has taken is answered."""
        settings = self._service.settings
        self._service.health.stopping = True
        log.info("stopping: %d requests are running; a second signal ends them", len(self.server_state.tasks))
        await self._wait(settings.stop_notice_s)
        for server, listener in zip(self.servers, sockets or [], strict=True):
            queue = listener.dup()  # closing the only one would reset the connections that wait in it
            server.close()
            listener.close()
            await self._take_last(queue)
        self._service.deadlines.stop_in(0 if self.force_exit else settings.stop_grace_s)
        await self._wait(READ_S)
        await super().shutdown(sockets)

    async def _take_last(self, queue: socket.socket) -> None:
        """Takes the connections that the kernel has accepted, and closes the port."""
        protocol = cast("Any", self.config.http_protocol_class)
        new = partial(protocol, config=self.config, server_state=self.server_state, app_state={})
        limit_s = LAST_WORDS_S if self.config.ssl else None
        loop = asyncio.get_running_loop()
        queue.setblocking(False)
        with queue, suppress(BlockingIOError):
            while True:
                taken, _ = queue.accept()
                with suppress(ssl.SSLError, ConnectionError, TimeoutError):
                    await loop.connect_accepted_socket(
                        new, taken, ssl=self.config.ssl, ssl_handshake_timeout=limit_s
                    )

    async def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.force_exit and time.monotonic() < end:
            await asyncio.sleep(min(0.1, seconds))
