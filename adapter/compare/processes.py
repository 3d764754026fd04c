"""The processes behind a URL of this host, each named by what it does: their memory and their processor time."""

import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import psutil

FORWARDER = "docker-proxy"
"""Listens for a container, but is not it."""
_INSTANCE = re.compile(r"(?P<model>.+)_\d+_\d+")


def find(url: str) -> list[psutil.Process]:
    """The process of this host that listens at a URL, and all below it; none where they cannot be seen."""
    parts = urlsplit(url)
    if not _is_here(parts.hostname or ""):
        return []
    port = parts.port or (443 if parts.scheme == "https" else 80)
    listeners = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:2] == (port,)
    }
    for process in (psutil.Process(pid) for pid in listeners if pid):
        if process.ppid() not in listeners and process.name() != FORWARDER:
            return [process, *process.children(recursive=True)]
    return []


def memory_mb(url: str) -> dict[str, float]:
    """The memory of the service at a URL, by the names of its processes, in 10^6 bytes.

    Each counts with its share (PSS) of what several of them map, so that the shares can be added up.
    """
    return _by_name(url, lambda process: process.memory_full_info().pss / 1e6)


def cpu_s(url: str) -> dict[str, float]:
    """The processor time that they have taken so far."""
    return _by_name(url, lambda process: sum(process.cpu_times()[:2]))


def name_of(program: str, command_line: Sequence[str]) -> str:
    """What a process is to the reader: a stub is named by the Triton model that it runs.

    Args:
        program: the executable's name, which Linux cuts at 15 characters.
    """
    if program.startswith("triton_python"):
        instances = (_INSTANCE.fullmatch(argument) for argument in command_line[1:])
        return next((found["model"] for found in instances if found), program)
    return "adapter" if "serve" in command_line else program


def _by_name(url: str, measure: Callable[[psutil.Process], float]) -> dict[str, float]:
    """What is measured of each process; nothing where they cannot be seen."""
    found: dict[str, float] = {}
    try:
        for process in find(url):
            with suppress(psutil.NoSuchProcess):
                name = name_of(process.name(), process.cmdline())
                found[name] = found.get(name, 0.0) + measure(process)
    except psutil.AccessDenied:
        return {}
    return found


def _is_here(host: str) -> bool:
    try:
        return socket.gethostbyname(host).startswith("127.")
    except OSError:
        return False
