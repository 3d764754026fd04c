"""The front of deploy/haproxy as it is run without Docker, and hosts behind it that answer when they are told to."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import httpx
import pytest

from adapter.embedded import free_port
from tests.support.server import Asked

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "haproxy"
needs_haproxy = pytest.mark.skipif(
    shutil.which("haproxy") is None, reason="HAProxy is not installed here (Debian: apt install haproxy)"
)
PATIENCE_S = 20


def until(condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.01)


def hosts(*servers: str, backends: Sequence[str] = ("photos", "searches")) -> str:
    """A list of hosts, `a`, `b` and so on: the address of each, or more of HAProxy's words after it."""
    named = [*zip("abcdefgh", servers, strict=False)]
    lines = [f"server {name} {words}" for name, words in named]
    lines += [f"server {name}-unchecked {words} backup no-check" for name, words in named]
    made_from = {"searches": "searches"}
    heads = [f"backend {name} from {made_from.get(name, 'photos')}" for name in backends]
    return "\n".join(line for head in heads for line in (head, *lines, ""))


class Host:
    """Says pong to `/ping`; other requests wait until it is to answer them, with its name.

    Attributes:
        held: requests that it has and has not answered.
        seen: each request's path, size and values of `X-Forwarded-For`.
    """

    def __init__(self, name: str) -> None:
        self.name, self.address = name, f"127.0.0.1:{free_port()}"
        self.held = 0
        self.seen: list[tuple[str, int, list[str] | None]] = []
        self.answers, self.ready = threading.Event(), True
        self._sockets: set[socket.socket] = set()

    def start(self) -> Self:
        name, _, port = self.address.partition(":")
        self._server = _Server((name, int(port)), type("Handler", (_Handler,), {"host": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def die(self) -> None:
        """The port is closed, and every connection is cut."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for connection in list(self._sockets):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """It has died: what it then answers reaches nobody."""


class _Handler(BaseHTTPRequestHandler):
    host: Host
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.host._sockets.add(self.connection)

    def finish(self) -> None:
        self.host._sockets.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self._answer(200 if self.host.ready else 503, b"pong")

    def do_POST(self) -> None:
        size = int(self.headers["content-length"])
        if len(self.rfile.read(size)) < size:
            return
        self.host.seen.append((self.path, size, self.headers.get_all("x-forwarded-for")))
        self.host.held += 1
        self.host.answers.wait()
        self.host.held -= 1
        self._answer(200, self.host.name.encode())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Front(Asked):
    """HAProxy with our config and a list of hosts; a context manager."""

    def __init__(self, folder: Path, listed: str, config: str | None = None, **variables: str) -> None:
        self.origin = f"127.0.0.1:{free_port()}"
        self.metrics = f"127.0.0.1:{free_port()}"
        self.log = folder / "front.log"
        self._hosts, self._config = folder / "hosts", folder / "haproxy.cfg"
        self._hosts.mkdir()
        self._config.write_text(config or (FOLDER / "haproxy.cfg").read_text())
        self.list(listed)
        listening = {"FRONT_LISTEN": self.origin, "FRONT_METRICS": self.metrics}
        self._environment = {"PATH": os.environ["PATH"], **listening, **variables}

    @property
    def url(self) -> str:
        return f"http://{self.origin}"

    def list(self, listed: str) -> None:
        (self._hosts / "hosts.cfg").write_text(listed)

    def __enter__(self) -> Self:
        command = ["haproxy", "-W", "-f", str(self._config), "-f", str(self._hosts)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        self.client = self.connect(self.url)
        self._wait_until_loaded(1)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._process.terminate()
        self._process.wait(PATIENCE_S)

    def reload(self) -> None:
        """Reads the list anew."""
        loaded = self._loaded()
        self._process.send_signal(signal.SIGUSR2)
        self._wait_until_loaded(loaded + 1)

    def wait_for(self, server: str, status: str) -> None:
        """Waits until a server (`photos/a`) is `UP` or `DOWN` by what the metrics say."""
        proxy, _, name = server.partition("/")
        line = f'haproxy_server_status{{proxy="{proxy}",server="{name}",state="{status}"}} 1'
        until(lambda: line in httpx.get(f"http://{self.metrics}/metrics").text)

    def _loaded(self) -> int:
        return self.log.read_text().count("Loading success")

    def _wait_until_loaded(self, count: int) -> None:
        until(lambda: (self._loaded() >= count and self._can_reload()) or self._process.poll() is not None)
        assert self._process.poll() is None, self.log.read_text()

    def _can_reload(self) -> bool:
        """Whether it heeds the signal already, which before would end it or be lost."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        return bool(caught >> (signal.SIGUSR2 - 1) & 1)
