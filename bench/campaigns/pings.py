"""`/ping`, asked all the while by a process of its own, which nothing in the campaign's holds up."""

import http.client
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

EVERY_S = 0.05


@contextmanager
def pinged(url: str) -> Iterator[list[float]]:
    """Asks while the block runs. The list is filled after it: seconds of each ping, infinite for one without a pong."""
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_ping, args=(urlsplit(url).netloc, theirs), daemon=True)
    process.start()
    took: list[float] = []
    try:
        yield took
        ours.send(None)
        took += ours.recv()
    finally:
        process.kill()
        process.join()


def _ping(address: str, stop: Connection) -> None:
    client = http.client.HTTPConnection(address, timeout=5)
    took: list[float] = []
    while not stop.poll(EVERY_S):
        started = time.perf_counter()
        try:
            client.request("GET", "/ping")
            is_right = client.getresponse().read() == b"pong"
        except (OSError, http.client.HTTPException):
            is_right = False
            client.close()
        took.append(time.perf_counter() - started if is_right else float("inf"))
    stop.send(took)
