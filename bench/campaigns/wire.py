"""HTTP in bytes, for what no client would send."""

import asyncio
import re
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes


async def connect(url: str) -> Streams:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port, limit=2**24)


def head(path: str, content_type: str, length: int, more: str = "") -> bytes:
    """The head of a POST."""
    lines = f"POST {path} HTTP/1.1", "Host: ml", f"Content-Type: {content_type}", f"Content-Length: {length}"
    return "\r\n".join((*lines, f"{more}\r\n")).encode()


async def exchange(url: str, request: bytes, patience_s: float) -> Answer | None:
    """The answer to whatever bytes, on a connection of their own; None where none comes."""
    reader, writer = await connect(url)
    try:
        with suppress(ConnectionError):  # it may be answered and closed before all is read
            writer.write(request)
        async with asyncio.timeout(patience_s):
            return await read_answer(reader)
    except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
        return None
    finally:
        writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Raises IncompleteReadError where the connection ends before."""
    head = await reader.readuntil(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return Answer(int(head.split()[1]), await reader.readexactly(int(length[1])) if length else b"")
