"""A service that is told to stop: what it has taken it answers, and it tells whoever might send more."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from adapter import server
from tests.support.service import FakeEngine, FakeHealth, fake_service

PATIENCE_S = 20
FORM: dict[str, Any] = {
    "data": {"entries": json.dumps({"clip": {"visual": {"modelName": "m"}}})},
    "files": {"image": ("blob", b"picture")},
}


@dataclass
class Stage:
    """A service on a real socket, whose requests wait until `engine.open` is set."""

    port: int
    serving: "asyncio.Task[None]"
    engine: FakeEngine
    client: httpx.AsyncClient
    running: "list[asyncio.Task[httpx.Response]]" = field(default_factory=list)

    async def send(self) -> None:
        """A request that waits in the engine."""
        before = len(self.engine.asked)
        self.running.append(asyncio.create_task(self.client.post("/predict", **FORM)))
        while len(self.engine.asked) == before:
            await asyncio.sleep(0.001)

    async def connects(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionRefusedError:
            return False
        writer.close()
        await writer.wait_closed()
        return True


@asynccontextmanager
async def serving(notice_s: float, grace_s: float, health: FakeHealth | None = None) -> AsyncIterator[Stage]:
    engine, health = FakeEngine(), health or FakeHealth()
    service = fake_service(engine, health, stop_notice_s=notice_s, stop_grace_s=grace_s)
    listener = server.listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    engine.open.clear()
    task = asyncio.create_task(server.serve(service, listener))
    url = f"http://127.0.0.1:{port}"
    async with asyncio.timeout(PATIENCE_S), httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:
        await client.get("/ping")  # its signal handlers are there
        yield Stage(port, task, engine, client)
        await task


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_stop_is_told_first_then_the_port_is_closed_and_all_that_was_taken_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene() -> None:
        async with serving(notice_s=1, grace_s=20) as stage:
            silent, writer = await asyncio.open_connection("127.0.0.1", stage.port)
            await stage.send()
            stop()
            while (ping := await stage.client.get("/ping")).status_code == 200:
                assert "connection" not in ping.headers
            assert (ping.status_code, ping.headers["connection"]) == (503, "close")
            await stage.send()  # on a new connection: the port is open still
            while await stage.connects():
                await asyncio.sleep(0.01)
            assert await silent.read() == b"", "an idle connection is closed"
            writer.close()
            assert not any(task.done() for task in (*stage.running, stage.serving))
            stage.engine.open.set()
            for answer in await asyncio.gather(*stage.running):
                assert (answer.status_code, answer.headers["connection"]) == (200, "close")

    asyncio.run(scene())
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(("grace_s", "signals"), [(0.01, 1), (60, 2)], ids=["grace over", "second signal"])
def test_what_cannot_be_waited_for_is_answered_with_the_reason(
    caplog: pytest.LogCaptureFixture, grace_s: float, signals: int
) -> None:
    async def scene() -> None:
        async with serving(notice_s=0, grace_s=grace_s) as stage:
            await stage.send()
            stop()
            while await stage.connects():
                await asyncio.sleep(0.01)
            for _ in range(signals - 1):
                stop()
            answer = await stage.running[0]
            assert (answer.status_code, answer.headers["connection"]) == (503, "close")
            assert answer.json()["detail"].startswith("The service is being stopped.")

    asyncio.run(scene())
    assert "503: The service is being stopped." in caplog.text
    assert "Traceback" not in caplog.text


class Late(FakeHealth):
    """When the stop begins, somebody connects and asks; nobody accepts before the port is closed."""

    port = 0
    late: socket.socket

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "stopping" and value:
            self.late = socket.create_connection(("127.0.0.1", self.port))
            self.late.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")


def test_who_was_let_in_by_the_kernel_alone_is_answered_too() -> None:
    async def scene() -> bytes:
        health = Late()
        async with serving(notice_s=0, grace_s=20, health=health) as stage:
            health.port = stage.port
            stop()
        with health.late:
            return health.late.recv(1000)

    assert asyncio.run(scene()).startswith(b"HTTP/1.1 503 ")
