"""Runs of one batch on a GPU go two at a time. The sessions are stand-ins: a GPU has never seen this."""

import importlib
from collections.abc import Mapping, Sequence
from threading import Event, Lock
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.backends.conftest import Load

Floats = NDArray[np.float32]


class Pair:
    """Opens sessions whose first run waits for a second one beside it.

    Args:
        room: there is memory for so many runs at a time.
    """

    def __init__(self, room: int = 2) -> None:
        self._room, self._running, self._lock, self._met = room, 0, Lock(), Event()
        self.opened = self.ended = 0

    def open(self, _: object) -> "Pair":
        self.opened += 1
        return self

    def run(self, _: Sequence[str], feed: Mapping[str, Floats], __: object = None) -> list[Floats]:
        with self._lock:
            self._running += 1
            beside = self._running
        try:
            if beside == 2:
                self._met.set()
            if beside > self._room:
                raise RuntimeError("CUDA out of memory")
            assert self._met.wait(30), "nothing runs beside it"
            if np.isnan(feed["x"]).any():
                raise RuntimeError("not a number")
            return [2 * feed["x"]]
        finally:
            with self._lock:
                self._running -= 1
                self.ended += 1


@pytest.fixture
def plans(load: Load) -> Any:
    """The backend's module: importing it needs the stand-in for Triton's own."""
    return importlib.import_module("backends.onnxruntime.plans")


def rows(*first: float, width: int = 2) -> dict[str, Floats]:
    return {"x": np.array(first, np.float32)[:, None] + np.arange(width, dtype=np.float32)}


@pytest.mark.parametrize("room", [1, 2])
def test_two_runs_are_under_way_or_one_where_the_memory_does_not_suffice(plans: Any, room: int) -> None:
    pair = Pair(room)
    runner = plans.Plans(pair.open, ["double"], [1, 2], 8)
    sent = [rows(0, 1, 2, 3, 4), rows(7, 8, width=3)]
    for _ in range(2):
        for feed, (answer,) in zip(sent, runner.run(sent), strict=True):
            np.testing.assert_array_equal(answer, 2 * feed["x"])
    assert (pair.opened, runner._limits) == (3, {}), "no session is closed, and no run made smaller, for that"


def test_a_failure_is_told_once_nothing_reads_what_the_requests_hold(plans: Any) -> None:
    pair = Pair()
    with pytest.raises(RuntimeError, match="not a number"):
        plans.Plans(pair.open, ["double"], [1], 8).run([rows(np.nan, *range(999))])
    assert pair.ended == 1000
