"""What is seen of a service on this host: its processes, and what they use."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapter.compare import processes, usage
from adapter.compare.usage import Gpu, Usage

ELSEWHERE = "http://192.0.2.1:3003"


@pytest.fixture
def url() -> Iterator[str]:
    """Of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def used(url: str, said: Path | None = None) -> Usage:
    """What is used until the program that watches the GPU has spoken."""

    async def run() -> Usage:
        async with usage.watch(url) as found:
            if said:
                await asyncio.to_thread(said.read_text)
            sum(range(10**6))
        return found

    return asyncio.run(run())


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A driver's program, and a pipe from which one byte comes when it has spoken."""
    os.mkfifo(tmp_path / "said")
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho 30, 1000\necho 50, 3000\necho >{tmp_path}/said\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "said"


def test_whoever_listens_is_seen_on_this_host_only(url: str) -> None:
    assert processes.find(url)[0].pid == os.getpid()
    assert sum(processes.memory_mb(url).values()) > 1
    assert sum(processes.cpu_s(url).values()) > 0
    assert (processes.memory_mb(ELSEWHERE), processes.cpu_s(ELSEWHERE)) == ({}, {})


def test_a_load_uses_cores_and_the_gpu_on_average(url: str, driver: Path) -> None:
    found = used(url, driver)
    assert (sum(found.cores.values()) > 0, found.gpu) == (True, Gpu(40, 2000))


def test_a_service_elsewhere_uses_nothing_here(driver: Path) -> None:
    assert used(ELSEWHERE, driver) == Usage()


def test_several_rounds_are_seen_as_one() -> None:
    rounds = [Usage(1, {"a": 1}, Gpu(10, 100)), Usage(3, {"a": 2, "b": 1}, Gpu(20, 300))]
    assert usage.mean(rounds) == Usage(2, {"a": 1.5, "b": 0.5}, Gpu(15, 200))


def test_without_a_gpu_there_is_none(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert used(url).gpu is None
