"""The parts of the embedded Triton that need no Triton."""

import asyncio
import logging
import os
import socket
from pathlib import Path

import pytest

from adapter import embedded, server, wheel
from adapter.errors import SetupError


@pytest.mark.parametrize(
    ("line", "level", "message"),
    [
        ('I1122 18:45:00.12 77 server.cc:604] "Started"', logging.DEBUG, "Started"),
        ("E1122 18:45:00.12 77 model.cc:1] broken", logging.ERROR, "broken"),
        (
            'W1122 18:45:00.12 77 cuda.cc:5] "CUDA memory pool disabled"',
            logging.DEBUG,
            "CUDA memory pool disabled",
        ),
        (
            "W1122 18:45:00.12 77 metrics.cc:9] error getting NVML power limit",
            logging.DEBUG,
            "error getting NVML power limit",
        ),
        ("| Model | Version |", logging.DEBUG, "| Model | Version |"),
    ],
)
def test_a_line_of_tritons_log_keeps_its_level_and_loses_its_prefix(
    line: str, level: int, message: str
) -> None:
    assert embedded.read_log_line(line) == (level, message)


def test_shared_memory_of_a_dead_process_is_swept_and_that_of_others_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "SHARED_MEMORY", tmp_path)
    dead, alive = 4_190_000, os.getppid()
    for pid in (dead, alive, os.getpid()):
        (tmp_path / f"{embedded.shared_memory_prefix(pid)}region_0").touch()
    (tmp_path / "somebody_elses").touch()
    embedded.sweep_shared_memory(os.getpid())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["somebody_elses", f"immich_triton_{alive}_region_0"]
    )


def test_a_missing_libpython_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: False)
    with pytest.raises(SetupError, match=r"apt-get install libpython3\.1"):
        wheel.find_libpython()


def test_numpy_2_is_named_with_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "version", lambda _: "2.3.1")
    with pytest.raises(SetupError, match="pip install 'numpy<2'"):
        wheel.locate()


def test_a_missing_triton_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SetupError, match="scripts/setup installs it"):
        wheel.locate()


def test_the_wheels_backend_folder_is_completed_and_mended(tmp_path: Path) -> None:
    stub = tmp_path / "stubs" / "stub"
    (tmp_path / "backends" / "python").mkdir(parents=True)
    (tmp_path / "backends" / "onnxruntime").symlink_to(tmp_path / "another-checkout")
    stub.parent.mkdir()
    stub.touch()
    found = wheel.Wheel(server=stub, backends=tmp_path / "backends", stub=stub, libraries=())
    for _ in range(2):
        wheel.assemble_backends(found)
        assert (found.backends / "python" / "stub").samefile(stub)
        assert (found.backends / "onnxruntime" / "model.py").samefile(wheel.BACKENDS / "onnxruntime/model.py")


def test_a_backend_folder_that_cannot_be_completed_is_named(tmp_path: Path) -> None:
    found = wheel.Wheel(server=tmp_path, backends=tmp_path / "missing", stub=tmp_path / "stub", libraries=())
    with pytest.raises(SetupError, match=r"scripts/setup: .*missing/python/stub"):
        wheel.assemble_backends(found)


def test_a_read_only_tmp_is_named_with_dockers_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "TEMPORARY", str(tmp_path / "missing"))
    with pytest.raises(SetupError, match="--tmpfs"):
        asyncio.run(embedded.EmbeddedTriton(tmp_path, {}).start())


def test_a_busy_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"Port {port} is taken"):
            server.listen("127.0.0.1", port)


def test_every_interface_is_ipv4_too() -> None:
    with server.listen("[::]", 0) as listener:
        socket.create_connection(("127.0.0.1", listener.getsockname()[1])).close()
