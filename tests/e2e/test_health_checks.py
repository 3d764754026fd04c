"""The check that containers and pods ask, of an adapter that is in each of its states."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from adapter.embedded import free_port

CHECK = Path(__file__).parents[2] / "docker" / "check-ping"


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    """A port on which every GET is answered alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def passes(port: int, *arguments: str) -> bool:
    environment = {**os.environ, "IMMICH_PORT": str(port)}
    return not subprocess.run(
        [sys.executable, CHECK, *arguments], env=environment, capture_output=True
    ).returncode


@pytest.mark.parametrize(
    ("status", "body", "ready"), [(200, b"pong", True), (503, b"models are loaded", False)]
)
def test_who_waits_for_models_is_alive_and_not_ready(status: int, body: bytes, ready: bool) -> None:
    with answering(status, body) as port:
        assert (passes(port), passes(port, "--alive")) == (ready, True)


def test_who_does_not_answer_is_not_alive() -> None:
    assert not passes(free_port(), "--alive")
