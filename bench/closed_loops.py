"""A load that costs little: one request again and again, over connections that are kept.

It speaks HTTP with nothing but a parser in C, so that it takes less of a core than the server under test.

usage: python -m bench.closed_loops PORT CONNECTIONS SECONDS < request > answers.json
"""

import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

import httptools
import orjson
import uvloop


@dataclass
class Answers:
    """What came back, until nothing more was asked.

    Attributes:
        texts: each different body, and how often it came; a single one, where all is well.
        statuses: HTTP status → how often it came; 0 is a connection that was closed.
        latencies_s: from a request's first byte to its answer's last.
        duration_s, cpu_s: of the whole load; CPU time of this process.
    """

    texts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    duration_s: float = 0.0
    cpu_s: float = 0.0


class Loop(asyncio.Protocol):
    """One connection: sends the request, waits for the answer, and so on until `end`."""

    def __init__(self, request: bytes, answers: Answers, end: float) -> None:
        self._request, self._answers, self._end = request, answers, end
        self._parser = httptools.HttpResponseParser(self)
        self._sent, self._body = 0.0, b""
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._answers.latencies_s.append(time.perf_counter() - self._sent)
        self._answers.statuses[self._parser.get_status_code()] += 1
        self._answers.texts[self._body.decode(errors="replace")] += 1
        if time.perf_counter() < self._end:
            self._send()
        else:
            self.ended.set_result(None)
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.done():
            self._answers.statuses[0] += 1
            self.ended.set_result(None)

    def _send(self) -> None:
        self._sent, self._body = time.perf_counter(), b""
        self._transport.write(self._request)


async def load(port: int, connections: int, seconds: float, request: bytes) -> Answers:
    """Keeps so many requests in flight on this host's `port` for so long."""
    answers, started, cpu = Answers(), time.perf_counter(), time.process_time()
    loop = asyncio.get_running_loop()
    end = started + seconds
    opened = [
        await loop.create_connection(lambda: Loop(request, answers, end), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(connection.ended for _, connection in opened))
    answers.duration_s = time.perf_counter() - started
    answers.cpu_s = time.process_time() - cpu
    return answers


if __name__ == "__main__":
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    answers = uvloop.run(load(port, connections, seconds, sys.stdin.buffer.read()))
    sys.stdout.buffer.write(orjson.dumps(answers, option=orjson.OPT_NON_STR_KEYS))
