"""Connections on which no request comes."""

import asyncio
import resource
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from adapter import connections
from adapter.connections import HEAD_BYTES, HEAD_S, Connection

REQUEST = b"GET /ping HTTP/1.1\r\nHost: ml\r\n\r\n"
LONG_S = 10 * HEAD_S


class Wire(asyncio.Transport):
    """Notes what is sent, and when it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed_s: float | None = None

    def write(self, data: Any) -> None:
        self.writes.append(data)

    @property
    def sent(self) -> bytes:
        return b"".join(self.writes)

    def close(self) -> None:
        self.closed_s = self.closed_s or asyncio.get_running_loop().time()

    def is_closing(self) -> bool:
        return self.closed_s is not None

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def slow(_: Scope, __: Receive, send: Send) -> None:
    """Answers late."""
    await asyncio.sleep(LONG_S)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"pong"})


def connected() -> tuple[Connection, Wire]:
    config = uvicorn.Config(slow, log_config=None, lifespan="off", timeout_keep_alive=int(LONG_S))
    connection, wire = Connection(config, ServerState(), {}), Wire()
    connection.connection_made(wire)
    return connection, wire


@pytest.mark.parametrize("sent", [b"", REQUEST[:-2], REQUEST[:20]])
async def test_a_head_that_does_not_end_ends_the_connection(sent: bytes) -> None:
    connection, wire = connected()
    connection.data_received(sent)
    await asyncio.sleep(LONG_S)
    assert wire.closed_s == HEAD_S


async def test_the_next_head_is_waited_for_as_long_as_connections_are_kept() -> None:
    connection, wire = connected()
    connection.data_received(REQUEST)
    await asyncio.sleep(1.5 * LONG_S)
    assert (wire.sent[:12], wire.closed_s) == (b"HTTP/1.1 200", None)
    connection.data_received(REQUEST[:-2])
    await asyncio.sleep(LONG_S)
    assert wire.closed_s == 1.5 * LONG_S + HEAD_S


async def test_a_head_without_an_end_does_not_fill_the_memory() -> None:
    connection, wire = connected()
    connection.data_received(REQUEST[:-2])
    pieces = 0
    while not wire.is_closing():
        connection.data_received(b"x-more: and more\r\n" * 100)
        pieces += 1
    assert pieces <= HEAD_BYTES // 1800 + 2
    assert b"too large" in wire.sent


async def test_a_large_body_behind_a_head_is_none() -> None:
    connection, wire = connected()
    body = bytes(10 * HEAD_BYTES)
    connection.data_received(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:HEAD_BYTES])
    connection.data_received(body[HEAD_BYTES:])
    connection.data_received(REQUEST)
    await asyncio.sleep(3 * LONG_S)
    assert wire.sent.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"], ids=["kept", "closed"])
@pytest.mark.parametrize(("method", "end"), [(b"GET", b"\r\n\r\npong"), (b"HEAD", b"\r\n\r\n")])
async def test_an_answer_is_sent_whole_or_not_at_all(method: bytes, end: bytes, more: bytes) -> None:
    connection, wire = connected()
    connection.data_received(method + REQUEST[3:-2] + more + b"\r\n")
    await asyncio.sleep(1.5 * LONG_S)
    (answer,) = wire.writes
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(end)
    assert wire.is_closing() == bool(more)


def test_as_many_files_may_be_open_as_the_host_lets_us(monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(connections, "FILES", soft // 2)
    connections.allow_many()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard), "never fewer"
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft // 2, hard))
    monkeypatch.setattr(connections, "FILES", soft)
    connections.allow_many()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
