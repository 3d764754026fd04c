"""Connections of clients: one on which no request comes is closed, and an answer is sent as a whole.

Who stands before several hosts can ask another one when a host dies, but not once it has handed on the head of an
answer. uvicorn writes head and body one after the other, and milliseconds pass between them on a busy host.
"""

import resource
from asyncio import TimerHandle, Transport
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from adapter.forms import SILENCE_S

HEAD_S = SILENCE_S
"""Time for a head: from the beginning of the connection, or of the head where another request went before it."""
HEAD_BYTES = 64 * 1024
FILES = 65_536
"""A connection is an open file. Docker and systemd start processes with 1,024, and let them have more."""


def allow_many() -> None:
    """As many connections at a time as the host lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, FILES)), hard))


class Connection(HttpToolsProtocol):
    """Closed when the head of a request does not end. (uvicorn closes it when it is idle after an answer.)"""

    _patience: TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._patience = self.loop.call_later(HEAD_S, transport.close)

    def data_received(self, data: bytes) -> None:
        if self._head_bytes > HEAD_BYTES:
            self.send_400_response("The head of the request is too large.")
            return
        if self._patience:
            self._head_bytes += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._patience = self._patience or self.loop.call_later(HEAD_S, self.transport.close)

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()
        answer = self.cycle.transport = _Answer(self.transport)
        ended = self.cycle.on_response

        def end() -> None:
            answer.flush()
            ended()

        self.cycle.on_response = end

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._patience:
            self._patience.cancel()
        self._patience, self._head_bytes = None, 0


class _Answer(Transport):
    """Keeps the head of an answer back until its body comes, or its end."""

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._transport = transport
        self._head, self._begun = b"", False

    def write(self, data: Any) -> None:
        if self._begun or data.startswith(b"HTTP/1.1 100 "):
            self._transport.write(self._head + data)
            self._head = b""
        else:
            self._head, self._begun = data, True

    def flush(self) -> None:
        if self._head:
            self.write(b"")

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self.flush()
        self._transport.close()
