"""Clients that ask without a pause, and what became of their requests."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

CLIENTS = 8


class Load:
    """Eight clients that ask, in turn what each of the requests asks, while the block runs.

    Attributes:
        outcomes: what each request came to.
        slowest_s: the longest that one took.
    """

    def __init__(self, *requests: Callable[[], object]) -> None:
        self._requests: Sequence[Callable[[], object]] = requests
        self._stop = threading.Event()
        self.outcomes: list[object] = []
        self.slowest_s = 0.0

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._clients = [
            self._pool.submit(self._ask, self._requests[number % len(self._requests)])
            for number in range(CLIENTS)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for client in self._clients:
            client.result()
        self._pool.shutdown()

    def wait_for_answers(self, count: int, patience_s: float = 60) -> None:
        """Waits until so many more requests are answered."""
        goal, end = len(self.outcomes) + count, time.monotonic() + patience_s
        while len(self.outcomes) < goal:
            assert time.monotonic() < end, f"no answers any more: {set(self.outcomes)}"
            time.sleep(0.01)

    def _ask(self, request: Callable[[], object]) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            self.outcomes.append(request())
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)
