"""How Triton's processes share the host: its cores and its memory."""

import os

import psutil
import pytest

from demo.models.clip import NAME
from tests.support.pictures import jpeg
from tests.support.server import Server

pytestmark = pytest.mark.triton


def nice_level(process: psutil.Process) -> int:
    """Of its threads that compute: the others are at the server's level."""
    return max(os.getpriority(os.PRIO_PROCESS, thread.id) for thread in process.threads())


def test_the_graph_of_a_search_goes_before_that_of_a_photo_and_both_keep_little_memory(
    server: Server,
) -> None:
    server.clip(NAME, text="a search")
    server.clip(NAME, jpeg(32, 32))
    search, photo = (server.stubs()[f"{NAME}.{part}.encoder"] for part in ("textual", "visual"))
    own = psutil.Process(server.process.pid).nice()
    assert (nice_level(search), nice_level(photo)) == (own, min(19, own + 5))
    assert {process.environ()["MALLOC_ARENA_MAX"] for process in (search, photo)} == {"2"}
